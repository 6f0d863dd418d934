"""What Keras doesn't tell a layer about its call: whether it is training, and which call of many it is."""

from __future__ import annotations

import random
import sys
import types
import warnings
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import backend

try:
    from tensorflow.python.eager.record import could_possibly_record as _tape_records
except ImportError:  # private, and the only way to see it: without, nobody is warned of a loop that doesn't augment

    def _tape_records() -> bool:
        return False


_STEPS = {"train_step": True, "test_step": False, "predict_step": False}
_TRACING = "tensorflow.python.eager.polymorphic_function.tracing_compilation"


def augments_unasked(layer: keras.layers.Layer) -> bool:
    """What `training` is when nobody says.

    True for a layer called by itself or in a model without weights. In a model with weights a layer must not augment
    what is predicted or exported, and Keras says nothing in the `fit` of a model whose `call` takes no `training`. So
    there it is True within a function called `train_step`, which is Keras's own name for what `fit` does with a batch.
    """
    outermost = _outermost()
    if outermost is None or outermost is layer or _in_train_step():
        return True
    if outermost.built and not outermost.weights:  # while a model is being built, it may yet get some
        return True
    if _tape_records():
        warnings.warn(
            f"{type(layer).__name__}: `training` is not given while a gradient tape records {outermost.name!r}, so "
            "its images are not augmented. If this is training, call the model with training=True, and let its `call` "
            "take `training`; if not, with training=False.",
            stacklevel=2,
        )
    return False


def _outermost() -> keras.layers.Layer | None:
    """The layer or model whose call everything else is part of."""
    found, frame = None, _caller()
    while frame is not None:
        if frame.f_code.co_name == "__call__" and isinstance(frame.f_locals.get("self"), keras.layers.Layer):
            found = frame.f_locals["self"]
        frame = frame.f_back
    return found


def _in_train_step() -> bool:
    """Whether a training step calls; what the trace of a `tf.function` between keeps may be run at inference too."""
    frame = _caller()
    while frame is not None:
        step = _STEPS.get(frame.f_code.co_name.removeprefix("tf__"))  # "tf__": converted by AutoGraph
        if step is not None or frame.f_globals.get("__name__") == _TRACING:
            return bool(step)
        frame = frame.f_back
    return False


def _caller() -> types.FrameType | None:
    return sys._getframe(2)


class Keys(keras.random.SeedGenerator):
    """The keys (seed, 0), (seed, 1), ... of a layer's calls: each call takes another one, whatever thread it is in.

    Keras's own generator reads its state and writes it in two operations, between which another thread reads the same.

    Args:
        seed: int; None draws one as Keras does, so that `keras.utils.set_random_seed` settles it.
    """

    _SKIP = 256  # what RngReadAndSkip adds to its counter for each number of a Philox generator

    def __init__(self, seed: int | None = None, name: str = "keys", **kwargs: Any) -> None:
        # One name for all: TensorFlow keeps 35 kB for every name that a variable ever had.
        super().__init__(random.randint(1, int(1e9)) if seed is None else seed, name, **kwargs)
        if not backend.IS_TENSORFLOW:  # whose variables a graph of TensorFlow's can't read
            self._counter = tf.Variable([0, 0, self._initial_seed], dtype=tf.int64, trainable=False)
            return
        with self.backend.name_scope(self.name, caller=self):
            self.state = keras.Variable(
                [0, 0, self._initial_seed],  # counter, its high word, key
                dtype="int64",
                trainable=False,
                aggregation="none",
                name="seed_generator_state",
            )

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The next key, (2,) int64: read and advanced in one operation."""
        state = self.state.value if backend.IS_TENSORFLOW else self._counter
        if tf.distribute.in_cross_replica_context():
            state = tf.distribute.get_strategy().experimental_local_results(state)[0]
        alg, delta = tf.constant(1), tf.constant(1, tf.uint64)  # 1: Philox
        counter, _, seed = tf.unstack(tf.raw_ops.RngReadAndSkip(resource=state.handle, alg=alg, delta=delta), 3)
        return tf.stack([seed, counter // self._SKIP])
