"""The rule whose level comes from held-out labels: how sure is sure enough to be right as often as asked."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules.base import Context, Prediction, Rows, Rule, Statistics, confidence_of, positive


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class TargetPrecision(Rule):
    """Takes rows from the lowest level on at which held-out predictions are right as often as asked.

    A confidence of 0.95 means little for a network trained on few labels; this rule asks for the outcome instead. The
    share is a point estimate from the held-out rows: see `calibration.dry_run` for its interval. With fewer
    than some hundred held-out rows it is coarse. When no level reaches the share, nothing is taken.

    In `SelfTraining` the held-out rows are its `holdout=(x, y)`, predicted anew by the model of each round.

    Args:
        precision: share of right labels to reach, in (0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> held_out = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 0, 1, 0])
        >>> rule = kas.rules.TargetPrecision(0.9)
        >>> rule.level(*held_out)
        0.8
        >>> rule(np.array([[0.85, 0.15], [0.25, 0.75]]), holdout=held_out)
        array([1., 0.], dtype=float32)
    """

    by_row = True
    needs_holdout = True

    def __init__(self, precision: float = 0.99) -> None:
        self.precision = checks.number("TargetPrecision", "precision", precision, 0.0, 1.0, low_open=True)

    def level(self, probabilities: Any, labels: Any) -> float:
        """Returns the lowest confidence from which on held-out predictions reach the precision; infinity if none does.

        Args:
            probabilities: (M, K) predictions of held-out rows.
            labels: (M,) their true classes.
        """
        probabilities, labels = np.asarray(probabilities), np.asarray(labels).reshape(-1)
        if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
            checks.fail(
                "TargetPrecision", "holdout", "(M, K) probabilities and (M,) labels, at least one",
                (probabilities.shape, labels.shape),
            )  # fmt: skip
        confidence = probabilities.max(axis=1)
        order = np.argsort(-confidence, kind="stable")
        right = np.cumsum(probabilities.argmax(axis=1)[order] == labels[order])
        # A level takes all rows that share a confidence, so only the last of equals can be one.
        last = np.append(np.diff(confidence[order]) != 0, True)
        reached = last & (right >= self.precision * np.arange(1, len(labels) + 1))
        return float(confidence[order][np.flatnonzero(reached)[-1]]) if reached.any() else math.inf

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the level on."""
        if context.holdout is None:
            checks.fail(
                "TargetPrecision", "holdout", "given", None,
                "Pass SelfTraining(..., holdout=(x, y)) rows that are not trained on, "
                "or rule(probabilities, holdout=(held_out_probabilities, labels)).",
            )  # fmt: skip
        return positive(rows.score[:, 0] >= self.level(*context.holdout))

    def get_config(self) -> dict[str, Any]:
        """Returns the precision."""
        return {"precision": self.precision}
