"""What an evaluation of robustness hands back: accuracy over epsilon, attack by attack and in the worst case."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from keras_aug_ssl import plots
from keras_aug_ssl.writing import replacing


@dataclasses.dataclass(frozen=True)
class Curve:
    """Accuracy under one attack.

    Attributes:
        attack: its class, with the arguments that tell it from others of the same class.
        accuracy: {epsilon: share of examples that are right and stay so}.
        seconds: wall-clock time of all its runs, tracing included.
        distance: {quantile: size of the smallest perturbation found}, over the examples that were right and were
            fooled; empty for attacks that keep to a radius instead of looking for the smallest.
        transfer: {name of another model: {epsilon: its accuracy on this attack's examples}}.
    """

    attack: str
    accuracy: dict[float, float]
    seconds: float
    distance: dict[float, float] = dataclasses.field(default_factory=dict)
    transfer: dict[str, dict[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RobustnessReport:
    """How accurate a model stays when its inputs are attacked.

    Attributes:
        norm: in which epsilon and distances are measured.
        examples: how many were attacked.
        clean_accuracy: share of right decisions without attack, in [0, 1].
        worst_case: {epsilon: share of examples that no attack fooled at this or a smaller epsilon}, an upper bound of
            what a better attack would leave. For a model that draws random numbers in inference, like all accuracies
            here, a mean over draws.
        curves: one for each attack, in the order given.
        warnings: reasons not to believe the figures, and what to know of a random model; empty when every check passed
            or none was asked for.

    Example:
        >>> report = RobustnessReport("linf", 10, 0.9, {0.1: 0.5}, (Curve("FGSM", {0.1: 0.5}, 0.2),), ())
        >>> print(report)
        Accuracy (%) of 10 examples by linf epsilon:
        <BLANKLINE>
        | attack | none | 0.1 | seconds |
        |---|---|---|---|
        | FGSM | 90.0 | 50.0 | 0.2 |
        | worst case | 90.0 | 50.0 | 0.2 |
    """

    norm: str
    examples: int
    clean_accuracy: float
    worst_case: dict[float, float]
    curves: tuple[Curve, ...]
    warnings: tuple[str, ...]

    def table(self) -> list[dict[str, Any]]:
        """One row for each attack and epsilon, then the worst case; `pandas.DataFrame` takes it as it is.

        Returns:
            Rows of `attack`, `epsilon`, `accuracy` and, under its name, the accuracy of every other model.
        """
        rows: list[dict[str, Any]] = [
            {"attack": curve.attack, "epsilon": epsilon, "accuracy": accuracy}
            | {name: other[epsilon] for name, other in curve.transfer.items()}
            for curve in self.curves
            for epsilon, accuracy in curve.accuracy.items()
        ]
        return rows + [{"attack": "worst case", "epsilon": e, "accuracy": a} for e, a in self.worst_case.items()]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The whole report as JSON; infinite and undefined numbers become null.

        Args:
            path: also write it there, as a whole: a reader sees the old file or the new one.
        """
        curves = [dataclasses.asdict(curve) for curve in self.curves]
        for curve in curves:
            curve["distance"] = {q: d if math.isfinite(d) else None for q, d in curve["distance"].items()}
        text = json.dumps({**dataclasses.asdict(self), "curves": curves}, indent=1, allow_nan=False)
        if path is not None:
            with replacing(path) as draft:
                draft.write_text(text + "\n", encoding="utf-8")
        return text

    def plot(self) -> Any:
        """Draws accuracy over epsilon, one curve for each attack and a thick one for the worst case.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: without matplotlib.
        """
        curves = {curve.attack: curve.accuracy for curve in self.curves} | {"worst case": self.worst_case}
        return plots.accuracy_curves(
            {name: {0.0: self.clean_accuracy, **curve} for name, curve in curves.items()},
            xlabel=f"{self.norm} epsilon",
            title=f"{self.examples} examples" + (", with warnings" if self.warnings else ""),
            thick="worst case",
        )

    def __str__(self) -> str:
        head = ["attack", "none", *(f"{epsilon:.4g}" for epsilon in self.worst_case), "seconds"]
        total = sum(curve.seconds for curve in self.curves)
        rows = [self._cells(curve.attack, curve.accuracy, curve.seconds) for curve in self.curves]
        cells = [head, ["---"] * len(head), *rows, self._cells("worst case", self.worst_case, total)]
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines[1] = lines[1].replace(" ", "")
        notes = [*self._distances(), *self._transfers(), *(f"Warning: {text}" for text in self.warnings)]
        title = f"Accuracy (%) of {self.examples} examples by {self.norm} epsilon:"
        return "\n".join([title, "", *lines, *(line for note in notes for line in ("", note))])

    def _cells(self, name: str, accuracy: Mapping[float, float], seconds: float) -> list[str]:
        return [name, *(_percent(share) for share in (self.clean_accuracy, *accuracy.values())), f"{seconds:.1f}"]

    def _distances(self) -> list[str]:
        return [
            f"{curve.attack}, {self.norm} distance: "
            + ", ".join(f"{distance:.4g} ({100 * quantile:g} %)" for quantile, distance in curve.distance.items())
            for curve in self.curves
            if curve.distance and all(map(math.isfinite, curve.distance.values()))
        ]

    def _transfers(self) -> list[str]:
        return [
            f"{name} on the examples of {curve.attack}: "
            + ", ".join(f"{_percent(share)} % at {epsilon:.4g}" for epsilon, share in shares.items())
            for curve in self.curves
            for name, shares in curve.transfer.items()
        ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
