"""Scoring a pool with a model: traced functions, one block of rows at a time, features never kept."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.calling import Answers
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS, Head
from keras_aug_ssl.self_training.outputs import spread
from keras_aug_ssl.self_training.passes import Passes
from keras_aug_ssl.self_training.rules import Context, Prediction, Rows, Rule
from keras_aug_ssl.self_training.rules.base import label_of
from keras_aug_ssl.self_training.rules.fixed import entropy_share
from keras_aug_ssl.self_training.sources import Blocks

BLOCK = 256
"""Rows scored at once: enough to keep two cores busy, few enough that a CNN's activations stay small."""

PART = 2**17
"""Rows weighed at once."""

LARGEST_VIOLATION = 0.02
"""How far rounding may carry float16 probabilities from a sum of 1."""


class Scores(NamedTuple):
    """What one pass over a pool of N rows leaves.

    Attributes:
        label: (N,) int32 predicted classes.
        confidence: (N,) float32 largest probabilities; of several labels that of the least sure; NaN for numbers.
        uncertainty: (N,) float32 standard deviation over passes, or, of one pass, the entropy as a share of log K; of
            several labels that of the least sure; NaN for numbers.
        weights: (N,) float32 for each rule.
    """

    label: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray
    weights: list[np.ndarray]


class Scorer:
    """Reads a model's predictions in blocks. Weights, optimizer and random state stay as they are.

    Args:
        owner: the class a user called, for errors.
        model: any Keras model with one output.
        outputs: how to read it.
        rules: each judges every row by itself. The passes that one of them asks for serve all.
    """

    def __init__(self, owner: str, model: keras.Model, outputs: Head, rules: Sequence[Rule] = ()) -> None:
        self._owner, self._outputs, self._rules = owner, outputs, tuple(rules)
        self._answers = Answers(owner, model)
        spread = next((rule for rule in self._rules if rule.passes is not None), None)
        self._passes = None if spread is None else Passes(owner, model, spread)
        steps = (self._probabilities, self._score_block, self._judge_block, self._merge_statistics)
        # Partials, since TensorFlow counts by code: five scorers used once would pass for one traced five times.
        graphs = [tf.function(functools.partial(step), autograph=False) for step in steps]
        self._forward, self._score, self._judge, self._merge = graphs

    def predict(self, blocks: Iterable[Any], temperature: float = 1.0) -> np.ndarray:
        """Returns (N, K) probabilities of all blocks together."""
        found = []
        for x in blocks:
            x, count = _padded(x, BLOCK)
            probabilities, violation = self._forward(self._answers(x), count, tf.constant(temperature))
            self._check(violation)
            found.append(probabilities.numpy())
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
        total = len(pool)
        columns = _Columns(total)
        progress = keras.utils.Progbar(total, unit_name="row") if verbose else None
        statistics = None
        for block, found in self._judged(pool, temperature):
            columns.append([part.numpy() for part in block])
            statistics = found if statistics is None else self._merge(statistics, found)
            if progress is not None:
                progress.update(columns.filled)
        label, confidence, uncertainty, *scores = columns.arrays
        if self._passes is not None:
            self._passes.check(uncertainty)
        weights = [
            _weights(self._owner, rule, label, score, known, context)
            for rule, score, known in zip(self._rules, scores, statistics or [], strict=True)
        ]
        return Scores(label, confidence, uncertainty, weights)

    def _judged(self, pool: Blocks, temperature: float) -> Iterator[tuple[Any, Any]]:
        """What is kept of each block's rows, and the rules' statistics of it."""
        first, divisor = 0, tf.constant(temperature)
        with contextlib.nullcontext() if self._passes is None else self._passes:
            for x in pool.blocks(BLOCK):
                start = tf.constant(first, tf.int64)
                if self._passes is None:
                    padded, count = _padded(x, BLOCK)
                    block, found, violation = self._score(self._answers(padded), count, divisor, start)
                    self._check(violation)
                else:
                    passes = [self._read(call, view, divisor) for call, view in self._passes.of(x, first)]
                    block, found = self._judge(*spread(self._outputs, tf.stack(passes)), start)
                first += _length(x)
                yield block, found

    def _read(self, forward: Any, x: Any, temperature: tf.Tensor) -> tf.Tensor:
        """Probabilities of a block, checked."""
        x, count = _padded(x, BLOCK)
        raw = forward(x)[:count]
        self._check(self._violation(raw))
        return self._outputs.probabilities(raw, temperature)

    def _score_block(self, raw: tf.Tensor, count: tf.Tensor, temperature: tf.Tensor, first: tf.Tensor) -> Any:
        """From a block's outputs to what is kept of its rows, the rules' statistics, and how wrong outputs are."""
        probabilities, violation = self._probabilities(raw, count, temperature)
        return *self._judge_block(probabilities, None, first), violation

    def _judge_block(self, probabilities: tf.Tensor, uncertainty: tf.Tensor | None, first: tf.Tensor) -> Any:
        row = first + tf.range(tf.shape(probabilities, tf.int64)[0])
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
        return (label, confidence, doubt, *scores), found

    def _merge_statistics(self, first: Any, second: Any) -> Any:
        return [rule.merge(a, b) for rule, a, b in zip(self._rules, first, second, strict=True)]

    def _probabilities(self, raw: tf.Tensor, count: tf.Tensor, temperature: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = raw[:count]
        return self._outputs.probabilities(raw, temperature), self._violation(raw)

    def _violation(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reduce_all(tf.math.is_finite(raw)), self._outputs.violation(raw), np.nan)

    def _check(self, violation: tf.Tensor) -> None:
        amount = float(violation)
        if np.isnan(amount):
            checks.fail(
                self._owner, "model", "a model with finite predictions", "NaN or infinity",
                "Its weights have diverged, or the pool holds such values: lower the learning rate, check the pool.",
            )  # fmt: skip
        if amount > LARGEST_VIOLATION:
            checks.fail(
                self._owner, "model", "a model that puts out probabilities, as its loss says",
                f"outputs that miss [0, 1] or a sum of 1 by {amount:.3g}",
                "If they are logits, compile with a loss that has from_logits=True.",
            )  # fmt: skip


class _Columns:
    """Arrays of `total` rows, filled block by block."""

    def __init__(self, total: int) -> None:
        self.total, self.filled = total, 0
        self.arrays: list[np.ndarray] = []

    def append(self, parts: Sequence[np.ndarray]) -> None:
        if not self.arrays:
            self.arrays = [np.empty((self.total, *part.shape[1:]), part.dtype) for part in parts]
        stop = self.filled + len(parts[0])
        for array, part in zip(self.arrays, parts, strict=True):
            array[self.filled : stop] = part
        self.filled = stop


def blocks_of(x: Any) -> Iterable[Any]:
    """Cuts arrays in memory into blocks."""
    total = _length(x)
    for start in range(0, total, BLOCK):
        yield keras.tree.map_structure(lambda part: part[start : start + BLOCK], x)  # noqa: B023


def _padded(x: Any, size: int) -> tuple[Any, tf.Tensor]:
    """A block filled up to `size` rows by repeating its last, so that one trace serves all; and how many are real."""
    count = _length(x)
    if count < size:
        index = np.minimum(np.arange(size), count - 1)
        x = keras.tree.map_structure(lambda part: part[index], x)
    return keras.tree.map_structure(tf.convert_to_tensor, x), tf.constant(count)


def _length(x: Any) -> int:
    return len(keras.tree.flatten(x)[0])


def _weights(
    owner: str, rule: Rule, label: np.ndarray, score: np.ndarray, statistics: Any, context: Context
) -> np.ndarray:
    """(N,) weights, in parts where the rule allows: tensors of a whole pool would double what is kept of it."""
    total = len(label)
    size = PART if rule.by_row else total
    weights = np.empty(total, np.float32)
    for start in range(0, total, size):
        part = slice(start, min(start + size, total))
        rows = Rows(tf.range(part.start, part.stop, dtype=tf.int64), tf.constant(label[part]), tf.constant(score[part]))
        found = np.asarray(rule.weights(rows, statistics, context), np.float32)
        if found.shape != rows.label.shape or not ((found >= 0) & (found <= 1)).all():
            checks.fail(
                owner, "select", f"a rule that gives {len(rows.label)} weights in [0, 1]", found,
                f"They came from {rule!r}, in shape {found.shape}.",
            )  # fmt: skip
        weights[part] = found
    return weights
