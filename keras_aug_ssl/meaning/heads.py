"""How to read a model's outputs: a class, yes or no, several labels, or numbers; as logits or probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CLASSES, BINARY, LABELS, NUMBERS = "classes", "binary", "labels", "numbers"

_TINY = float(np.finfo(np.float32).tiny)
_FARTHEST = 1e28  # a logit; sums of many are finite, and attacks put what they leave out further off still


@dataclasses.dataclass(frozen=True)
class Head:
    """How to read outputs.

    Attributes:
        kind: `"classes"` (one of K), `"binary"` (one unit, yes or no), `"labels"` (K units, each yes or no) or
            `"numbers"` (regression).
        logits: the outputs are logits, or scores with the boundary at zero; never for numbers.
        units: size of the last axis of the outputs.
        activation: `"softmax"` or `"sigmoid"` where it is known that the last layer ends in it, and that Keras's losses
            see its logits; None where probabilities are all there is.
        sparse: the loss wants class numbers, so a target can't be soft.
        signed: the labels say no by -1, not by 0, as hinge losses allow.
    """

    kind: str
    logits: bool
    units: int
    activation: str | None = None
    sparse: bool = False
    signed: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes that labels may name; 0 for regression."""
        return {CLASSES: self.units, BINARY: 2, LABELS: self.units, NUMBERS: 0}[self.kind]

    @property
    def single(self) -> bool:
        """Whether a row has one class."""
        return self.kind in (CLASSES, BINARY)

    def scores(self, output: tf.Tensor) -> tf.Tensor:
        """Turns outputs into float32 logits: (B, K) for classes, (B, 2) for binary; numbers stay as they are."""
        if self.kind == NUMBERS:
            return tf.cast(output, tf.float32)
        # A class that is not allowed may be at minus infinity, and float16 overflows: products and differences of such
        # would be NaN. NaN itself stays what it is.
        logits = tf.clip_by_value(tf.cast(self._logits(output), tf.float32), -_FARTHEST, _FARTHEST)
        if self.kind == BINARY:
            logits = tf.reshape(logits, [-1, 1])
            logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
        return logits

    def outputs(self, scores: tf.Tensor) -> tf.Tensor:
        """Undoes `scores`, in shape (B, units): what the model put out, for a loss to judge."""
        scores = scores[:, 1:] if self.kind == BINARY else scores
        if self.kind == NUMBERS or self.logits:
            return scores[:, None] if scores.shape.rank == 1 else scores
        if self.activation is not None:  # Keras's own functions leave the logits as the model's last layer does
            return getattr(keras.activations, self.activation)(scores)
        return tf.exp(scores) if self.kind == CLASSES else tf.sigmoid(scores)

    def probabilities(self, raw: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """(N, K) float32 probabilities from raw outputs, divided by `temperature` as logits.

        Binary outputs get two columns; numbers are returned as they are, (N, D).
        """
        raw = tf.reshape(tf.cast(raw, tf.float32), [-1, self.units])
        if self.kind == NUMBERS:
            return raw
        if not self.logits and self._is_sigmoid:  # within float32 of 0 and 1, where the logit is infinite
            raw = tf.clip_by_value(raw, 1e-7, 1.0 - 1e-7)
        scores = self.scores(raw) / temperature
        return tf.math.sigmoid(scores) if self.kind == LABELS else tf.nn.softmax(scores)

    def violation(self, raw: tf.Tensor) -> tf.Tensor:
        """How far outputs that should be probabilities are from it: outside [0, 1] or, for classes, off a sum of 1."""
        raw = tf.cast(raw, tf.float32)
        if self.kind == NUMBERS or self.logits:
            return tf.constant(0.0)
        outside = tf.reduce_max(tf.maximum(-raw, raw - 1.0))
        if self._is_sigmoid:
            return outside
        return tf.maximum(outside, tf.reduce_max(tf.abs(tf.reduce_sum(raw, axis=-1) - 1.0)))

    @property
    def _is_sigmoid(self) -> bool:
        """Whether each unit is a probability of its own."""
        return self.kind != CLASSES or self.activation == "sigmoid"

    def _logits(self, output: tf.Tensor) -> tf.Tensor:
        if self.logits:
            return output
        if self.activation is not None and hasattr(output, "_keras_logits"):  # Keras leaves them there
            return output._keras_logits
        if self.activation is not None and not tf.executing_eagerly() and output.op.type.lower() == self.activation:
            return output.op.inputs[0]
        output = tf.cast(output, tf.float32)
        logs = tf.math.log(tf.maximum(output, _TINY))
        return logs - tf.math.log(tf.maximum(1.0 - output, _TINY)) if self._is_sigmoid else logs
