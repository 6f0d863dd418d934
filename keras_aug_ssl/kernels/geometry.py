"""Matrices and displacement fields that say where each output pixel is read from.

A matrix is (B, 3, 3), acts on column vectors (x, y, 1) with x to the right and y down in pixels, and takes a position
in the *output* to the position in the *input* that it is read from (`out_to_in`). Pixel centres lie on whole numbers,
so an image of width W is centred on (W - 1) / 2. Applying transform 1 and then transform 2 reads through the product
`first @ second`.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from keras_aug_ssl.kernels.matrices import solve

try:  # XLA's own operations are in no public module
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops
except ImportError:
    gen_xla_ops = None

Size = tuple[Any, Any]  # (height, width), each an int or an int32 scalar

# An `xla.GatherDimensionNumbers` as protocol buffers write it: offset_dims 1 2 3, collapsed_slice_dims 0,
# start_index_map 0 1 2 3, index_vector_dim 1.
_RECTANGLES = bytes([0x0A, 3, 1, 2, 3, 0x12, 1, 0, 0x1A, 4, 0, 1, 2, 3, 0x20, 1])


def affine(a: Any, b: Any, x: Any, c: Any, d: Any, y: Any) -> tf.Tensor:
    """(B, 3, 3) matrices [[a, b, x], [c, d, y], [0, 0, 1]]; entries are numbers or, one of them at least, (B,)."""
    zero = tf.zeros_like(next(entry for entry in (a, b, x, c, d, y) if tf.is_tensor(entry) and entry.shape.rank == 1))
    entries = (a, b, x, c, d, y, 0.0, 0.0, 1.0)
    row = [zero if isinstance(entry, float) and entry == 0.0 else zero + entry for entry in entries]
    return tf.reshape(tf.stack(row, -1), [-1, 3, 3])


def identity(batch_size: Any) -> tf.Tensor:
    """(B, 3, 3) identity matrices."""
    return tf.eye(3, batch_shape=[batch_size])


def centre(size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """(x, y) of the middle of an image of `size`."""
    height, width = (tf.cast(n, tf.float32) for n in size)
    return (width - 1.0) / 2.0, (height - 1.0) / 2.0


def translation(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Matrices that read from (x, y) further right and down: the picture moves by (-x, -y). Both (B,) pixels."""
    return affine(1.0, 0.0, x, 0.0, 1.0, y)


def scaling(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Scaling about the origin; a factor above 1 reads from further out, so the picture shrinks. Both (B,)."""
    return affine(x, 0.0, 0.0, 0.0, y, 0.0)


def rotation(degrees: tf.Tensor) -> tf.Tensor:
    """Rotation about the origin.

    Args:
        degrees: (B,) angles, counter-clockwise as seen on screen. Multiples of 90 give matrices of exact 0, 1 and -1.

    Returns:
        (B, 3, 3) matrices taking an output pixel to the input pixel it is read from.
    """
    cos, sin = _cos_sin(degrees)
    return affine(cos, -sin, 0.0, sin, cos, 0.0)


def shear(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Reads `x * row` further right and `y * column` further down, at once and about the origin. Both (B,)."""
    return affine(1.0, x, 0.0, y, 1.0, 0.0)


def flip(horizontal: tf.Tensor, vertical: tf.Tensor) -> tf.Tensor:
    """Mirrors about the origin where the (B,) booleans say so."""
    sign = [tf.where(coin, -1.0, 1.0) for coin in (horizontal, vertical)]
    return scaling(*sign)


def about(point: tuple[Any, Any], matrices: tf.Tensor) -> tf.Tensor:
    """Moves the origin of affine `matrices` to `point` (x, y), scalars: T(point) M T(-point)."""
    x, y = (tf.cast(p, tf.float32) for p in point)
    moved = matrices[:, :2, :1] * x + matrices[:, :2, 1:2] * y
    offset = matrices[:, :2, 2:] + (tf.stack([x, y])[:, None] - moved)
    return tf.concat([tf.concat([matrices[:, :2, :2], offset], 2), matrices[:, 2:]], 1)


def crop(left: tf.Tensor, top: tf.Tensor, width: tf.Tensor, height: tf.Tensor, output: Size) -> tf.Tensor:
    """Reads the rectangle at (left, top), `width` x `height` input pixels, all (B,), into an image of size `output`.

    The rectangle's outer edges meet the output's outer edges (half-pixel centres), as in every resize of TensorFlow 2.
    """
    scale_x, scale_y = width / tf.cast(output[1], tf.float32), height / tf.cast(output[0], tf.float32)
    offset_x, offset_y = left + 0.5 * (scale_x - 1.0), top + 0.5 * (scale_y - 1.0)
    return affine(scale_x, 0.0, offset_x, 0.0, scale_y, offset_y)


def perspective(corners_out: tf.Tensor, corners_in: tf.Tensor) -> tf.Tensor:
    """Homographies through four point pairs.

    Args:
        corners_out, corners_in: (B, 4, 2) points (x, y); no three of them on a line.

    Returns:
        (B, 3, 3) matrices with entry (2, 2) = 1 that take `corners_out` to `corners_in`.
    """
    x, y = corners_out[..., 0], corners_out[..., 1]
    u, v = corners_in[..., 0], corners_in[..., 1]
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    rows_u = tf.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    rows_v = tf.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    solution = solve(tf.concat([rows_u, rows_v], 1), tf.concat([u, v], 1))
    return tf.reshape(tf.concat([solution, one[:, :1]], 1), [-1, 3, 3])


def transform(matrices: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Applies (B, 3, 3) matrices to (B, N, 2) points (x, y)."""
    homogeneous = tf.concat([points, tf.ones_like(points[..., :1])], -1)
    moved = tf.einsum("bij,bnj->bni", matrices, homogeneous)
    depth = moved[..., 2:]
    # A point on the horizon has depth 0: keep it finite, far away, and on its side.
    depth = tf.where(tf.abs(depth) < 1e-6, tf.where(depth < 0, -1e-6, 1e-6), depth)
    return moved[..., :2] / depth


def _cos_sin(degrees: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine and sine, exact at the quarter turns: the angle is reduced to [-45, 45] first."""
    turns = tf.round(degrees / 90.0)
    rest = (degrees - 90.0 * turns) * (math.pi / 180.0)
    cos, sin = tf.cos(rest), tf.sin(rest)
    quadrant = tf.math.floormod(turns, 4.0)
    swap = tf.equal(tf.math.floormod(turns, 2.0), 1.0)
    cos, sin = tf.where(swap, -sin, cos), tf.where(swap, cos, sin)
    negative = quadrant >= 2.0
    return tf.where(negative, -cos, cos), tf.where(negative, -sin, sin)


def mirrored(images: tf.Tensor, *wanted: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """(B, H, W, C) images, those that the (B,) booleans want reversed along the axis of the same place in `axes`."""
    for axis, some in zip(axes, wanted, strict=True):
        images = tf.where(some[:, None, None, None], tf.reverse(images, [axis]), images)
    return images


def cut(images: tf.Tensor, corner: tf.Tensor, size: Size) -> tf.Tensor:
    """Rectangles of whole pixels out of (B, H, W, C) images, at (B, 2) int32 (top, left) corners.

    A row of a rectangle is one run of values: what is gathered is counted on, not looked up by the pixel.
    """
    (height, width), channels = size, images.shape[-1] or tf.shape(images)[-1]
    batch, row = tf.shape(images)[0], tf.shape(images)[2] * channels
    top, left = (edge[:, None, None] for edge in tf.unstack(corner, axis=1))
    place = (top + tf.range(height)[:, None]) * row + left * channels + tf.range(width * channels)
    rows = tf.gather(tf.reshape(images, [batch, tf.shape(images)[1] * row]), place, batch_dims=1)
    rows = tf.reshape(rows, [batch, height, width, channels])
    return tf.ensure_shape(rows, [images.shape[0], height, width, images.shape[-1]])


def cut_windows(images: tf.Tensor, corner: tf.Tensor, size: Size) -> tf.Tensor:
    """The same as `cut` for whole numbers, inside what XLA compiles, at a third of the price: rectangles as they lie.

    TensorFlow's own gather reads one index a value; XLA's reads one a rectangle, and has no gradient here.
    """
    if gen_xla_ops is None or not images.dtype.is_integer or images.shape[-1] is None:
        return cut(images, corner, size)
    batch, shape = tf.shape(images)[0], (1, *size, images.shape[-1])
    start = tf.concat([tf.range(batch)[:, None], corner, tf.zeros([batch, 1], tf.int32)], axis=1)
    rectangles = gen_xla_ops.xla_gather(images, start, tf.constant(shape), _RECTANGLES, indices_are_sorted=False)
    return tf.ensure_shape(rectangles, [images.shape[0], *shape[1:]])
