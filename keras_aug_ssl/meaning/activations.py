"""The activation behind a model's outputs, where it can be seen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PASS_THROUGH = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout, keras.layers.Identity)


def ending(model: keras.Model, output: tf.Tensor) -> str | None:
    """Name of the activation behind the outputs, as "softmax", "sigmoid", "linear" or "tanh"; None where it is hidden.

    Args:
        model: any Keras model. Layers that move or drop values are looked through; logarithms of probabilities are
            logits, "linear".
        output: what it puts out for a few examples, on which Keras's own softmax and sigmoid leave their logits, also
            where a subclass hides the layer.
    """
    return _last_activation(model) or _of_logits_left(output)


def _of_logits_left(output: tf.Tensor) -> str | None:
    logits = getattr(output, "_keras_logits", None)
    if logits is None:
        return None
    if not hasattr(output, "numpy"):
        return output.op.type.lower() if output.op.type in ("Softmax", "Sigmoid") else None
    for name in ("sigmoid", "softmax"):  # in this order, since a softmax of one unit warns
        if np.allclose(getattr(keras.activations, name)(logits), output, atol=1e-3):
            return name
    return None


def _last_activation(model: keras.Model) -> str | None:
    operation: Any = model
    while isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None)
        if not outputs or len(outputs) != 1:
            return None
        operation = _producer(outputs[0])
        while isinstance(operation, _PASS_THROUGH) or _is_linear(operation):
            operation = _producer(operation.input)
    kind = type(operation).__name__.lower()
    if kind in ("softmax", "sigmoid"):  # the layer Softmax, or keras.ops.softmax and sigmoid
        return kind
    name = getattr(getattr(operation, "activation", None), "__name__", None)
    return "linear" if name == "log_softmax" else name


def _producer(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _is_linear(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
