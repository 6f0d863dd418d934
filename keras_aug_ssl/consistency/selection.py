"""Selection rules on a stream: what they know of a whole pool becomes a running average over batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.rules import Both, Context, Prediction, Rows, Rule
from keras_aug_ssl.rules.base import label_of

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")

HALVINGS = 20
"""Of the interval in which a rule begins to take rows: one part in a million is left."""


@register
class Selector:
    """A rule whose statistics are running averages over batches, the current one included.

    The sums of `FreeThreshold`, `FlexThreshold` and `SoftWeight` become the online forms of their papers, and start as
    there, as if all predictions so far had been uniform. A rule that ranks (`TopK`, `TopFraction`) ranks the batch.

    Args:
        rule: a rule, or a function from a tensor (N, K) of probabilities to weights (N,) in [0, 1]; None takes all.
        momentum: of the averages, in [0, 1); 0 takes each batch by itself. Few steps need a smaller one than the
            papers' 0.999, which remembers thousands.
        relative: confidences are taken relative to the mean confidence on the labeled rows of the batch (AdaMatch,
            section 3.3): of labeled rows it is 0.8 sure of on average, a level of 0.9 becomes 0.72.
    """

    def __init__(self, rule: Any = None, momentum: float = 0.999, *, relative: bool = False) -> None:
        if rule is not None and not isinstance(rule, Rule):
            if isinstance(rule, type) or not callable(rule):
                advice = "For example rules.Threshold(0.95)."
                checks.fail("Selector", "rule", "a rule or a function of probabilities", rule, advice, TypeError)
            rule = Function(rule)
        if rule is not None and rule.needs_holdout:
            checks.fail(
                "Selector", "rule", "a rule that needs no held-out rows", rule,
                "Inside a step there are none: take the level it finds, as rules.Threshold.",
            )  # fmt: skip
        self.rule = rule
        self.momentum = checks.number("Selector", "momentum", momentum, 0.0, 1.0, high_open=True)
        self.relative = bool(relative)

    @property
    def runs(self) -> bool:
        """Whether the rule's statistics are sums, so that averages of them make sense."""
        return self.rule is not None and _adds_up(self.rule)

    def initial(self, num_classes: int) -> Any:
        """Returns the averages before the first batch: those of uniform predictions; {} for a rule without any."""
        if not self.runs:
            return {}
        uniform = tf.fill([1, num_classes], 1.0 / num_classes)
        statistics = self.rule.statistics(self._rows(uniform, tf.zeros([1]), False), uniform)
        return tf.nest.map_structure(lambda part: np.asarray(part, np.float64), statistics)

    def weigh(
        self,
        probabilities: tf.Tensor,
        uncertainty: tf.Tensor | None,
        several: bool,
        prior: Any,
        blend: Callable[[Any], Any],
    ) -> tf.Tensor:
        """Weighs a batch.

        Args:
            probabilities: (N, K).
            uncertainty: (N,) standard deviation over several views, or None.
            several: the probabilities are of several labels.
            prior: (K,) share of each class in the pool, or None.
            blend: makes running averages of the averages of a batch.

        Returns:
            (N,) weights in [0, 1].
        """
        if self.rule is None:
            return tf.ones_like(probabilities[:, 0])
        rows = self._rows(probabilities, uncertainty, several)
        statistics = self.rule.statistics(rows, probabilities)
        if self.runs:
            averages = blend(self._averages(statistics, tf.size(rows.label)))
            count = tf.cast(tf.size(rows.label), tf.float64)
            statistics = tf.nest.map_structure(lambda part: part * count, averages)
        return tf.stop_gradient(self.rule.weights(rows, statistics, Context(prior)))

    def _averages(self, statistics: Any, rows: tf.Tensor) -> Any:
        """A rule's sums over the batch of all replicas, divided by its rows."""
        sums = replicas.total(tf.nest.map_structure(lambda part: tf.cast(part, tf.float64), statistics))
        count = tf.cast(rows * replicas.number(), tf.float64)
        return tf.nest.map_structure(lambda part: part / count, sums)

    def _rows(self, probabilities: tf.Tensor, uncertainty: Any, several: bool) -> Rows:
        number = tf.range(tf.shape(probabilities)[0], dtype=tf.int64)
        score = self.rule.score(Prediction(probabilities, number, uncertainty, several))
        return Rows(number, label_of(probabilities), score)

    def thresholds(self, averages: Any, num_classes: int, prior: Any) -> np.ndarray | None:
        """(K,) least confidence at which a row of each class is taken, the rest shared by the others; NaN for never.

        None for a rule without running averages, whose level never changes, and for one that goes by other rows or by
        several predictions of one.
        """
        if not tf.nest.flatten(averages) or not self.rule.by_row or self.rule.spreads:
            return None
        low, high = np.full(num_classes, 1.0 / num_classes), np.ones(num_classes)
        never, always = ~self._taken(high, averages, prior), self._taken(low, averages, prior)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            taken = self._taken(middle, averages, prior)
            low, high = np.where(taken, low, middle), np.where(taken, middle, high)
        return np.where(never, np.nan, np.where(always, 1.0 / num_classes, high))

    def _taken(self, levels: np.ndarray, averages: Any, prior: Any) -> np.ndarray:
        """(K,) whether a row of each class is taken at its level of confidence, with at least half its weight."""
        classes = len(levels)
        probabilities = np.repeat(((1.0 - levels) / max(1, classes - 1))[:, None], classes, axis=1)
        np.fill_diagonal(probabilities, levels)
        rows = self._rows(tf.constant(probabilities, tf.float32), None, False)
        rows = rows._replace(label=tf.range(classes))  # at the lowest level all classes are as probable
        return np.asarray(self.rule.weights(rows, averages, Context(prior))) >= 0.5

    def get_config(self) -> dict[str, Any]:
        """Returns rule, momentum and whether levels are relative."""
        return {**vars(self), "rule": keras.saving.serialize_keras_object(self.rule)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Selector:
        """Undoes `get_config`."""
        return cls(**{**config, "rule": keras.saving.deserialize_keras_object(config["rule"])})


@register
class Function(Rule):
    """A function of tensors as a rule.

    Args:
        function: from (N, K) probabilities to (N,) weights in [0, 1], in TensorFlow.
    """

    graded = True

    def __init__(self, function: Callable[[tf.Tensor], Any]) -> None:
        self.function = function

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the probabilities themselves."""
        return prediction.probabilities

    def weights(self, rows: Rows, statistics: Any, context: Context) -> tf.Tensor:
        """Calls the function."""
        return tf.cast(self.function(rows.score), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the function."""
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Function:
        """Undoes `get_config`."""
        return cls(keras.saving.deserialize_keras_object(config["function"]))


def as_selector(selector: Any) -> Selector:
    """Returns a selector as it is, and a rule, a function or None as one."""
    return selector if isinstance(selector, Selector) else Selector(selector)


def _adds_up(rule: Rule) -> bool:
    """Whether a rule's statistics are sums, so that averages of them make sense."""
    if isinstance(rule, Both):
        return _adds_up(rule.first) and _adds_up(rule.second)
    return type(rule).merge is Rule.merge
