"""What a consistency model remembers from step to step, as weights, so that it is saved and restored with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf


class Memory:
    """Named structures of numbers, kept in weights of a model.

    Args:
        owner: the model that gets the weights; made in its strategy's scope.
        initial: structures of arrays by name.
    """

    def __init__(self, owner: keras.Model, initial: dict[str, Any]) -> None:
        self._kept: dict[str, tuple[Any, list[keras.Variable]]] = {}
        for name, structure in initial.items():
            leaves = [
                owner.add_weight(
                    shape=leaf.shape,
                    # Keras would give the constant initializer's value the weight's own dtype through float32.
                    initializer=_Value(leaf),
                    dtype=str(leaf.dtype),
                    trainable=False,
                    autocast=False,
                    aggregation="only_first_replica",  # all replicas assign the same
                    name=f"{name}_{number}",
                )
                for number, leaf in enumerate(tf.nest.flatten(structure))
            ]
            self._kept[name] = structure, leaves

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def read(self, name: str) -> Any:
        """Returns the structure called `name`, as tensors."""
        structure, leaves = self._kept[name]
        return tf.nest.pack_sequence_as(structure, [tf.convert_to_tensor(leaf.value) for leaf in leaves])

    def write(self, name: str, values: Any) -> None:
        """Replaces the structure called `name`."""
        for leaf, value in zip(self._kept[name][1], tf.nest.flatten(values), strict=True):
            leaf.assign(value)

    def blend(self, name: str, values: Any, momentum: float) -> Any:
        """Moves the structure called `name` towards new values; returns what it has become."""
        blended = tf.nest.map_structure(
            lambda old, new: momentum * old + (1.0 - momentum) * new, self.read(name), values
        )
        self.write(name, blended)
        return blended


class Average:
    """A running average of a model's weights, BatchNormalization's statistics among them: the mean teacher.

    Args:
        owner: the model that gets the weights.
        model: whose weights are averaged.
        decay: in (0, 1), as large as it becomes: that of the first steps is the mean of the weights so far,
            the initial ones among them.
    """

    def __init__(self, owner: keras.Model, model: keras.Model, decay: float) -> None:
        self.decay = decay
        self.sources = list(averaged(model))
        values = {"teacher": [source.numpy() for source in self.sources]}
        self._memory = Memory(owner, values)

    def mapping(self) -> list[tuple[keras.Variable, tf.Tensor]]:
        """The averages to put in the place of the weights."""
        return list(zip(self.sources, self._memory.read("teacher"), strict=True))

    def restart(self) -> None:
        """Takes over the weights as they are."""
        self._memory.write("teacher", [source.value for source in self.sources])

    def follow(self, step: tf.Tensor) -> None:
        """Moves the averages towards the weights, after step number `step`, from 0."""
        step = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, 1.0 - 1.0 / (step + 2.0))
        averages = self._memory.read("teacher")
        moved = [
            tf.cast(decay, old.dtype) * old + tf.cast(1.0 - decay, old.dtype) * tf.convert_to_tensor(source.value)
            for old, source in zip(averages, self.sources, strict=True)
        ]
        self._memory.write("teacher", moved)


def averaged(model: keras.Model) -> Iterable[keras.Variable]:
    """The weights that can be averaged: those with numbers in them, trained or not."""
    return (weight for weight in model.weights if "float" in str(weight.dtype))


class _Value(keras.initializers.Initializer):
    """A given array."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.constant(self.value, dtype)
