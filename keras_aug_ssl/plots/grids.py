"""Images in rows, with what belongs to them; what models look at; which images were labeled when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_aug_ssl.plots.figures import GREY, VERMILION, literal, new_figure
from keras_aug_ssl.plots.samples import Sample, overlay
from keras_aug_ssl.plots.samples import class_name as _class_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        rows: images of shape (H, W, C) or (H, W), C = 1 or 3, integers in 0..255 or floats in 0..1; or what `samples`
            makes of a batch, drawn with masks, boxes and keypoints. Rows may differ in length and images in size.
        title: above the grid.
        row_titles: one per row, at its left.
        column_titles: one per column of the first row, above it.
        captions: per row and image `(text, alarm)`, shown under the image; an alarm is set in bold vermilion. Without,
            the labels of samples.
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
    if not captions and any(isinstance(cell, Sample) and cell.label for row in rows for cell in row):
        captions = [[(getattr(cell, "label", ""), False) for cell in row] for row in rows]
    left, top, under = (1.6 if row_titles else 0.1), (0.35 if title else 0.05), (0.22 if captions else 0.04)
    above = 0.25 if column_titles else 0.0
    width = left + columns * cell_inches + 0.1
    height = top + above + len(rows) * (cell_inches + under) + 0.1
    figure = new_figure(width, height)
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
    return literal(figure)


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


def pseudo_labels(
    pool: Any, table: Any, *, class_names: Sequence[str] = (), truth: Any = None, each: int = 10, title: str = ""
) -> Figure:
    """Draws which images of a pool were added when: a row for each selection, from the surest to the least sure.

    Args:
        pool: the pool or its images, (N, H, W, C), as for `image_grid`.
        table: `SelfTraining.table()`, of classes.
        class_names: what a reader knows the classes by; else their numbers.
        truth: (N,) true classes, where they are known: captions of wrong labels are set in bold vermilion.
        each: images of a selection that are shown.
        title: above the grid.

    Returns:
        The figure. Captions are "label confidence"; a label that was taken back ends in "left".

    Raises:
        ValueError: nothing was ever added.

    Example:
        >>> from types import SimpleNamespace
        >>> table = {"label": np.array([1, -1, 0]), "confidence": np.array([0.9, 0.5, 0.8]),
        ...          "round_entered": np.array([1, -1, 2]), "round_left": np.array([-1, -1, -1])}
        >>> figure = pseudo_labels(np.zeros((3, 8, 8, 1)), table, class_names=["cat", "dog"])
        >>> [text.get_text() for text in figure.texts]
        ['dog 90%', 'selection 1\\n1 added', 'cat 80%', 'selection 2\\n1 added']
    """
    label, confidence, left = (np.asarray(table[name]) for name in ("label", "confidence", "round_left"))
    entered = np.asarray(table["round_entered"])
    rounds = [number for number in np.unique(entered) if number >= 0]
    if not rounds:
        raise ValueError("plots.pseudo_labels: `table` has no row that was ever added, so there is nothing to show.")
    in_memory = isinstance(pool, np.ndarray) or not hasattr(pool, "take")
    take = np.asarray(pool).__getitem__ if in_memory else pool.take
    rows, names, captions = [], [], []
    for number in rounds:
        added = np.flatnonzero(entered == number)
        ordered = added[np.argsort(-confidence[added], kind="stable")]
        shown = ordered[np.unique(np.linspace(0, len(ordered) - 1, min(each, len(ordered))).round().astype(int))]
        rows.append(list(np.asarray(take(shown))))
        names.append(f"selection {number}\n{len(added)} added")
        captions.append([
            (
                f"{_class_name(label[row], class_names)} {confidence[row]:.0%}{' left' if left[row] >= 0 else ''}",
                truth is not None and bool(np.asarray(truth)[row] != label[row]),
            )
            for row in shown
        ])  # fmt: skip
    return image_grid(rows, title=title, row_titles=names, captions=captions)


def _image_cell(figure: Figure, cell: Any, box: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(box)
    axes.axis("off")
    pixels = np.asarray(cell.image if isinstance(cell, Sample) else cell)
    highest = 255 if np.issubdtype(pixels.dtype, np.integer) else 1
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if highest == 1:
        pixels = np.clip(pixels, 0.0, 1.0)
    # Small images are shown as their pixels are; large ones have more pixels than the cell, so they are averaged.
    interpolation = "nearest" if max(pixels.shape[:2]) <= 64 else "antialiased"
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=highest, interpolation=interpolation)
    if isinstance(cell, Sample):
        overlay(axes, cell)
