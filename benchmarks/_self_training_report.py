"""Tables and a figure from the rows that `self_training.py` has kept."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from _rows import Row
from _training import mean_and_spread

from keras_aug_ssl import plots

CURVES = {
    "supervised": "labels only",
    "supervised, mild": "+ augmentation",
    "SelfTraining, defaults": "+ SelfTraining",
    "SelfTraining, FreeThreshold()": "the same, FreeThreshold",
    "scikit-learn LabelSpreading, 7 neighbours": "LabelSpreading",
    "scikit-learn SelfTrainingClassifier, the network, strong": "SelfTrainingClassifier, the network",
    "scikit-learn SelfTrainingClassifier, logistic regression": "SelfTrainingClassifier, logistic regression",
}
COLORS = plots.GREY, plots.ORANGE, plots.BLUE, plots.SKY, plots.PURPLE, plots.GREEN, plots.VERMILION


def tables(rows: list[Row], names: Sequence[str]) -> str:
    lines: list[str] = []
    for dataset, labels, rare in _cells(rows):
        skewed = f", a share of {rare:g} of the pool's classes 5 to 9 left" if rare < 1.0 else ""
        lines += [f"### {dataset}, {labels} labels a class{skewed}", ""]
        lines += [
            "| method | draws | errors, % | each | rows labeled | of them right, % | seconds |",
            "|---|---|---|---|---|---|---|",
        ]
        for name in names:
            found = [row for row in rows if _cell(row) == (dataset, labels, rare) and row["method"] == name]
            if found:
                lines.append(f"| {name} | {len(found)} | " + " | ".join(_columns(found)) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(row: Row) -> tuple[str, int, float]:
    return row["dataset"], int(row["labels"]), float(row["rare"])


def _cells(rows: list[Row]) -> list[tuple[str, int, float]]:
    return sorted({_cell(row) for row in rows}, key=lambda cell: (-cell[2], cell))


def _columns(found: list[Row]) -> list[str]:
    def column(name: str) -> list[float]:
        return [float(row[name]) for row in found]

    each = ", ".join(f"{100 * wrong:.1f}" for wrong in column("errors"))
    count = statistics.mean(column("rows"))
    labeled = [f"{count:.0f}", f"{100 * statistics.mean(column('right')):.1f}"] if count else ["", ""]
    return [mean_and_spread(column("errors")), each, *labeled, f"{statistics.mean(column('seconds')):.0f}"]


def figure(rows: list[Row]) -> Any:
    """Errors over the number of labels, a panel a data set and class mix: mean and standard deviation of `CURVES`."""
    from matplotlib.figure import Figure

    cells = _cells(rows)
    panels = list(dict.fromkeys((dataset, rare) for dataset, _, rare in cells))
    drawn = Figure(figsize=(4.5 * len(panels), 3.8), layout="constrained")
    for (dataset, rare), axes in zip(
        panels, drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0], strict=True
    ):
        numbers = sorted({labels for name, labels, share in cells if (name, share) == (dataset, rare)})
        for (name, label), color, marker in zip(CURVES.items(), COLORS, plots.MARKERS, strict=False):
            wrong = {
                n: [
                    100 * float(row["errors"])
                    for row in rows
                    if (*_cell(row), row["method"]) == (dataset, n, rare, name)
                ]
                for n in numbers
            }
            known = [n for n in numbers if len(wrong[n]) > 1]
            middle, spread = ([of(wrong[n]) for n in known] for of in (statistics.mean, statistics.stdev))
            axes.errorbar(known, middle, spread, color=color, marker=marker, capsize=3, label=label)
        axes.set(title=dataset if rare == 1.0 else f"{dataset}, skewed pool", xlabel="labels a class")
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(numbers, map(str, numbers), minor=False)
        axes.minorticks_off()
        axes.set_yticks(ticks := [2, 5, 10, 20, 50], map(str, ticks))
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.axes[0].set_ylabel("errors on the test set, %")
    drawn.axes[-1].legend(frameon=False, fontsize=8)
    return drawn
