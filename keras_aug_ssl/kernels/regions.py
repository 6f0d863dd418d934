"""Rectangles in an image: where they lie, and what is painted into them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_aug_ssl.kernels.geometry import Size


def rectangle(area: tf.Tensor, aspect: tf.Tensor, x: tf.Tensor, y: tf.Tensor, size: Size) -> tf.Tensor:
    """Whole-pixel rectangles of about a given area that lie inside the image.

    Args:
        area: (B,) share of the image, 0 to 1.
        aspect: (B,) height / width.
        x, y: (B,) uniforms in [0, 1) that say where it lies.
        size: (height, width) of the image.

    Returns:
        (B, 4) int32 (top, left, bottom, right), bottom and right exclusive. A side that would leave the image is cut.
    """
    height, width = size
    pixels = area * tf.cast(height, tf.float32) * tf.cast(width, tf.float32)
    tall = tf.minimum(tf.cast(tf.round(tf.sqrt(pixels * aspect)), tf.int32), height)
    wide = tf.minimum(tf.cast(tf.round(tf.sqrt(pixels / aspect)), tf.int32), width)
    top = _start(y, height - tall)
    left = _start(x, width - wide)
    return tf.stack([top, left, top + tall, left + wide], 1)


def inside(boxes: tf.Tensor, size: Size) -> tf.Tensor:
    """(B, H, W) booleans: the pixels in (B, 4) integer rectangles (top, left, bottom, right)."""
    height, width = size
    y, x = tf.range(height)[None, :, None], tf.range(width)[None, None, :]
    # Not boxes[:, side, None, None]: TensorFlow 2.21 forgets the new axes when it simplifies a slice of a stack.
    top, left, bottom, right = (edge[:, None, None] for edge in tf.unstack(boxes, axis=1))
    return (y >= top) & (y < bottom) & (x >= left) & (x < right)


def paint(images: tf.Tensor, boxes: tf.Tensor, fill: Any) -> tf.Tensor:
    """Replaces the (B, 4) rectangles of (B, H, W, C) images by `fill`, which broadcasts to the images."""
    height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in (1, 2))
    return tf.where(inside(boxes, (height, width))[..., None], tf.cast(fill, images.dtype), images)


def _start(unit: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """A uniform whole number 0 .. room."""
    return tf.minimum(tf.cast(tf.floor(unit * tf.cast(room + 1, tf.float32)), tf.int32), room)
