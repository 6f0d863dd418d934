"""Reading an image at positions between its pixels: the one place that interpolates.

The work is cut where XLA's fused loops should end (measured on a CPU: computed once per pixel instead of once per
channel and consumer, it is two to four times faster): `positions` turns matrices into coordinates, `cells` into one
integer index and two offsets a pixel, and `bilinear` reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_aug_ssl.kernels.geometry import Size

FILL_MODES = ("reflect", "wrap", "constant", "nearest")
INTERPOLATIONS = ("nearest", "bilinear")


class Cells(NamedTuple):
    """For each output pixel, (B, h, w): the top-left pixel of the 2 x 2 cell read, flat, and the offset from it."""

    index: tf.Tensor
    dx: tf.Tensor
    dy: tf.Tensor


def grid(size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """x as (1, 1, w) and y as (1, h, 1): the positions of an image's own pixels."""
    height, width = size
    x, y = tf.range(width, dtype=tf.int32), tf.range(height, dtype=tf.int32)
    return tf.cast(x, tf.float32)[None, None, :], tf.cast(y, tf.float32)[None, :, None]


def positions(matrices: tf.Tensor, x: tf.Tensor, y: tf.Tensor, projective: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Takes positions through (B, 3, 3) matrices.

    Args:
        matrices: (B, 3, 3), output to input.
        x, y: positions, broadcastable to (B, h, w).
        projective: False promises last rows (0, 0, 1), which saves two divisions a pixel.

    Returns:
        x and y, each (B, h, w).
    """
    m = matrices[:, :, :, None, None]
    new_x, new_y = (m[:, row, 0] * x + m[:, row, 1] * y + m[:, row, 2] for row in (0, 1))
    if projective:
        depth = m[:, 2, 0] * x + m[:, 2, 1] * y + m[:, 2, 2]
        depth = tf.where(tf.abs(depth) < 1e-6, 1e-6, depth)  # on the horizon: far away, but finite
        new_x, new_y = new_x / depth, new_y / depth
    return new_x, new_y


def displaced(x: tf.Tensor, y: tf.Tensor, field: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds a displacement field (B, h, w, 2) of (dx, dy) pixels that lives on the positions themselves."""
    return x + field[..., 0], y + field[..., 1]


def cells(x: tf.Tensor, y: tf.Tensor, size: Size, fill_mode: str) -> Cells:
    """Finds the cell of an image of `size` that each position lies in.

    The offsets lie in [0, 1], except with `fill_mode="constant"`, where a position outside keeps an offset that says
    how far outside it is.
    """
    height, width = size
    left, dx = _cell(_fold(x, width, fill_mode), width, fill_mode)
    top, dy = _cell(_fold(y, height, fill_mode), height, fill_mode)
    return Cells(top * _stride(width, fill_mode) + left, dx, dy)


def bilinear(images: tf.Tensor, where: Cells, fill_mode: str, fill_value: float = 0.0) -> tf.Tensor:
    """Reads `images` (B, H, W, C) of any dtype at `where`; returns (B, h, w, C) float32."""
    flat, right, down = _flat(images, fill_mode)
    dx, dy = where.dx[..., None], where.dy[..., None]
    top_left, top_right, bottom_left, bottom_right = (
        tf.cast(tf.gather(flat, where.index + step, batch_dims=1), tf.float32)
        for step in (0, right, down, down + right)
    )
    if fill_mode != "constant":
        top, bottom = top_left * (1.0 - dx) + top_right * dx, bottom_left * (1.0 - dx) + bottom_right * dx
        return top * (1.0 - dy) + bottom * dy
    # A pixel weighs max(0, 1 - distance) along each axis; what is missing to 1 lies outside and is filled.
    # An image one pixel wide (high) has no right (bottom) pixel to weigh.
    weight_left, weight_right = _tent(dx), _tent(dx - 1.0) * tf.cast(tf.minimum(right, 1), tf.float32)
    weight_top, weight_bottom = _tent(dy), _tent(dy - 1.0) * tf.cast(tf.minimum(down, 1), tf.float32)
    top = top_left * weight_left + top_right * weight_right
    bottom = bottom_left * weight_left + bottom_right * weight_right
    covered = (weight_left + weight_right) * (weight_top + weight_bottom)
    return top * weight_top + bottom * weight_bottom + fill_value * (1.0 - covered)


def nearest(images: tf.Tensor, where: Cells, fill_mode: str, fill_value: Any = 0) -> tf.Tensor:
    """Reads the nearest pixel of `images` (B, H, W, C); returns (B, h, w, C) in their dtype."""
    flat, right, down = _flat(images, fill_mode)
    index = where.index + tf.where(where.dx < 0.5, 0, right) + tf.where(where.dy < 0.5, 0, down)
    values = tf.gather(flat, index, batch_dims=1)
    if fill_mode == "constant":
        # More than half a pixel from the cell's two pixels, or from its one in an image one pixel wide (high).
        across, along = (
            (offset < -0.5) | (offset > 0.5 + tf.cast(tf.minimum(step, 1), tf.float32))
            for offset, step in ((where.dx, right), (where.dy, down))
        )
        values = tf.where((across | along)[..., None], tf.cast(fill_value, images.dtype), values)
    return values


def _tent(distance: tf.Tensor) -> tf.Tensor:
    return tf.maximum(0.0, 1.0 - tf.abs(distance))


def _fold(position: tf.Tensor, length: Any, fill_mode: str) -> tf.Tensor:
    """Brings positions along one axis to [0, length) for wrap, [-1, length] for constant, else onto the pixels."""
    length = tf.cast(length, tf.float32)
    if fill_mode == "wrap":
        position = position - length * tf.floor(position / length)
        return tf.where(position >= length, 0.0, position)  # -1e-9 rounds up to `length`
    if fill_mode == "reflect":  # mirrored at the outer edges of the outer pixels: d c b a | a b c d | d c b a
        period = 2.0 * length
        position = tf.abs(position + 0.5 - period * tf.round((position + 0.5) / period)) - 0.5
    if fill_mode == "constant":
        return tf.clip_by_value(position, -1.0, length)
    return tf.clip_by_value(position, 0.0, length - 1.0)


def _cell(position: tf.Tensor, length: Any, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The lower pixel of the pair read along one axis, int32, and the offset from it."""
    last = tf.maximum(tf.cast(_stride(length, fill_mode), tf.float32) - 2.0, 0.0)
    lower = tf.clip_by_value(tf.floor(position), 0.0, last)
    return tf.cast(lower, tf.int32), position - lower


def _stride(length: Any, fill_mode: str) -> Any:
    """Pixels along an axis of the image actually read: wrapping repeats the first one behind the last."""
    return length + 1 if fill_mode == "wrap" else length


def _flat(images: tf.Tensor, fill_mode: str) -> tuple[tf.Tensor, Any, Any]:
    """Images as (B, H * W, C), and the steps in it to the pixel on the right and below (0 where there is none)."""
    if fill_mode == "wrap":
        images = tf.concat([images, images[:, :1]], 1)
        images = tf.concat([images, images[:, :, :1]], 2)
    dynamic = tf.shape(images)
    height, width = (images.shape[axis] or dynamic[axis] for axis in (1, 2))
    flat = tf.reshape(images, [dynamic[0], height * width, images.shape[-1] or dynamic[-1]])
    return flat, tf.minimum(1, width - 1), tf.where(height > 1, width, 0)
