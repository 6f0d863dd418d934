"""Tone curves: every channel value goes through a function of its own, whatever its neighbours are.

A curve takes values scaled to [0, 1] (0 = black, 1 = white), shaped (B, ..., C), and returns values in [0, 1]. On
images of 256 levels a run of curves is evaluated on the levels only and becomes one table (B, 256, C); elsewhere it is
evaluated on the pixels. Curves that depend on the image (`equalize`, `autocontrast`) read its histogram, and the
histogram after a curve is the old one pushed through the table, so the pixels are read twice at the most.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

LEVELS = 256


def posterize(values: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keeps the (B,) highest `bits` of the nearest of 256 levels: 8 changes nothing, 1 leaves two tones."""
    step = tf.pow(2.0, 8.0 - _per_image(bits, values))
    kept = step * tf.floor(tf.round(values * 255.0) / step) / 255.0
    return tf.where(step <= 1.0, values, kept)


def solarize(values: tf.Tensor, addition: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Adds (B,) `addition`, clips, then inverts from the (B,) `threshold` on; both on the scale of 0 to 1."""
    values = tf.clip_by_value(values + _per_image(addition, values), 0.0, 1.0)
    return tf.where(values < _per_image(threshold, values), values, 1.0 - values)


def gamma(values: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """values ** exponent, (B,) exponents > 0: above 1 darkens."""
    exponent = _per_image(exponent, values)
    return tf.where(exponent == 1.0, values, tf.pow(values, exponent))


def autocontrast(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Stretches each channel so that its (B, C) lowest value becomes 0 and its highest 1; a flat channel stays."""
    low, high = _per_channel(low, values), _per_channel(high, values)
    span = tf.where(high > low, high - low, 1.0)
    return tf.where(high > low, tf.clip_by_value((values - low) / span, 0.0, 1.0), values)


def equalize_table(counts: tf.Tensor, bins: int = LEVELS) -> tf.Tensor:
    """Histogram equalisation as Keras's and OpenCV's: (B, 256, C) counts to (B, 256, C) values in [0, 1].

    The cumulative count, less that of the darkest level present, is spread over the range; a flat channel stays.
    (Pillow divides by whole numbers of pixels a level, which is coarser, and far off for small images.) With fewer
    `bins`, neighbouring levels are counted together and become one.
    """
    level = np.arange(LEVELS)
    bin_of_level = level * (bins - 1) // (LEVELS - 1)
    if bins < LEVELS:
        counts = tf.einsum("blc,ln->bnc", counts, np.eye(bins, dtype=np.float32)[bin_of_level])
    counts = tf.transpose(counts, [0, 2, 1])  # levels last: summing along the last axis is three times as fast
    cumulative = tf.cumsum(counts, 2)
    total = cumulative[..., -1:]
    darkest = tf.reduce_min(tf.where(counts > 0.0, cumulative, total), 2, keepdims=True)
    spread = tf.clip_by_value((cumulative - darkest) / tf.maximum(total - darkest, 1.0), 0.0, 1.0)
    spread = spread if bins == LEVELS else tf.gather(spread, bin_of_level, axis=2)
    spread = tf.where(total > darkest, spread, tf.constant(level / (LEVELS - 1.0), tf.float32))
    return tf.transpose(spread, [0, 2, 1])


def levels(values: tf.Tensor) -> tf.Tensor:
    """The nearest of the 256 levels of values in [0, 1], int32; of NaN, 0."""
    return _index(tf.round(tf.clip_by_value(values, 0.0, 1.0) * (LEVELS - 1.0)))


def places(level: tf.Tensor) -> tf.Tensor:
    """Where in its image's flat (256, C) table each of (B, ..., C) int32 levels stands: (B, n).

    Channels are laid out for the whole image: a loop as short as they are doesn't vectorize.
    """
    channels, values = level.shape[-1], tf.reduce_prod(tf.shape(level)[1:])
    flat = tf.reshape(level, [tf.shape(level)[0], values])
    return flat * channels + tf.tile(tf.range(channels), [values // channels])


def histogram(place: tf.Tensor, channels: int) -> tf.Tensor:
    """Counts (B, 256, C) float32 of (B, n) `places`, each image and channel by itself."""
    return _count(place, tf.zeros([0], tf.float32), channels)


def push(counts: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """The histogram (B, 256, C) after `table` (B, 256, C), values in [0, 1], was applied."""
    return _count(places(levels(table)), tf.reshape(counts, [tf.shape(counts)[0], -1]), table.shape[-1])


def look_up(level: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Reads (B, 256, C) `table` at (B, H, W, C) int32 `level`."""
    shape = tf.shape(level)
    flat = tf.reshape(table, [shape[0], LEVELS * level.shape[-1]])
    return tf.reshape(tf.gather(flat, places(level), batch_dims=1), shape)


def interpolate(values: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Reads `table` at (B, H, W, C) values in [0, 1] that lie between its levels, linearly."""
    position = tf.clip_by_value(values, 0.0, 1.0) * (LEVELS - 1.0)
    lower = tf.minimum(tf.floor(position), LEVELS - 2.0)
    index, rest = _index(lower), position - lower  # of NaN the rest is NaN, and so is the result
    return look_up(index, table) * (1.0 - rest) + look_up(index + 1, table) * rest


def _index(level: tf.Tensor) -> tf.Tensor:
    """Whole numbers >= 0 as int32, in which NaN is a negative number on some processors: no place in a table."""
    return tf.maximum(tf.cast(level, tf.int32), 0)


def _count(place: tf.Tensor, weights: tf.Tensor, channels: int) -> tf.Tensor:
    """Sums (B, n) `weights` by their (B, n) places: (B, 256, C). No weights count 1 each."""
    batch, size = tf.shape(place)[0], LEVELS * channels
    counts = tf.raw_ops.DenseBincount(input=place, size=size, weights=weights, binary_output=False)
    return tf.reshape(counts[:batch], [batch, LEVELS, channels])  # XLA makes one row of none


def _per_image(parameter: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(parameter, [-1] + [1] * (values.shape.rank - 1))


def _per_channel(parameter: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(parameter)
    return tf.reshape(parameter, tf.concat([shape[:1], [1] * (values.shape.rank - 2), shape[1:]], 0))
