"""Whether a model is still the one that was traced: a graph keeps the Python of the day it was made."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_RUNS = {"optimizer", "history", "stop_training", "stop_evaluating", "stop_predicting", "_compile_config"}
_PLAIN = (str, bytes, int, float, complex, np.generic, type(None))


def state_of(model: keras.Model) -> tuple[Any, ...]:
    """What a graph of `model` in inference mode depends on; equal as long as the graph would come out the same.

    That is when it was compiled, its layers in order, nested ones too, and what each layer keeps about its own work:
    numbers, functions, variables, inner layers. Fits, new values of weights and `trainable` change none of it. What a
    layer hides deeper than in its attributes and in lists and dicts of them isn't seen; a new `compile` always is.

    Returns:
        A nest of values to be compared with `==`. It keeps nothing of the model alive.
    """
    return _mark(getattr(model, "_compile_config", None)), *map(_attributes, model._flatten_layers())


def _attributes(layer: keras.layers.Layer) -> tuple[Any, ...]:
    skipped = _bookkeeping()
    own = ((name, _mark(value)) for name, value in vars(layer).items() if name not in skipped)
    return _mark(layer), _mark(layer.dtype_policy), *(pair for pair in own if not pair[0].startswith("_self_"))


@functools.cache
def _bookkeeping() -> frozenset[str]:
    """Names of what every Keras layer and model keeps about itself; none matters in inference but the dtype policy."""
    bare = keras.layers.Layer(name="bare_layer"), keras.Model(name="bare_model")
    return frozenset(_RUNS.union(*map(vars, bare)))


def _mark(value: Any) -> Any:
    """Something equal for the same thing only: a plain value itself, the members of a container, else who it is."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return tuple((key, _mark(member)) for key, member in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_mark, value))
    if isinstance(value, tf.Tensor) and not hasattr(value, "numpy"):
        return None  # left behind by a trace, and of no use to another
    try:
        # Python may give the place of a thing that is gone to a new one; a reference to the old one tells them apart.
        return id(value), weakref.ref(value)
    except TypeError:
        return id(value)
