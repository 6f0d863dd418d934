"""Rules whose level follows how the model does on the whole pool: per class, over all, or as a smooth weight.

The papers keep running averages over batches; here one pass over the pool gives the averages themselves. Their
statistics are sums, so a running average of them, over batches of one size, gives the papers' online forms.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules.base import (
    Context,
    Prediction,
    Rows,
    Rule,
    Statistics,
    check_prior,
    confidence_of,
    positive,
)


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class FlexThreshold(Rule):
    """Lowers the level for classes that few rows are confident about (FlexMatch, arXiv 2110.08263, eq. 5, 7 and 11).

    With n_c the number of rows that reach `confidence` for class c, relative to the class's share among the labeled
    rows, and u the number that reach it for none, b_c = n_c / max(max n, u) and the level of c is
    `confidence` b_c / (2 - b_c). A class that no row is sure of has level 0: good when the model is young and classes
    are hard to different degrees, bad when it is wrong. The paper takes n_c as it is, which assumes equally frequent
    classes. A class without labeled rows is never taken and lowers no other's level.

    Args:
        confidence: level of the class that is learned best, in (0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> p = np.array([[0.99, 0.01], [0.97, 0.03], [0.6, 0.4], [0.02, 0.98], [0.2, 0.8]])
        >>> kas.rules.FlexThreshold(0.95)(p)
        array([1., 1., 0., 1., 1.], dtype=float32)
    """

    by_row = True

    def __init__(self, confidence: float = 0.95) -> None:
        self.confidence = checks.number("FlexThreshold", "confidence", confidence, 0.0, 1.0, low_open=True)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns (K,) rows that reach the level for each class, and how many reach it for none."""
        sure = positive(rows.score[:, 0] >= self.confidence)
        # As a product, since XLA has no weighted counts.
        reached = tf.linalg.matvec(tf.one_hot(rows.label, probabilities.shape[-1]), sure, transpose_a=True)
        # Counts of large pools: float32 stops counting at 2^24.
        return {"reached": tf.cast(reached, tf.float64), "unsure": tf.cast(tf.reduce_sum(1.0 - sure), tf.float64)}

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the row's class's level on."""
        shares = check_prior("FlexThreshold", context.prior, statistics["reached"].shape[0])
        relative = per_share(statistics["reached"], shares)
        best = tf.maximum(tf.reduce_max(relative), statistics["unsure"])
        share = relative / tf.maximum(best, 1e-12)
        return reaching(rows, self.confidence * share / (2.0 - share), shares)

    def get_config(self) -> dict[str, Any]:
        """Returns the level."""
        return {"confidence": self.confidence}


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class FreeThreshold(Rule):
    """Takes the mean confidence as level, scaled by class (FreeMatch, arXiv 2205.07246, eq. 5-8); nothing to set.

    The level of class c is the mean confidence times q_c / max q, where q_c is the class's mean probability relative
    to its share among the labeled rows. The paper takes the mean probability as it is, which assumes equally frequent
    classes. A class that is rarer in the pool than `prior` says looks badly learned and gets a low level;
    `SelfTraining` estimates the pool's class mix for it, unless it is told. A class without labeled rows is never taken
    and lowers no other's level.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.FreeThreshold()(np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]]))
        array([1., 0., 1.], dtype=float32)
    """

    by_row = True

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns sums of confidences and of each class's probabilities."""
        return {
            "rows": tf.cast(tf.size(rows.label), tf.float64),
            "confidence": tf.reduce_sum(tf.cast(rows.score[:, 0], tf.float64)),
            "probabilities": tf.reduce_sum(tf.cast(probabilities, tf.float64), axis=0),
        }

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the row's class's level on."""
        mean = statistics["confidence"] / tf.maximum(statistics["rows"], 1.0)
        shares = check_prior("FreeThreshold", context.prior, statistics["probabilities"].shape[0])
        relative = per_share(statistics["probabilities"], shares)
        return reaching(rows, mean * relative / tf.maximum(tf.reduce_max(relative), 1e-12), shares)


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class SoftWeight(Rule):
    """Weighs every row, less the further its confidence is below the mean (SoftMatch, arXiv 2301.10921, eq. 6-8).

    The weight is 1 from the mean confidence m on and exp(-(c - m)^2 n^2 / (2 v)) below, v the variance. No row is lost,
    and none is trusted for being just above a level. The paper also aligns probabilities to uniform classes; here they
    stay as they are.

    Args:
        sigmas: n, how many standard deviations the fall of the weight spans; > 0.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.SoftWeight()(np.array([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]])).round(2)
        array([1.  , 1.  , 0.05], dtype=float32)
    """

    by_row = True
    graded = True

    def __init__(self, sigmas: float = 2.0) -> None:
        self.sigmas = checks.number("SoftWeight", "sigmas", sigmas, 0.0, low_open=True)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns the number of rows and the sums of confidences and their squares."""
        # The variance is a small difference of these sums: float32 would lose it.
        confidence = tf.cast(rows.score[:, 0], tf.float64)
        total = tf.cast(tf.size(confidence), tf.float64)
        return {"rows": total, "sum": tf.reduce_sum(confidence), "squares": tf.reduce_sum(confidence**2)}

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns the half Gaussian below the mean, 1 above."""
        total = tf.maximum(statistics["rows"], 1.0)
        mean = statistics["sum"] / total
        variance = tf.maximum(statistics["squares"] / total - mean**2, 1e-12)
        below = tf.minimum(tf.cast(rows.score[:, 0], tf.float64) - mean, 0.0)
        return tf.cast(tf.exp(-(below**2) * self.sigmas**2 / (2.0 * variance)), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the number of standard deviations."""
        return {"sigmas": self.sigmas}


def per_share(amount: tf.Tensor, shares: np.ndarray | None) -> tf.Tensor:
    """(K,) float64 amounts relative to what each class's share lets expect, 0 for an absent class; as they are without.

    They are scaled by the number of classes that aren't absent, so that outputs without a class change nothing.
    """
    return amount if shares is None else tf.math.divide_no_nan(amount, np.float64(shares) * np.count_nonzero(shares))


def reaching(rows: Rows, level: tf.Tensor, shares: np.ndarray | None) -> tf.Tensor:
    """(N,) weights: 1 from the level of the row's class on; an absent class can't be reached."""
    level = tf.cast(level, tf.float32)
    if shares is not None:
        level = tf.where(shares > 0.0, level, np.inf)
    return positive(rows.score[:, 0] >= tf.gather(level, rows.label))
