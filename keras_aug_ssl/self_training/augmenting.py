"""Calling an augmentation, ours or anyone's, as a function of inputs and a key."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks

Augmentation = Callable[[Any, np.ndarray], Any]


def keyed(owner: str, name: str, call: Callable[..., Any] | None) -> Augmentation | None:
    """Returns `call` as a function of inputs and a (2,) key; what takes no key is called without.

    Args:
        owner: the class a user called, for the error.
        name: the argument it came as.
        call: a layer, a pipeline or a function of inputs; None stays None.
    """
    if call is None:
        return None
    if not callable(call):
        checks.fail(owner, name, "a callable on inputs, or None", call, error=TypeError)
    names = inspect.signature(call.call if isinstance(call, keras.layers.Layer) else call).parameters
    everything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
    fixed = {"training": True} if "training" in names or (everything and "seed" not in names) else {}
    if "seed" in names:
        return lambda x, key: keras.tree.map_structure(np.asarray, call(x, **fixed, seed=key))
    return lambda x, key: keras.tree.map_structure(np.asarray, call(x, **fixed))


def key_of(*numbers: int) -> np.ndarray:
    """(2,) int32 key, a function of whole numbers >= 0."""
    return np.random.default_rng(numbers).integers(0, 2**31 - 1, 2, dtype=np.int32)
