"""Scoring a pool with a model: traced functions, one block of rows at a time, features never kept."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.calling import Answers
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS
from keras_aug_ssl.rules import Context, Prediction, Rows, Rule
from keras_aug_ssl.rules.base import label_of
from keras_aug_ssl.rules.fixed import entropy_share
from keras_aug_ssl.self_training.labelling.ensemble import Teacher
from keras_aug_ssl.self_training.labelling.passes import Passes
from keras_aug_ssl.self_training.pool.sources import Blocks, Subset
from keras_aug_ssl.teaching.finite import finite_rows
from keras_aug_ssl.teaching.outputs import spread

BATCH_SIZE = 64
"""Rows predicted at once where no training says how many the model has memory for."""

BLOCK = 256
"""Rows read and judged at once, at least: for fewer, calling a graph would cost more than a small model does."""

PART = 2**17
"""Rows weighed at once by a rule that judges them one by one."""

LARGEST_VIOLATION = 0.02
"""How far rounding may carry float16 probabilities from a sum of 1."""


class Scores(NamedTuple):
    """What one pass over a pool of N rows leaves.

    Attributes:
        known: (N,) bool, whether all features are finite; other rows have label -1, NaN, and weights of 0.
        label: (N,) int32 predicted classes.
        confidence: (N,) float32 largest probabilities; of several labels that of the least sure; NaN for numbers.
        uncertainty: (N,) float32 standard deviation over teachers or passes, or, of one prediction, the entropy as a
            share of log K; of several labels that of the least sure; NaN for numbers.
        weights: (N,) float32 for each rule.
    """

    known: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray
    weights: list[np.ndarray]


class Scorer:
    """Reads what teachers predict in blocks. Weights, optimizer and random state stay as they are.

    A row's probabilities are the mean of what the teachers say, each with its own logits divided by the temperature.
    Where there are several, how far they spread is the row's uncertainty; where there is one and a rule goes by a
    spread, its passes are asked for.

    Rows with NaN or infinity among their features are left out of scores and statistics: what a model says of them
    means nothing, and an activation such as ReLU can hide that.

    Args:
        owner: the class a user called, for errors.
        teachers: Keras models with one output, and how to read them.
        rules: each judges every row by itself. The passes that one of them asks for serve all.
        batch_size: rows predicted at once, such as the model has memory for.
        members: the models that a rule names for its passes, and how to read them.
    """

    def __init__(
        self,
        owner: str,
        teachers: Sequence[Teacher],
        rules: Sequence[Rule] = (),
        batch_size: int = BATCH_SIZE,
        members: Sequence[Teacher] = (),
    ) -> None:
        self._owner, self._rules, self._block = owner, tuple(rules), batch_size * -(-BLOCK // batch_size)
        self._teachers, self._outputs = list(teachers), teachers[0].outputs
        traced = {id(each.model): Answers(owner, each.model, batch_size) for each in teachers}
        self._answers = [traced[id(each.model)] for each in teachers]
        asking = next((rule for rule in self._rules if rule.spreads), None) if len(teachers) == 1 else None
        self._passes = None if asking is None else Passes(owner, teachers[0], asking, batch_size, members)
        steps = (self._probabilities, self._score_block, self._judge_block, self._merge_statistics)
        # Partials, since TensorFlow counts by code: five scorers used once would pass for one traced five times.
        graphs = [tf.function(functools.partial(step), autograph=False) for step in steps]
        self._forward, self._score, self._judge, self._merge = graphs

    def predict(self, rows: Blocks, temperature: float = 1.0) -> np.ndarray:
        """Returns (N, K) probabilities."""
        return np.concatenate([each.mean(axis=0) for each in self._predicted(rows, temperature)])

    def predict_each(self, rows: Blocks) -> np.ndarray:
        """Returns (T, N, K) probabilities, of each teacher."""
        return np.concatenate(list(self._predicted(rows, 1.0)), axis=1)

    def _predicted(self, rows: Blocks, temperature: float) -> Iterator[np.ndarray]:
        """(T, B, K) probabilities of each block of B rows."""
        for x in rows.blocks(self._block):
            x, count = padded(x, self._block)
            probabilities, violations = self._forward(self._asked(x), count, tf.constant(temperature))
            self._check(violations)
            yield probabilities.numpy()

    def _asked(self, x: Any) -> list[tf.Tensor]:
        """What each teacher puts out for a block."""
        return [answers(x) for answers in self._answers]

    def sample(self, pool: Blocks, most: int, temperature: float = 1.0) -> np.ndarray:
        """Returns (M, K) probabilities of at most `most` rows, evenly from the whole pool, of finite features."""
        found, divisor = [], tf.constant(temperature)
        for x in Subset(pool, np.unique(np.linspace(0, len(pool) - 1, most).astype(np.int64))).blocks(self._block):
            filled, count = padded(x, self._block)
            finite = finite_rows(x)
            raws = [_only(finite, raw[:count]) for raw in self._asked(filled)]
            self._check(self._violations(raws))
            found.append(self._each(raws, divisor).numpy().mean(axis=0))
        return np.concatenate(found)

    def scan(
        self,
        pool: Blocks,
        context: Context,
        *,
        temperature: float = 1.0,
        verbose: bool = False,
    ) -> Scores:
        """Scores a whole pool and weighs it by each rule, in one pass over its features.

        Args:
            pool: N rows.
            context: what the rules may know besides the predictions.
            temperature: divides the logits.
            verbose: show a progress bar.
        """
        columns, statistics = self.survey(pool, temperature=temperature, verbose=verbose)
        if not columns.known.any():
            checks.fail(
                self._owner, "pool", "rows of finite features", "NaN or infinity in every row",
                "Fill in what is missing, in the labeled rows likewise.",
            )  # fmt: skip
        label, confidence, uncertainty, *scores = columns.arrays
        rows, weights = np.flatnonzero(columns.known), []
        for rule, score, summed in zip(self._rules, scores, statistics, strict=True):
            weight = np.zeros(len(pool), np.float32)
            weight[rows] = weigh(self._owner, rule, Rows(rows, label[rows], score[rows]), summed, context)
            weights.append(weight)
        return Scores(columns.known, label, confidence, uncertainty, weights)

    def survey(
        self, pool: Blocks, *, first: int = 0, temperature: float = 1.0, verbose: bool = False
    ) -> tuple[Columns, list[Any]]:
        """Scores rows without weighing them: what is kept of each, and the rules' statistics of all.

        Args:
            pool: N rows, in order; a part of a larger pool too.
            first: position of their first in the larger pool.
            temperature: divides the logits.
            verbose: show a progress bar.
        """
        columns, statistics = Columns(len(pool), first), None
        progress = keras.utils.Progbar(len(pool), unit_name="row") if verbose else None
        for done, block, found in self._judged(pool, first, temperature):
            columns.enter([part.numpy() for part in block])
            statistics = found if statistics is None else self._merge(statistics, found)
            if progress is not None:
                progress.update(done - first)
        if self._passes is not None and columns.known.any():
            self._passes.check(columns.arrays[2][columns.known])
        return columns, statistics or []

    def _judged(self, pool: Blocks, first: int, temperature: float) -> Iterator[tuple[int, Any, Any]]:
        """Up to which row it is done, what is kept of a block's rows, and the rules' statistics of it."""
        divisor = tf.constant(temperature)
        with contextlib.nullcontext() if self._passes is None else self._passes:
            for x in pool.blocks(self._block):
                start = tf.constant(first, tf.int64)
                if self._passes is None:
                    filled, count = padded(x, self._block)
                    raws, finite = self._asked(filled), finite_rows(filled)
                    block, found, violations = self._score(raws, count, divisor, finite, start)
                    self._check(violations)
                else:
                    finite = finite_rows(x)
                    passes = [self._read(*each, finite, divisor) for each in self._passes.of(x, first)]
                    block, found = self._judge(*spread(self._outputs, tf.stack(passes)), finite, start)
                first += _length(x)
                yield first, block, found

    def _read(
        self, teacher: Teacher, forward: Any, x: Any, finite: tf.Tensor | None, temperature: tf.Tensor
    ) -> tf.Tensor:
        """Probabilities of a block, checked."""
        x, count = padded(x, self._block)
        raw = forward(x)[:count]
        self._check(_violation(teacher, _only(finite, raw))[None], [teacher])
        return teacher.outputs.probabilities(raw, temperature)

    def _score_block(
        self, raws: Any, count: tf.Tensor, temperature: tf.Tensor, finite: tf.Tensor | None, first: tf.Tensor
    ) -> Any:
        """From a block's outputs to what is kept of its rows, the rules' statistics, and how wrong outputs are."""
        raws, finite = [raw[:count] for raw in raws], None if finite is None else finite[:count]
        each = self._each(raws, temperature)
        probabilities, uncertainty = spread(self._outputs, each) if len(raws) > 1 else (each[0], None)
        violations = self._violations([_only(finite, raw) for raw in raws])
        return *self._judge_block(probabilities, uncertainty, finite, first), violations

    def _judge_block(
        self, probabilities: tf.Tensor, uncertainty: tf.Tensor | None, finite: tf.Tensor | None, first: tf.Tensor
    ) -> Any:
        row = _only(finite, first + tf.range(tf.shape(probabilities, tf.int64)[0]))
        probabilities = _only(finite, probabilities)
        uncertainty = None if uncertainty is None else _only(finite, uncertainty)
        prediction = Prediction(probabilities, row, uncertainty, several=self._outputs.kind == LABELS)
        label, confidence = label_of(probabilities), tf.reduce_max(prediction.classes, axis=-1)
        doubt = entropy_share(prediction.classes) if uncertainty is None else uncertainty
        if self._outputs.kind == NUMBERS:
            confidence = tf.fill(tf.shape(label), np.nan)
            doubt = confidence if uncertainty is None else uncertainty
        scores = [rule.score(prediction) for rule in self._rules]
        found = [
            rule.statistics(Rows(row, label, score), probabilities)
            for rule, score in zip(self._rules, scores, strict=True)
        ]
        return (row, label, confidence, doubt, *scores), found

    def _merge_statistics(self, first: Any, second: Any) -> Any:
        return [rule.merge(a, b) for rule, a, b in zip(self._rules, first, second, strict=True)]

    def _probabilities(self, raws: Any, count: tf.Tensor, temperature: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raws = [raw[:count] for raw in raws]
        return self._each(raws, temperature), self._violations(raws)

    def _each(self, raws: Sequence[tf.Tensor], temperature: tf.Tensor) -> tf.Tensor:
        """(T, N, K) probabilities, of each teacher."""
        pairs = zip(self._teachers, raws, strict=True)
        return tf.stack([teacher.outputs.probabilities(raw, temperature) for teacher, raw in pairs])

    def _violations(self, raws: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.stack([_violation(teacher, raw) for teacher, raw in zip(self._teachers, raws, strict=True)])

    def _check(self, violations: tf.Tensor, teachers: Sequence[Teacher] | None = None) -> None:
        for teacher, amount in zip(teachers or self._teachers, violations.numpy().tolist(), strict=True):
            name = teacher.model.name
            if np.isnan(amount):
                checks.fail(
                    self._owner, "model", "a model with finite predictions", "NaN or infinity",
                    f"The weights of {name!r} have diverged, or the pool holds such values: lower the learning rate, "
                    "check the pool.",
                )  # fmt: skip
            if amount > LARGEST_VIOLATION:
                checks.fail(
                    self._owner, "model", "a model that puts out probabilities, as its loss says",
                    f"outputs of {name!r} that miss [0, 1] or a sum of 1 by {amount:.3g}",
                    "If they are logits, compile with a loss that has from_logits=True.",
                )  # fmt: skip


class Columns:
    """Arrays of `total` rows, filled block by block.

    Args:
        total: rows.
        first: position of the first of them in the pool.

    Attributes:
        known: (N,) bool, rows that were entered.
        arrays: label, confidence, uncertainty, and a score for each rule; -1 and NaN for rows that were not.
    """

    def __init__(self, total: int, first: int = 0) -> None:
        self.known, self._first = np.zeros(total, bool), first
        self.arrays: list[np.ndarray] = []

    def enter(self, block: Sequence[np.ndarray]) -> None:
        """Fills in the rows of a block: their positions, then their values."""
        rows, *parts = block
        rows = rows - self._first
        if not self.arrays:
            shapes = [(len(self.known), *part.shape[1:]) for part in parts]
            empty = [np.nan if part.dtype.kind == "f" else -1 for part in parts]
            self.arrays = [np.full(*each) for each in zip(shapes, empty, (part.dtype for part in parts), strict=True)]
        self.known[rows] = True
        for array, part in zip(self.arrays, parts, strict=True):
            array[rows] = part


def _violation(teacher: Teacher, raw: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.reduce_all(tf.math.is_finite(raw)), teacher.outputs.violation(raw), np.nan)


def _only(rows: tf.Tensor | None, values: tf.Tensor) -> tf.Tensor:
    return values if rows is None else tf.boolean_mask(values, rows)


def padded(x: Any, size: int) -> tuple[Any, tf.Tensor]:
    """A block filled up to `size` rows by repeating its last, so that one trace serves all; and how many are real."""
    count = _length(x)
    if count < size:
        index = np.minimum(np.arange(size), count - 1)
        x = keras.tree.map_structure(lambda part: part[index], x)
    return keras.tree.map_structure(tf.convert_to_tensor, x), tf.constant(count)


def _length(x: Any) -> int:
    return len(keras.tree.flatten(x)[0])


def weigh(owner: str, rule: Rule, rows: Rows, statistics: Any, context: Context, part: int = PART) -> np.ndarray:
    """(N,) float32 weights, in parts where the rule allows, since tensors of a whole pool double what is kept of it.

    Args:
        owner: the class a user called, for the error.
        rule: what judges.
        rows: N rows, as arrays.
        statistics: the rule's, of all of them.
        context: what the rule may know besides.
        part: rows weighed at once.
    """
    total = len(rows.label)
    size = part if rule.by_row else max(1, total)
    weights = np.empty(total, np.float32)
    for start in range(0, total, size):
        some = Rows(*(tf.constant(column[start : start + size]) for column in rows))
        found = np.asarray(rule.weights(some, statistics, context), np.float32)
        if found.shape != some.label.shape or not ((found >= 0) & (found <= 1)).all():
            checks.fail(
                owner, "select", f"a rule that gives {len(some.label)} weights in [0, 1]", found,
                f"They came from {rule!r}, in shape {found.shape}.",
            )  # fmt: skip
        weights[start : start + size] = found
    return weights
