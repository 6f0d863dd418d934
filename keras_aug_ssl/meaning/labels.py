"""The forms that labels come in, and the way from each to what a loss, an attack or a rule wants."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import losses
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS, Head

CLASS_NUMBERS, ZERO_ONE, SIGNED = "class numbers", "0 and 1", "-1 and 1"  # one a row
ONE_HOT, SEVERAL, SIGNED_ROWS, SHARES = "one-hot", "rows of 0 and 1", "rows of -1 and 1", "shares of classes"
REAL, REAL_ROWS, DENSE = "real numbers", "rows of real numbers", "one for each place"
UNSEEN = "values that only running shows"


def form_of(y: Any) -> str | None:
    """What labels look like: one of the constants above; None without labels."""
    if y is None:
        return None
    if tf.is_tensor(y) and not hasattr(y, "numpy"):
        single = y.shape.rank == 1 or y.shape.rank == 2 and y.shape[1] == 1
        return CLASS_NUMBERS if single and y.dtype.is_integer else UNSEEN
    y = np.asarray(y)
    if y.dtype.kind not in "biuf" or y.ndim == 0 or not y.size:
        return None
    if y.ndim > 2:
        return DENSE
    if y.ndim == 1 or y.shape[1] == 1:
        if _among(y, (0, 1)):
            return ZERO_ONE
        if _among(y, (-1, 1)):
            return SIGNED
        return CLASS_NUMBERS if (y >= 0).all() and (y == np.floor(y)).all() else REAL
    if _among(y, (0, 1)):
        return ONE_HOT if (y.sum(axis=1) == 1).all() else SEVERAL
    if _among(y, (-1, 1)):
        return SIGNED_ROWS
    return SHARES if (y >= 0).all() and np.allclose(y.sum(axis=1), 1.0, atol=1e-3) else REAL_ROWS


def class_numbers(y: np.ndarray, signed: bool = False) -> np.ndarray:
    """(N,) int64 classes of (N,) or (N, 1) numbers, soft or hard, or (N, K) one-hot or soft labels, as `fit` does.

    With `signed` labels, as hinge losses allow, -1 is class 0.
    """
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(axis=1).astype(np.int64)
    numbers = np.round(y.reshape(-1)).astype(np.int64)
    return np.maximum(numbers, 0) if signed else numbers


def decisions(owner: str, head: Head, y: Any, num_examples: int) -> np.ndarray:
    """Checks labels and brings them into the form in which a model's own decisions are compared with them.

    Args:
        owner: who asks, for errors.
        head: what the model puts out.
        y: (N,) or (N, 1) class numbers, (N, K) one-hot or soft labels, or (N, ...) numbers.
        num_examples: N.

    Returns:
        (N,) int32 class numbers; for several labels (N, K) float32 of 0 and 1; for regression (N, ...) float32.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        checks.fail(owner, "y", "an array of numbers", y.dtype, error=TypeError)
    if y.ndim == 0 or len(y) != num_examples:
        checks.fail(owner, "y", f"one label for each of the {num_examples} examples", f"an array of shape {y.shape}")
    if head.kind == NUMBERS:
        return _numbers(owner, head, y)
    if head.kind == LABELS:
        return _several(owner, head, y)
    if y.ndim == 2 and y.shape[1] == head.num_classes:
        if not (y >= (-1 if head.signed else 0)).all():
            checks.fail(owner, "y", f"one-hot or soft labels over {head.num_classes} classes, >= 0", y)
        return np.argmax(y, axis=1).astype(np.int32)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        checks.fail(
            owner, "y", f"class numbers (N,) or one-hot labels (N, {head.num_classes})", f"an array of shape {y.shape}"
        )
    if head.kind == BINARY:
        return _yes_or_no(owner, head, y).astype(np.int32)
    if not np.isfinite(y).all() or (y != np.floor(y)).any() or y.min() < 0 or y.max() >= head.num_classes:
        checks.fail(owner, "y", f"class numbers 0 to {head.num_classes - 1}", y)
    return y.astype(np.int32)


def decisions_in_graph(head: Head, y: tf.Tensor) -> tf.Tensor:
    """`decisions` without the checks of values, for use inside a training step."""
    y = tf.convert_to_tensor(y)
    if head.kind == NUMBERS:
        return tf.cast(y, tf.float32)
    if head.kind == LABELS:
        return tf.cast(tf.cast(y, tf.float32) > 0.5, tf.float32)
    if y.shape.rank == 2 and y.shape[1] == head.num_classes:
        return tf.argmax(y, axis=1, output_type=tf.int32)
    y = tf.reshape(y, [-1])
    return tf.cast(tf.cast(y, tf.float32) > 0.5 if head.kind == BINARY else y, tf.int32)


def softened(head: Head, y: Any, decided: Any) -> Any:
    """Soft labels as shares, (N, K) float32 or for yes or no (N, 2), where `y` is soft; else what was decided."""
    form = form_of(y)
    if head.kind == CLASSES and form == SHARES or head.kind == LABELS and form in (SHARES, REAL_ROWS):
        return tf.cast(y, tf.float32)
    if head.kind == BINARY and form == REAL and not head.signed:
        yes = tf.reshape(tf.cast(y, tf.float32), [-1, 1])
        return tf.concat([1.0 - yes, yes], axis=1)
    return decided


def predicted(head: Head, scores: tf.Tensor) -> tf.Tensor:
    """The model's own decisions, in the form of `decisions`."""
    if head.kind == NUMBERS:
        return scores
    if head.kind == LABELS:
        return tf.cast(scores > 0, tf.float32)
    return tf.argmax(scores, axis=1, output_type=tf.int32)


def check_judged(owner: str, head: Head, y: Any, loss: Any) -> None:
    """Refuses what a Keras loss would read as something else: class numbers (N, 1) as K numbers, one-hot as numbers."""
    says, shape = losses.says(loss), np.shape(y)
    if head.kind != CLASSES or says is None or len(shape) != 2:
        return
    if says.sparse != (shape[1] == 1):
        wanted = "class numbers (N,) or (N, 1)" if says.sparse else "one-hot, or class numbers of shape (N,),"
        checks.fail(owner, "y", f"{wanted} for {says.name}", f"an array of shape {shape}")


def targets(head: Head, y: tf.Tensor, sparse: bool) -> tf.Tensor:
    """Labels as the loss of a fit would get them, float32: whatever form they come in, beside outputs (B, units).

    Args:
        head: what the model puts out.
        y: labels in any of the forms that `decisions` takes, or its result.
        sparse: the loss wants class numbers.
    """
    y = tf.cast(y, tf.float32)
    wide = y.shape.rank == 2 and y.shape[1] != 1
    if head.kind == CLASSES:
        if sparse:
            return tf.cast(tf.argmax(y, axis=1), tf.float32) if wide else tf.reshape(y, [-1])
        return y if wide else tf.one_hot(tf.cast(tf.reshape(y, [-1]), tf.int32), head.units)
    if head.kind == BINARY:
        return y[:, 1:] if wide else tf.reshape(y, [-1, 1])
    return y[:, None] if y.shape.rank == 1 else y


def encode(head: Head, values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Pseudo-labels in the form of the labels they stand beside.

    Args:
        head: what the model puts out.
        values: (N,) class numbers; or (N, K) probabilities or numbers for soft labels, several labels and regression.
        like: the labels, floats; their trailing shape is taken.
    """
    if values.ndim == 1:
        if like.ndim == 2 and like.shape[1] > 1:
            values = np.eye(like.shape[1])[values]
    elif head.kind == BINARY:
        values = values[:, 1]
    if head.signed:
        values = 2 * values - 1
    return values.reshape((len(values), *like.shape[1:])).astype(like.dtype, copy=False)


def _numbers(owner: str, head: Head, y: np.ndarray) -> np.ndarray:
    if y.ndim == 1 and head.units > 1 or y.ndim == 2 and y.shape[1] != head.units:
        shown = f"an array of shape {y.shape}"
        checks.fail(owner, "y", f"numbers of shape (N, {head.units}), as the model puts out", shown)
    return y.astype(np.float32)


def _several(owner: str, head: Head, y: np.ndarray) -> np.ndarray:
    if y.shape != (len(y), head.units):
        checks.fail(
            owner, "y", f"0 or 1 for each of {head.units} labels, shape (N, {head.units})",
            f"an array of shape {y.shape}",
        )  # fmt: skip
    return _yes_or_no(owner, head, y).astype(np.float32)


def _yes_or_no(owner: str, head: Head, y: np.ndarray) -> np.ndarray:
    """Where labels say yes; those between 0 and 1 are soft, and -1 is no for a hinge loss."""
    low = -1 if head.signed else 0
    if not ((y >= low) & (y <= 1)).all():
        expected = f"-1 or 1 for each of {head.units} labels" if head.signed else "class numbers 0 to 1, or soft ones"
        checks.fail(owner, "y", expected, y)
    return y > (0.0 if head.signed else 0.5)


def _among(y: np.ndarray, values: tuple[int, int]) -> bool:
    return bool(np.isin(y, values).all())
