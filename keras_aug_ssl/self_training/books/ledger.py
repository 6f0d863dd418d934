"""The books of a pool: for every row its label, how sure, when it came in, when it left, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

NO_LABEL = -1
NEVER = -1
REASONS = ("not selected", "selected", "relabelled", "below the rule", "label changed", "rolled back", "not finite")
NOT_SELECTED, SELECTED, RELABELLED, BELOW, CHANGED, ROLLED_BACK, NOT_FINITE = range(len(REASONS))


@dataclasses.dataclass(frozen=True)
class Change:
    """What a round did to a pool: how many rows it added, removed, relabelled, and kept with or without a new label."""

    added: int = 0
    removed: int = 0
    relabelled: int = 0
    kept: int = 0

    @property
    def flip_rate(self) -> float:
        """Share of the kept rows whose label changed; 0 when none was kept."""
        return self.relabelled / max(1, self.kept)

    @property
    def anything(self) -> bool:
        """Whether any row came, went or changed."""
        return bool(self.added or self.removed or self.relabelled)


class Ledger:
    """A row of bookkeeping for each row of a pool; about 25 bytes, and 4 more for each of several targets.

    Args:
        size: rows.
        targets: numbers or labels a row; None for one class each.

    Attributes:
        label: the pseudo-label it has, or had last; (N,) int32, -1 never. For several labels and for numbers (N, D)
            float32 targets, NaN never.
        confidence: (N,) float32 when last scored.
        uncertainty: (N,) float32 when last scored.
        weight: (N,) float32, 0 for rows that are not in use.
        entered: (N,) int16 round in which it last came in; -1 never.
        left: (N,) int16 round in which it last went out; -1 never, or back in.
        reason: (N,) int8 index into `REASONS`.
    """

    COLUMNS = {
        "label": (np.int32, NO_LABEL),
        "confidence": (np.float32, np.nan),
        "uncertainty": (np.float32, np.nan),
        "weight": (np.float32, 0.0),
        "entered": (np.int16, NEVER),
        "left": (np.int16, NEVER),
        "reason": (np.int8, NOT_SELECTED),
    }

    def __init__(self, size: int, targets: int | None = None) -> None:
        self.size = size
        for name, (dtype, value) in self.COLUMNS.items():
            setattr(self, name, np.full(size, value, dtype))
        if targets is not None:
            self.label = np.full((size, targets), np.nan, np.float32)

    label: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray
    weight: np.ndarray
    entered: np.ndarray
    left: np.ndarray
    reason: np.ndarray

    @property
    def selected(self) -> np.ndarray:
        """(N,) bool: in use."""
        return self.weight > 0

    def update(
        self,
        round: int,
        label: np.ndarray,
        weight: np.ndarray,
        stay: np.ndarray | None,
        flips: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.not_equal,
    ) -> Change:
        """Enters a round.

        Args:
            round: its number, from 1.
            label: (N,) int32 predicted classes, or (N, D) targets.
            weight: (N,) float32 what the rule gives; 0 for rows it doesn't want.
            stay: (N,) bool rows that keep their place as long as their label is the same; None when all rows in use
                keep place, label and weight for good.
            flips: from old and new labels to (N,) bool, which of them count as another label.
        """
        before = self.selected
        if stay is None:
            entering = (weight > 0) & ~before
            self._enter(entering, label, weight, round)
            return Change(added=int(entering.sum()), kept=int(before.sum()))
        same = before & ~flips(self.label, label)
        held = same & (weight == 0) & stay  # below the level to enter, above the one to leave: keeps its weight
        after = held | (weight > 0)
        relabelled = before & after & ~same
        leaving, entering = before & ~after, after & ~before
        self.reason[leaving] = np.where(same[leaving], BELOW, CHANGED)
        self.weight[leaving], self.left[leaving] = 0.0, round
        self._enter(entering, label, weight, round)
        self.reason[relabelled] = RELABELLED
        staying = before & after
        self.label[staying] = label[staying]  # a target follows the model also where it counts as the same label
        kept = staying & ~held
        self.weight[kept] = weight[kept]
        return Change(
            int(entering.sum()), int(leaving.sum()), int(relabelled.sum()), int(staying.sum())
        )  # fmt: skip

    def _enter(self, rows: np.ndarray, label: np.ndarray, weight: np.ndarray, round: int) -> None:
        self.label[rows], self.weight[rows] = label[rows], weight[rows]
        self.entered[rows], self.left[rows], self.reason[rows] = round, NEVER, SELECTED

    def state(self) -> dict[str, np.ndarray]:
        """Returns all columns, to be saved."""
        return {name: getattr(self, name) for name in self.COLUMNS}

    @classmethod
    def restored(cls, state: dict[str, np.ndarray]) -> Ledger:
        """Makes a ledger of saved columns."""
        ledger = cls(len(state["label"]))
        for name in cls.COLUMNS:
            setattr(ledger, name, np.array(state[name]))
        return ledger
