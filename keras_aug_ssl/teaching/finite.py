"""Unlabeled rows with NaN or infinity among their features: nobody has looked at them, and one spoils all weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def finite_rows(x: Any) -> tf.Tensor | None:
    """(N,) bool: rows whose features are all finite; None where they can't be anything else."""
    found = None
    for part in map(tf.convert_to_tensor, keras.tree.flatten(x)):
        if part.dtype.is_floating:
            finite = tf.reduce_all(tf.math.is_finite(tf.reshape(part, [tf.shape(part)[0], -1])), axis=1)
            found = finite if found is None else found & finite
    return found


def with_finite_rows(x: Any, finite: tf.Tensor | None) -> Any:
    """The structure of (N, ...) tensors with the first finite row in the place of each other; all stay where none is.

    Weights of 0 wouldn't do: 0 times NaN is NaN, and BatchNormalization sees every row.
    """
    if finite is None:
        return x
    first = tf.argmax(finite)

    def filled(part: tf.Tensor) -> tf.Tensor:
        kept = tf.reshape(finite, [-1] + [1] * (part.shape.rank - 1))
        return tf.where(kept, part, part[first : first + 1])

    return tf.nest.map_structure(filled, x)
