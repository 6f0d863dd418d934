"""What a model's outputs mean: logits or probabilities, one class of several, yes or no, several labels, or numbers.

Attacks work on logits: probabilities near 0 and 1 have lost the digits a gradient needs. The last activation tells what
the outputs are; where it is hidden (a subclassed model, a custom layer) the compiled loss does; else the attack asks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks

CLASSES, BINARY, LABELS, NUMBERS = "classes", "binary", "labels", "numbers"

_CLASS_LOSSES = {"categoricalcrossentropy", "sparsecategoricalcrossentropy", "categoricalfocalcrossentropy"}
_BINARY_LOSSES = {"binarycrossentropy", "binaryfocalcrossentropy"}
_SCORE_LOSSES = {"categoricalhinge"}
_NUMBER_LOSSES = {
    "meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "huber",
    "logcosh", "cosinesimilarity", "poisson", "hinge", "squaredhinge",
}  # fmt: skip
_PASS_THROUGH = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout, keras.layers.Identity)


@dataclasses.dataclass(frozen=True)
class Head:
    """How to read outputs.

    Attributes:
        kind: `"classes"` (one of K), `"binary"` (one unit, yes or no), `"labels"` (K units, each yes or no) or
            `"numbers"` (regression).
        probabilities: the outputs are probabilities, not logits.
        units: size of the last axis of the outputs.
    """

    kind: str
    probabilities: bool
    units: int

    @property
    def num_classes(self) -> int:
        """Number of classes that labels may name; 0 for regression."""
        return {CLASSES: self.units, BINARY: 2, LABELS: self.units, NUMBERS: 0}[self.kind]

    def scores(self, output: tf.Tensor) -> tf.Tensor:
        """Turns outputs into float32 logits: (B, K) for classes, (B, 2) for binary; numbers stay as they are."""
        if self.kind == NUMBERS:
            return tf.cast(output, tf.float32)
        logits = tf.cast(self._logits(output), tf.float32)
        if self.kind == BINARY:
            logits = tf.reshape(logits, [-1, 1])
            logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
        return logits

    def _logits(self, output: tf.Tensor) -> tf.Tensor:
        if not self.probabilities:
            return output
        if hasattr(output, "_keras_logits"):  # Keras leaves them on the output of its softmax and sigmoid
            return output._keras_logits
        if not tf.executing_eagerly() and output.op.type in ("Softmax", "Sigmoid"):
            return output.op.inputs[0]
        output = tf.cast(output, tf.float32)
        tiny = np.finfo(np.float32).tiny
        if self.kind == CLASSES:
            return tf.math.log(tf.maximum(output, tiny))
        return tf.math.log(tf.maximum(output, tiny)) - tf.math.log(tf.maximum(1.0 - output, tiny))


def read_head(owner: str, model: keras.Model, loss: Any, output: tf.Tensor) -> Head:
    """Finds out what `model` puts out.

    Args:
        owner: who asks, for the error.
        model: any Keras model.
        loss: the loss it was compiled with, or one given to the attack; None when there is neither.
        output: its output for any one example.
    """
    if not tf.is_tensor(output):
        checks.fail(
            owner, "model", "a model with one output", sorted(output) if isinstance(output, dict) else type(output),
            "Attack one of them: keras.Model(model.inputs, model.outputs[0]).",
        )  # fmt: skip
    units = int(output.shape[-1]) if output.shape.rank > 1 else 1
    activation = _last_activation(model)
    kind, from_logits = _loss_family(loss, units)
    if activation in ("softmax", "sigmoid"):
        head = Head(_activation_kind(activation, units), True, units)
    elif activation == "linear" and kind in (CLASSES, BINARY, LABELS) and not from_logits:
        checks.fail(
            owner, "model", "compiled with from_logits=True, since its last layer is linear", loss,
            "Its outputs are logits; a loss for probabilities misreads them.",
        )  # fmt: skip
    elif kind is not None:
        head = Head(kind, kind != NUMBERS and not from_logits, units)
    elif activation == "linear" and units > 1:
        head = Head(CLASSES, False, units)
    else:
        checks.fail(
            owner, "model", "a model whose outputs are known to be logits or probabilities", model.name,
            "Its last layer doesn't tell. Compile it with its loss, for example "
            "model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)), or give such a loss to "
            "the attack: loss=....",
        )  # fmt: skip
    if head.kind in (CLASSES, LABELS) and output.shape.rank != 2:
        checks.fail(
            owner, "model", "a model with outputs of shape (batch, classes)", tuple(output.shape),
            "Pool or flatten them in a keras.Model around it.",
        )  # fmt: skip
    return head


def _activation_kind(activation: str, units: int) -> str:
    if activation == "softmax":
        return CLASSES
    return BINARY if units == 1 else LABELS


def _loss_family(loss: Any, units: int) -> tuple[str | None, bool]:
    """The kind of head a Keras loss expects and whether it expects logits; (None, False) when the loss doesn't say."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss, dict) and len(loss) == 1:
        loss = next(iter(loss.values()))
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None, False
    name = getattr(loss, "__name__", type(loss).__name__).replace("_", "").lower()
    if name in _CLASS_LOSSES:
        return CLASSES, bool(getattr(loss, "from_logits", False))
    if name in _BINARY_LOSSES:
        return (BINARY if units == 1 else LABELS), bool(getattr(loss, "from_logits", False))
    if name in _SCORE_LOSSES:
        return CLASSES, True
    return (NUMBERS if name in _NUMBER_LOSSES else None), False


def _last_activation(model: keras.Model) -> str | None:
    """Name of the activation behind the outputs: "softmax", "sigmoid" or "linear"; None when it can't be seen."""
    operation: Any = model
    while isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None)
        if not outputs or len(outputs) != 1:
            return None
        operation = _producer(outputs[0])
    while isinstance(operation, _PASS_THROUGH) or _is_linear_activation(operation):
        operation = _producer(operation.input)
    if isinstance(operation, keras.Model):
        return _last_activation(operation)
    name = type(operation).__name__.lower()
    if name in ("softmax", "sigmoid"):  # the layer Softmax, or keras.ops.softmax and sigmoid
        return name
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", "")
    if activation is None or name not in ("softmax", "sigmoid", "linear"):
        return None
    return name


def _producer(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _is_linear_activation(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
