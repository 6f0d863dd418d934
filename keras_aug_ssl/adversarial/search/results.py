"""What an attack hands back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """Adversarial examples and what they do, one row an example of the data.

    Attributes:
        x_adv: the attacked inputs, float32, in the unit and structure of the inputs.
        success: (N,) bool, measured afresh on `x_adv`: the decision is wrong, or for a targeted attack as wished.
            Examples that were wrong already count, with distance 0.
        distance: (N,) float32, size of the change in the attack's norm.
        loss: (N,) float32, the loss at `x_adv` that the attack raised; cross-entropy for classes.
        queries: (N,) int32, how often the model was evaluated on the example.
        zero_gradient: (N,) bool, where the search met a gradient that is zero or not finite, or one that ordinary
            cross-entropy would have rounded to zero. Many of them mean that gradients hide the truth.
        norm: the norm of `distance`.
        early_stop: examples left at their first success; then `distance` is that of the first success.
    """

    x_adv: Any
    success: np.ndarray
    distance: np.ndarray
    loss: np.ndarray
    queries: np.ndarray
    zero_gradient: np.ndarray
    norm: str
    early_stop: bool

    @property
    def withstood(self) -> np.ndarray:
        """(N,) bool, where the model is right in spite of the attack.

        Where the loss is NaN it answers nothing, and so isn't right: a training that diverged is not robust.
        """
        return ~(self.success | np.isnan(self.loss))

    @property
    def robust_accuracy(self) -> float:
        """Share of examples that the model gets right in spite of the attack."""
        return float(np.mean(self.withstood))

    def distribution(self, quantiles: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)) -> dict[float, float]:
        """Quantiles of the distance among examples that were right and are fooled; NaN when there is none."""
        found = self.distance[self.success & (self.distance > 0)]
        return {q: float(np.quantile(found, q)) if len(found) else float("nan") for q in quantiles}

    def __str__(self) -> str:
        middle = self.distribution((0.5,))[0.5]
        return (
            f"{np.sum(self.success)} of {len(self.success)} fooled, median {self.norm} distance {middle:.4g}, "
            f"{np.mean(self.queries):.1f} queries an example, {np.sum(self.zero_gradient)} met a zero gradient"
        )


def concatenate(results: Sequence[AttackResult]) -> AttackResult:
    """Puts the results of batches together."""
    arrays = {
        name: np.concatenate([getattr(result, name) for result in results])
        for name in ("success", "distance", "loss", "queries", "zero_gradient")
    }
    return AttackResult(x_adv=join([r.x_adv for r in results]), norm=results[0].norm,
                        early_stop=results[0].early_stop, **arrays)  # fmt: skip


def join(parts: Sequence[Any]) -> Any:
    """The inputs of consecutive batches in one structure."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    if isinstance(first, (list, tuple)):
        return type(first)(np.concatenate(column) for column in zip(*parts, strict=True))
    return np.concatenate(parts)
