"""Keys to per-image draws: the only file that draws random numbers.

Every number here is a pure function of a key and of the position of the image in the stream of data. The bits come from
Philox 4x32 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") as integers and become floats by our own
rule, because TensorFlow's float draws, and its scrambling of a seed into a Philox key, differ between the plain and the
XLA-compiled operation and its integer draws do not. Image `i` of a batch that starts at position `first` always reads
the words of position `first + i`, so neither the batch size nor the batch-mates nor the number of workers can change
what happens to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_PHILOX = 1  # tf.random.Algorithm.PHILOX, as the raw operations spell it
_FOLD_DOMAIN = 1 << 62  # added to the counter's high word: keeps folded keys and image draws apart


def as_key(seed: Any) -> tf.Tensor:
    """Returns `seed`, an int or two ints, as a key: (2,) uint64."""
    key = tf.cast(tf.convert_to_tensor(seed), tf.uint64)
    if key.shape.rank == 0:
        key = tf.stack([key, tf.zeros_like(key)])
    if key.shape.rank != 1 or key.shape[0] not in (2, None):
        raise ValueError(f"`seed` must be an int or two ints; received {seed!r}.")
    return key


def fresh_seed() -> int:
    """A seed nobody has asked for before, from the operating system's entropy."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def joint_seed(seeds: Sequence[int]) -> int:
    """One seed made of several, in order; each may be any int."""
    return int(np.random.SeedSequence([seed % 2**64 for seed in seeds]).generate_state(1)[0])


def key_at(seed: int, epoch: int, position: int) -> np.ndarray:
    """The key (2,) uint64 of a place in an epoch, as an array: for data that are no tensors yet."""
    words = np.random.SeedSequence([number % 2**64 for number in (seed, epoch, position)]).generate_state(2)
    return words.astype(np.uint64)


def fold_in(key: tf.Tensor, number: Any) -> tf.Tensor:
    """Returns a new key for `number` (an int or an int scalar); the order of repeated folding matters."""
    return split(key, 1, number)[0]


def split(key: tf.Tensor, count: int, first: Any = 0) -> list[tf.Tensor]:
    """Returns the keys that `fold_in` makes of the numbers first, first + 1, ..., in one draw."""
    words = _bits(key, first, count, 4, _FOLD_DOMAIN)
    return tf.unstack(tf.cast(words[:, :2], tf.uint64))


def uniforms(key: tf.Tensor, batch_size: Any, count: int, first: Any = 0) -> list[tf.Tensor]:
    """Draws `count` independent numbers an image.

    Args:
        key: (2,) uint64, from `as_key`, `fold_in` or `split`.
        batch_size: number of images, an int or a scalar tensor.
        count: numbers an image.
        first: position of the first image in the stream of data.

    Returns:
        `count` tensors (B,) float32, each uniform in [0, 1) on a grid of 2^-24.
    """
    return tf.unstack(_unit(_bits(key, first, batch_size, count)), axis=1)


def uniform_array(key: tf.Tensor, batch_size: Any, shape: tuple[Any, ...], first: Any = 0) -> tf.Tensor:
    """Draws an array of uniforms in [0, 1) an image: (B, *shape) float32."""
    count = math.prod(shape) if all(isinstance(n, int) for n in shape) else tf.reduce_prod(tf.stack(shape))
    return tf.reshape(_unit(_bits(key, first, batch_size, count)), [batch_size, *shape])


def normal_array(key: tf.Tensor, batch_size: Any, shape: tuple[Any, ...], first: Any = 0) -> tf.Tensor:
    """Draws an array of standard normals an image by the Box-Muller transform: (B, *shape) float32."""
    pairs = uniform_array(key, batch_size, (*shape, 2), first)
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - pairs[..., 0]))  # 1 - u lies in (0, 1]: the logarithm stays finite
    return radius * tf.cos((2.0 * math.pi) * pairs[..., 1])


def seeds(key: tf.Tensor, batch_size: Any, first: Any = 0) -> tf.Tensor:
    """Draws a seed an image for what `hashed` and those below it draw by the pixel: (B, 2) uint32."""
    return _bits(key, first, batch_size, 2)


def hashed(image_seeds: tf.Tensor, count: Any) -> tf.Tensor:
    """Random words for pixels, a tenth of the price of those for parameters: (B, count) uint32.

    A multiply-xorshift hash of the word's place and the image's (B, 2) uint32 seed, with the constants that Wellons
    found to be least biased (2018, "Prospecting for hash functions"). The seed enters before and between the two
    products: entering once, two images would show one stream in another order.
    """
    bits, half = tf.bitwise, tf.constant(16, tf.uint32)
    word = bits.bitwise_xor(tf.cast(tf.range(count), tf.uint32), image_seeds[:, :1])
    word = bits.bitwise_xor(word, bits.right_shift(word, half)) * tf.constant(0x7FEB352D, tf.uint32)
    word = bits.bitwise_xor(word, bits.right_shift(word, tf.constant(15, tf.uint32)))
    word = bits.bitwise_xor(word, image_seeds[:, 1:]) * tf.constant(0x846CA68B, tf.uint32)
    return bits.bitwise_xor(word, bits.right_shift(word, half))


def hashed_uniforms(image_seeds: tf.Tensor, count: Any) -> tf.Tensor:
    """Uniforms in [0, 1) of (B, 2) uint32 seeds: (B, count) float32 on a grid of 2^-24."""
    return _unit(hashed(image_seeds, count))


def white_noise(image_seeds: tf.Tensor, count: Any) -> tf.Tensor:
    """Standard normals of (B, 2) uint32 seeds: (B, count) float32, within 5.3 standard deviations."""
    high = tf.cast(tf.bitwise.right_shift(hashed(image_seeds, count), tf.constant(9, tf.uint32)), tf.float32)
    # 23 bits and a half: every value is exact and none is 1 or -1, where the inverse error function is infinite.
    return math.sqrt(2.0) * tf.math.erfinv((high + 0.5) * 2.0**-22 - 1.0)


def between(unit: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Maps uniforms in [0, 1) to [low, high)."""
    return low + (high - low) * unit


def below(unit: tf.Tensor, bound: Any) -> tf.Tensor:
    """Maps uniforms in [0, 1) to whole numbers 0 .. bound - 1, int32."""
    bound = tf.cast(bound, tf.float32)
    return tf.cast(tf.minimum(tf.floor(unit * bound), bound - 1.0), tf.int32)


def beta(unit: tf.Tensor, a: Any, b: Any) -> tf.Tensor:
    """Maps uniforms to Beta(a, b) draws by inverting the distribution function.

    TensorFlow draws Beta numbers from gamma draws, whose operation XLA lacks on the CPU; the regularised incomplete
    beta function compiles everywhere. Three steps of Halley's method from a good guess are as exact as that function is
    in float32. Where Beta(a, b) piles up at an end closer than float32 can tell (a, b << 1), the end is returned.
    """
    a, b = tf.cast(a, tf.float32) + tf.zeros_like(unit), tf.cast(b, tf.float32) + tf.zeros_like(unit)
    x = tf.where((a > 1.0) & (b > 1.0), _beta_hump(unit, a, b), _beta_ends(unit, a, b))
    scale = tf.math.lgamma(a + b) - tf.math.lgamma(a) - tf.math.lgamma(b)
    least, most = 1e-30, 1.0 - 2.0**-24
    for _ in range(3):
        at = tf.clip_by_value(x, least, most)
        density = tf.exp((a - 1.0) * tf.math.log(at) + (b - 1.0) * tf.math.log1p(-at) + scale)
        step = (tf.math.betainc(a, b, at) - unit) / density
        step /= 1.0 - 0.5 * tf.minimum(1.0, step * ((a - 1.0) / at - (b - 1.0) / (1.0 - at)))
        # A step over the end goes half the way to it; one of no size, as the density is 0 there, goes nowhere.
        inside = tf.clip_by_value(at - step, 0.5 * at, 0.5 * (1.0 + at))
        x = tf.where((x <= least) | (x >= most) | ~tf.math.is_finite(step), x, inside)
    return x


def _beta_ends(unit: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """A first guess at a quantile: the density as a power of the distance to the end that the quantile is nearer to."""
    left, right = tf.pow(a / (a + b), a) / a, tf.pow(b / (a + b), b) / b
    low = tf.pow(a * (left + right) * unit, 1.0 / a)
    high = 1.0 - tf.pow(b * (left + right) * (1.0 - unit), 1.0 / b)
    return tf.where(unit * (left + right) < left, low, high)


def _beta_hump(unit: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """A first guess at a quantile where the density has a hump: Abramowitz and Stegun 1964, 26.5.22."""
    normal = -tf.math.ndtri(tf.clip_by_value(unit, 2.0**-25, 1.0 - 2.0**-24))
    third = (tf.square(normal) - 3.0) / 6.0
    inverse_a, inverse_b = 1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0)
    mean = 2.0 / (inverse_a + inverse_b)
    skewed = (inverse_b - inverse_a) * (third + 5.0 / 6.0 - 2.0 / (3.0 * mean))
    tilt = normal * tf.sqrt(mean + third) / mean - skewed
    return a / (a + b * tf.exp(2.0 * tilt))


def permutation(key: tf.Tensor, size: Any) -> tf.Tensor:
    """Draws a permutation of 0 .. size - 1, (size,) int32."""
    return tf.argsort(tf.bitcast(_bits(key, 0, size, 1)[:, 0], tf.int32), stable=True)


def _bits(key: tf.Tensor, first: Any, rows: Any, columns: Any, domain: int = 0) -> tf.Tensor:
    """Random uint32 words (rows, columns); row r reads the counter blocks of position `first + r`."""
    blocks = (columns + 3) // 4  # Philox yields four words a counter value
    start = tf.cast(first, tf.uint64) * tf.cast(blocks, tf.uint64)
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows, 4 * blocks],
        key=key[:1],
        counter=tf.stack([start, key[1] + domain if domain else key[1]]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )
    words = words if isinstance(columns, int) and columns % 4 == 0 else words[:, :columns]
    return tf.ensure_shape(words, [n if isinstance(n, int) else None for n in (rows, columns)])


def _unit(words: tf.Tensor) -> tf.Tensor:
    """The 24 high bits of each word as a float in [0, 1): every value is exact in float32."""
    return tf.cast(tf.bitwise.right_shift(words, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
