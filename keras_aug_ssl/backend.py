"""Which backend Keras runs on, and what that changes: nothing else in the package asks.

Augmentation, data and rules are TensorFlow code whatever the model runs on, since `tf.data` feeds the models of all
backends. On another backend a layer called eagerly takes and returns that backend's tensors, a model answers as one
operation without a gradient, and what needs a model's gradients says so.

TensorFlow is not a hard requirement of the package: `tensorflow` and `tensorflow-cpu` are two distributions of one
module, and requiring either would make pip install it over the other. So the extras name them, and this module, which
is imported before everything else, says what to do when none is there.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

MINIMUM_TENSORFLOW = (2, 18)


def check_tensorflow() -> None:
    """Raises `ImportError`, saying what to install, unless TensorFlow 2.18 or newer is there."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "keras_aug_ssl: TensorFlow is not installed; data are augmented by it whatever Keras runs on. Choose one: "
            'pip install "keras_aug_ssl[cpu]" (the smallest), "keras_aug_ssl[tensorflow]" or, with CUDA, '
            '"keras_aug_ssl[gpu]".'
        )
    import tensorflow as tf

    found = tuple(int(part) for part in tf.__version__.split(".")[:2])
    wanted = ".".join(map(str, MINIMUM_TENSORFLOW))
    if found < MINIMUM_TENSORFLOW:
        raise ImportError(
            f"keras_aug_ssl: needs TensorFlow {wanted} or newer; found {tf.__version__}. "
            "Upgrade the distribution you have: pip install --upgrade tensorflow (or tensorflow-cpu)."
        )


check_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

NAME = keras.backend.backend()
IS_TENSORFLOW = NAME == "tensorflow"


def require_tensorflow(owner: str, why: str = "it follows gradients through the model", advice: str = "") -> None:
    """Raises `NotImplementedError` unless Keras runs on TensorFlow.

    Args:
        owner: what a user called.
        why: completes the sentence "`owner` needs Keras on TensorFlow, since ...".
        advice: what works on every backend instead, a full sentence.
    """
    if not IS_TENSORFLOW:
        raise NotImplementedError(
            f"{owner}: needs Keras on TensorFlow, since {why}; the backend is {NAME!r}. "
            + (f"{advice} " if advice else "")
            + 'Set the environment variable KERAS_BACKEND="tensorflow" before Keras is imported, or change "backend" '
            "in ~/.keras/keras.json."
        )


def is_native(value: Any) -> bool:
    """Whether `value` is a tensor of a backend other than TensorFlow."""
    return not IS_TENSORFLOW and keras.ops.is_tensor(value) and not tf.is_tensor(value)


def to_tensorflow(structure: Any) -> Any:
    """A structure with what another backend's tensors hold in TensorFlow's.

    Raises:
        NotImplementedError: while that backend compiles or differentiates a function, as the `fit` of a JAX model does
            with the layers in it.
    """
    return structure if IS_TENSORFLOW else tf.nest.map_structure(_read, structure)


def _read(value: Any) -> Any:
    if not is_native(value):
        return value
    if getattr(value, "requires_grad", False) or NAME == "jax" and isinstance(value, sys.modules["jax"].core.Tracer):
        require_tensorflow(
            "An augmentation layer", "inside a model it is part of what the backend compiles or differentiates",
            "Augment the data before they reach the model, which works on every backend: dataset.map(layer), or "
            "Pipeline.map(dataset).",
        )  # fmt: skip
    return tf.convert_to_tensor(keras.ops.convert_to_numpy(value))


def to_numpy(value: Any) -> np.ndarray:
    """An array, or a tensor of TensorFlow or of the backend, wherever it lies, as an array."""
    return keras.ops.convert_to_numpy(value) if is_native(value) else np.asarray(value)


def of_one_kind(structure: Any) -> Any:
    """A structure with TensorFlow's tensors only where it mixes them with the backend's, which Keras refuses."""
    if IS_TENSORFLOW or all(map(is_native, tf.nest.flatten(structure))):
        return structure
    return to_tensorflow(structure)


def to_native(structure: Any) -> Any:
    """What a layer called eagerly returns: TensorFlow's tensors as the backend's own, as far as it has such."""
    return tf.nest.map_structure(_native, structure) if not IS_TENSORFLOW and tf.executing_eagerly() else structure


def _native(value: Any) -> Any:
    held = isinstance(value, tf.Tensor) and value.dtype != tf.string  # a ragged one stays as it is
    return keras.ops.convert_to_tensor(value.numpy()) if held else value


def output_spec(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What TensorFlow code returns for symbolic inputs, as symbolic tensors; on any backend.

    Args:
        call: a function of tensors.
        *args, **kwargs: with Keras's symbolic tensors among them.
    """
    leaves = tf.nest.flatten((args, kwargs))
    symbolic = [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]

    def run(*tensors: tf.Tensor) -> Any:
        given = iter(tensors)
        filled = [next(given) if isinstance(leaf, keras.KerasTensor) else leaf for leaf in leaves]
        args_given, kwargs_given = tf.nest.pack_sequence_as((args, kwargs), filled)
        return call(*args_given, **kwargs_given)

    specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in symbolic]
    graph = tf.function(run, autograph=False).get_concrete_function(*specs)
    return tf.nest.map_structure(lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), graph.structured_outputs)
