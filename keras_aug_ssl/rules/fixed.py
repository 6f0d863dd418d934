"""Rules that judge each row by itself: how sure, how far ahead of the runner-up, how concentrated."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules.base import Context, Prediction, Rows, Rule, Statistics, confidence_of, positive


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Threshold(Rule):
    """Takes rows whose largest probability is at least `confidence`.

    The plainest rule (Lee 2013; FixMatch, arXiv 2001.07685, eq. 4). What a network reports as 0.95 may be right less
    often: choose the level by `calibration.dry_run`, or use `TargetPrecision`.

    Args:
        confidence: least probability of the most probable class, in [0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.Threshold(0.8)(np.array([[0.9, 0.1], [0.3, 0.7]]))
        array([1., 0.], dtype=float32)
    """

    by_row = True

    def __init__(self, confidence: float = 0.95) -> None:
        self.confidence = checks.number("Threshold", "confidence", confidence, 0.0, 1.0)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the level on."""
        return positive(rows.score[:, 0] >= self.confidence)

    def get_config(self) -> dict[str, Any]:
        """Returns the level."""
        return {"confidence": self.confidence}


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Margin(Rule):
    """Takes rows whose most probable class leads the second by at least `margin`.

    Tells apart "0.6 against 0.4" from "0.6 against many crumbs", which a threshold can't.

    Args:
        margin: least difference of the two largest probabilities, in [0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.Margin(0.3)(np.array([[0.6, 0.4, 0.0], [0.6, 0.2, 0.2]]))
        array([0., 1.], dtype=float32)
    """

    by_row = True

    def __init__(self, margin: float = 0.9) -> None:
        self.margin = checks.number("Margin", "margin", margin, 0.0, 1.0)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the difference of the two largest probabilities."""
        largest = tf.math.top_k(prediction.classes, 2).values
        return largest[:, :1] - largest[:, 1:]

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the margin on."""
        return positive(rows.score[:, 0] >= self.margin)

    def get_config(self) -> dict[str, Any]:
        """Returns the margin."""
        return {"margin": self.margin}


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Entropy(Rule):
    """Takes rows whose entropy is at most `share` of the largest possible, log K.

    Args:
        share: in [0, 1]; 0 asks for a certain prediction, 1 takes everything. Independent of the number of classes.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.Entropy(0.5)(np.array([[0.5, 0.5], [0.95, 0.05]]))
        array([0., 1.], dtype=float32)
    """

    by_row = True

    def __init__(self, share: float = 0.1) -> None:
        self.share = checks.number("Entropy", "share", share, 0.0, 1.0)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the entropy as a share of log K."""
        return entropy_share(prediction.classes)[:, None]

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 up to the share."""
        return positive(rows.score[:, 0] <= self.share)

    def get_config(self) -> dict[str, Any]:
        """Returns the share."""
        return {"share": self.share}


def entropy_share(probabilities: tf.Tensor) -> tf.Tensor:
    """(N,) entropy of (N, K) probabilities divided by log K, in [0, 1]."""
    classes = tf.cast(tf.shape(probabilities)[-1], probabilities.dtype)
    terms = tf.math.multiply_no_nan(tf.math.log(tf.maximum(probabilities, 1e-30)), probabilities)
    return tf.clip_by_value(-tf.reduce_sum(terms, axis=-1) / tf.math.log(tf.maximum(classes, 2.0)), 0.0, 1.0)
