"""Labelling a pool with a model, round after round, and keeping its books."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS
from keras_aug_ssl.meaning.labels import class_numbers, decisions
from keras_aug_ssl.rules import Context
from keras_aug_ssl.rules.base import check_prior
from keras_aug_ssl.rules.choice import CALIBRATED, LABELED, Choice
from keras_aug_ssl.self_training.books.books import Books
from keras_aug_ssl.self_training.books.identity import identity_of_run
from keras_aug_ssl.self_training.books.ledger import NEVER, NOT_FINITE
from keras_aug_ssl.self_training.feeding.feeder import Selected, TrainingSet
from keras_aug_ssl.self_training.feeding.labeled import Labeled
from keras_aug_ssl.self_training.labelling import calibration, ensemble, held_out
from keras_aug_ssl.self_training.labelling.ensemble import Teacher
from keras_aug_ssl.self_training.labelling.held_out import HeldOut
from keras_aug_ssl.self_training.labelling.scoring import Scorer, Scores
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.pool.sources import ArraySource, Subset
from keras_aug_ssl.teaching import class_mix, guards
from keras_aug_ssl.teaching.outputs import class_prior, read_outputs

MOST_LABELED_CHECKED = 512

MOST_CLASSES_LOGGED = 20
"""Beyond it the logs sum the classes up: a thousand numbers an epoch are read by nobody."""


class Labeller:
    """Labels a pool with one or more models and keeps the books.

    Args:
        owner: the class a user called, for errors.
        pool: what is labeled.
        choice: how.
        oracle: the pool's true labels, for the logs only; or None.
        holdout: held-out rows `(x, y)`; or None.
    """

    def __init__(self, owner: str, pool: Any, choice: Choice, oracle: Any = None, holdout: Any = None) -> None:
        self.owner, self.choice = owner, choice
        self.pool = pool if isinstance(pool, UnlabeledPool) else UnlabeledPool(pool)
        self.books = Books.empty(len(self.pool))
        self._oracle = _oracle(owner, oracle, len(self.pool))
        self._holdout = None if holdout is None else HeldOut(owner, holdout, self.pool)
        if choice.needs_holdout and holdout is None:
            checks.fail(
                owner, "holdout", "given, since the level depends on held-out labels", None,
                "Pass holdout=(x, y): rows that are not trained on.",
            )  # fmt: skip

    def use(
        self,
        model: keras.Model,
        labeled: Labeled,
        batch_size: int,
        teachers: Sequence[keras.Model] | None = None,
    ) -> None:
        """Takes the models that train and label from now on.

        Args:
            model: a compiled model, which is trained.
            labeled: the labeled rows, for their class mix and to check the model.
            batch_size: rows it is trained on at once, of which it is not asked more either.
            teachers: who labels; None for the model itself.
        """
        self.outputs = read_outputs(self.owner, model, labeled.x, labeled.y, self.choice.kind)
        self.choice = self.choice.for_outputs(self.outputs.kind)
        self._check_labels(labeled.y)
        self._labeled_mix = class_prior(self.outputs, labeled.y, self.owner)
        self._given_mix = self._check_given_mix()
        self._check_rules()
        if self._holdout is not None and self.outputs.single:
            self._holdout.read(self.outputs.num_classes, self.outputs.signed)
        self._batch_size = batch_size
        own, known = Teacher(model, self.outputs), (labeled.x, labeled.y, self.choice.kind)
        self._teachers = ensemble.read_all(self.owner, "teachers", teachers or [model], own, *known)
        for name, rule in (("select", self.choice.select), ("relabel", self.choice.stay)):
            ensemble.check_passes(self.owner, name, self._teachers, rule)
        members = ensemble.read_members(self.owner, self.choice.rules, own, *known)
        self._checked = _sample(self.owner, labeled, self.outputs.signed)
        self._scorer = Scorer(self.owner, self._teachers, self.choice.rules, batch_size, members)
        if not self.books.round:
            self.begin()

    def _check_labels(self, y: np.ndarray) -> None:
        """Refuses labels that the model's outputs can't be compared with, and soft ones that its loss can't take."""
        wide = y.ndim == 2 and y.shape[1] > 1
        if self.choice.soft and self.outputs.sparse:
            checks.fail(
                self.owner, "labels", "'hard' with a sparse loss", "soft",
                "Soft labels need a loss that takes probabilities, such as CategoricalCrossentropy.",
            )  # fmt: skip
        if self.choice.soft and self.outputs.kind == CLASSES and not wide:
            units = self.outputs.units
            checks.fail(
                self.owner, "y", f"one-hot over {units} classes for soft labels", y.shape,
                f"That is its shape: keras.utils.to_categorical(y, {units}).",
            )  # fmt: skip
        if self.outputs.units == 1 and wide:
            checks.fail(
                self.owner, "y", "one number a row, as the model puts out", y.shape,
                "That is its shape; for labels='soft' whole numbers are taken for classes, so give them as floats.",
            )  # fmt: skip
        if not self.outputs.single:
            decisions(self.owner, self.outputs, y, len(y))

    def _check_given_mix(self) -> np.ndarray | None:
        """The pool's class mix as the user says it, or None where it is to be estimated, or there is none."""
        prior, labeled = self.choice.prior, self._labeled_mix
        if prior is None:
            return None
        if labeled is None:
            checks.fail(self.owner, "prior", "None where rows have no single class", prior)
        return labeled if isinstance(prior, str) and prior == LABELED else check_prior(self.owner, prior, len(labeled))

    @property
    def prior(self) -> np.ndarray | None:
        """(K,) share of each class in the pool: given, estimated, or, before it is, the labeled rows'."""
        if self._given_mix is not None:
            return self._given_mix
        return self._labeled_mix if self.books.class_mix is None else self.books.class_mix.shares

    def _estimate_mix(self, temperature: float) -> None:
        """Estimates the pool's class mix in the first round, when the model has learned from labeled rows alone.

        Later it has learned from its own labels, and an estimate made then would confirm what it was made from. A model
        that doesn't even tell the labeled rows' classes apart isn't asked.
        """
        if self._given_mix is None and self._labeled_mix is not None and not self.books.round:
            known = self._scorer.predict(self._checked[0]).argmax(axis=1)
            if guards.is_narrow(_counts(known, self.outputs.num_classes) / len(known), self._labeled_mix):
                return
            sample = self._scorer.sample(self.pool, class_mix.rows_needed(len(self._labeled_mix)), temperature)
            if len(sample):
                self.books.class_mix = class_mix.estimate(sample, self._labeled_mix)

    def check_used(self) -> None:
        """Raises before the first `use`."""
        if not hasattr(self, "outputs"):
            checks.fail(self.owner, "transduction_", "read after fit", "no fit so far", error=AttributeError)

    def begin(self) -> None:
        """Opens empty books."""
        self.books = Books.empty(len(self.pool), None if self.outputs.single else self.outputs.units)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what is made anew by `use`: graphs can't be pickled, and a model has its own files."""
        return {name: value for name, value in vars(self).items() if name not in ("_teachers", "_scorer")}

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
        """Whether no further round can change anything: all rows are labeled for good."""
        return self.choice.stay is None and bool(self.books.ledger.selected.all())

    def run_round(self, verbose: bool = False) -> list[guards.Alarm]:
        """Scores the pool, selects, enters the result into the books, and returns what is suspicious about it."""
        books, choice = self.books, self.choice
        with ensemble.averaged(self.owner, self._teachers if choice.average else []):
            temperature, holdout = self._calibration()
            self._estimate_mix(temperature)
            context = Context(self.prior, books.round + 1, holdout)
            factor = self._factor(books.round + 1)
            scores = self._scan(context, temperature, verbose)
            books.round += 1
            if books.round == 1:
                self._tell_of_rows_left_out(scores)
            stay = None if choice.stay is None else scores.weights[-1] > 0
            label, weight = self._labels(scores, temperature), scores.weights[0] * np.float32(factor)
            books.change = books.ledger.update(books.round, label, weight, stay, self._flips)
            books.ledger.confidence, books.ledger.uncertainty = scores.confidence, scores.uncertainty
            books.ledger.reason[~scores.known] = NOT_FINITE
            rows = np.flatnonzero(books.ledger.selected)
            books.selected = Selected(rows, self._targets(rows, temperature), books.ledger.weight[rows])
            before, books.facts = books.facts, self._facts(scores, holdout)
        return guards.alarms(books.round, books.facts, before)

    def _factor(self, round: int) -> float:
        weight = self.choice.weight
        if not callable(weight):
            return weight
        return checks.number(self.owner, f"weight({round})", weight(round), 0.0)

    def _tell_of_rows_left_out(self, scores: Scores) -> None:
        count = int((~scores.known).sum())
        if count:
            warnings.warn(
                f"{self.owner}: {count} of the pool's {len(self.pool)} rows have NaN or infinity among their features "
                "and are never used; in table() their reason is 'not finite'.",
                stacklevel=2,
            )

    def _scan(self, context: Context, temperature: float, verbose: bool) -> Scores:
        """Scores of the whole pool; rows that are labeled for good are not asked again and keep what they had."""
        ledger = self.books.ledger
        if self.choice.stay is not None or not ledger.selected.any():
            return self._scorer.scan(self.pool, context, temperature=temperature, verbose=verbose)
        rows = np.flatnonzero(~ledger.selected)
        scores = self._scorer.scan(Subset(self.pool, rows), context, temperature=temperature, verbose=verbose)
        known, weight = np.ones(len(self.pool), bool), np.zeros(len(self.pool), np.float32)
        label = np.full(len(self.pool), -1, np.int32) if ledger.label.ndim > 1 else ledger.label.copy()
        confidence, uncertainty = ledger.confidence.copy(), ledger.uncertainty.copy()
        label[rows], confidence[rows], uncertainty[rows] = scores.label, scores.confidence, scores.uncertainty
        known[rows], weight[rows] = scores.known, scores.weights[0]
        return Scores(known, label, confidence, uncertainty, [weight])

    def _calibration(self) -> tuple[float, Any]:
        """The temperature of this round, and held-out predictions made with it and their labels."""
        temperature = self.choice.temperature
        if self._holdout is None or not self.outputs.single:
            return float(temperature), None
        rows, labels = self._holdout.rows, self._holdout.labels
        if temperature == CALIBRATED:
            temperature = calibration.temperature(self._scorer.predict_each(rows), labels)
        return float(temperature), (self._scorer.predict(rows, float(temperature)), labels)

    def _labels(self, scores: Scores, temperature: float) -> np.ndarray:
        """(N,) predicted classes; else (N, D) targets, new ones for the rows that may be in use after this round."""
        if self.outputs.kind in (CLASSES, BINARY):
            return scores.label
        ledger, wanted = self.books.ledger, scores.weights[0] > 0
        rows = np.flatnonzero(wanted & ~ledger.selected if self.choice.stay is None else wanted | ledger.selected)
        targets = ledger.label.copy()
        if len(rows):
            predicted = self._scorer.predict(Subset(self.pool, rows), temperature)
            hard = self.outputs.kind == LABELS and not self.choice.soft
            targets[rows] = self.choice.select.harden(predicted) if hard else predicted
        return targets

    def _flips(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """(N,) bool: another class, or another of several labels. A number moves all the time and is never another."""
        if self.outputs.kind == LABELS:
            return ((old >= 0.5) != (new >= 0.5)).any(axis=1)
        return np.zeros(len(old), bool) if self.outputs.kind == NUMBERS else old != new

    def _targets(self, rows: np.ndarray, temperature: float) -> np.ndarray:
        if not (self.choice.soft and self.outputs.kind in (CLASSES, BINARY)):
            return self.books.ledger.label[rows]
        targets = np.empty((len(rows), 2 if self.outputs.kind == BINARY else self.outputs.units), np.float32)
        known = np.zeros(len(rows), bool)
        if self.choice.stay is None and len(self.books.selected):  # they keep their target
            known = np.isin(rows, self.books.selected.rows)
            targets[known] = self.books.selected.targets
        fresh = rows[~known]
        if len(fresh):
            targets[~known] = self._scorer.predict(Subset(self.pool, fresh), temperature)
        return targets

    def _facts(self, scores: Scores, holdout: Any) -> guards.Facts:
        books = self.books
        right, judged = (0, 0) if holdout is None else held_out.judge(holdout[0], holdout[1], scores)
        facts = guards.Facts(
            rows=len(self.pool),
            accepted=len(books.selected),
            kept=books.change.kept,
            relabelled=books.change.relabelled,
            empty_rounds=0 if scores.weights[0].any() or (books.ledger.entered != NEVER).any() else books.round,
            judged=judged,
            right=right,
        )
        # Not the estimate: what a model expects of itself can't show that it collapses.
        prior = self._labeled_mix if self._given_mix is None else self._given_mix
        if prior is None:
            return facts
        counts = _counts(books.ledger.label[books.selected.rows], self.outputs.num_classes)
        confidence, mix = float(np.mean(scores.confidence[scores.known])), counts / max(1, len(books.selected))
        facts = dataclasses.replace(facts, confidence=confidence, mix=mix, prior=prior)
        rows, classes = self._checked
        if self.choice.prior is None and facts.accepted >= guards.FEWEST_ROWS and guards.is_narrow(mix, prior):
            predicted = self._scorer.predict(rows).argmax(axis=1)
            pool, labeled = (
                _counts(each, self.outputs.num_classes) for each in (scores.label[scores.known], predicted)
            )
            facts = dataclasses.replace(facts, skewed_pool=guards.is_skewed_pool(pool, labeled, prior))
        right = ensemble.normalization(self._teachers, rows, classes, self._batch_size)
        if right is not None:
            facts = dataclasses.replace(facts, inference=right[0], training=right[1], labeled=len(classes))
        return facts

    def identity(self, feeder: TrainingSet, **options: Any) -> dict[str, str]:
        """Returns what tells this run from others; see `identity_of_run`."""
        holdout = None if self._holdout is None else [self._holdout.rows.arrays, self._holdout.labels]
        return identity_of_run(self.choice, self.pool, feeder, holdout=holdout, **options)

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
            found |= _logged(_counts(ledger.label[rows], self.outputs.num_classes))
        if self._oracle is not None:
            found |= self._compared(self._oracle[rows])
        return found

    def _compared(self, truth: np.ndarray) -> dict[str, float]:
        books = self.books
        if self.outputs.kind in (CLASSES, BINARY):
            return {
                "pseudo_accuracy": _mean(
                    books.ledger.label[books.selected.rows] == class_numbers(truth, self.outputs.signed)
                )
            }
        truth = truth.reshape(books.selected.targets.shape)
        if self.outputs.kind == LABELS:
            return {"pseudo_accuracy": _mean((books.selected.targets >= 0.5) == (truth >= 0.5))}
        return {"pseudo_mean_absolute_error": _mean(np.abs(books.selected.targets - truth))}


def _sample(owner: str, labeled: Labeled, signed: bool) -> tuple[ArraySource, np.ndarray]:
    """Some labeled rows, evenly from all, to check a model on, and their classes."""
    rows = np.unique(np.linspace(0, len(labeled) - 1, MOST_LABELED_CHECKED).astype(np.int64))
    x = keras.tree.map_structure(lambda part: part[rows], labeled.x)
    return ArraySource(owner, x), class_numbers(labeled.y[rows], signed)


def _counts(label: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(label, minlength=num_classes)


def _logged(counts: np.ndarray) -> dict[str, float]:
    """Rows of each class, or where there are many classes how many have rows, and the most of one."""
    if len(counts) > MOST_CLASSES_LOGGED:
        return {"n_pseudo_classes": float(np.count_nonzero(counts)), "n_pseudo_class_max": float(counts.max())}
    return {f"n_pseudo_class_{label}": float(count) for label, count in enumerate(counts)}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _oracle(owner: str, oracle: Any, size: int) -> np.ndarray | None:
    if oracle is None:
        return None
    truth = np.asarray(oracle)
    if truth.dtype.kind not in "biuf" or truth.ndim not in (1, 2) or len(truth) != size:
        checks.fail(owner, "oracle", f"the true labels of the pool's {size} rows", oracle)
    return truth
