"""Rules that take the most confident rows: a number of them, or a share that may grow from round to round."""

from __future__ import annotations

from typing import Any

import keras
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


class Ranked(Rule):
    """Base of rules that take so many of the surest rows of each group; among equals the first in the pool.

    Subclasses define `quota` and, where the groups aren't the predicted classes or a small score is a sure one,
    `standing`. The quotas follow from the statistics, so a pool in parts needs no ranks over all of it: the least sure
    row that each group takes decides.
    """

    def standing(self, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (N,) int32 group and (N,) float32 how sure, by which rows of a group are ranked."""
        return rows.label, rows.score[:, 0]

    def quota(self, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns (G,) int64 number of rows to take of each group."""
        raise NotImplementedError

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 for rows whose rank within their group is below the group's quota."""
        group, sure = self.standing(rows)
        return positive(rank_in_class(group, sure) < tf.gather(self.quota(statistics, context), group))


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class TopK(Ranked):
    """Takes the `k` most confident rows of each predicted class, or of all.

    Ranks need no calibrated probabilities, and a number for each class keeps easy classes from crowding out the others.
    scikit-learn's `k_best` takes k of all together: `per_class=False`. Among equals the first row in the pool wins.

    Args:
        k: number of rows, >= 1.
        per_class: k of each predicted class; False takes k altogether.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.TopK(1)(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]))
        array([1., 0., 1.], dtype=float32)
    """

    def __init__(self, k: int = 10, per_class: bool = True) -> None:
        self.k = checks.integer("TopK", "k", k, 1)
        self.per_class = bool(per_class)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns (K,) the number of rows predicted as each class, or (1,) that of all."""
        group, _ = self.standing(rows)
        groups = probabilities.shape[-1] if self.per_class else 1
        return {"count": tf.math.bincount(group, minlength=groups, dtype=tf.int64)}

    def standing(self, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the predicted class, or one group of all, and the largest probability."""
        return rows.label if self.per_class else tf.zeros_like(rows.label), rows.score[:, 0]

    def quota(self, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns (G,) k of each."""
        return tf.fill(tf.shape(statistics["count"]), tf.constant(self.k, tf.int64))

    def get_config(self) -> dict[str, Any]:
        """Returns number and grouping."""
        return {"k": self.k, "per_class": self.per_class}


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class TopFraction(Ranked):
    """Takes a share of the pool, the most confident of each class, growing from round to round: a curriculum.

    Each class gets its quota by its share in `prior`, so that the classes the model finds easy don't
    take over. Without a prior the quotas follow the predictions. A class with fewer predicted rows than its quota
    gives what it has, one without labeled examples nothing; one that is rarer in the pool than `prior` says gets
    others' rows in the end; `SelfTraining` estimates the pool's class mix for it, unless it is told. Curriculum
    Labeling (arXiv 2001.06001) takes 20, 40, ... 100 %, over all classes together.

    Args:
        fraction: share of the pool in the first round, in (0, 1].
        step: added each round, up to all of it; in [0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> rule = kas.rules.TopFraction(0.5, step=0.5)
        >>> rule(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]]))
        array([1., 0., 0., 1.], dtype=float32)
    """

    def __init__(self, fraction: float = 0.2, step: float = 0.0) -> None:
        self.fraction = checks.number("TopFraction", "fraction", fraction, 0.0, 1.0, low_open=True)
        self.step = checks.number("TopFraction", "step", step, 0.0, 1.0)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the largest probability."""
        return confidence_of(prediction.classes)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns (K,) the number of rows predicted as each class."""
        return {"count": tf.math.bincount(rows.label, minlength=probabilities.shape[-1], dtype=tf.int64)}

    def quota(self, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns (K,) rows of each class by its share."""
        count = tf.cast(statistics["count"], tf.float64)
        prior = check_prior("TopFraction", context.prior, count.shape[0])
        share = min(1.0, self.fraction + self.step * (context.round - 1))
        return rows_of_share(share * (count if prior is None else tf.reduce_sum(count) * prior))

    def get_config(self) -> dict[str, Any]:
        """Returns share and step."""
        return {"fraction": self.fraction, "step": self.step}


def rows_of_share(expected: tf.Tensor) -> tf.Tensor:
    """int64 whole rows for float64 shares of a pool, rounded up.

    The shares are decimal fractions in float32: 0.2 * 5 is 1.0000000149, which must not become 2. Of millions the share
    of a row that is forgiven stays below one: all of them are all.
    """
    return tf.cast(tf.math.ceil(expected - tf.minimum(1e-6 * expected, 0.49)), tf.int64)


def rank_in_class(label: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
    """(N,) int64 place of each row among those of its label: 0 for the largest score, the first of equals first."""
    by_score = tf.argsort(score, direction="DESCENDING", stable=True)
    order = tf.gather(by_score, tf.argsort(tf.gather(label, by_score), stable=True))
    sorted_label = tf.gather(label, order)
    places = tf.range(tf.size(order))
    first = tf.searchsorted(sorted_label, sorted_label, side="left")
    return tf.scatter_nd(order[:, None], tf.cast(places - first, tf.int64), [tf.size(order)])
