"""Draws of a stack on some images: the grid, what was drawn, what ran together, and what it costs."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_aug_ssl import plots
from keras_aug_ssl.explore.stacks import Stack, as_json, code, pipeline

SIDE = 192
"""Edge that images are shown and augmented at."""
MOST_SHOWN = 12
"""Numbers of one drawn parameter that are shown; a field or noise has thousands."""


class Seen(NamedTuple):
    """What a page shows of a stack.

    Attributes:
        grid: (H, W, 3) uint8, a row for each image: as it is, then draws.
        parameters: for each layer, what was drawn for the first copy of the first image.
        plan: what runs together.
        milliseconds: of one image, in batches of as many as are shown.
        code: Python for the same.
        json: the pipeline's configuration.
    """

    grid: np.ndarray
    parameters: list[dict[str, Any]]
    plan: str
    milliseconds: float
    code: str
    json: str


def see(images: Sequence[np.ndarray], stack: Stack, number: int, *, copies: int = 5, annotated: bool = False) -> Seen:
    """Augments copies of images by the key `(number, 0)`.

    Args:
        images: (SIDE, SIDE, 3) uint8 each, at least one.
        stack: the layers.
        number: other numbers give other draws.
        copies: draws of each image.
        annotated: adds a mask and a box to each image, a disc and a square in the middle, to see how they follow.
    """
    augment, key = pipeline(stack), (number, 0)
    batch = _batch(np.repeat(np.stack(images), copies, axis=0), annotated)
    drawn = augment.sample(batch, seed=key)
    augmented = augment.apply(batch, drawn)
    before, after = (plots.samples(part if annotated else part["images"]) for part in (batch, augmented))
    rows = [[before[n * copies], *after[n * copies : (n + 1) * copies]] for n in range(len(images))]
    titles = ["as it is", *(f"draw {n + 1}" for n in range(copies))]
    figure = plots.image_grid(rows, column_titles=titles, cell_inches=1.5)
    return Seen(
        _pixels(figure), _told(stack, drawn), str(augment.plan()), _cost(augment, batch, key, len(after)),
        code(stack, key), as_json(stack),
    )  # fmt: skip


def _batch(images: np.ndarray, annotated: bool) -> dict[str, Any]:
    if not annotated:
        return {"images": images}
    count, (height, width) = len(images), images.shape[1:3]
    y, x = np.ogrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 4) ** 2
    square = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]], np.float32)
    boxes = {"boxes": np.repeat(square[None], count, 0), "labels": np.zeros((count, 1), np.int64)}
    masks = np.repeat(disc.astype(np.uint8)[None, :, :, None], count, 0)
    return {"images": images, "segmentation_masks": masks, "bounding_boxes": boxes}


def _told(stack: Stack, drawn: Any) -> list[dict[str, Any]]:
    """The parameters of the first row, layer by layer."""
    parts = [drawn[name] for name in drawn] if isinstance(drawn, dict) else list(drawn)
    return [{name: _first(part)} for (name, _), part in zip(stack, parts, strict=False)]


def _first(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _first(value) for name, value in part.items()}
    if isinstance(part, (tuple, list)):
        return [_first(value) for value in part]
    value = np.asarray(part)
    value = value[0] if value.ndim else value
    if value.size > MOST_SHOWN:
        return f"{' x '.join(map(str, value.shape))} numbers"
    return np.round(value.astype(float), 4).tolist()


def _cost(augment: Any, batch: Any, key: tuple[int, int], count: int) -> float:
    """Median milliseconds an image of three runs; the first of all, which compiles, has been made."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        augment(batch, training=True, seed=key)
        seconds.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(seconds) / count


def _pixels(figure: Any) -> np.ndarray:
    from matplotlib.image import imread

    shown = imread(io.BytesIO(plots.to_png(figure, 110)))[..., :3]
    return (255.0 * shown).round().astype(np.uint8)
