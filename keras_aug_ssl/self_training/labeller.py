"""Labelling a pool with a model, round after round, and keeping its books."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.self_training.feeder import Selected
from keras_aug_ssl.self_training.ledger import Change, Ledger
from keras_aug_ssl.self_training.outputs import BINARY, CLASSES, LABELS, Outputs, class_numbers, class_prior
from keras_aug_ssl.self_training.pool import UnlabeledPool
from keras_aug_ssl.self_training.rules import Context, Rule
from keras_aug_ssl.self_training.rules.base import Custom
from keras_aug_ssl.self_training.scoring import BLOCK, Scorer


@dataclasses.dataclass(frozen=True)
class Choice:
    """How rows are chosen and labelled; the part of the options that the callback and `SelfTrainer` share.

    Attributes:
        select: the rule for coming in.
        stay: the rule for staying; None when rows stay for good.
        soft: targets are the probabilities rather than the class.
        weight: multiplies the rule's weights; a number, or a function of the round.
        temperature: divides the logits before rule and soft labels.
    """

    select: Rule
    stay: Rule | None
    soft: bool
    weight: float | Callable[[int], float]
    temperature: float


def as_choice(owner: str, select: Any, labels: str, relabel: Any, weight: Any, temperature: float | None) -> Choice:
    """Checks what a user passed."""
    if not isinstance(select, Rule):
        if not callable(select):
            checks.fail(
                owner, "select", "a rule or a function of probabilities", select, "For example rules.Threshold(0.95).",
                error=TypeError,
            )  # fmt: skip
        select = Custom(select)
    if not isinstance(relabel, (bool, Rule)):
        expected = "True, False, or the rule by which rows stay"
        checks.fail(owner, "relabel", expected, relabel, error=TypeError)
    stay = (select if relabel else None) if isinstance(relabel, bool) else relabel
    soft = checks.one_of(owner, "labels", labels, ("hard", "soft")) == "soft"
    if not callable(weight):
        weight = checks.number(owner, "weight", weight, 0.0, low_open=True)
    if temperature is not None:
        checks.number(owner, "temperature", temperature, 0.0, low_open=True)
    return Choice(select, stay, soft, weight, temperature or 1.0)


class Labeller:
    """Labels a pool with a model and keeps the books.

    Attributes:
        ledger: what is known of every row.
        selected: the rows in use, with their targets.
        round: rounds so far.
        change: what the last round did.
    """

    def __init__(self, owner: str, pool: Any, choice: Choice, oracle: Any = None) -> None:
        if not isinstance(pool, UnlabeledPool):
            pool = UnlabeledPool(pool)
        self.owner, self.pool, self.choice = owner, pool, choice
        self._oracle = _oracle(owner, oracle, len(pool))
        self.reset()

    def reset(self) -> None:
        """Forgets all rounds."""
        self.ledger = Ledger(len(self.pool))
        self.round, self.change = 0, Change()
        self.selected = Selected(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    def use(self, model: keras.Model, outputs: Outputs, y: np.ndarray) -> None:
        """Takes the model that labels from now on, and the labels of the labelled rows, for their class mix."""
        self.outputs, self.prior = outputs, class_prior(outputs, y, self.owner)
        if self.choice.soft and outputs.sparse:
            checks.fail(
                self.owner, "labels", "'hard' with a sparse loss", "soft",
                "Soft labels need a loss that takes probabilities, such as CategoricalCrossentropy.",
            )  # fmt: skip
        rules = [self.choice.select]
        if self.choice.stay not in (None, self.choice.select):
            rules.append(self.choice.stay)
        self.scorer = Scorer(self.owner, model, outputs, rules)

    @property
    def finished(self) -> bool:
        """Whether no further round can change anything: all rows are labelled for good."""
        return self.choice.stay is None and bool(self.ledger.selected.all())

    def run_round(self, verbose: bool = False) -> Change:
        """Scores the pool, selects, and enters the result into the books."""
        choice, context = self.choice, Context(self.prior, self.round + 1)
        scores = self.scorer.scan(self.pool, context, temperature=choice.temperature, verbose=verbose)
        self.round += 1
        factor = choice.weight(self.round) if callable(choice.weight) else choice.weight
        stay = None if choice.stay is None else scores.weights[-1] > 0
        self.change = self.ledger.update(self.round, scores.label, scores.weights[0] * np.float32(factor), stay)
        self.ledger.confidence, self.ledger.uncertainty = scores.confidence, scores.uncertainty
        rows = np.flatnonzero(self.ledger.selected)
        self.selected = Selected(rows, self._targets(rows), self.ledger.weight[rows])
        return self.change

    def _targets(self, rows: np.ndarray) -> np.ndarray:
        if not self.choice.soft and self.outputs.kind in (CLASSES, BINARY):
            return self.ledger.label[rows]
        targets = np.empty((len(rows), 2 if self.outputs.kind == BINARY else self.outputs.units), np.float32)
        known = np.zeros(len(rows), bool)
        if self.choice.stay is None:  # rows that came in earlier keep the target they came with
            known = np.isin(rows, self.selected.rows)
            targets[known] = self.selected.targets
        fresh = rows[~known]
        if len(fresh):
            blocks = (self.pool.take(fresh[start : start + BLOCK]) for start in range(0, len(fresh), BLOCK))
            predicted = self.scorer.predict(blocks, self.choice.temperature)
            hard = self.outputs.kind == LABELS and not self.choice.soft
            targets[~known] = self.choice.select.harden(predicted) if hard else predicted
        return targets

    def logs(self) -> dict[str, float]:
        """Returns what `History` keeps of a round."""
        rows, ledger = self.selected.rows, self.ledger
        found = {
            "n_pseudo": float(len(rows)),
            "n_pseudo_added": float(self.change.added),
            "pseudo_confidence": _mean(ledger.confidence[rows]),
            "pseudo_flip_rate": self.change.flip_rate,
        }
        if self.outputs.kind in (CLASSES, BINARY):
            counts = np.bincount(ledger.label[rows], minlength=self.outputs.num_classes)
            found |= {f"n_pseudo_class_{label}": float(count) for label, count in enumerate(counts)}
        if self._oracle is not None:
            found |= self._compared(self._oracle[self.selected.rows])
        return found

    def _compared(self, truth: np.ndarray) -> dict[str, float]:
        if self.outputs.kind in (CLASSES, BINARY):
            return {"pseudo_accuracy": _mean(self.ledger.label[self.selected.rows] == class_numbers(truth))}
        truth = truth.reshape(self.selected.targets.shape)
        if self.outputs.kind == LABELS:
            return {"pseudo_accuracy": _mean((self.selected.targets >= 0.5) == (truth >= 0.5))}
        return {"pseudo_mean_absolute_error": _mean(np.abs(self.selected.targets - truth))}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _oracle(owner: str, oracle: Any, size: int) -> np.ndarray | None:
    if oracle is None:
        return None
    truth = np.asarray(oracle)
    if truth.dtype.kind not in "biuf" or truth.ndim not in (1, 2) or len(truth) != size:
        checks.fail(owner, "oracle", f"the true labels of the pool's {size} rows", oracle)
    return truth
