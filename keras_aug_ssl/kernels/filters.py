"""Filters over a neighbourhood, each image with its own strength; borders are mirrored, so a constant image stays."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

Unit = Callable[..., Callable[..., tf.Tensor]]  # makes a function of tensors of a function and its settings

Finish = Callable[[tf.Tensor], tf.Tensor]  # what a result goes through as it is written

as_it_is: Unit = functools.partial  # the unit that compiles nothing


def gaussian_weights(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """(B, size) weights of a sampled Gaussian of (B,) `sigma` pixels that sum to 1; sigma 0 is the identity."""
    offsets = tf.range(size, dtype=tf.float32) - (size - 1) / 2.0
    # Below 1e-3 pixels the neighbours' weight is 0 in float32 already; the bound only keeps 0/0 away.
    weights = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)[:, None]))
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def blur(
    images: tf.Tensor, sigma: tf.Tensor, size: tuple[int, int], unit: Unit = as_it_is, finish: Finish = tf.identity
) -> tf.Tensor:
    """Separable Gaussian blur.

    Args:
        images: (B, H, W, C).
        sigma: (B,) standard deviations in pixels.
        size: taps (height, width), odd.
        unit: wraps what is worth compiling by itself: an XLA loop over both axes at once computes the first one again
            for every tap of the second, and padding inside it costs a division a tap.
        finish: joins the last unit.
    """
    for axis, taps, written in zip((1, 2), size, (tf.identity, finish), strict=True):
        padded = _mirror(images, taps // 2, axis)
        blurred = unit(_correlate, axis=axis, finish=written)(padded, gaussian_weights(sigma, taps))
        images = tf.ensure_shape(blurred, images.shape)
    return images


def sharpen(images: tf.Tensor, factor: tf.Tensor, unit: Unit = as_it_is, finish: Finish = tf.identity) -> tf.Tensor:
    """smooth + factor (x - smooth), (B,) factors, with Pillow's 3 x 3 kernel: 0 smooths, above 1 sharpens."""
    padded = _mirror(_mirror(images, 1, 1), 1, 2)
    return tf.ensure_shape(unit(_sharpened, finish=finish)(padded, factor), images.shape)


def _sharpened(padded: tf.Tensor, factor: tf.Tensor, finish: Finish) -> tf.Tensor:
    padded = tf.cast(padded, tf.float32)
    height, width = tf.shape(padded)[1] - 2, tf.shape(padded)[2] - 2
    shifted = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    centre = shifted[4]
    smooth = (tf.add_n(shifted) + 4.0 * centre) / 13.0
    return finish(smooth + factor[:, None, None, None] * (centre - smooth))


def _correlate(padded: tf.Tensor, weights: tf.Tensor, axis: int, finish: Finish) -> tf.Tensor:
    """Correlates along one axis with (B, taps) weights: a sum of shifts, since no operation takes a kernel an image."""
    padded = tf.cast(padded, tf.float32)
    taps = weights.shape[1]
    length = tf.shape(padded)[axis] - (taps - 1)
    shifts = (padded[:, t : t + length] if axis == 1 else padded[:, :, t : t + length] for t in range(taps))
    return finish(tf.add_n([weights[:, t, None, None, None] * shifted for t, shifted in enumerate(shifts)]))


def _mirror(images: tf.Tensor, width: int, axis: int) -> tf.Tensor:
    """Pads by reflection at the outer edge of the outer pixel (c b a | a b c); any `width`, also beyond the image."""
    length = images.shape[axis] or tf.shape(images)[axis]
    index = tf.range(-width, length + width)
    index = tf.math.floormod(index, 2 * length)
    return tf.gather(images, tf.minimum(index, 2 * length - 1 - index), axis=axis)
