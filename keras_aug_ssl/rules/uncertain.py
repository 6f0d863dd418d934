"""Rules for what several predictions of one row say: how far they spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules.base import Context, Prediction, Rows, Rule, Statistics, positive
from keras_aug_ssl.rules.ranked import Ranked, rows_of_share


class Spread(Rule):
    """Base of rules that need several predictions of each row.

    Args:
        passes: predictions with dropout, >= 2; or the models of an ensemble, whose weights are not part of the
            configuration. None takes what is there: where several teachers label, how far they spread, which costs
            nothing more, else 10 predictions.
        view: an augmentation applied to the inputs, anew for each pass, instead of dropout; None for dropout.
    """

    reads_numbers = True

    @property
    def spreads(self) -> bool:
        """True: one prediction has no spread."""
        return True

    def __init__(self, passes: int | Sequence[keras.Model] | None, view: Callable[..., Any] | None) -> None:
        owner = type(self).__name__
        if isinstance(passes, (list, tuple)):
            if len(passes) < 2 or not all(isinstance(model, keras.Model) for model in passes):
                checks.fail(owner, "passes", "a number >= 2, or at least two Keras models", passes, error=TypeError)
            self.passes: Any = tuple(passes)
        else:
            self.passes = None if passes is None else checks.integer(owner, "passes", passes, 2)
        if view is not None and not callable(view):
            checks.fail(owner, "view", "an augmentation, or None", view, error=TypeError)
        self.view = view

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the standard deviation over the passes."""
        if prediction.uncertainty is None:
            checks.fail(
                type(self).__name__, "uncertainty", "given, since one prediction has no spread", None,
                "Pass (T, N, K) probabilities of T passes, or (N,) uncertainty=.",
            )  # fmt: skip
        return prediction.uncertainty[:, None]

    def get_config(self) -> dict[str, Any]:
        """Returns passes and view."""
        passes = self.passes
        if isinstance(passes, tuple):
            passes = [keras.saving.serialize_keras_object(model) for model in passes]
        return {"passes": passes, "view": keras.saving.serialize_keras_object(self.view)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Spread:
        """Makes the rule, with its models and its view."""
        restored = dict(config)
        if isinstance(config["passes"], (list, tuple)):
            restored["passes"] = [keras.saving.deserialize_keras_object(model) for model in config["passes"]]
        return cls(**(restored | {"view": keras.saving.deserialize_keras_object(config["view"])}))


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Uncertainty(Spread):
    """Takes rows whose prediction hardly changes from pass to pass (UPS, arXiv 2101.06329, eq. 4).

    A network can be confident and fickle; a dropout pass or another view tells. Join it with a level or a rank:
    `Threshold(0.7) & Uncertainty(0.05)` are UPS's own. Costs `passes` predictions of the pool. Labels are taken from
    the mean of the passes. BatchNormalization stays in inference mode.

    Args:
        limit: largest standard deviation of the predicted class's probability over the passes, >= 0; for several labels
            of any one's, for regression in the unit of the target.
        passes: predictions with dropout, >= 2; or the models of an ensemble, whose weights are not part of the
            configuration. None takes what is there: where several teachers label, how far they spread, which costs
            nothing more, else 10 predictions.
        view: an augmentation applied to the inputs, anew for each pass, instead of dropout; None for dropout.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> two_passes = np.array([[[0.9, 0.1], [0.9, 0.1]], [[0.88, 0.12], [0.5, 0.5]]])
        >>> kas.rules.Uncertainty(0.05)(two_passes)
        array([1., 0.], dtype=float32)
    """

    by_row = True

    def __init__(
        self,
        limit: float = 0.05,
        passes: int | Sequence[keras.Model] | None = None,
        view: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(passes, view)
        self.limit = checks.number("Uncertainty", "limit", limit, 0.0)

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 up to the limit."""
        return positive(rows.score[:, 0] <= self.limit)

    def get_config(self) -> dict[str, Any]:
        """Returns limit, passes and view."""
        return {"limit": self.limit, **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class LowVariance(Ranked, Spread):
    """Takes the share of rows whose predictions vary least: the rule for regression.

    Numbers come without a confidence; how far dropout passes or the members of an ensemble disagree stands in for it.

    Args:
        fraction: share of the pool in the first round, in (0, 1].
        passes: predictions with dropout, >= 2; or the models of an ensemble, whose weights are not part of the
            configuration. None takes what is there: where several teachers label, how far they spread, which costs
            nothing more, else 10 predictions.
        view: an augmentation applied to the inputs, anew for each pass, instead of dropout; None for dropout.
        step: added to the share each round, up to all; in [0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.LowVariance(0.5)(mean=np.array([3.0, 5.0]), variance=np.array([0.1, 2.0]))
        array([1., 0.], dtype=float32)
    """

    def __init__(
        self,
        fraction: float = 0.2,
        passes: int | Sequence[keras.Model] | None = None,
        view: Callable[..., Any] | None = None,
        step: float = 0.0,
    ) -> None:
        super().__init__(passes, view)
        self.fraction = checks.number("LowVariance", "fraction", fraction, 0.0, 1.0, low_open=True)
        self.step = checks.number("LowVariance", "step", step, 0.0, 1.0)

    def standing(self, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns one group, and the smallest standard deviation as the surest."""
        return tf.zeros_like(rows.label), -rows.score[:, 0]

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns the number of rows."""
        return {"rows": tf.size(rows.label, tf.int64)[None]}

    def quota(self, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns (1,) the share of all."""
        share = min(1.0, self.fraction + self.step * (context.round - 1))
        return rows_of_share(share * tf.cast(statistics["rows"], tf.float64))

    def __call__(self, mean: Any, variance: Any, round: int = 1) -> Any:  # type: ignore[override]
        """Weighs predictions.

        Args:
            mean: (N,) or (N, D) predicted numbers.
            variance: of the same shape, or (N,); several numbers of a row count by their mean variance.
            round: number of this selection, from 1.

        Returns:
            (N,) float32 weights, 0 or 1.
        """
        mean, spread = np.asarray(mean), np.asarray(variance, np.float32)
        if mean.ndim not in (1, 2) or len(spread) != len(mean) or spread.ndim not in (1, 2) or (spread < 0).any():
            checks.fail("LowVariance", "variance", f"numbers >= 0, one for each of the {len(mean)} means", variance)
        deviation = np.sqrt(spread.reshape(len(spread), -1).mean(axis=1))
        return super().__call__(mean.reshape(len(mean), -1), uncertainty=deviation, round=round)

    def get_config(self) -> dict[str, Any]:
        """Returns share, passes, view and growth."""
        return {"fraction": self.fraction, "step": self.step, **super().get_config()}
