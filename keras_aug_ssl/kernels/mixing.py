"""Mixing examples of one batch: who is mixed with whom, and what becomes of inputs, targets and boxes.

A partner is a position in the batch, (B,) int32; a weight is the share an example keeps of itself, (B,) float32. An
example whose partner is itself stays as it is.
"""

from __future__ import annotations

import tensorflow as tf

from keras_aug_ssl.kernels import regions
from keras_aug_ssl.kernels.geometry import Size


def groups_of(labels: tf.Tensor) -> tf.Tensor:
    """(B,) int32 numbers, the same for rows of (B, ...) labels that are equal throughout."""
    rows = tf.reshape(labels, [tf.shape(labels)[0], -1])
    return tf.raw_ops.UniqueV2(x=rows, axis=[0]).idx


def next_in_group(groups: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Partners by going round each group once.

    Args:
        groups: (B,) int32.
        order: (B,) int32, a random permutation: the order in which each group is gone round.

    Returns:
        (B,) int32, a permutation; nobody is its own partner but who is alone in its group.
    """
    order = tf.gather(order, tf.argsort(tf.gather(groups, order), stable=True))
    ranked = tf.gather(groups, order)
    first = tf.searchsorted(ranked, ranked, side="left")
    last = tf.searchsorted(ranked, ranked, side="right") - 1
    place = tf.range(tf.size(order))
    following = tf.gather(order, tf.where(place == last, first, place + 1))
    return tf.gather(following, tf.argsort(order))


def choose(weights: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """Partners by chance: row i of (B, B) `weights` >= 0 says how likely each is for example i.

    Args:
        weights: (B, B) float32. Where a whole row is 0, the example is its own partner.
        unit: (B,) uniforms in [0, 1).
    """
    cumulative = tf.cumsum(weights, 1)
    total = tf.reduce_max(cumulative, 1)
    # Just below the total: rounding up to it would choose nobody.
    passed = cumulative > (tf.minimum(unit, 1.0 - 1e-6) * total)[:, None]
    chosen = tf.argmax(tf.pad(passed, [[0, 0], [0, 1]]), 1, output_type=tf.int32)  # of no examples there is no largest
    return tf.where(total > 0.0, chosen, tf.range(tf.size(unit)))


def squared_distances(rows: tf.Tensor) -> tf.Tensor:
    """(B, B) squared Euclidean distances between the rows of (B, ...), float32; NaN and infinity count as 0."""
    rows = tf.reshape(tf.cast(rows, tf.float32), [tf.shape(rows)[0], -1])
    rows = tf.where(tf.math.is_finite(rows), rows, 0.0)  # through the mean below, one would reach every row
    if rows.shape[1] == 1:
        return tf.square(rows - tf.transpose(rows))
    rows -= tf.reduce_mean(rows, 0)  # the product below cancels least around 0
    norms = tf.reduce_sum(tf.square(rows), 1)
    return tf.maximum(norms[:, None] + norms - 2.0 * tf.matmul(rows, rows, transpose_b=True), 0.0)


def nearest(distances: tf.Tensor, allowed: tf.Tensor, count: int) -> tf.Tensor:
    """(B, B) booleans: the `count` nearest among the `allowed` (B, B) of each row, with those as near as the last."""
    distances = tf.where(allowed, distances, float("inf"))
    farthest = tf.sort(distances, 1)[:, :count][:, -1:]
    return allowed & (distances <= farthest)


def blend(values: tf.Tensor, partner: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """weight * values + (1 - weight) * values[partner], along the first axis of (B, ...) `values`.

    Computed in float32, or float64 where `values` are, and never outside the two values by rounding.
    """
    return between(values, tf.gather(values, partner), weight)


def between(values: tf.Tensor, others: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """`blend`, with the partners' values at hand."""
    dtype = tf.float64 if values.dtype == tf.float64 else tf.float32
    values, others = tf.cast(values, dtype), tf.cast(others, dtype)
    weight = tf.reshape(tf.cast(weight, dtype), [-1] + [1] * (values.shape.rank - 1))
    mixed = weight * values + (1.0 - weight) * others
    return tf.minimum(tf.maximum(mixed, tf.minimum(values, others)), tf.maximum(values, others))


def paste(values: tf.Tensor, partner: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """(B, H, W, C) `values` with the partners' inside the (B, 4) rectangles (top, left, bottom, right)."""
    return regions.choose(box, tf.gather(values, partner), values)


def share_outside(box: tf.Tensor, size: Size) -> tf.Tensor:
    """The share of an image's pixels outside (B, 4) rectangles that lie in it: counted, so exact as float32 can be."""
    height, width = size
    pixels = height * width
    top, left, bottom, right = tf.unstack(box, axis=1)
    kept = pixels - (bottom - top) * (right - left)
    # In float64 first: a graph turns a division by a constant into a product, which rounds twice.
    return tf.cast(tf.cast(kept, tf.float64) / tf.cast(pixels, tf.float64), tf.float32)


def share_of_boxes(corners: tf.Tensor, rectangle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What a rectangle (top, left, bottom, right) an image, (B, 4), has in common with (B, N, 4) boxes.

    Args:
        corners: (left, top, right, bottom) edges in pixels.
        rectangle: any numeric dtype.

    Returns:
        The common part as corners (B, N, 4), of no area where there is none, and its share of each box's area (B, N).
    """
    rectangle = tf.cast(rectangle, corners.dtype)
    edges = tf.gather(rectangle, [1, 0, 3, 2], axis=1)[:, None]
    low = tf.maximum(corners[..., :2], edges[..., :2])
    high = tf.maximum(low, tf.minimum(corners[..., 2:], edges[..., 2:]))
    area = tf.reduce_prod(corners[..., 2:] - corners[..., :2], -1)
    common = tf.reduce_prod(high - low, -1)
    return tf.concat([low, high], -1), tf.where(area > 0.0, common / tf.where(area > 0.0, area, 1.0), 0.0)
