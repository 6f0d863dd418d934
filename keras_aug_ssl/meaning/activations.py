"""The activation behind a model's outputs, where it can be seen."""

from __future__ import annotations

from typing import Any

import keras

_PASS_THROUGH = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout, keras.layers.Identity)


def last_activation(model: keras.Model) -> str | None:
    """Name of the activation behind the outputs, as "softmax", "sigmoid", "linear" or "tanh"; None where it is hidden.

    Layers that move or drop values are looked through. Logarithms of probabilities are logits: "linear".
    """
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
