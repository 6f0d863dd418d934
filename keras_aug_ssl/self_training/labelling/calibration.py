"""How far confidences can be believed: calibration on held-out labels, and what a rule would add before it does.

* `expected_calibration_error` and `reliability` compare confidence with the share of right predictions.
* `temperature` finds the divisor of the logits that makes them agree best.
* `dry_run` says how many rows a rule would take from a pool, per class, and how many of them to expect right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.labels import class_numbers
from keras_aug_ssl.rules import Context, Rule
from keras_aug_ssl.rules.choice import as_rule
from keras_aug_ssl.self_training.labelling import ensemble
from keras_aug_ssl.self_training.labelling.ensemble import Teacher
from keras_aug_ssl.self_training.labelling.scoring import BATCH_SIZE, Scorer
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.pool.sources import ArraySource, Joined
from keras_aug_ssl.teaching import guards
from keras_aug_ssl.teaching.outputs import class_prior, read_outputs

BINS = 15
SHARPNESS = 0.01, 100.0  # of inverse temperatures; contrastive heads divide by 0.01


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against outcome, in bins of equal width.

    Attributes:
        edges: (B + 1,) borders of the bins, from 0 to 1.
        confidence: (B,) mean confidence in each bin, NaN where it is empty.
        accuracy: (B,) share of right predictions, NaN where it is empty.
        count: (B,) rows.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy over rows, in [0, 1]."""
        filled = self.count > 0
        gap = np.abs(self.confidence - self.accuracy)[filled]
        return float(gap @ self.count[filled] / self.count.sum())

    def plot(self) -> Any:
        """Draws the reliability diagram.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError('Reliability.plot needs matplotlib: pip install "keras_aug_ssl[demo]"') from error
        figure = Figure(figsize=(4.5, 4.5), layout="constrained")
        axes = figure.subplots()
        centres, width = (self.edges[:-1] + self.edges[1:]) / 2, np.diff(self.edges)
        filled = self.count > 0
        axes.bar(centres[filled], self.accuracy[filled], width[filled], edgecolor="white", label="right")
        axes.plot([0, 1], [0, 1], "--", color="grey", label="as confident as right")
        axes.plot(self.confidence[filled], self.accuracy[filled], "o", color="black", label="mean confidence")
        axes.set(xlabel="confidence", ylabel="share of right predictions", xlim=(0, 1), ylim=(0, 1))
        axes.set_title(f"calibration error {self.error:.3f}, {int(self.count.sum())} held-out rows")
        axes.legend(loc="upper left")
        return figure


def reliability(probabilities: Any, labels: Any, bins: int = BINS) -> Reliability:
    """Compares the confidence of held-out predictions with how often they are right.

    Args:
        probabilities: (M, K) predictions of rows that were not trained on.
        labels: (M,) their true classes, or (M, K) one-hot.
        bins: number of bins of equal width, >= 1.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> found = kas.calibration.reliability(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=5)
        >>> float(found.accuracy[-1]), round(found.error, 3)
        (0.5, 0.4)
    """
    probabilities, labels = _held_out("reliability", probabilities, labels)
    bins = checks.integer("reliability", "bins", bins, 1)
    edges = np.linspace(0.0, 1.0, bins + 1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)  # bins hold their upper border
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, values, bins) / count for values in (confidence, right)]
    return Reliability(edges, means[0], means[1], count)


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = BINS) -> float:
    """Mean distance between confidence and share of right predictions (Guo et al., arXiv 1706.04599, eq. 5), in [0, 1].

    Args:
        probabilities: (M, K) predictions of rows that were not trained on.
        labels: (M,) their true classes, or (M, K) one-hot.
        bins: number of bins of equal width, >= 1. The estimate is biased upwards when bins hold few rows.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> round(kas.calibration.expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1])), 6)
        0.0
    """
    return reliability(probabilities, labels, bins).error


def temperature(probabilities: Any, labels: Any) -> float:
    """Finds the temperature that makes held-out labels most likely (Guo et al., arXiv 1706.04599, section 4.2).

    Dividing logits by it keeps every predicted class and moves confidences, so it pays where a level has a meaning,
    as in `Threshold`; ranks stay the same within a class only nearly, and selecting the k best hardly changes.

    Args:
        probabilities: (M, K) predictions of rows that were not trained on, made with temperature 1; (T, M, K) of T
            models, whose mean is to be right when each one's logits are divided by it.
        labels: (M,) their true classes, or (M, K) one-hot.

    Returns:
        A number in [0.01, 100]: above 1 for an over-confident model. Where all held-out rows are right, the sharper the
        likelier, without an end, though M rows can't tell 1 - 1 / M from certainty. So it is never so low that the mean
        confidence exceeds (M + 1) / (M + 2), Laplace's estimate of the accuracy where M of M rows are right.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> round(kas.calibration.temperature(np.array([[0.99, 0.01]] * 10), np.array([0] * 9 + [1])), 2)
        2.09
    """
    several = probabilities if np.ndim(probabilities) == 3 else [probabilities]
    checked = [_held_out("temperature", each, labels) for each in several]
    logits, labels = np.log(np.maximum([each for each, _ in checked], 1e-30)), checked[0][1]
    rows = np.arange(len(labels))

    def logs(inverse: float) -> np.ndarray:
        """(M, K) logarithms of the mean probabilities."""
        scaled = logits * inverse
        each = scaled - np.logaddexp.reduce(scaled, axis=2, keepdims=True)
        return np.logaddexp.reduce(each, axis=0) - math.log(len(each))

    def loss(inverse: float) -> float:
        return float(-np.mean(logs(inverse)[rows, labels]))

    def confidence(inverse: float) -> float:
        return float(np.mean(np.exp(logs(inverse).max(axis=1))))

    likeliest, most = _minimum(loss, *SHARPNESS), (len(rows) + 1) / (len(rows) + 2)
    return 1.0 / (likeliest if confidence(likeliest) <= most else _crossing(confidence, most, *SHARPNESS))


def _crossing(rising: Any, value: float, low: float, high: float) -> float:
    """Where a rising function of one number > 0 takes a value, by halving the interval of logarithms."""
    while high > low * (1.0 + 1e-6):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return low


def _minimum(function: Any, low: float, high: float) -> float:
    """Where a convex function of one number is smallest, by golden sections."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-6 * high:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2.0


def precision_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share of which `right` of `total` were seen (Wilson 1927); (0, 1) when nothing was seen.

    Example:
        >>> import keras_aug_ssl as kas
        >>> low, high = kas.calibration.precision_interval(97, 100)
        >>> round(low, 3), round(high, 3)
        (0.915, 0.99)
    """
    if total == 0:
        return 0.0, 1.0
    z = 1.959964
    share, spread = right / total, z * z / total
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = z / (1.0 + spread) * math.sqrt(share * (1.0 - share) / total + spread / (4.0 * total))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a rule would do; print it to read it.

    Attributes:
        rule: what selects.
        rows: size of the pool.
        added: rows it would take.
        per_class: (K,) of each predicted class.
        right: held-out rows it would take and that are predicted right.
        judged: held-out rows it would take.
        interval: 95 % interval of the expected precision.
    """

    rule: Rule
    rows: int
    added: int
    per_class: np.ndarray
    right: int
    judged: int
    interval: tuple[float, float]

    @property
    def will_hurt(self) -> bool:
        """Whether fewer than half of at least 10 judged rows are right, where learning from such labels does harm."""
        return guards.will_hurt(self.right, self.judged)

    @property
    def precision(self) -> float:
        """Expected share of right pseudo-labels; NaN when the rule takes no held-out row."""
        return self.right / self.judged if self.judged else math.nan

    def __str__(self) -> str:
        counts = ", ".join(f"{label}: {count}" for label, count in enumerate(self.per_class))
        expected = "unknown precision (it would take no held-out row)"
        if self.judged:
            low, high = self.interval
            expected = f"expected precision {self.precision:.3f} (95 % interval {low:.3f} to {high:.3f})"
        said = f"{self.rule!r} would add {self.added} of {self.rows} rows ({counts}) at {expected}"
        if self.will_hurt:
            said += ". With these labels self-training will hurt more than help"
        return said


def dry_run(
    model: keras.Model,
    pool: Any,
    select: Any,
    x: Any,
    y: Any,
    *,
    teachers: Sequence[keras.Model] | None = None,
    temperature: float | None = None,
    batch_size: int = BATCH_SIZE,
) -> DryRun:
    """Says what a rule would take from a pool now, and how many of the labels to expect right.

    The precision is that of the held-out rows that the rule takes when they are mixed into the pool.

    Args:
        model: compiled with its loss.
        pool: an `UnlabeledPool`, or what one is made of.
        select: a rule, or a function of probabilities.
        x: (M, ...) held-out inputs, like the pool's rows.
        y: (M,) their classes, or (M, K) one-hot. Rows the model was trained on make the result too good.
        teachers: trained models that label in place of `model`, by their mean, as for `SelfTraining`.
        temperature: divides the logits; None is 1.
        batch_size: rows scored at once, >= 1.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("sigmoid")])
        >>> model.compile(loss="binary_crossentropy")
        >>> x = np.linspace(-6, 6, 100, dtype="float32")[:, None]
        >>> print(kas.calibration.dry_run(model, x, kas.rules.Threshold(0.95), x, x[:, 0] > 0))
        Threshold(confidence=0.95) would add 52 of 100 rows (0: 26, 1: 26) at expected precision 1.000 \
(95 % interval 0.931 to 1.000)
    """
    owner = "dry_run"
    rule = as_rule(owner, select)
    divisor = 1.0 if temperature is None else checks.number(owner, "temperature", temperature, 0.0, low_open=True)
    pool = pool if isinstance(pool, UnlabeledPool) else UnlabeledPool(pool)
    labels, inputs = np.asarray(y), ArraySource(owner, x)
    outputs = read_outputs(owner, model, inputs.arrays, labels)
    if not outputs.single:
        checks.fail(owner, "model", "a classifier with one class a row", outputs.kind)
    prior, truth = class_prior(outputs, labels, owner), class_numbers(labels, outputs.signed)
    own = Teacher(model, outputs)
    labelling = ensemble.checked(owner, teachers) or [model]
    readers = ensemble.read_all(owner, "teachers", labelling, own, inputs.arrays, labels)
    ensemble.check_passes(owner, "select", readers, rule)
    members = ensemble.read_members(owner, [rule], own, inputs.arrays, labels)
    scorer = Scorer(owner, readers, [rule], checks.integer(owner, "batch_size", batch_size, 1), members)
    known = scorer.predict(inputs, divisor), truth
    context = Context(prior, 1, known)
    alone = scorer.scan(pool, context, temperature=divisor)
    mixed = scorer.scan(Joined(pool, inputs), context, temperature=divisor)
    taken = mixed.weights[0][len(pool) :] > 0
    right = mixed.label[len(pool) :][taken] == truth[taken]
    added = alone.label[alone.weights[0] > 0]
    return DryRun(
        rule,
        len(pool),
        len(added),
        np.bincount(added, minlength=outputs.num_classes),
        int(right.sum()),
        int(taken.sum()),
        precision_interval(int(right.sum()), int(taken.sum())),
    )


def _held_out(owner: str, probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(probabilities, np.float64), class_numbers(np.asarray(labels))
    if values.ndim != 2 or len(values) != len(truth) or not len(truth):
        checks.fail(owner, "probabilities", "(M, K), one line for each of the M labels, at least one", values.shape)
    whole = ((values >= -1e-3) & (values <= 1.001)).all(axis=1) & (np.abs(values.sum(axis=1) - 1.0) <= 0.02)
    if not whole.all():
        advice = "If they are logits, apply a softmax first."
        checks.fail(owner, "probabilities", "lines of probabilities that sum to 1", values[~whole][0], advice)
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        wrong = truth.min() if truth.min() < 0 else truth.max()
        checks.fail(owner, "labels", f"class numbers from 0 to {values.shape[1] - 1}", int(wrong))
    return values, truth
