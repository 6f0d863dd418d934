"""What a model's outputs mean for self-training, and how predictions become the targets `fit` learns from."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling

CLASSES, BINARY, LABELS, NUMBERS = "classes", "binary", "labels", "numbers"

_NUMBER_LOSSES = (
    "meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "huber",
    "logcosh", "poisson", "cosinesimilarity",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outputs:
    """How to read a model's outputs.

    Attributes:
        kind: `"classes"` (one of K), `"binary"` (one unit), `"labels"` (K units, each yes or no), `"numbers"`.
        logits: they are logits; never for numbers.
        units: size of the last axis of the outputs.
        sparse: the loss wants class numbers, so a target can't be soft.
    """

    kind: str
    logits: bool
    units: int
    sparse: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes a row can be given to; 1 where rows have no single class."""
        return {CLASSES: self.units, BINARY: 2}.get(self.kind, 1)

    def probabilities(self, raw: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """(N, K) float32 probabilities from raw outputs, divided by `temperature` as logits.

        Binary outputs get two columns; numbers are returned as they are, (N, D).
        """
        raw = tf.reshape(tf.cast(raw, tf.float32), [-1, self.units])
        if self.kind == NUMBERS:
            return raw
        if self.kind == CLASSES:
            logits = raw if self.logits else tf.math.log(tf.maximum(raw, 1e-30))
            return tf.nn.softmax(logits / temperature)
        limited = tf.clip_by_value(raw, 1e-7, 1.0 - 1e-7)  # within float32 of 0 and 1, where the logit is infinite
        logits = raw if self.logits else tf.math.log(limited) - tf.math.log1p(-limited)
        yes = tf.math.sigmoid(logits / temperature)
        return tf.concat([1.0 - yes, yes], axis=1) if self.kind == BINARY else yes

    def spread(self, passes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean (N, K) and (N,) spread of (T, N, K) passes.

        The spread is the standard deviation of the predicted class's probability; for several labels the largest of
        their standard deviations; for numbers the root of their mean variance.
        """
        mean = tf.reduce_mean(passes, axis=0)
        deviation = tf.math.reduce_std(passes, axis=0)
        if self.kind == LABELS:
            return mean, tf.reduce_max(deviation, axis=-1)
        if self.kind == NUMBERS:
            return mean, tf.sqrt(tf.reduce_mean(deviation**2, axis=-1))
        top = tf.argmax(mean, axis=-1, output_type=tf.int32)
        return mean, tf.gather(deviation, top, axis=1, batch_dims=1)

    def violation(self, raw: tf.Tensor) -> tf.Tensor:
        """How far outputs that should be probabilities are from it: outside [0, 1] or, for classes, off a sum of 1."""
        raw = tf.cast(raw, tf.float32)
        if self.kind == NUMBERS or self.logits:
            return tf.constant(0.0)
        outside = tf.reduce_max(tf.maximum(-raw, raw - 1.0))
        if self.kind != CLASSES:
            return outside
        return tf.maximum(outside, tf.reduce_max(tf.abs(tf.reduce_sum(raw, axis=-1) - 1.0)))


def read_outputs(owner: str, model: keras.Model, x: Any, y: np.ndarray) -> Outputs:
    """Finds out what `model` puts out, from its loss, its last activation and the labels it is to learn.

    Args:
        owner: who asks, for the error.
        model: a compiled model.
        x: one or more inputs.
        y: the labels, (N,) or (N, K).

    Raises:
        ValueError: without a compiled loss, with several outputs, or when loss, activation and labels disagree.
    """
    if not getattr(model, "compiled", False) or model.loss is None:
        checks.fail(
            owner, "model", "compiled with a loss", model.name, "Call model.compile(optimizer, loss=...) before fit."
        )
    output = calling.first_output(model, x)
    if not tf.is_tensor(output) or output.shape.rank not in (1, 2):
        shown = tuple(output.shape) if tf.is_tensor(output) else type(output).__name__
        checks.fail(
            owner, "model", "a model with one output of shape (batch, units)", shown,
            "Wrap it in a keras.Model that has just the output to learn.",
        )  # fmt: skip
    units = int(output.shape[-1]) if output.shape.rank == 2 else 1
    loss, from_logits = _loss(model)
    activation = last_activation(model)
    outputs = Outputs(_kind(loss, activation, units, y), False, units, sparse=loss.startswith("sparse"))
    if outputs.kind == NUMBERS:
        return outputs
    logits = from_logits or activation == "linear"
    if activation in ("softmax", "sigmoid"):
        logits = False
    if logits and not from_logits and "crossentropy" in loss:
        checks.fail(
            owner, "model", "compiled with from_logits=True, since its last layer is linear", loss,
            "Its outputs are logits, which this loss reads as probabilities.",
        )  # fmt: skip
    return dataclasses.replace(outputs, logits=logits)


def _loss(model: keras.Model) -> tuple[str, bool]:
    """Plain name of the compiled loss, and whether it takes logits."""
    loss = model.loss
    if isinstance(loss, dict) and len(loss) == 1:
        loss = next(iter(loss.values()))
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", type(loss).__name__).replace("_", "").lower()
    return name, bool(getattr(loss, "from_logits", False))


def _kind(loss: str, activation: str | None, units: int, y: np.ndarray) -> str:
    if activation == "softmax":
        return CLASSES
    if "binary" in loss or activation == "sigmoid":
        return BINARY if units == 1 else LABELS
    if "categorical" in loss or loss in ("kldivergence", "kullbackleiblerdivergence"):
        return CLASSES
    if loss in _NUMBER_LOSSES:
        return NUMBERS
    return _kind_of_labels(units, y)


def _kind_of_labels(units: int, y: np.ndarray) -> str:
    """The kind when neither loss nor activation is known: from the labels."""
    if y.ndim == 1 and units > 1:
        return CLASSES
    if not np.isin(y, (0, 1)).all():
        return NUMBERS
    if units == 1:
        return BINARY
    return CLASSES if (y.sum(axis=-1) == 1).all() else LABELS


def last_activation(model: keras.Model) -> str | None:
    """Returns `"softmax"`, `"sigmoid"` or `"linear"`, whichever makes the outputs; None when it can't be seen."""
    operation: Any = model
    while isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None)
        if not outputs or len(outputs) != 1:
            return None
        operation = outputs[0]._keras_history.operation
        while isinstance(operation, (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Identity)):
            operation = operation.input._keras_history.operation
    kind = type(operation).__name__.lower()
    name = getattr(getattr(operation, "activation", None), "__name__", kind)
    return name if name in ("softmax", "sigmoid", "linear") else None


def class_numbers(y: np.ndarray) -> np.ndarray:
    """(N,) int64 classes of (N,) or (N, 1) numbers or (N, K) one-hot labels."""
    return (y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)).astype(np.int64)


def class_prior(outputs: Outputs, y: np.ndarray, owner: str) -> np.ndarray | None:
    """(K,) float32 share of each class among labels; None where rows have no single class.

    Raises:
        ValueError: when a label has no output.
    """
    if outputs.kind not in (CLASSES, BINARY):
        return None
    classes = class_numbers(y)
    if classes.max() >= outputs.num_classes or classes.min() < 0:
        worst = int(classes.min() if classes.min() < 0 else classes.max())
        checks.fail(
            owner, "y", f"class numbers from 0 to {outputs.num_classes - 1}, as the model has outputs", worst,
            "Rows without a label belong into the pool.",
        )  # fmt: skip
    return (np.bincount(classes, minlength=outputs.num_classes) / len(classes)).astype(np.float32)


def encode(outputs: Outputs, values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Targets in the form and dtype of the labels.

    Args:
        outputs: of the model.
        values: (N,) class numbers; or (N, K) probabilities or numbers for soft labels, several labels and regression.
        like: the labels, whose trailing shape and dtype are taken.
    """
    if values.ndim == 1:
        if like.ndim == 2 and like.shape[1] > 1:
            values = np.eye(like.shape[1], dtype=like.dtype)[values]
    elif outputs.kind == BINARY:
        values = values[:, 1]
    return values.reshape((len(values), *like.shape[1:])).astype(like.dtype, copy=False)
