"""Alarms: signs that a model teaches itself mistakes, each with what it means and what to do.

The limits are wide on purpose. A healthy run passes them silently; what they catch is a run that has gone wrong.
"""

from __future__ import annotations

import dataclasses

import numpy as np

FEWEST_ROWS = 200
"""Below this many rows a share says too little for an alarm."""

FEWEST_LABELED = 20
LARGEST_FLIP_RATE = 0.3
LARGEST_DROP, LARGEST_RISE = 0.3, 0.5
LARGEST_FALL_OF_CONFIDENCE = 0.2
LEAST_DIVERSITY = 0.25
LEAST_OF_THE_LABELED = 0.5
EMPTY_ROUNDS = 3
LARGEST_NORMALIZATION_GAP = 0.3
FEWEST_JUDGED, LEAST_PRECISION = 10, 0.5
"""Where fewer pseudo-labels were right, training on them made things worse: on 10,000 CIFAR-10 images with 10 labels a
class 43 % of the first were, and errors rose from 68 to 70 %; with 40 labels 61 %, and they fell from 57 to 56 %."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a pool after a round.

    Attributes:
        rows: size of the pool.
        accepted: rows in use.
        kept: rows in use before and after.
        relabelled: of those, rows whose label changed.
        confidence: mean over the pool; None where predictions have none.
        mix: (K,) share of each class among the rows in use; None where rows have no single class.
        prior: (K,) share of each class among the labeled rows; None likewise.
        skewed_pool: the mix may well be the pool's own, see `is_skewed_pool`.
        empty_rounds: selections so far, while they have taken nothing; 0 since they have.
        inference: accuracy on labeled rows, predicted as the pool is; None where it isn't measured.
        training: the same in training mode, where BatchNormalization uses the batch's own statistics.
        labeled: rows these two are measured on.
        judged: held-out rows that are as sure as those taken.
        right: of those, rows that are predicted right.
    """

    rows: int
    accepted: int
    kept: int
    relabelled: int
    confidence: float | None = None
    mix: np.ndarray | None = None
    prior: np.ndarray | None = None
    skewed_pool: bool = False
    empty_rounds: int = 0
    inference: float | None = None
    training: float | None = None
    labeled: int = 0
    judged: int = 0
    right: int = 0


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A sign that something is wrong.

    Attributes:
        kind: `"normalization"`, `"collapse"`, `"flips"`, `"acceptance"`, `"confidence"`, `"precision"` or
            `"nothing"`.
        round: the selection it was seen in.
        message: what was seen, what it means, what to do.
    """

    kind: str
    round: int
    message: str

    @property
    def undoable(self) -> bool:
        """Whether going back can help: not where nothing was selected."""
        return self.kind != "nothing"

    def __str__(self) -> str:
        return f"SelfTraining, selection {self.round}: {self.message}"


def alarms(round: int, now: Facts, before: Facts | None) -> list[Alarm]:
    """Returns the alarms of a round, given the facts of the one before."""
    found = {
        "normalization": _normalization(now),
        "collapse": _collapse(now),
        "flips": _flips(now),
        "nothing": _nothing(now),
        "precision": _precision(now),
    }
    if before is not None:
        found |= {"acceptance": _acceptance(now, before), "confidence": _confidence(now, before)}
    return [Alarm(kind, round, message) for kind, message in found.items() if message]


def _normalization(now: Facts) -> str | None:
    if now.training is None or now.inference is None or now.labeled < FEWEST_LABELED:
        return None
    if now.training - now.inference < LARGEST_NORMALIZATION_GAP:
        return None
    return (
        f"on labeled rows the model is right {now.training:.0%} of the time in training mode and {now.inference:.0%} "
        "in inference mode, in which it labels the pool. BatchNormalization's running averages have not caught up: use "
        "BatchNormalization(momentum=0.9), GroupNormalization, or a later start_epoch."
    )


def _collapse(now: Facts) -> str | None:
    if now.mix is None or now.prior is None or now.accepted < FEWEST_ROWS:
        return None
    if now.skewed_pool or not is_narrow(now.mix, now.prior):
        return None
    found, expected = _effective_number(now.mix), _effective_number(now.prior)
    return (
        f"the rows in use are as few classes as {found:.1f} equally frequent ones, where {expected:.1f} were expected: "
        "the model is collapsing onto few. Select per class (TopK, TopFraction), start later, or, if that is the class "
        "mix of the pool, say so by prior=."
    )


def is_narrow(mix: np.ndarray, prior: np.ndarray) -> bool:
    """Whether a mix is far less diverse than expected: as few classes as a quarter of the expected ones beyond one."""
    return _effective_number(mix) - 1.0 < LEAST_DIVERSITY * (_effective_number(prior) - 1.0)


def is_skewed_pool(pool: np.ndarray, labeled: np.ndarray, prior: np.ndarray) -> bool:
    """Whether a narrow mix may be the pool's own rather than a collapse: the model still tells the classes apart.

    Labeled rows are often so many of each class where the pool has hardly any of some. Then a sound model predicts the
    labeled rows as diverse as they are, and finds most classes somewhere in the pool.

    Args:
        pool: (K,) rows of the pool predicted as each class, selected or not.
        labeled: (K,) labeled rows predicted as each class.
        prior: (K,) share of each class among the labeled rows.
    """
    expected, found = int((prior > 0).sum()), int(((pool > 0) & (prior > 0)).sum())
    diverse = _effective_number(labeled / labeled.sum()) - 1.0
    return (
        diverse >= LEAST_OF_THE_LABELED * (_effective_number(prior) - 1.0)
        and found - 1 >= LEAST_OF_THE_LABELED * (expected - 1)
    )  # fmt: skip


def _nothing(now: Facts) -> str | None:
    if now.empty_rounds != EMPTY_ROUNDS:  # said once
        return None
    message = f"{EMPTY_ROUNDS} selections have taken none of the pool's {now.rows} rows. "
    if now.confidence is None:
        return message + "Ask for less, or select by rank."
    return message + (
        f"Its mean confidence is {now.confidence:.2f}. Where predictions are right but flat, as those of contrastive "
        "and other pre-trained heads, sharpen them: temperature='calibrated' with holdout=(x, y), or a temperature "
        "below 1. Else lower the level, train longer first (start_epoch), or select by rank (TopK, TopFraction)."
    )


def _precision(now: Facts) -> str | None:
    if not will_hurt(now.right, now.judged):
        return None
    return (
        f"of {now.judged} held-out rows as sure as those taken {now.right} are predicted right: with these labels "
        "self-training will hurt more than help. Label more rows, start from a pre-trained model, or keep to "
        "augmentation; on_alarm='pause' takes no such rows."
    )


def will_hurt(right: int, judged: int) -> bool:
    """Whether pseudo-labels of which `right` of `judged` are right do harm; False where too few are judged to say."""
    return judged >= FEWEST_JUDGED and right < LEAST_PRECISION * judged


def _flips(now: Facts) -> str | None:
    rate = now.relabelled / max(1, now.kept)
    if now.kept < FEWEST_ROWS or rate <= LARGEST_FLIP_RATE:
        return None
    return (
        f"{rate:.0%} of the rows in use changed their label. The labels are noise to a good part: start later, raise "
        "the level, select less often (every), or lower the learning rate."
    )


def _acceptance(now: Facts, before: Facts) -> str | None:
    was, is_now = before.accepted / before.rows, now.accepted / now.rows
    if before.accepted < FEWEST_ROWS or LARGEST_DROP * was <= is_now <= was + LARGEST_RISE:
        return None
    return (
        f"the share of the pool in use went from {was:.0%} to {is_now:.0%} in one selection. A sudden change of "
        "confidence rarely comes with as much knowledge: lower the learning rate, or use TopFraction with a small step."
    )


def _confidence(now: Facts, before: Facts) -> str | None:
    if before.confidence is None or now.confidence is None or now.rows < FEWEST_ROWS:
        return None
    if before.confidence - now.confidence <= LARGEST_FALL_OF_CONFIDENCE:
        return None
    return (
        f"mean confidence on the pool fell from {before.confidence:.2f} to {now.confidence:.2f}. The last labels "
        "contradict what the model knew: select fewer rows, or weigh them less."
    )


def _effective_number(shares: np.ndarray) -> float:
    """Exponential of the entropy: K for K equal shares, 1 for a single class."""
    positive = shares[shares > 0]
    return float(np.exp(-np.sum(positive * np.log(positive))))
