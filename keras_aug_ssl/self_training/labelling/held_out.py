"""Held-out rows: examples with labels that nothing trains on, to see how far a model's confidence can be believed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.labels import class_numbers
from keras_aug_ssl.self_training.labelling.scoring import Scores
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.pool.sources import ArraySource

EXPECTED = "(x, y): rows that are not trained on, and the class of each"


class HeldOut:
    """Checked held-out rows.

    Args:
        owner: the class a user called, for errors.
        holdout: what the user passed as `(x, y)`.
        pool: what is labeled, whose rows these have to be like.

    Attributes:
        rows: the inputs.
        labels: (M,) int64 classes.
    """

    def __init__(self, owner: str, holdout: Any, pool: UnlabeledPool) -> None:
        if not isinstance(holdout, (tuple, list)) or len(holdout) != 2 or any(part is None for part in holdout):
            checks.fail(owner, "holdout", EXPECTED, holdout)
        self._owner = owner
        self.rows, y = ArraySource(owner, holdout[0], "holdout"), np.asarray(holdout[1])
        _check_rows(owner, self.rows, pool)
        if y.dtype.kind not in "biuf":
            advice = "For class names: names, y = np.unique(y, return_inverse=True)."
            checks.fail(owner, "holdout", "(x, y) with class numbers as y", y, advice, error=TypeError)
        if y.ndim not in (1, 2) or len(y) != len(self.rows) or not len(y):
            checks.fail(owner, "holdout", "(x, y) of one length, at least 1", (len(self.rows), y.shape))
        if not np.isfinite(y).all():
            checks.fail(owner, "holdout", "(x, y) with finite labels", y)
        self._y = y
        self.labels = class_numbers(y)

    def read(self, num_classes: int, signed: bool) -> None:
        """Takes the labels as the model's are meant, -1 and 1 where `signed`; raises where one has no output."""
        self.labels = class_numbers(self._y, signed)
        if self.labels.min() < 0 or self.labels.max() >= num_classes:
            wrong = int(self.labels.max() if self.labels.min() >= 0 else self.labels.min())
            expected = f"(x, y) with classes from 0 to {num_classes - 1}, as the model has outputs"
            checks.fail(self._owner, "holdout", expected, wrong)


def judge(probabilities: np.ndarray, labels: np.ndarray, scores: Scores) -> tuple[int, int]:
    """How many held-out rows as sure as those that are taken are predicted right, and how many there are.

    Args:
        probabilities: (M, K) predictions of the held-out rows.
        labels: (M,) their classes.
        scores: of the pool, by the same model.
    """
    least = np.full(probabilities.shape[1], np.inf)
    taken = scores.weights[0] > 0
    np.minimum.at(least, scores.label[taken], scores.confidence[taken])
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    judged = confidence >= least[predicted]
    return int((predicted == labels)[judged].sum()), int(judged.sum())


def _check_rows(owner: str, rows: ArraySource, pool: UnlabeledPool) -> None:
    mine, theirs = rows.arrays, pool.take([0])
    try:
        keras.tree.assert_same_structure(mine, theirs)
    except (TypeError, ValueError):
        checks.fail(owner, "holdout", f"(x, y) with x in the structure of the pool, {pool.spec}", _shapes(mine))
    for one, other in zip(keras.tree.flatten(mine), keras.tree.flatten(theirs), strict=True):
        both_float = one.dtype.kind == other.dtype.kind == "f"
        if one.shape[1:] != other.shape[1:] or not (both_float or one.dtype == other.dtype):
            checks.fail(
                owner, "holdout", f"(x, y) with x like the pool, which has (shape, dtype) {pool.spec}",
                _shapes(mine), "Convert it; a model trained on 0..1 can't label images in 0..255.",
            )  # fmt: skip
        if one.dtype.kind == "f" and not np.isfinite(one).all():
            checks.fail(owner, "holdout", "(x, y) with finite x", "NaN or infinity", "Leave such rows out.")


def _shapes(x: Any) -> Any:
    """What to show of rows that don't fit."""
    return [(part.shape, str(part.dtype)) for part in keras.tree.flatten(x)]
