"""Calling an augmentation, ours or anyone's, as a function of inputs and a key."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import backend, checks
from keras_aug_ssl.layers.regions import RandomErasing

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
    names = parameters_of(call.call if isinstance(call, keras.layers.Layer) else call)
    everything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
    fixed = {"training": True} if "training" in names or (everything and "seed" not in names) else {}
    return functools.partial(_call, call, fixed, "seed" in names)


def _call(call: Callable[..., Any], fixed: dict[str, Any], seeded: bool, x: Any, key: np.ndarray) -> Any:
    return keras.tree.map_structure(backend.to_numpy, call(x, **fixed, seed=key) if seeded else call(x, **fixed))


def parameters_of(call: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a callable by name; none of one without a Python signature, as of OpenCV and NumPy's ufuncs."""
    try:
        return inspect.signature(call).parameters
    except (TypeError, ValueError):
        return {}


def harder(augment: Augmentation | None, x: Any) -> Augmentation | None:
    """The augmentation of pseudo-labeled rows when nobody chose one: of images, `augment` and then a hidden patch.

    What a model is sure of teaches it nothing new on the view it labeled. A patch (Zhong et al. 2017) in the mean
    color makes any kind of image harder and keeps its label; how other inputs can be made harder is not known here.

    Args:
        augment: for labeled rows; None stays None, since nobody asked for changes.
        x: the labeled rows.
    """
    images = isinstance(x, np.ndarray) and x.ndim == 4 and x.shape[-1] in (1, 3, 4) and min(x.shape[1:3]) >= 4
    if augment is None or not images:
        return augment
    erase = RandomErasing(fill_value=float(np.mean(x, dtype=np.float64)), data_format="channels_last")
    return functools.partial(_augment_and_erase, augment, erase)


def _augment_and_erase(augment: Augmentation, erase: RandomErasing, inputs: Any, key: np.ndarray) -> Any:
    augmented = augment(inputs, key)
    return backend.to_numpy(erase(augmented, seed=key_of(*key.tolist()))) if np.ndim(augmented) == 4 else augmented


def key_of(*numbers: int) -> np.ndarray:
    """(2,) int32 key, a function of whole numbers >= 0."""
    return np.random.default_rng(numbers).integers(0, 2**31 - 1, 2, dtype=np.int32)
