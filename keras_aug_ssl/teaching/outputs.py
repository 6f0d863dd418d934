"""What self-training asks of a model's outputs: what they are, how far several predictions spread, the class mix."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling, reading
from keras_aug_ssl.meaning.heads import CLASSES, LABELS, NUMBERS, Head
from keras_aug_ssl.meaning.labels import class_numbers


def read_outputs(owner: str, model: keras.Model, x: Any, y: np.ndarray, kind: str | None = None) -> Head:
    """Finds out what `model` puts out, from its loss, its last activation and the labels it is to learn.

    Args:
        owner: who asks, for the error.
        model: a compiled model.
        x: one or more inputs.
        y: the labels, (N,) or (N, K).
        kind: "classes", "labels" or "numbers" when the user says it.

    Raises:
        ValueError: without a compiled loss, with several outputs, or when loss, activation and labels disagree.
    """
    if not getattr(model, "compiled", False) or model.loss is None:
        checks.fail(
            owner, "model", "compiled with a loss", model.name, "Call model.compile(optimizer, loss=...) before fit."
        )
    ask = 'or say kind="classes", kind="labels" or kind="numbers".'
    return reading.read(owner, model, calling.first_output(model, x), model.loss, y, kind=kind, ask=ask)


def spread(head: Head, passes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean (N, K) and (N,) spread of (T, N, K) passes.

    The spread is the standard deviation of the predicted class's probability; for several labels the largest of
    their standard deviations; for numbers the root of their mean variance.
    """
    mean = tf.reduce_mean(passes, axis=0)
    deviation = tf.math.reduce_std(passes, axis=0)
    if head.kind == LABELS:
        return mean, tf.reduce_max(deviation, axis=-1)
    if head.kind == NUMBERS:
        return mean, tf.sqrt(tf.reduce_mean(deviation**2, axis=-1))
    top = tf.argmax(mean, axis=-1, output_type=tf.int32)
    return mean, tf.gather(deviation, top, axis=1, batch_dims=1)


def class_prior(head: Head, y: np.ndarray, owner: str) -> np.ndarray | None:
    """(K,) float32 share of each class among labels; None where rows have no single class.

    Raises:
        ValueError: when a label has no output.
    """
    if not head.single:
        return None
    if y.ndim == 2 and y.shape[1] not in (1, head.num_classes):
        checks.fail(
            owner, "y", f"one-hot over {head.num_classes} classes, as the model has outputs", y.shape,
            f"That is its shape: keras.utils.to_categorical(y, {head.num_classes}).",
        )  # fmt: skip
    classes = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    low = -1 if head.signed else 0
    if classes.max() >= head.num_classes or classes.min() < low:
        worst = classes.min() if classes.min() < low else classes.max()
        checks.fail(
            owner, "y", f"class numbers from 0 to {head.num_classes - 1}, as the model has outputs", int(worst),
            "Rows without a label belong into the pool.",
        )  # fmt: skip
    if head.kind == CLASSES and (classes != np.floor(classes)).any():
        checks.fail(owner, "y", "whole class numbers, or one-hot", y)
    return (np.bincount(class_numbers(y, head.signed), minlength=head.num_classes) / len(y)).astype(np.float32)
