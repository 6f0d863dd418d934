"""Randomized smoothing: a classifier with a proof that no small change of the input changes its decision."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import Victim, concrete, victim_of
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.labels import predicted

ABSTAIN = -1
_HALVINGS = 60  # of [0, 1]: beyond what float64 tells apart


class Certificate(NamedTuple):
    """What is proved of each example.

    Attributes:
        prediction: (N,) int64, the class that the smoothed classifier decides on; -1 where it can't tell.
        radius: (N,) float64, L2 size up to which no change of the input changes this decision; 0 where it can't tell.
    """

    prediction: np.ndarray
    radius: np.ndarray


def certify(
    model: keras.Model,
    x: Any,
    sigma: float,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    seed: int = 0,
    input_name: str | int | None = None,
    batch_size: int = 250,
    verbose: int = 0,
) -> Certificate:
    """Certifies the classifier that decides by majority on noisy copies of the input.

    Attacks bound the robust accuracy from above, a certificate from below: whatever the attack, no change shorter than
    the radius moves the majority. It holds for the majority, not for the model itself, and needs a model that reads
    noisy inputs well: train it on them (`keras.layers.GaussianNoise(sigma)` as the first layer).

    Cohen et al. 2019, algorithm CERTIFY: `n0` copies choose the class, `n` more bound its probability p from below, and
    the radius is sigma * Phi^-1(p). No radius exceeds sigma * Phi^-1(alpha^(1 / n)): 2.5 sigma for 1,000 copies, 3.8
    for 100,000. As in the paper, noise isn't clipped to the range of the inputs.

    Args:
        model: any Keras classifier, used in inference mode and not changed.
        x: (N, ...) inputs, a dict or list of them, or a data set of them, whose labels aren't used.
        sigma: standard deviation of the noise in the unit of the model's input, > 0.
        n0: noisy copies of each example that choose its class.
        n: noisy copies that bound the probability of this class.
        alpha: chance that a certificate is wrong, in (0, 1).
        seed: int in [0, 2^32). Draws belong to the example, whatever its batch.
        input_name: key or index of the input that the noise is added to, of a model with several.
        batch_size: noisy copies the model sees at a time; bounds the memory.
        verbose: 1 shows a progress bar.

    Returns:
        A `Certificate`, which unpacks into predictions and radii. Accuracy certified at a radius r is
        `np.mean((prediction == y) & (radius >= r))`.

    Raises:
        ValueError: an argument out of range, inputs that aren't finite, or a model that doesn't choose one class.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> prediction, radius = kas.certify(model, np.array([[0.75, 0.5], [0.5, 0.5]]), sigma=0.25)
        >>> prediction, bool(0.12 < radius[0] < 0.25 / np.sqrt(2)), float(radius[1])  # the second lies on the boundary
        (array([ 0, -1]), True, 0.0)
    """
    owner = "certify"
    sigma = checks.number(owner, "sigma", sigma, 0.0, low_open=True)
    alpha = checks.number(owner, "alpha", alpha, 0.0, 1.0, low_open=True, high_open=True)
    n0, n = checks.integer(owner, "n0", n0, 1), checks.integer(owner, "n", n, 1)
    seed = checks.integer(owner, "seed", seed, 0, 2**32 - 1)
    batch_size = checks.integer(owner, "batch_size", batch_size, 1)
    bar = keras.utils.Progbar(len(x) if hasattr(x, "shape") else None) if verbose else None
    certificates = []
    for rows, _ in batches(owner, model, x, None, batch_size):
        victim = _classifier(owner, model, rows, input_name)
        noisy, others = victim.inputs.split(rows)
        inputs = tf.nest.map_structure(tf.convert_to_tensor, {"x": _inputs(owner, noisy), "others": others})
        certificates.append(_certificate(*_votes(victim, inputs, seed, sigma, (n0, n), batch_size), n, sigma, alpha))
        if bar:
            bar.add(len(noisy), [("radius", float(np.mean(certificates[-1].radius)))])
    return Certificate(*(np.concatenate(part) for part in zip(*certificates, strict=True)))


def lower_bound(successes: np.ndarray, trials: int, alpha: float) -> np.ndarray:
    """Clopper and Pearson's lower bound of a probability, below it with a chance of at most `alpha`.

    It is the p at which as many successes or more have the probability alpha: I_p(k, n - k + 1) = alpha, where I is the
    regularised incomplete beta function, found by bisection.

    Args:
        successes: (N,) numbers k of successes.
        trials: n.
        alpha: in (0, 1).

    Returns:
        (N,) float64; 0 where nothing succeeded.

    Example:
        >>> import numpy as np
        >>> lower_bound(np.array([0, 10]), 10, 0.05).round(4)  # the second is 0.05^(1 / 10)
        array([0.    , 0.7411])
    """
    k = tf.constant(np.maximum(successes, 1), tf.float64)
    low, high = tf.zeros_like(k), tf.ones_like(k)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = tf.math.betainc(k, trials - k + 1.0, middle) < alpha
        low, high = tf.where(below, middle, low), tf.where(below, high, middle)
    return np.where(np.asarray(successes) > 0, low.numpy(), 0.0)


def _certificate(chosen: np.ndarray, counts: np.ndarray, n: int, sigma: float, alpha: float) -> Certificate:
    """From the classes (N,) that were chosen and their votes (N,) out of n."""
    probability = lower_bound(counts, n, alpha)
    sure = probability > 0.5
    radius = sigma * tf.math.ndtri(np.where(sure, probability, 0.5)).numpy()
    return Certificate(np.where(sure, chosen, ABSTAIN), radius)


def _votes(
    victim: Victim, rows: dict[str, Any], seed: int, sigma: float, stages: tuple[int, int], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The class (N,) that most of the first copies vote for, and how many (N,) of the later ones do."""
    graph = _graph(victim, rows)
    width = tf.constant(max(batch_size // len(rows["x"]), 1))

    def count(first: int, stop: int) -> tf.Tensor:
        return graph(rows, tf.constant(seed, tf.int64), *map(tf.constant, (sigma, first, stop)), width)

    choose, bound = stages
    chosen = np.argmax(count(0, choose), axis=1)
    return chosen, np.take_along_axis(count(choose, choose + bound).numpy(), chosen[:, None], axis=1)[:, 0]


def _graph(victim: Victim, like: dict[str, Any]) -> Any:
    """The traced count of votes: for x (N, ...) and the other inputs the votes (N, K) of some copies.

    They are the copies from `first` to before `stop`; the model sees `width` of each example at a time.
    """
    signature = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), like)
    scalars = [tf.TensorSpec([], dtype) for dtype in (tf.int64, tf.float32, tf.int32, tf.int32, tf.int32)]

    def votes(rows: Any, seed: Any, sigma: Any, first: Any, stop: Any, width: Any) -> tf.Tensor:
        x, shape = rows["x"], rows["x"].shape[1:]
        keys, size = noise.example_keys(x, seed), tf.shape(x)[0]

        def add(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            copies = tf.tile(number + tf.range(width), [size])
            drawn = noise.normal(noise.fold(tf.repeat(keys, width, axis=0), copies), shape)
            others = [tf.repeat(other, width, axis=0) for other in rows["others"]]
            scores = victim.scores(tf.repeat(x, width, axis=0) + sigma * drawn, others)
            # Scores that aren't finite vote for no class, which makes the bound more cautious.
            valid = (copies < stop) & tf.reduce_all(tf.math.is_finite(scores), axis=1)
            one_hot = tf.one_hot(predicted(victim.head, scores), total.shape[1], dtype=tf.int32)
            one_hot *= tf.cast(valid, tf.int32)[:, None]
            return number + width, total + tf.reduce_sum(tf.reshape(one_hot, [size, width, total.shape[1]]), axis=1)

        none = tf.zeros([size, victim.head.num_classes], tf.int32)
        return tf.while_loop(lambda number, _: number < stop, add, (first, none), parallel_iterations=1)[1]

    key = ("certify", *((part.dtype, *part.shape[1:]) for part in tf.nest.flatten(signature)))
    return victim.graph(key, lambda: concrete(votes, [signature, *scalars]))


def _classifier(owner: str, model: keras.Model, x: Any, input_name: str | int | None) -> Victim:
    victim = victim_of(owner, model, x, input_name=input_name, differentiated=False)
    if victim.head.kind not in (heads.CLASSES, heads.BINARY):
        checks.fail(owner, "model", "a classifier that chooses one class", victim.head.kind)
    return victim


def _inputs(owner: str, x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
        checks.fail(owner, "x", "an array of finite numbers", x)
    return x.astype(np.float32)
