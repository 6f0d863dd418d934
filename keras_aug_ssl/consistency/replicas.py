"""Sums and means over the batch of all replicas, so that several replicas learn what one would on the whole batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def number() -> int:
    """How many replicas share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(value: Any) -> Any:
    """The sum over all replicas of a tensor or a structure of them; gradients flow through."""
    if number() == 1:
        return value
    return tf.nest.map_structure(lambda part: tf.distribute.get_replica_context().all_reduce("SUM", part), value)


def mean(values: tf.Tensor) -> tf.Tensor:
    """This replica's share of the mean of (B,) values over the whole batch, as Keras scales its losses: they add up."""
    return tf.reduce_mean(values) / number()


def rank() -> Any:
    """The number of this replica, from 0."""
    return 0 if number() == 1 else tf.distribute.get_replica_context().replica_id_in_sync_group
