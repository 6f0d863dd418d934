"""Exact nearest neighbours by matrix products: no index to build, as fast on images as on tables."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_GROUP = 16  # scores in one group of the two-stage search below
_CELLS = 1 << 24  # scores computed at a time: 64 MB
_TIGHT = 1e-4  # a squared distance of this share of the extent is known to a hundredth in single precision


def nearest(points: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Finds for some of the points the nearest others, by Euclidean distance.

    Args:
        points: (N, D) finite numbers.
        rows: (M,) which points to find neighbours for.
        count: neighbours of each, 1 .. N - 1.

    Returns:
        (M, count) int positions in `points`, the nearest first, never the point itself. Two neighbours whose squared
        distances agree to about 1e-6 of the squared extent of the points may change places, but where the distances
        themselves are that small.
    """
    points = _scaled(points)  # first, since the sum of the largest floats is infinite
    points = _scaled(points - points.mean(0))
    found = _search(points.astype(np.float32), rows, count)
    # Inside a tight group single precision tells no neighbour from another. Copies of a point are at 0 either way.
    first, last = (np.square(points[found[:, place]] - points[rows]).sum(1) for place in (0, -1))
    limit = _TIGHT * np.square(points).sum(1).max()
    tight = (first > 0) & (first < limit) | (last > 0) & (last < limit)
    if tight.any():
        found[tight] = _search(points.astype(np.float64), rows[tight], count)
    return found


def _search(points: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Finds the nearest in the precision of the points."""
    squares = np.square(points).sum(1, keepdims=True)
    padding = -len(points) % _GROUP
    # The largest 2 a.b - b.b is the smallest |a - b|; padding scores minus infinity.
    left = tf.constant(np.concatenate([2 * points, -np.ones_like(squares)], 1))
    right = np.concatenate([points, squares], 1)
    right = np.pad(right, ((0, padding), (0, 0)))
    right[len(points) :, -1] = np.inf
    right = tf.constant(right)

    found = []
    step = max(1, _CELLS // right.shape[0])
    for start in range(0, len(rows), step):
        scores = tf.matmul(tf.gather(left, rows[start : start + step]), right, transpose_b=True)
        found.append(_largest(scores, count + 1).numpy())
    return _without_self(np.concatenate(found), rows)


def _scaled(points: np.ndarray) -> np.ndarray:
    return points / max(np.abs(points).max(), np.finfo(points.dtype).tiny)


def _largest(scores: tf.Tensor, count: int) -> tf.Tensor:
    """Positions of the `count` largest scores of each row.

    Two stages: the winners lie in the `count` groups with the largest maxima. `top_k` over whole rows would cost
    several times the matrix product.
    """
    groups = tf.reshape(scores, [tf.shape(scores)[0], -1, _GROUP])
    best = tf.math.top_k(tf.reduce_max(groups, -1), tf.minimum(count, tf.shape(groups)[1]), sorted=False).indices
    candidates = tf.gather(groups, best, batch_dims=1)
    winners = tf.math.top_k(tf.reshape(candidates, [tf.shape(scores)[0], -1]), count).indices
    return tf.gather(best, winners // _GROUP, batch_dims=1) * _GROUP + winners % _GROUP


def _without_self(found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Drops the point itself, or the last neighbour where enough duplicates have pushed the point out."""
    order = np.argsort(found == rows[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, 1)[:, :-1]
