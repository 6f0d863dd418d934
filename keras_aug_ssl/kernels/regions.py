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
    return choose(boxes, tf.broadcast_to(tf.cast(fill, images.dtype), tf.shape(images)), images)


def choose(boxes: tf.Tensor, within: tf.Tensor, outside: tf.Tensor) -> tf.Tensor:
    """One (B, H, W, C) image in the (B, 4) rectangles, another around them.

    With the channels as a part of the width: loops as short as the channels don't vectorize.
    """
    shape = tf.shape(outside)
    height, width, channels = (outside.shape[axis] or shape[axis] for axis in (1, 2, 3))
    chosen = inside(boxes * [1, channels, 1, channels], (height, width * channels))
    rows = [shape[0], height, width * channels]
    return tf.reshape(tf.where(chosen, tf.reshape(within, rows), tf.reshape(outside, rows)), shape)


def choose_bytes(boxes: tf.Tensor, within: tf.Tensor, outside: tf.Tensor) -> tf.Tensor:
    """`choose` for rows of bytes, four of them in each of (B, H, n) uint32 words; `boxes` in bytes to the right.

    A word is taken, left or split at a byte: a quarter of the work that the bytes themselves are.
    """
    bits, place = tf.bitwise, tf.range(tf.shape(outside)[2])[None, None, :]
    y = tf.range(tf.shape(outside)[1])[None, :, None]
    top, left, bottom, right = (edge[:, None, None] for edge in tf.unstack(boxes, axis=1))

    def from_byte(edge: tf.Tensor) -> tf.Tensor:
        half = tf.cast(4 * tf.clip_by_value(edge - 4 * place, 0, 4), tf.uint32)  # twice, as 32 bits can't be at once
        return bits.left_shift(bits.left_shift(tf.constant(0xFFFFFFFF, tf.uint32), half), half)

    chosen = bits.bitwise_and(from_byte(left), bits.invert(from_byte(right)))
    chosen = tf.where((y >= top) & (y < bottom), chosen, tf.constant(0, tf.uint32))
    return bits.bitwise_or(bits.bitwise_and(within, chosen), bits.bitwise_and(outside, bits.invert(chosen)))


def _start(unit: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """A uniform whole number 0 .. room."""
    return tf.minimum(tf.cast(tf.floor(unit * tf.cast(room + 1, tf.float32)), tf.int32), room)
