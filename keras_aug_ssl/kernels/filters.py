"""Filters over a neighbourhood, each image with its own strength; borders are mirrored, so a constant image stays."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def gaussian_weights(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """(B, size) weights of a sampled Gaussian of (B,) `sigma` pixels that sum to 1; sigma 0 is the identity."""
    offsets = tf.range(size, dtype=tf.float32) - (size - 1) / 2.0
    # Below 1e-3 pixels the neighbours' weight is 0 in float32 already; the bound only keeps 0/0 away.
    weights = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)[:, None]))
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def blur(images: tf.Tensor, sigma_y: tf.Tensor, sigma_x: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Separable Gaussian blur.

    Args:
        images: (B, H, W, C).
        sigma_y, sigma_x: (B,) standard deviations in pixels.
        size: taps (height, width), odd.
    """
    images = tf.cast(images, tf.float32)
    return _convolve(_convolve(images, gaussian_weights(sigma_y, size[0]), 1), gaussian_weights(sigma_x, size[1]), 2)


def sharpen(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """smooth + factor (x - smooth), (B,) factors, with Pillow's 3 x 3 smoothing kernel: 0 smooths, above 1 sharpens."""
    images = tf.cast(images, tf.float32)
    padded = _mirror(_mirror(images, 1, 1), 1, 2)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    total = tf.add_n([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
    smooth = (total + 4.0 * images) / 13.0
    return smooth + factor[:, None, None, None] * (images - smooth)


def _convolve(images: tf.Tensor, weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Correlates along one axis with (B, taps) weights: a sum of shifts, since no operation takes a kernel an image."""
    taps = weights.shape[1]
    padded = _mirror(images, taps // 2, axis)
    length = tf.shape(images)[axis]
    result: Any = 0.0
    for tap in range(taps):
        shifted = padded[:, tap : tap + length] if axis == 1 else padded[:, :, tap : tap + length]
        result += weights[:, tap, None, None, None] * shifted
    return tf.ensure_shape(result, images.shape)


def _mirror(images: tf.Tensor, width: int, axis: int) -> tf.Tensor:
    """Pads by reflection at the outer edge of the outer pixel (c b a | a b c); any `width`, also beyond the image."""
    length = images.shape[axis] or tf.shape(images)[axis]
    index = tf.range(-width, length + width)
    index = tf.math.floormod(index, 2 * length)
    return tf.gather(images, tf.minimum(index, 2 * length - 1 - index), axis=axis)
