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
    padded = _flat(_mirror(_mirror(images, size[0] // 2, 1), size[1] // 2, 2))
    rows = smooth(padded, sigma, size, images.shape[-1], unit, finish)
    return tf.ensure_shape(tf.reshape(rows, tf.shape(images)), images.shape)


def smooth(
    padded: tf.Tensor,
    sigma: tf.Tensor,
    size: tuple[int, int],
    channels: int,
    unit: Unit = as_it_is,
    finish: Finish = tf.identity,
) -> tf.Tensor:
    """`blur` of images (B, H, W * C) that reach half a kernel beyond what is returned, on every side."""
    for axis, step, taps, written in zip((1, 2), (1, channels), size, (tf.identity, finish), strict=True):
        padded = unit(_correlate, axis=axis, step=step, finish=written)(padded, gaussian_weights(sigma, taps))
    return padded


def sharpen(images: tf.Tensor, factor: tf.Tensor, unit: Unit = as_it_is, finish: Finish = tf.identity) -> tf.Tensor:
    """smooth + factor (x - smooth), (B,) factors, with Pillow's 3 x 3 kernel: 0 smooths, above 1 sharpens."""
    padded = _flat(_mirror(_mirror(images, 1, 1), 1, 2))
    rows = unit(_sharpened, channels=images.shape[-1], finish=finish)(padded, factor)
    return tf.ensure_shape(tf.reshape(rows, tf.shape(images)), images.shape)


def _sharpened(padded: tf.Tensor, factor: tf.Tensor, channels: int, finish: Finish) -> tf.Tensor:
    padded = tf.cast(padded, tf.float32)
    height, width = tf.shape(padded)[1] - 2, tf.shape(padded)[2] - 2 * channels
    shifted = [padded[:, y : y + height, x * channels : x * channels + width] for y in range(3) for x in range(3)]
    centre = shifted[4]
    smooth = (tf.add_n(shifted) + 4.0 * centre) / 13.0
    return finish(smooth + factor[:, None, None] * (centre - smooth))


def _correlate(padded: tf.Tensor, weights: tf.Tensor, axis: int, step: int, finish: Finish) -> tf.Tensor:
    """Correlates (B, H, W * C) rows along one axis with (B, taps) weights, `step` values apart.

    A sum of shifts, since no operation takes a kernel an image.
    """
    padded = tf.cast(padded, tf.float32)
    taps = weights.shape[1]
    length = tf.shape(padded)[axis] - (taps - 1) * step
    places = (slice(t * step, t * step + length) for t in range(taps))
    shifts = (padded[:, place] if axis == 1 else padded[:, :, place] for place in places)
    return finish(tf.add_n([weights[:, t, None, None] * shifted for t, shifted in enumerate(shifts)]))


def _flat(images: tf.Tensor) -> tf.Tensor:
    """(B, H, W, C) as (B, H, W * C): loops as short as the channels don't vectorize."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    _, tall, wide, deep = images.shape
    return tf.reshape(images, [batch, tall or height, wide * deep if wide else width * channels])


def _mirror(images: tf.Tensor, width: int, axis: int) -> tf.Tensor:
    """Pads by reflection at the outer edge of the outer pixel (c b a | a b c); any `width`, also beyond the image."""
    length = images.shape[axis] or tf.shape(images)[axis]
    if isinstance(length, int) and width <= length:  # only what is added is gathered, which goes pixel by pixel
        before, behind = (tf.gather(images, range(end, end - width, -1), axis=axis) for end in (width - 1, length - 1))
        return tf.concat([before, images, behind], axis)
    index = tf.range(-width, length + width)
    index = tf.math.floormod(index, 2 * length)
    return tf.gather(images, tf.minimum(index, 2 * length - 1 - index), axis=axis)
