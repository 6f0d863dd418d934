"""The class mix of a pool, estimated from a model's predictions, and how far to believe the estimate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

MOST_ROWS, MOST_NUMBERS = 10_000, 20_000_000
"""Rows that an estimate is made from: an error of half a percent at most. Fewer where classes are thousands."""

SHOWN = 20
"""Classes that are printed, the most frequent ones."""

ROUNDS, CLOSE = 500, 1e-6


class ClassMix(NamedTuple):
    """What is believed of a pool's class mix.

    Attributes:
        shares: (K,) share of each class: `trust` of the estimate, the rest of the labeled rows' mix.
        estimated: (K,) the estimate alone.
        labeled: (K,) the labeled rows' mix.
        trust: from 0 to 1, how far the estimate is believed.
        expected_errors: share of the pool that the model expects to be wrong on, one minus its mean confidence.
        rows: predictions that the estimate is made from.
    """

    shares: np.ndarray
    estimated: np.ndarray
    labeled: np.ndarray
    trust: float
    expected_errors: float
    rows: int

    def __str__(self) -> str:
        shown = np.sort(np.argsort(-self.shares, kind="stable")[:SHOWN])
        believed = ", ".join(f"{label}: {self.shares[label]:.3f}" for label in shown)
        more = f", ... of {len(self.shares)} classes" if len(shown) < len(self.shares) else ""
        return (
            f"class mix {believed}{more} ({self.trust:.0%} an estimate from {self.rows} predictions of which "
            f"{self.expected_errors:.0%} are expected to be wrong, the rest the labeled rows' mix)"
        )


def rows_needed(num_classes: int) -> int:
    """How many rows to estimate the mix of so many classes from, at most."""
    return min(MOST_ROWS, max(1, MOST_NUMBERS // num_classes))


def estimate(probabilities: Any, labeled: Any) -> ClassMix:
    """Estimates the class mix of rows from predictions of a model that was trained on labeled rows alone.

    The mix that makes the predictions likeliest is found by expectation maximization (Saerens, Latinne and Decaestecker
    2002, eq. 2.9), which needs the mix that the model was trained on and probabilities that are calibrated. With few
    labels they are not, and the mix of what is predicted differs from the truth by the model's errors. A share e of
    errors moves it by 2 e at most, in the sum of absolute differences. So the estimate counts for nothing where the
    predictions differ from the labeled rows' mix by no more than that, and for all where by twice as much:

        trust = min(1, max(0, sum |mean prediction - labeled mix| / (2 e) - 1)),  e = 1 - mean confidence

    Args:
        probabilities: (N, K) predictions for the pool, or for rows of it chosen without regard to the model.
        labeled: (K,) class mix of the labeled rows, which sums to 1; a class of share 0 stays at 0.
    """
    values, labeled = np.asarray(probabilities, np.float64), np.asarray(labeled, np.float64)
    values = np.where(labeled > 0.0, values, 0.0)
    values /= np.maximum(values.sum(axis=1, keepdims=True), 1e-12)
    expected_errors = 1.0 - float(values.max(axis=1).mean())
    distance = float(np.abs(values.mean(axis=0) - labeled).sum())
    trust = min(1.0, max(0.0, distance / max(2.0 * expected_errors, 1e-12) - 1.0))
    estimated = likeliest_mix(values, labeled)
    shares = trust * estimated + (1.0 - trust) * labeled
    return ClassMix(shares.astype(np.float32), estimated, labeled, trust, expected_errors, len(values))


def likeliest_mix(probabilities: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """(K,) float64 class mix under which (N, K) posteriors of a model trained on another mix are likeliest."""
    ratio = probabilities / np.maximum(trained, 1e-12)
    mix = trained.copy()
    for _ in range(ROUNDS):
        posterior = ratio * mix
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), 1e-300)
        before, mix = mix, posterior.mean(axis=0)
        if np.abs(mix - before).max() < CLOSE:
            break
    return mix
