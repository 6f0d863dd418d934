"""Labelling a pool with a model, round after round, and keeping its books."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.self_training import calibration, guards
from keras_aug_ssl.self_training.books import Books
from keras_aug_ssl.self_training.choice import CALIBRATED, Choice
from keras_aug_ssl.self_training.feeder import Selected, TrainingSet
from keras_aug_ssl.self_training.identity import identity_of_run
from keras_aug_ssl.self_training.labeled import Labeled
from keras_aug_ssl.self_training.outputs import (
    BINARY,
    CLASSES,
    LABELS,
    NUMBERS,
    class_numbers,
    class_prior,
    read_outputs,
)
from keras_aug_ssl.self_training.pool import UnlabeledPool
from keras_aug_ssl.self_training.rules import Context
from keras_aug_ssl.self_training.rules.base import check_prior
from keras_aug_ssl.self_training.scoring import BLOCK, Scorer, Scores, blocks_of
from keras_aug_ssl.self_training.sources import Subset
from keras_aug_ssl.self_training.teachers import averaged_weights, unchanged

MOST_LABELED_CHECKED = 512


class Labeller:
    """Labels a pool with a model and keeps the books.

    Args:
        owner: the class a user called, for errors.
        pool: what is labelled.
        choice: how.
        oracle: the pool's true labels, for the logs only; or None.
        holdout: held-out rows `(x, y)`; or None.
    """

    def __init__(self, owner: str, pool: Any, choice: Choice, oracle: Any = None, holdout: Any = None) -> None:
        self.owner, self.choice = owner, choice
        self.pool = pool if isinstance(pool, UnlabeledPool) else UnlabeledPool(pool)
        self.books = Books.empty(len(self.pool))
        self._oracle = _oracle(owner, oracle, len(self.pool))
        self._holdout = holdout
        if choice.needs_holdout and holdout is None:
            checks.fail(
                owner, "holdout", "given, since the level depends on held-out labels", None,
                "Pass holdout=(x, y): rows that are not trained on.",
            )  # fmt: skip

    def use(self, model: keras.Model, labeled: Labeled) -> None:
        """Takes the model that labels from now on and the labelled rows: for their class mix and to check the model."""
        self.outputs = read_outputs(self.owner, model, labeled.x, labeled.y)
        self.choice = self.choice.for_outputs(self.outputs.kind)
        self.prior = class_prior(self.outputs, labeled.y, self.owner)
        if self.choice.prior is not None:
            if self.prior is None:
                checks.fail(self.owner, "prior", "None where rows have no single class", self.choice.prior)
            self.prior = check_prior(self.owner, self.choice.prior, len(self.prior))
        if self.choice.soft and self.outputs.sparse:
            checks.fail(
                self.owner, "labels", "'hard' with a sparse loss", "soft",
                "Soft labels need a loss that takes probabilities, such as CategoricalCrossentropy.",
            )  # fmt: skip
        self._check_rules()
        self._model = model
        self._checked = _sample(labeled)
        self._scorer = Scorer(self.owner, model, self.outputs, self.choice.rules)

    def _check_rules(self) -> None:
        """Refuses rules that would take for confidences what are none."""
        kind, stay = self.outputs.kind, self.choice.stay
        for name, rule in (("select", self.choice.select), ("relabel", stay)):
            if kind == NUMBERS and rule is not None and not rule.reads_numbers:
                checks.fail(
                    self.owner, name, "a rule for regression, since by its loss the model predicts numbers", rule,
                    "A number is no confidence. rules.LowVariance() and rules.Uncertainty() go by how far several "
                    "predictions spread.",
                )  # fmt: skip
        if self.choice.needs_holdout and kind not in (CLASSES, BINARY):
            calibrated = self.choice.temperature == CALIBRATED
            checks.fail(
                self.owner, "temperature" if calibrated else "select", "one that needs no `holdout`, since the model "
                f"predicts {kind}, not one class a row", CALIBRATED if calibrated else self.choice.select,
            )  # fmt: skip

    @property
    def finished(self) -> bool:
        """Whether no further round can change anything: all rows are labelled for good."""
        return self.choice.stay is None and bool(self.books.ledger.selected.all())

    def run_round(self, verbose: bool = False) -> list[guards.Alarm]:
        """Scores the pool, selects, enters the result into the books, and returns what is suspicious about it."""
        books, choice = self.books, self.choice
        teacher = averaged_weights(self.owner, self._model) if choice.average else contextlib.nullcontext()
        with teacher:
            temperature, holdout = self._calibration()
            context = Context(self.prior, books.round + 1, holdout)
            scores = self._scan(context, temperature, verbose)
            books.round += 1
            factor = choice.weight(books.round) if callable(choice.weight) else choice.weight
            stay = None if choice.stay is None else scores.weights[-1] > 0
            weight = scores.weights[0] * np.float32(factor)
            books.change = books.ledger.update(books.round, scores.label, weight, stay)
            books.ledger.confidence, books.ledger.uncertainty = scores.confidence, scores.uncertainty
            rows = np.flatnonzero(books.ledger.selected)
            books.selected = Selected(rows, self._targets(rows, temperature), books.ledger.weight[rows])
            before, books.facts = books.facts, self._facts(scores)
        return guards.alarms(books.round, books.facts, before)

    def _scan(self, context: Context, temperature: float, verbose: bool) -> Scores:
        """Scores of the whole pool; rows that are labelled for good are not asked again and keep what they had."""
        ledger = self.books.ledger
        if self.choice.stay is not None or not ledger.selected.any():
            return self._scorer.scan(self.pool, context, temperature=temperature, verbose=verbose)
        rows = np.flatnonzero(~ledger.selected)
        scores = self._scorer.scan(Subset(self.pool, rows), context, temperature=temperature, verbose=verbose)
        label, confidence, uncertainty = ledger.label.copy(), ledger.confidence.copy(), ledger.uncertainty.copy()
        weight = np.zeros(len(self.pool), np.float32)
        label[rows], confidence[rows], uncertainty[rows] = scores.label, scores.confidence, scores.uncertainty
        weight[rows] = scores.weights[0]
        return Scores(label, confidence, uncertainty, [weight])

    def _calibration(self) -> tuple[float, Any]:
        """The temperature of this round, and held-out predictions made with it and their labels."""
        temperature = self.choice.temperature
        if not self.choice.needs_holdout:
            return float(temperature), None
        x, y = self._holdout
        labels = class_numbers(np.asarray(y))
        if temperature == CALIBRATED:
            temperature = calibration.temperature(self._scorer.predict(blocks_of(x)), labels)
        return float(temperature), (self._scorer.predict(blocks_of(x), float(temperature)), labels)

    def _targets(self, rows: np.ndarray, temperature: float) -> np.ndarray:
        if not self.choice.soft and self.outputs.kind in (CLASSES, BINARY):
            return self.books.ledger.label[rows]
        targets = np.empty((len(rows), 2 if self.outputs.kind == BINARY else self.outputs.units), np.float32)
        known = np.zeros(len(rows), bool)
        if self.choice.stay is None and len(self.books.selected):  # they keep their target
            known = np.isin(rows, self.books.selected.rows)
            targets[known] = self.books.selected.targets
        fresh = rows[~known]
        if len(fresh):
            blocks = (self.pool.take(fresh[start : start + BLOCK]) for start in range(0, len(fresh), BLOCK))
            predicted = self._scorer.predict(blocks, temperature)
            hard = self.outputs.kind == LABELS and not self.choice.soft
            targets[~known] = self.choice.select.harden(predicted) if hard else predicted
        return targets

    def _facts(self, scores: Scores) -> guards.Facts:
        books = self.books
        facts = guards.Facts(
            rows=len(self.pool),
            accepted=len(books.selected),
            kept=books.change.kept,
            relabelled=books.change.relabelled,
        )
        if self.prior is None:
            return facts
        counts = np.bincount(books.ledger.label[books.selected.rows], minlength=self.outputs.num_classes)
        confidence, mix = float(np.mean(scores.confidence)), counts / max(1, len(books.selected))
        facts = dataclasses.replace(facts, confidence=confidence, mix=mix, prior=self.prior)
        if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in self._model._flatten_layers()):
            return facts
        x, classes = self._checked
        inference = np.mean(self._scorer.predict(blocks_of(x)).argmax(axis=1) == classes)
        with unchanged(self._model.non_trainable_variables):
            raw = self._model(keras.tree.map_structure(tf.convert_to_tensor, x), training=True)
        training = np.mean(self.outputs.probabilities(raw).numpy().argmax(axis=1) == classes)
        return dataclasses.replace(facts, inference=float(inference), training=float(training), labeled=len(classes))

    def identity(self, feeder: TrainingSet, **options: Any) -> dict[str, str]:
        """Returns what tells this run from others; see `identity_of_run`."""
        return identity_of_run(self.choice, self.pool, feeder, holdout=self._holdout, **options)

    def logs(self) -> dict[str, float]:
        """Returns what `History` keeps of an epoch."""
        books, ledger = self.books, self.books.ledger
        rows = books.selected.rows
        found = {
            "n_pseudo": float(len(rows)),
            "n_pseudo_added": float(books.change.added),
            "pseudo_confidence": _mean(ledger.confidence[rows]),
            "pseudo_flip_rate": books.change.flip_rate,
        }
        if self.outputs.kind in (CLASSES, BINARY):
            counts = np.bincount(ledger.label[rows], minlength=self.outputs.num_classes)
            found |= {f"n_pseudo_class_{label}": float(count) for label, count in enumerate(counts)}
        if self._oracle is not None:
            found |= self._compared(self._oracle[rows])
        return found

    def _compared(self, truth: np.ndarray) -> dict[str, float]:
        books = self.books
        if self.outputs.kind in (CLASSES, BINARY):
            return {"pseudo_accuracy": _mean(books.ledger.label[books.selected.rows] == class_numbers(truth))}
        truth = truth.reshape(books.selected.targets.shape)
        if self.outputs.kind == LABELS:
            return {"pseudo_accuracy": _mean((books.selected.targets >= 0.5) == (truth >= 0.5))}
        return {"pseudo_mean_absolute_error": _mean(np.abs(books.selected.targets - truth))}


def _sample(labeled: Labeled) -> tuple[Any, np.ndarray]:
    """Some labelled rows, evenly from all, to check a model on."""
    rows = np.unique(np.linspace(0, len(labeled) - 1, MOST_LABELED_CHECKED).astype(np.int64))
    return keras.tree.map_structure(lambda part: part[rows], labeled.x), class_numbers(labeled.y[rows])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _oracle(owner: str, oracle: Any, size: int) -> np.ndarray | None:
    if oracle is None:
        return None
    truth = np.asarray(oracle)
    if truth.dtype.kind not in "biuf" or truth.ndim not in (1, 2) or len(truth) != size:
        checks.fail(owner, "oracle", f"the true labels of the pool's {size} rows", oracle)
    return truth
