"""Color changes that are linear in the pixel: x' = A x + D m + b, with m the image's mean color.

Such changes are closed under composition, so any run of them is one product a pixel. `Linear` holds A and b together as
(B, C+1, C+1) matrices on (channels, 1), and D, needed by contrast only, as (B, C, C) or None. Grey is the luma of ITU-R
BT.601, as in TensorFlow, Pillow and torchvision.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_aug_ssl.kernels.matrices import product

LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ (NTSC 1953): luma and two chroma axes, in which a hue shift is a rotation.
_YIQ = np.array([LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])


class Linear(NamedTuple):
    """A color change a batch: `matrix` (B, C+1, C+1) and `of_mean` (B, C, C) or None."""

    matrix: tf.Tensor
    of_mean: tf.Tensor | None = None


def brightness(delta: tf.Tensor, channels: int) -> Linear:
    """Adds (B,) `delta` to every channel."""
    column = tf.concat([tf.tile(delta[:, None], [1, channels]), tf.zeros_like(delta)[:, None]], 1)
    return Linear(tf.eye(channels + 1) + column[:, :, None] * tf.one_hot(channels, channels + 1))


def contrast(factor: tf.Tensor, channels: int) -> Linear:
    """Moves every channel away from its own mean over the image: m + factor (x - m)."""
    rest = (1.0 - factor)[:, None, None] * tf.eye(channels)
    return Linear(_square(factor[:, None, None] * tf.eye(channels)), rest)


def scale(factor: tf.Tensor, channels: int, black: float) -> Linear:
    """Moves every channel away from black: black + factor (x - black), Pillow's "brightness"."""
    matrix = _square(factor[:, None, None] * tf.eye(channels))
    return Linear(brightness((1.0 - factor) * black, channels).matrix @ matrix)


def contrast_of_grey(factor: tf.Tensor, channels: int) -> Linear:
    """Moves every channel away from the mean grey of the image, Pillow's "contrast"; alpha stays."""
    if channels < 3:
        return contrast(factor, channels)
    grey = tf.constant(np.tile(np.array(LUMA, np.float32), (3, 1)))
    change = _on_colors(factor[:, None, None] * tf.eye(3), channels)
    return change._replace(of_mean=tf.pad((1.0 - factor)[:, None, None] * grey, [[0, 0], *[[0, channels - 3]] * 2]))


def saturation(factor: tf.Tensor, channels: int) -> Linear:
    """Moves colors away from their grey: grey + factor (x - grey); 0 is greyscale, 1 the identity."""
    grey = np.tile(np.array(LUMA, np.float32), (3, 1))
    return _on_colors(factor[:, None, None] * (np.eye(3, dtype=np.float32) - grey) + grey, channels)


def hue(turns: tf.Tensor, channels: int) -> Linear:
    """Rotates colors about the grey axis of YIQ by (B,) `turns` (1 = once round): grey and luma stay."""
    angle = (2.0 * math.pi) * turns
    cos, sin, zero, one = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle), tf.ones_like(angle)
    turn = tf.reshape(tf.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1), [-1, 3, 3])
    to_yiq, to_rgb = tf.constant(_YIQ, tf.float32), tf.constant(np.linalg.inv(_YIQ), tf.float32)
    rotation = tf.einsum("ij,bjk,kl->bil", to_rgb, turn, to_yiq)
    # Rounding must not tint an image that is not turned.
    return _on_colors(tf.where((turns == 0.0)[:, None, None], tf.eye(3), rotation), channels)


def invert(coin: tf.Tensor, channels: int, low: float, high: float) -> Linear:
    """low + high - x where the (B,) booleans say so."""
    sign = tf.where(coin, -1.0, 1.0)
    shift = brightness(tf.where(coin, low + high, 0.0), channels)
    return Linear(product(shift.matrix, _square(sign[:, None, None] * tf.eye(channels))))


def compose(first: Linear, second: Linear) -> Linear:
    """The change that does `first` and then `second`.

    The mean color m goes through `first` too: m' = (A1 + D1) m + b1, hence D = A2 D1 + D2 (A1 + D1) and
    b = A2 b1 + b2 + D2 b1.
    """
    matrix = product(second.matrix, first.matrix)
    if first.of_mean is None and second.of_mean is None:
        return Linear(matrix)
    n = first.matrix.shape[-1] - 1
    of_mean_1 = tf.zeros_like(first.matrix[:, :n, :n]) if first.of_mean is None else first.of_mean
    of_mean = product(second.matrix[:, :n, :n], of_mean_1)
    if second.of_mean is not None:
        of_mean += product(second.of_mean, first.matrix[:, :n, :n] + of_mean_1)
        shift = tf.pad(product(second.of_mean, first.matrix[:, :n, n:]), [[0, 0], [0, 1], [n, 0]])
        matrix += shift
    return Linear(matrix, of_mean)


def compose_in_order(changes: list[Linear], order: tf.Tensor) -> Linear:
    """Does `changes` in an order of its own for each image: (B, len(changes)) int32 places in the list."""
    matrices = tf.stack([change.matrix for change in changes], 1)
    of_means = None
    if any(change.of_mean is not None for change in changes):
        zero = tf.zeros_like(matrices[:, 0, :-1, :-1])
        of_means = tf.stack([zero if change.of_mean is None else change.of_mean for change in changes], 1)
    total = Linear(tf.eye(matrices.shape[-1], batch_shape=[tf.shape(order)[0]]))
    for place in range(len(changes)):
        chosen = (tf.gather(m, order[:, place], batch_dims=1) for m in (matrices, of_means) if m is not None)
        change = Linear(*chosen)
        total = change if place == 0 else compose(total, change)
    return total


def compose_all(changes: list[Linear]) -> Linear:
    """Does `changes` from the first to the last."""
    return functools.reduce(compose, changes)


def keep(mask: tf.Tensor, change: Linear) -> Linear:
    """`change` where the (B,) booleans are true, the identity elsewhere."""
    where = mask[:, None, None]
    matrix = tf.where(where, change.matrix, tf.eye(change.matrix.shape[-1]))
    return Linear(matrix, None if change.of_mean is None else tf.where(where, change.of_mean, 0.0))


def mean_color(images: tf.Tensor) -> tf.Tensor:
    """(B, C) float32 means over the pixels of (B, H, W, C) images.

    Rows are added up first, by a matrix product: compiled, half the price of a reduction on a CPU, XLA's or not.
    """
    height, width, channels = tf.shape(images)[1], tf.shape(images)[2], images.shape[-1]
    rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * channels])
    columns = tf.reshape(tf.matmul(tf.ones([1, height]), rows), [-1, width, channels])
    return tf.reduce_sum(columns, 1) / tf.cast(height * width, tf.float32)


def with_mean(change: Linear, mean: tf.Tensor) -> tf.Tensor:
    """Puts the (B, C) mean colors in: the (B, C+1, C+1) matrices that `apply` takes."""
    return change.matrix + tf.pad(product(change.of_mean, mean[..., None]), [[0, 0], [0, 1], [mean.shape[-1], 0]])


def apply(images: tf.Tensor, matrices: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    """Sends every pixel of (B, H, W, C) images through (B, C+1, C+1) matrices; float32, clipped to `value_range`."""
    images = tf.cast(images, tf.float32)
    channels = images.shape[-1]
    columns = matrices[:, None, None, :channels, :]
    # As a sum of broadcast products: three times faster than a batched matrix product under XLA on a CPU.
    result: Any = columns[..., channels]
    for k in range(channels):
        result = result + images[..., k, None] * columns[..., k]
    return tf.clip_by_value(result, *value_range)


def _square(block: tf.Tensor) -> tf.Tensor:
    """(B, C, C) blocks as (B, C+1, C+1) matrices without an offset."""
    corner = tf.one_hot(block.shape[-1], block.shape[-1] + 1)
    return tf.pad(block, [[0, 0], [0, 1], [0, 1]]) + corner[:, None] * corner


def _on_colors(block: tf.Tensor, channels: int) -> Linear:
    """3 x 3 blocks as a change of the first three channels; a fourth stays, and so do images without colors."""
    if channels < 3:
        return Linear(tf.eye(channels + 1, batch_shape=[tf.shape(block)[0]]))
    extra = channels - 3
    padded = tf.pad(block, [[0, 0], [0, extra], [0, extra]])
    return Linear(_square(padded + np.diag([0.0] * 3 + [1.0] * extra).astype(np.float32)))
