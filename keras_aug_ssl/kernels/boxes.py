"""Bounding boxes between Keras's formats and corner pixels, and what a warp does to them and to keypoints."""

from __future__ import annotations

import tensorflow as tf

from keras_aug_ssl.kernels import resample
from keras_aug_ssl.kernels.geometry import Size

# For each format: how the four numbers are read, and whether they are shares of the image's size.
FORMATS = {
    "xyxy": ("x0 y0 x1 y1", False),
    "yxyx": ("y0 x0 y1 x1", False),
    "xywh": ("x0 y0 w h", False),
    "center_xywh": ("cx cy w h", False),
    "center_yxhw": ("cy cx h w", False),
    "rel_xyxy": ("x0 y0 x1 y1", True),
    "rel_yxyx": ("y0 x0 y1 x1", True),
    "rel_xywh": ("x0 y0 w h", True),
    "rel_center_xywh": ("cx cy w h", True),
}


def to_corners(boxes: tf.Tensor, source: str, size: Size) -> tf.Tensor:
    """(..., 4) boxes in a Keras format as (left, top, right, bottom) edges in pixels, float32."""
    names, relative = FORMATS[source]
    part = dict(zip(names.split(), tf.unstack(tf.cast(boxes, tf.float32), axis=-1), strict=True))
    edges = []
    for axis, extent, length in (("x", "w", size[1]), ("y", "h", size[0])):
        if "c" + axis in part:
            low = part["c" + axis] - 0.5 * part[extent]
        else:
            low = part[axis + "0"]
        high = part[axis + "1"] if axis + "1" in part else low + part[extent]
        scale = tf.cast(length, tf.float32) if relative else 1.0
        edges.append((low * scale, high * scale))
    (left, right), (top, bottom) = edges
    return tf.stack([left, top, right, bottom], -1)


def from_corners(corners: tf.Tensor, target: str, size: Size) -> tf.Tensor:
    """The inverse of `to_corners`."""
    names, relative = FORMATS[target]
    left, top, right, bottom = tf.unstack(corners, axis=-1)
    part: dict[str, tf.Tensor] = {}
    for axis, extent, low, high, length in (("x", "w", left, right, size[1]), ("y", "h", top, bottom, size[0])):
        scale = tf.cast(length, tf.float32) if relative else 1.0
        low, high = low / scale, high / scale
        part |= {axis + "0": low, axis + "1": high, "c" + axis: 0.5 * (low + high), extent: high - low}
    return tf.stack([part[name] for name in names.split()], -1)


def outline(corners: tf.Tensor, points_per_side: int) -> tf.Tensor:
    """Points along the edges of (B, N, 4) boxes: (B, N, P, 2) as (x, y) edges in pixels; 1 a side gives the corners."""
    left, top, right, bottom = (corners[..., side, None] for side in range(4))
    t = tf.range(points_per_side, dtype=tf.float32) / points_per_side
    across, down = left + (right - left) * t, top + (bottom - top) * t
    back, up = right + (left - right) * t, bottom + (top - bottom) * t
    left, top, right, bottom = (side + tf.zeros_like(t) for side in (left, top, right, bottom))
    x = tf.concat([across, right, back, left], -1)
    y = tf.concat([top, down, bottom, up], -1)
    return tf.stack([x, y], -1)


def hull(points: tf.Tensor) -> tf.Tensor:
    """The smallest boxes (B, N, 4) around (B, N, P, 2) points."""
    return tf.concat([tf.reduce_min(points, 2), tf.reduce_max(points, 2)], -1)


def clip(corners: tf.Tensor, size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts (B, N, 4) boxes to the image; also says which still have an area, (B, N) booleans."""
    height, width = (tf.cast(n, tf.float32) for n in size)
    clipped = tf.clip_by_value(corners, 0.0, tf.stack([width, height, width, height]))
    visible = (clipped[..., 2] > clipped[..., 0]) & (clipped[..., 3] > clipped[..., 1])
    return clipped, visible


def invert_field(points: tf.Tensor, field: tf.Tensor, steps: int = 12) -> tf.Tensor:
    """Where input points come out when output position q reads input position q + field(q).

    Solves q = p - field(q) by fixed-point iteration, which converges while the field's slope is below 1, that is, while
    the warp doesn't fold the picture over itself.

    Args:
        points: (B, N, 2) positions (x, y) of pixel centres.
        field: (B, H, W, 2) displacements.
    """
    moved = points
    for _ in range(steps):
        moved = points - sample_field(field, moved)
    return moved


def sample_field(field: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Reads a (B, H, W, 2) field at (B, N, 2) points bilinearly; beyond the border it goes on as at the border."""
    height, width = (field.shape[axis] or tf.shape(field)[axis] for axis in (1, 2))
    at = resample.cells(points[..., 0][:, None], points[..., 1][:, None], (height, width), "nearest")
    return resample.bilinear(field, at, "nearest")[:, 0]
