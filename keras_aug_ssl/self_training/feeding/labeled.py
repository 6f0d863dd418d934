"""The labeled rows: checked against the pool they will be mixed with, in the form the loss wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import labels
from keras_aug_ssl.meaning.labels import class_numbers
from keras_aug_ssl.self_training.feeding.feeder import Labeled
from keras_aug_ssl.self_training.pool.sources import ArraySource, describe


def labeled_rows(
    owner: str,
    x: Any,
    y: Any,
    spec: Any,
    *,
    soft: bool,
    weighted: bool,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Labeled:
    """Returns checked rows.

    Args:
        owner: the class a user called, for errors.
        x: (N, ...) arrays in the structure of the pool.
        y: (N,) class numbers or numbers, or (N, K).
        spec: what `describe` says of the pool.
        soft: class numbers, beyond yes and no, become one-hot, as soft labels need.
        weighted: pseudo-labeled rows will have weights, so these need them too.
        sample_weight: (N,) numbers >= 0, or None.
        class_weight: from class to weight, or None.

    Raises:
        ValueError: lengths differ, values are not finite, or the pool has other shapes or types.
        TypeError: labels that are not numbers.
    """
    x = ArraySource(owner, x).arrays
    whole = np.asarray(y).dtype.kind in "iu"
    y = _labels(owner, y)
    length = len(keras.tree.flatten(x)[0])
    if length != len(y):
        checks.fail(owner, "y", f"as long as `x`, {length} rows", y.shape, "That is its shape.")
    if describe(x) != spec:
        checks.fail(
            owner, "x", f"like the pool, which has (shape, dtype) {spec}", describe(x),
            "Convert one of them; a model trained on 0..1 can't label images in 0..255.",
        )  # fmt: skip
    if soft and whole and labels.form_of(y) == labels.CLASS_NUMBERS:
        classes = class_numbers(y)
        y = np.eye(classes.max() + 1, dtype=np.float32)[classes]
    weight = None
    if weighted or sample_weight is not None or class_weight is not None:
        weight = _weights(owner, sample_weight, length)
    if class_weight is not None:
        class_weight = {
            checks.integer(owner, "class_weight", label, 0): checks.number(owner, "class_weight", value, 0.0)
            for label, value in class_weight.items()
        }
    return Labeled(x, y, weight, class_weight)


def _labels(owner: str, y: Any) -> np.ndarray:
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        checks.fail(
            owner, "y", "numbers", y, "For class names: names, y = np.unique(y, return_inverse=True).", error=TypeError
        )
    if values.ndim not in (1, 2) or not len(values):
        checks.fail(owner, "y", "labels of shape (N,) or (N, K), at least one", values.shape, "That is its shape.")
    if not np.isfinite(values).all():
        checks.fail(owner, "y", "finite", values, "Rows without a label belong into the pool.")
    # Every loss and metric of Keras casts labels to floats; pseudo-labels beside whole numbers must not be cut to them.
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def _weights(owner: str, sample_weight: Any, length: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(length, np.float32)
    weight = np.asarray(sample_weight, np.float32)
    if weight.shape != (length,) or not np.isfinite(weight).all() or weight.min() < 0:
        checks.fail(owner, "sample_weight", f"{length} finite numbers >= 0, one for each row", sample_weight)
    return weight
