"""Charts: accuracies as bars with their spread and as curves, pseudo-labels over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_aug_ssl.plots.figures import BLUE, GREEN, GREY, MARKERS, ORANGE, VERMILION, laid_out, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracy_bars(
    titles: Sequence[str],
    accuracies: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str = "",
) -> Figure:
    """Horizontal bars of accuracy, one group per method, one bar per kind of accuracy, with whiskers for the spread.

    Args:
        titles: one per method, top to bottom.
        accuracies: at most four kinds, e.g. `{"clean": [...], "attacked": [...]}`, each with (mean, spread) of every
            method, in [0, 1]; a spread of 0 draws no whisker.
        title: above the axes.

    Returns:
        The figure; the axis is in per cent.

    Example:
        >>> figure = accuracy_bars(["plain", "robust"], {"clean": [(0.9, 0.01), (0.8, 0.02)]})
        >>> figure.axes[0].get_xlabel()
        'test accuracy (%)'
    """
    thickness = 0.8 / len(accuracies)
    figure = new_figure(7.0, 1.2 + 0.3 * len(titles) * len(accuracies))
    axes = figure.add_subplot()
    positions = np.arange(len(titles))
    for index, (kind, values) in enumerate(accuracies.items()):
        offset = (index - (len(accuracies) - 1) / 2) * thickness
        color = (BLUE, ORANGE, GREEN, VERMILION)[index]
        percent, spread = 100 * np.transpose(values)
        whiskers: dict[str, Any] = {"xerr": spread, "capsize": 3} if np.any(spread > 0) else {}
        axes.barh(positions + offset, percent, thickness * 0.92, color=color, label=kind, ecolor=GREY, **whiskers)
        for position, value, extent in zip(positions + offset, percent, spread, strict=True):
            axes.text(value + extent + 1.2, position, f"{value:.1f}", va="center", fontsize=8)
    axes.set_yticks(positions, titles)
    axes.invert_yaxis()
    axes.set(xlim=(0, 112), xlabel="test accuracy (%)", title=title)
    axes.set_xticks(range(0, 101, 20))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.75 / figure.get_figheight()), ncols=4, frameon=False)
    _plain_frame(axes)
    return laid_out(figure)


def pseudo_label_curves(curves: Mapping[str, Mapping[str, Sequence[float]]], *, title: str = "") -> Figure:
    """Two panels over training steps: pseudo-labels in use, and how many per cent of them are true.

    Args:
        curves: per curve (e.g. one per seed) the equally long lists `step`, `count` and `accuracy`; accuracy in [0, 1],
            None or NaN while nothing is selected.
        title: above the panels.

    Returns:
        The figure.

    Example:
        >>> figure = pseudo_label_curves({"seed 0": {"step": [10, 20], "count": [0, 50], "accuracy": [None, 0.9]}})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['pseudo-labels in use', 'of these true (%)']
    """
    figure = new_figure(7.0, 4.6)
    counts, truth = figure.subplots(2, 1, sharex=True)
    for index, (name, curve) in enumerate(curves.items()):
        color = (BLUE, ORANGE, GREEN, VERMILION, GREY)[index % 5]
        style = {"color": color, "marker": MARKERS[index % len(MARKERS)], "markersize": 4, "label": name}
        counts.plot(curve["step"], curve["count"], **style)
        truth.plot(curve["step"], 100 * np.asarray(curve["accuracy"], dtype=float), **style)
    counts.set(ylabel="pseudo-labels in use", title=title)
    counts.set_ylim(0, max(1, counts.get_ylim()[1]))
    truth.set(ylabel="of these true (%)", xlabel="training step")
    shares = np.concatenate([line.get_ydata() for line in truth.lines])
    lowest = np.nanmin(shares) if np.isfinite(shares).any() else 0.0
    truth.set_ylim(max(0.0, min(lowest - 2.0, 90.0)), 100.5)
    counts.legend(frameon=False)
    for axes in (counts, truth):
        _plain_frame(axes)
        axes.grid(axis="y", alpha=0.3)
    figure.align_ylabels()
    return laid_out(figure)


def accuracy_curves(
    curves: Mapping[str, Mapping[float, float]], *, xlabel: str, title: str = "", thick: str = ""
) -> Figure:
    """Accuracy over the size of a perturbation, one curve for each attack.

    Args:
        curves: {name: {size: accuracy in [0, 1]}}, sizes rising.
        xlabel: what the sizes are.
        title: above the axes.
        thick: name of the curve to be drawn thick, in black and behind the others.

    Returns:
        The figure; accuracies are in per cent.

    Example:
        >>> figure = accuracy_curves({"PGD": {0.0: 0.9, 0.1: 0.5}}, xlabel="epsilon")
        >>> figure.axes[0].lines[0].get_ydata().tolist()
        [90.0, 50.0]
    """
    figure = new_figure(6.0, 4.0)
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(curves.items()):
        color = (BLUE, ORANGE, GREEN, VERMILION, GREY)[index % 5]
        style: dict[str, Any] = {"color": color, "marker": MARKERS[index % len(MARKERS)], "markersize": 4}
        if name == thick:
            style = {"color": "black", "linewidth": 4, "alpha": 0.35, "zorder": 1}
        axes.plot(list(curve), 100 * np.array(list(curve.values())), label=name, **style)
    axes.set(xlabel=xlabel, ylabel="accuracy (%)", ylim=(-2, 102), title=title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    _plain_frame(axes)
    return laid_out(figure)


def _plain_frame(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
