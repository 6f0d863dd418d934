"""Augmentation of Grain's data sets, whose elements are asked for by index: arrays in, arrays out."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, draws


def is_grain(dataset: Any) -> bool:
    """Whether `dataset` is one of Grain's. Who has one has imported the package; we need not."""
    grain = sys.modules.get("grain")
    kinds = tuple(getattr(grain, name) for name in ("MapDataset", "IterDataset") if hasattr(grain, name))
    return isinstance(dataset, kinds)


def _array(part: Any) -> np.ndarray:
    return part.numpy() if tf.is_tensor(part) else backend.to_numpy(part)


class Augment:
    """What Grain's `random_map` does to an element: a pure function of seed, epoch and index.

    Of Grain's generator only its first number is used, which stands for the index: for an element asked for by index,
    that index, and for one of an iterator, its place over all worker processes. Grain goes on counting through the
    epochs of a repeated data set.

    Args:
        pipeline: a `Pipeline`.
        seed: int.
        epoch: as in `Pipeline.map`, read for every element; a worker process keeps what it read when it began.
    """

    def __init__(self, pipeline: Any, seed: int, epoch: Any) -> None:
        self.pipeline, self.seed, self.epoch = pipeline, seed, epoch

    def __call__(self, element: Any, generator: np.random.Generator) -> Any:
        key = draws.key_at(self.seed, self._epoch(), int(generator.integers(2**63)))
        augmented = self.pipeline(element, training=True, seed=key)
        return tf.nest.map_structure(_array, augmented)

    def _epoch(self) -> int:
        epoch = getattr(self.epoch, "epoch", self.epoch)
        return 0 if epoch is None else int(epoch)

    def __getstate__(self) -> dict[str, Any]:
        """What goes to a worker process: a layer's graphs can't, its config can."""
        config = keras.saving.serialize_keras_object(self.pipeline)
        return {"pipeline": config, "seed": self.seed, "epoch": self._epoch()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, pipeline=keras.saving.deserialize_keras_object(state["pipeline"]))
