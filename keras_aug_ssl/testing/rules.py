"""The laws of a selection rule as small named checks, for our own rules and for a user's."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules import Context, Prediction, Rows, Rule
from keras_aug_ssl.rules.base import label_of
from keras_aug_ssl.self_training.labelling.scoring import PART, weigh
from keras_aug_ssl.testing.laws import Law, broken, held, register, same

LAWS: list[Law] = []
ROWS, CLASSES = 60, 4
LARGE = 300_000  # more than are weighed at once
PRIOR = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
TOLERANCE = 1e-6


class RuleSubject:
    """A rule under test and predictions to show it.

    Args:
        rule: what is tested.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.name = repr(rule)

    def predictions(self, rows: int = ROWS) -> np.ndarray:
        """(rows, CLASSES) probabilities, from unsure to sure, no two rows equally confident."""
        logits = np.random.default_rng(0).normal(size=(rows, CLASSES)) * np.linspace(0.5, 6.0, rows)[:, None]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)

    def statistics(self, probabilities: np.ndarray, first: int = 0) -> tuple[Rows, Any]:
        """Rows of a block that begins at row `first`, and what the rule says of them as a whole."""
        values = tf.convert_to_tensor(probabilities)
        row = tf.range(first, first + values.shape[0], dtype=tf.int64)
        spread = 0.3 * (1.0 - tf.reduce_max(values, axis=-1))  # a surer row varies less
        rows = Rows(row, label_of(values), self.rule.score(Prediction(values, row, spread)))
        return rows, self.rule.statistics(rows, values)

    def weights(self, probabilities: np.ndarray, prior: Any = PRIOR) -> np.ndarray:
        """(N,) weights of one whole set."""
        rows, statistics = self.statistics(probabilities)
        return np.asarray(self.rule.weights(rows, statistics, self.context(prior)))

    def context(self, prior: Any = PRIOR) -> Context:
        """What the rule may know: held-out rows of which the surer half is right."""
        held_out = self.predictions(40)
        labels = np.where(np.arange(40) < 20, (held_out.argmax(axis=1) + 1) % CLASSES, held_out.argmax(axis=1))
        return Context(prior, 1, (held_out, labels))


def check_rule(rule: Rule, *, only: Sequence[str] | None = None, skip: Sequence[str] = ()) -> list[str]:
    """Checks that a rule keeps the laws every selection rule has to keep.

    Run it over a rule of your own, in a test. The laws are in `RULE_LAWS`: each is a name, a sentence and a check.

    Args:
        rule: an instance of a subclass of `rules.Rule`, with moderate settings.
        only: names of the laws to check; None checks all.
        skip: names of laws to leave out.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: a law is broken; it says which, and how.

    Example:
        >>> import keras_aug_ssl as kas
        >>> kas.testing.check_rule(kas.rules.Threshold(0.8), only=["weights lie in [0, 1]"])
        ['weights lie in [0, 1]']
    """
    if not isinstance(rule, Rule):
        checks.fail("check_rule", "rule", "an instance of a subclass of rules.Rule", rule, error=TypeError)
    return held("check_rule", RULE_LAWS, lambda: RuleSubject(rule), only, skip)


@register(LAWS, "weights lie in [0, 1]")
def weights_lie_in_range(subject: RuleSubject) -> None:
    """There is one finite weight in [0, 1] for each row, whatever the prior is, and the same in a second call."""
    for prior in (None, PRIOR, np.array([1.0, 0.0, 0.0, 0.0], np.float32)):
        weights = subject.weights(subject.predictions(), prior)
        _in_range(weights, ROWS)
        same(subject.weights(subject.predictions(), prior), weights, "two calls")


@register(LAWS, "extreme predictions are judged")
def extreme_predictions_are_judged(subject: RuleSubject) -> None:
    """Certain, uniform, equal and single predictions get weights in [0, 1]."""
    certain, uniform = np.eye(CLASSES, dtype=np.float32), np.full((5, CLASSES), 1.0 / CLASSES, np.float32)
    for probabilities in (certain, uniform, certain[:1], uniform[:1], np.repeat(certain[:1], 5, axis=0)):
        _in_range(subject.weights(probabilities), len(probabilities))


@register(LAWS, "the order of rows doesn't matter")
def order_does_not_matter(subject: RuleSubject) -> None:
    """Rows in another order get the same weights in that order."""
    probabilities = subject.predictions()
    order = np.random.default_rng(1).permutation(ROWS)
    same(subject.weights(probabilities[order]), subject.weights(probabilities)[order], "shuffled and not", TOLERANCE)


@register(LAWS, "blocks merge to the whole")
def blocks_merge(subject: RuleSubject) -> None:
    """Statistics of blocks, merged in either order of merging, give the weights of the whole."""
    probabilities, whole = subject.predictions(), subject.weights(subject.predictions())
    parts = [(0, 7), (7, 30), (30, ROWS)]
    blocks = [subject.statistics(probabilities[start:stop], start) for start, stop in parts]
    rows = Rows(*(tf.concat(part, axis=0) for part in zip(*(block for block, _ in blocks), strict=True)))
    one, two, three = (statistics for _, statistics in blocks)
    merge = subject.rule.merge
    for how, statistics in (("left", merge(merge(one, two), three)), ("right", merge(one, merge(two, three)))):
        weights = subject.rule.weights(rows, statistics, subject.context())
        same(weights, whole, f"blocks merged from the {how} and the whole", 1e-5)


@register(LAWS, "a pool of any size is weighed as a whole")
def any_size_is_weighed_as_a_whole(subject: RuleSubject) -> None:
    """Shares and ranks hold however many rows are scored at once and weighed at once, on a pool of 300,000 too."""
    for rows, block, parts in ((ROWS, 1, (1, 7, ROWS)), (LARGE, 40_000, (PART, LARGE))):
        probabilities = subject.predictions(rows)
        whole = subject.weights(probabilities)
        blocks = [subject.statistics(probabilities[start : start + block], start) for start in range(0, rows, block)]
        statistics = functools.reduce(subject.rule.merge, (found for _, found in blocks))
        joined = Rows(*(np.concatenate(part) for part in zip(*(block for block, _ in blocks), strict=True)))
        for part in parts:
            weights = weigh("check_rule", subject.rule, joined, statistics, subject.context(), part)
            if not np.allclose(weights, whole, atol=1e-5):
                broken(
                    f"of {rows} rows, {block} scored and {part} weighed at once, {(weights > 0).sum()} are taken, of "
                    f"the whole {(whole > 0).sum()}; a rule that looks at other rows has by_row = False"
                )


@register(LAWS, "an output without a class draws no rows")
def an_output_without_a_class_draws_no_rows(subject: RuleSubject) -> None:
    """One output more, which no labeled row has and one row is sure of, doesn't bring other rows in."""
    probabilities = subject.predictions()
    wider = np.concatenate([0.999 * probabilities, np.full((ROWS, 1), 0.001, np.float32)], axis=1)
    ghost = np.array([[0.0025] * CLASSES + [0.99]], np.float32)
    before = subject.weights(probabilities).sum()
    after = subject.weights(np.concatenate([wider, ghost]), np.append(PRIOR, np.float32(0)))[:-1].sum()
    if after > before + 0.1 * ROWS:
        broken(f"of {ROWS} rows {before:.1f} are taken, and {after:.1f} when the model has an output without a class")


@register(LAWS, "graph equals eager", graphs=True)
def graph_equals_eager(subject: RuleSubject) -> None:
    """Score and statistics are the same in a `tf.function`."""
    probabilities = subject.predictions()
    eager = subject.statistics(probabilities)
    traced = tf.function(lambda values: subject.statistics(values), autograph=False)(tf.constant(probabilities))
    for one, other in zip(keras.tree.flatten(eager), keras.tree.flatten(traced), strict=True):
        same(one, other, "eager and graph", 1e-5)


@register(LAWS, "surer is never worse")
def surer_is_never_worse(subject: RuleSubject) -> None:
    """A row whose prediction becomes surer, all others equal, doesn't lose weight."""
    probabilities = subject.predictions()
    before = subject.weights(probabilities)
    for row in range(0, ROWS, 7):
        surer = probabilities.copy()
        surer[row] = 0.5 * (surer[row] + np.eye(CLASSES, dtype=np.float32)[surer[row].argmax()])
        after = subject.weights(surer)[row]
        if after < before[row] - TOLERANCE:
            old, new = probabilities[row].max(), surer[row].max()
            broken(f"row {row} goes from {old:.3f} to {new:.3f} sure, its weight from {before[row]:.3f} to {after:.3f}")


@register(LAWS, "predictions are left alone")
def predictions_are_left_alone(subject: RuleSubject) -> None:
    """The caller's probabilities and prior are not written to."""
    probabilities, prior = subject.predictions(), PRIOR.copy()
    kept = probabilities.copy()
    subject.weights(probabilities, prior)
    same(probabilities, kept, "probabilities before and after")
    same(prior, PRIOR, "the prior before and after")


@register(LAWS, "the configuration makes an equal rule")
def configuration_makes_an_equal_rule(subject: RuleSubject) -> None:
    """`get_config` and Keras's serialization give rules with the same weights."""
    weights = subject.weights(subject.predictions())
    copies = {
        "from_config": type(subject.rule).from_config(subject.rule.get_config()),
        "deserialize": keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(subject.rule)),
    }
    for how, copy in copies.items():
        if type(copy) is not type(subject.rule) or repr(copy) != repr(subject.rule):
            broken(f"{how} makes {copy!r}")
        same(RuleSubject(copy).weights(subject.predictions()), weights, f"the rule and what {how} makes")


def _in_range(weights: np.ndarray, rows: int) -> None:
    if weights.shape != (rows,):
        broken(f"{rows} rows get weights of shape {weights.shape}")
    if not ((weights >= 0.0) & (weights <= 1.0)).all():
        broken(f"the weights are {weights[~((weights >= 0.0) & (weights <= 1.0))][:3]}")


RULE_LAWS: dict[str, Law] = {law.name: law for law in LAWS}
