"""Figures: images in rows, bars with spread, the fate of pseudo-labels, accuracy under attack.

Every function returns a `matplotlib.figure.Figure` that belongs to nobody: no window, no global state, so it works in a
thread, a notebook or a server. `to_png` turns one into bytes. Colors are Okabe and Ito's, told apart by color-blind
readers, and every distinction made by color is also made by position or by a marker.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#555555"
SKY, PURPLE = "#56B4E9", "#CC79A7"  # the palette's next
MARKERS = "osD^vP*X"


def image_grid(
    rows: Sequence[Sequence[Any]],
    *,
    title: str = "",
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    captions: Sequence[Sequence[tuple[str, bool]]] = (),
    cell_inches: float = 0.9,
) -> Figure:
    """Draws images in a grid, one list of images per row.

    Args:
        rows: images of shape (H, W, C) or (H, W), C = 1 or 3; integers in 0..255 or floats in 0..1. Rows may differ in
            length and images in size.
        title: above the grid.
        row_titles: one per row, at its left.
        column_titles: one per column of the first row, above it.
        captions: per row and image `(text, alarm)`, shown under the image; an alarm is set in bold vermilion.
        cell_inches: edge of a cell.

    Returns:
        The figure.

    Example:
        >>> import numpy as np
        >>> figure = image_grid([np.zeros((2, 8, 8, 1)), np.ones((2, 8, 8, 3))], row_titles=["black", "white"])
        >>> len(figure.axes)
        4
    """
    columns = max(len(row) for row in rows)
    left, top, under = (1.6 if row_titles else 0.1), (0.35 if title else 0.05), (0.22 if captions else 0.04)
    above = 0.25 if column_titles else 0.0
    width = left + columns * cell_inches + 0.1
    height = top + above + len(rows) * (cell_inches + under) + 0.1
    figure = _figure(width, height)
    for r, row in enumerate(rows):
        bottom = height - top - above - r * (cell_inches + under) - cell_inches
        for c, image in enumerate(row):
            box = (left + c * cell_inches, bottom, cell_inches, cell_inches)
            _image_cell(figure, image, (box[0] / width, box[1] / height, box[2] * 0.94 / width, box[3] * 0.94 / height))
            middle = left + (c + 0.47) * cell_inches
            if captions:
                text, alarm = captions[r][c]
                style: dict[str, Any] = {"color": VERMILION, "weight": "bold"} if alarm else {"color": GREY}
                figure.text(middle / width, (bottom - 0.03) / height, text, ha="center", va="top", fontsize=8, **style)
            if r == 0 and c < len(column_titles):
                figure.text(middle / width, (bottom + cell_inches) / height, column_titles[c], ha="center", fontsize=8)
        if row_titles:
            centre = (bottom + cell_inches / 2) / height
            figure.text((left - 0.1) / width, centre, row_titles[r], ha="right", va="center", fontsize=9)
    if title:
        figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", fontsize=11)
    return _literal(figure)


def saliency(
    images: Any, maps: Mapping[str, Any], *, title: str = "", captions: Sequence[Sequence[tuple[str, bool]]] = ()
) -> Figure:
    """Draws images above what models look at in them, a row a model: before and after robust training side by side.

    Args:
        images: (N, H, W, C), as for `image_grid`.
        maps: by the name of a model its maps (N, H, W, C), as from `keras_aug_ssl.saliency`. Shown is the largest
            absolute value over the channels; what is at or above its 99th percentile in a map is white.
        title: above the grid.
        captions: as for `image_grid`, the images' first.

    Returns:
        The figure.

    Example:
        >>> images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1))
        >>> figure = saliency(images, {"plain": images - 0.5, "robust": images - 0.9})
        >>> len(figure.axes)
        9
    """
    rows = [list(np.asarray(images)), *([_strength(map_) for map_ in np.asarray(found)] for found in maps.values())]
    return image_grid(rows, title=title, row_titles=["", *maps], captions=captions)


def _strength(found: np.ndarray) -> np.ndarray:
    """How strong each pixel of a signed map (H, W, C) is, (H, W, 1) in [0, 1]."""
    values = np.abs(found).max(axis=-1, keepdims=True).astype(float)
    return np.clip(values / max(float(np.percentile(values, 99)), 1e-30), 0.0, 1.0)


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
    figure = _figure(7.0, 1.2 + 0.3 * len(titles) * len(accuracies))
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
    return _laid_out(figure)


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
    figure = _figure(7.0, 4.6)
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
    return _laid_out(figure)


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
    figure = _figure(6.0, 4.0)
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
    return _laid_out(figure)


def to_png(figure: Figure, dots_per_inch: int = 120) -> bytes:
    """The figure as the bytes of a PNG file.

    Args:
        figure: any matplotlib figure.
        dots_per_inch: pixels per inch of the figure's size.

    Returns:
        The file's content.

    Example:
        >>> to_png(image_grid([[[[0.0, 1.0], [1.0, 0.0]]]]))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib: pip install "keras_aug_ssl[demo]".') from error
    return Figure(figsize=(width, height), facecolor="white")


def _image_cell(figure: Figure, image: Any, box: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(box)
    axes.axis("off")
    pixels = np.asarray(image)
    highest = 255 if np.issubdtype(pixels.dtype, np.integer) else 1
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if highest == 1:
        pixels = np.clip(pixels, 0.0, 1.0)
    # Small images are shown as their pixels are; large ones have more pixels than the cell, so they are averaged.
    interpolation = "nearest" if max(pixels.shape[:2]) <= 64 else "antialiased"
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=highest, interpolation=interpolation)


def _plain_frame(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _laid_out(figure: Figure) -> Figure:
    figure.set_layout_engine("constrained")
    return _literal(figure)


def _literal(figure: Figure) -> Figure:
    """Shows texts as they are: a name with two dollar signs is no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure
