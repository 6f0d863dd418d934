"""Tables and a figure from the lines that `self_training.py` has kept.

A line's key is "data set | labels a class | draw | method"; its value has `errors` and `right` as shares, `rows` and
`seconds`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from keras_aug_ssl import plots

Results = dict[str, dict[str, float]]

CURVES = {
    "supervised": "labels only",
    "supervised, mild": "+ augmentation",
    "SelfTraining, defaults": "+ SelfTraining",
    "SelfTraining, FreeThreshold()": "the same, FreeThreshold",
    "SelfTraining, TopFraction(0.2, step=0.05)": "the same, TopFraction",
    "scikit-learn LabelSpreading, 7 neighbours": "LabelSpreading",
    "scikit-learn SelfTrainingClassifier, logistic regression": "SelfTrainingClassifier",
}
COLORS = plots.GREY, plots.ORANGE, plots.BLUE, plots.SKY, plots.PURPLE, plots.GREEN, plots.VERMILION


def draws(arguments: argparse.Namespace) -> range:
    return range(arguments.first_draw, arguments.first_draw + arguments.draws)


def tables(results: Results, arguments: argparse.Namespace, names: Sequence[str]) -> str:
    lines = []
    for dataset in arguments.datasets:
        for labels in arguments.labels:
            lines += [f"### {dataset}, {labels} labels a class", ""]
            lines += [
                "| method | draws | errors, % | rows labeled | of them right, % | seconds |",
                "|---|---|---|---|---|---|",
            ]
            for name in names:
                found = [
                    results[key]
                    for draw in draws(arguments)
                    if (key := f"{dataset} | {labels} | {draw} | {name}") in results
                ]
                if found:
                    lines.append(f"| {name} | {len(found)} | " + " | ".join(cells(found)) + " |")
            lines.append("")
    return "\n".join(lines)


def cells(found: list[dict[str, float]]) -> list[str]:
    wrong = [100 * each["errors"] for each in found]
    spread = f" ± {statistics.stdev(wrong):.1f}" if len(wrong) > 1 else ""
    rows = statistics.mean(each["rows"] for each in found)
    right = statistics.mean(100 * each["right"] for each in found)
    seconds = statistics.mean(each["seconds"] for each in found)
    labeled = [f"{rows:.0f}", f"{right:.1f}"] if rows else ["", ""]
    return [f"{statistics.mean(wrong):.1f}{spread}", *labeled, f"{seconds:.0f}"]


def figure(results: Results, arguments: argparse.Namespace) -> Any:
    """Errors over the number of labels, a panel a data set: mean and standard deviation over draws of `CURVES`."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    panels = drawn.subplots(1, len(arguments.datasets), sharey=True, squeeze=False)[0]
    for dataset, axes in zip(arguments.datasets, panels, strict=True):
        for (name, label), color, marker in zip(CURVES.items(), COLORS, plots.MARKERS, strict=False):
            keys = {n: [f"{dataset} | {n} | {d} | {name}" for d in draws(arguments)] for n in arguments.labels}
            wrong = {n: [100 * results[key]["errors"] for key in keys[n] if key in results] for n in keys}
            known = sorted(n for n in wrong if len(wrong[n]) > 1)
            middle, spread = ([of(wrong[n]) for n in known] for of in (statistics.mean, statistics.stdev))
            axes.errorbar(known, middle, spread, color=color, marker=marker, capsize=3, label=label)
        axes.set(title=dataset, xlabel="labels a class", xscale="log", yscale="log")
        axes.set_xticks(arguments.labels, map(str, arguments.labels), minor=False)
        axes.minorticks_off()
        axes.set_yticks(ticks := [2, 5, 10, 20, 50], map(str, ticks))
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("errors on the test set, %")
    panels[-1].legend(frameon=False, fontsize=8)
    return drawn
