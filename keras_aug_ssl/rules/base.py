"""What a selection rule is: a score per row, statistics that merge over blocks of rows, and weights from the two.

The two steps let a pool larger than memory be judged in one pass over its features: blocks of rows are scored and
their statistics merged in any order, as any batch engine can do; then the weights follow from the kept scores.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks

Statistics = dict[str, Any]


class Prediction(NamedTuple):
    """What a model said about a block of N rows.

    Attributes:
        probabilities: (N, K) of classes; (N, K) independent ones for several labels; (N, D) numbers for regression.
        row: (N,) int64 positions of the rows in the pool.
        uncertainty: (N,) standard deviation over several teachers or passes; None where there was one prediction.
        several: the probabilities are of several labels.
    """

    probabilities: tf.Tensor
    row: tf.Tensor
    uncertainty: tf.Tensor | None = None
    several: bool = False

    @property
    def classes(self) -> tf.Tensor:
        """(N, K) probabilities that exclude each other.

        A row of several labels is as sure as the least sure of them: there they are (N, 2), that this one is decided
        wrongly and rightly.
        """
        if not self.several:
            return self.probabilities
        right = tf.reduce_min(tf.maximum(self.probabilities, 1.0 - self.probabilities), axis=-1, keepdims=True)
        return tf.concat([1.0 - right, right], axis=-1)


class Rows(NamedTuple):
    """What is kept of each row between the two steps.

    Attributes:
        row: (N,) int64 positions in the pool.
        label: (N,) int32 most probable class.
        score: (N, S) float32, a column for each rule combined by `&`.
    """

    row: tf.Tensor
    label: tf.Tensor
    score: tf.Tensor


class Context(NamedTuple):
    """What a rule may know besides the rows.

    Attributes:
        prior: (K,) share of each class among the labeled examples; None when unknown.
        round: number of this selection, from 1.
        holdout: predictions of held-out examples as (M, K) probabilities and (M,) true labels; None without them.
    """

    prior: Any = None
    round: int = 1
    holdout: tuple[Any, Any] | None = None


class Rule:
    """Base of all rules: maps predictions to weights in [0, 1]; 0 leaves a row out.

    Call a rule on probabilities to see what it does. Subclasses define `score` and `weights`, and `statistics` where
    a row's weight depends on other rows. All three are functions of tensors, so a rule works in a `tf.function`.
    A rule of one's own must be registered, by `keras.saving.register_keras_serializable`, and give its arguments in
    `get_config`: runs and models that hold it are saved and found again by its name. `kas.testing.check_rule` checks
    it.

    Class attributes:
        graded: weights may lie between 0 and 1, so training needs sample weights.
        by_row: `weights` needs a row and the statistics, and no other row, so a large pool is weighed part by part.
            Left at False, `weights` gets the whole pool at once, as ranks and shares need it.
        needs_holdout: `Context.holdout` is required.
        reads_numbers: `score` makes sense of regression too, whose predictions say nothing of confidence.
    """

    graded = False
    by_row = False
    needs_holdout = False
    reads_numbers = False
    passes: Any = None  # how to get `Prediction.uncertainty` where one model labels: a number of passes, or models
    view: Any = None
    width = 1  # columns of the score

    @property
    def spreads(self) -> bool:
        """Whether the rule goes by `Prediction.uncertainty`, so that one prediction of a row doesn't do."""
        return self.passes is not None

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns (N, S) float32 scores from each row by itself."""
        raise NotImplementedError

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns what must be known of a block as a whole; sums by default, which `merge` adds up."""
        return {}

    def merge(self, first: Statistics, second: Statistics) -> Statistics:
        """Returns the statistics of two blocks together; associative."""
        return {name: first[name] + second[name] for name in first}

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns (N,) float32 weights in [0, 1] for rows, given the statistics of the whole pool."""
        raise NotImplementedError

    def harden(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns hard targets for several labels: (N, K) of 0 and 1 from independent probabilities."""
        return (probabilities >= 0.5).astype(np.float32)

    def __and__(self, other: Rule) -> Rule:
        """Returns the rule whose weights are the product of both."""
        if not isinstance(other, Rule):
            return NotImplemented
        return Both(self, other)

    def __call__(
        self, probabilities: Any, prior: Any = None, *, uncertainty: Any = None, round: int = 1, holdout: Any = None
    ) -> Any:
        """Weighs one whole set of predictions.

        Args:
            probabilities: (N, K) class probabilities; (N, D) predicted numbers for regression rules. (T, N, K) from T
                passes stand for their mean, with `uncertainty` their standard deviation.
            prior: (K,) share of each class among labeled examples.
            uncertainty: (N,) standard deviation over several passes.
            round: number of this selection, from 1.
            holdout: (M, K) probabilities and (M,) true labels of held-out examples.

        Returns:
            (N,) float32 weights in [0, 1]; a tensor for a tensor, else a NumPy array.
        """
        in_tensors = tf.is_tensor(probabilities)
        prediction = _prediction(type(self).__name__, probabilities, uncertainty)
        rows = Rows(prediction.row, label_of(prediction.probabilities), self.score(prediction))
        statistics = self.statistics(rows, prediction.probabilities)
        weights = self.weights(rows, statistics, Context(prior, round, holdout))
        return weights if in_tensors else weights.numpy()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal rule."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rule:
        """Makes the rule `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        # Not from the configuration: what a rule is given, such as a view in NumPy, need not be one that can be saved.
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Both(Rule):
    """The product of two rules' weights; what `first & second` makes.

    Each rule judges all rows: `TopK(10) & Threshold(0.9)` takes those of the 10 most confident that reach 0.9.

    Args:
        first: a rule.
        second: another rule.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> rule = kas.rules.Threshold(0.6) & kas.rules.TopK(1)
        >>> rule(np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55]]))
        array([1., 0., 0.], dtype=float32)
    """

    def __init__(self, first: Rule, second: Rule) -> None:
        for name, rule in (("first", first), ("second", second)):
            if not isinstance(rule, Rule):
                checks.fail("Both", name, "a rule", rule, error=TypeError)
        asking = [rule for rule in (first, second) if rule.spreads]
        if len(asking) == 2:
            checks.fail(
                "Both", "second", "a rule that makes no passes, since `first` does", second,
                "Combine one rule that makes passes with others.",
            )  # fmt: skip
        self.first, self.second = first, second
        self.graded = first.graded or second.graded
        self.by_row = first.by_row and second.by_row
        self.needs_holdout = first.needs_holdout or second.needs_holdout
        self.reads_numbers = first.reads_numbers and second.reads_numbers
        self.passes, self.view = (asking[0].passes, asking[0].view) if asking else (None, None)
        self.width = first.width + second.width

    @property
    def spreads(self) -> bool:
        """Whether either of them goes by several predictions of a row."""
        return self.first.spreads or self.second.spreads

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the scores of both, side by side."""
        return tf.concat([self.first.score(prediction), self.second.score(prediction)], axis=1)

    def statistics(self, rows: Rows, probabilities: tf.Tensor) -> Statistics:
        """Returns the statistics of both."""
        first, second = self._split(rows)
        return {
            "first": self.first.statistics(first, probabilities),
            "second": self.second.statistics(second, probabilities),
        }

    def merge(self, first: Statistics, second: Statistics) -> Statistics:
        """Merges each rule's statistics by its own way."""
        return {
            "first": self.first.merge(first["first"], second["first"]),
            "second": self.second.merge(first["second"], second["second"]),
        }

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns the product."""
        first, second = self._split(rows)
        one = self.first.weights(first, statistics["first"], context)
        return one * self.second.weights(second, statistics["second"], context)

    def harden(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the targets of whichever rule has its own way of making them."""
        own = type(self.second).harden is not Rule.harden
        return (self.second if own else self.first).harden(probabilities)

    def _split(self, rows: Rows) -> tuple[Rows, Rows]:
        width = self.first.width
        return rows._replace(score=rows.score[:, :width]), rows._replace(score=rows.score[:, width:])

    def get_config(self) -> dict[str, Any]:
        """Returns both rules' configurations."""
        return {
            "first": keras.saving.serialize_keras_object(self.first),
            "second": keras.saving.serialize_keras_object(self.second),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Both:
        """Makes both rules and joins them."""
        return cls(**{name: keras.saving.deserialize_keras_object(part) for name, part in config.items()})

    def __repr__(self) -> str:
        return f"{self.first!r} & {self.second!r}"


class Custom(Rule):
    """A plain function from (N, K) probabilities to (N,) weights, as a rule. All probabilities are kept for it.

    Args:
        function: gets a NumPy array of the whole pool and returns weights in [0, 1].
    """

    graded = True
    reads_numbers = True

    def __init__(self, function: Callable[[np.ndarray], Any]) -> None:
        self.function = function

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the probabilities themselves."""
        return prediction.probabilities

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Calls the function."""
        return tf.cast(tf.convert_to_tensor(self.function(np.asarray(rows.score))), tf.float32)

    def __repr__(self) -> str:
        return f"{self.function!r}"


def label_of(probabilities: tf.Tensor) -> tf.Tensor:
    """(N,) int32 most probable class; the first of equals."""
    return tf.argmax(probabilities, axis=-1, output_type=tf.int32)


def confidence_of(probabilities: tf.Tensor) -> tf.Tensor:
    """(N, 1) largest probability."""
    return tf.reduce_max(probabilities, axis=-1, keepdims=True)


def positive(condition: tf.Tensor) -> tf.Tensor:
    """Weights 1 where true, 0 elsewhere."""
    return tf.cast(condition, tf.float32)


def _prediction(owner: str, probabilities: Any, uncertainty: Any) -> Prediction:
    try:
        values = tf.convert_to_tensor(probabilities)
    except (TypeError, ValueError):
        checks.fail(owner, "probabilities", "an array of numbers", probabilities, error=TypeError)
    if values.shape.rank not in (2, 3):
        expected = "(N, K), or (T, N, K) for T passes"
        checks.fail(owner, "probabilities", expected, tuple(values.shape), "That is the shape that came.")
    values = tf.cast(values, tf.float32)
    if values.shape.rank == 3:
        values, uncertainty = summary(values)
    if uncertainty is not None:
        uncertainty = tf.cast(tf.convert_to_tensor(uncertainty), tf.float32)
    return Prediction(values, tf.range(tf.shape(values)[0], dtype=tf.int64), uncertainty)


def summary(passes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean (N, K) of (T, N, K) passes, and (N,) the standard deviation of each row's largest mean output.

    For one output per row, as in regression, that is the standard deviation of the prediction.
    """
    mean = tf.reduce_mean(passes, axis=0)
    deviation = tf.math.reduce_std(passes, axis=0)
    top = tf.argmax(mean, axis=-1, output_type=tf.int32)
    return mean, tf.gather(deviation, top, axis=1, batch_dims=1)


def check_prior(owner: str, prior: Any, num_classes: int) -> np.ndarray | None:
    """Returns (K,) float32 shares that sum to 1, 0 for an absent class; None stays None."""
    if prior is None:
        return None
    expected = f"({num_classes},) shares >= 0, one for each class"
    try:
        values = np.asarray(prior, np.float32)
    except (TypeError, ValueError):
        checks.fail(owner, "prior", expected, prior, error=TypeError)
    if values.shape != (num_classes,) or not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        checks.fail(owner, "prior", expected, prior)
    return values / values.sum()
