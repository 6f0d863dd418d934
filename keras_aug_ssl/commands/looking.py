"""A look at some examples before all are worked on: what speaks against the result is said while there is time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_aug_ssl.commands.inputs import read_image, resized, with_channels
from keras_aug_ssl.commands.messages import note, shown

LOOKED_AT = 32
COLORED = 24
"""Levels of 255 by which channels differ somewhere in an image with colors; JPEG tints grey ones by a few."""
FAR, DISTORTED = 4.0, 1.5
"""Factors by which an image is shrunk or enlarged, and its height against its width, that change what is seen."""
SURE, HARDLY = 0.9999, 0.02
"""Confidence that counts as 1, and a difference of probabilities that counts as none."""
FEWEST = 8
"""Examples that must be answered alike before it says something about the scale."""

Probabilities = Callable[[np.ndarray], np.ndarray]


def some(total: int) -> np.ndarray:
    """Positions of a few of so many rows, evenly from all."""
    return np.unique(np.linspace(0, total - 1, min(LOOKED_AT, total)).astype(np.int64))


def at_images(files: Sequence[Path], size: tuple[int, int], channels: int) -> np.ndarray:
    """Says what resizing and greying will do to images; returns those that can be read, (N, *size, channels)."""
    seen, colored, odd = [], 0, []
    for file in files:
        try:
            image = read_image(file)
        except (ValueError, OSError):  # it will be named when its turn comes
            continue
        seen.append(resized(with_channels(image, channels), size))
        opaque = image[..., :3].astype(int)
        colored += channels == 1 and image.shape[-1] > 2 and int(np.ptp(opaque, axis=-1).max()) > COLORED
        if _far(image.shape[:2], size):
            odd.append(f"{shown(file)} of {image.shape[0]} x {image.shape[1]}")
    if colored:
        note(
            f"{colored} of {len(seen)} images looked at have colors; the model takes one channel and sees them in grey"
        )
    if odd:
        note(
            f"{len(odd)} of {len(seen)} images looked at are far from the model's size of {size[0]} x {size[1]} and "
            f"are resized, such as {odd[0]}; labels are worth less where it learned from other sizes"
        )
    return np.stack(seen) if seen else np.empty((0, *size, channels), np.float32)


def at_scale(model: keras.Model, x: np.ndarray, probabilities: Probabilities, *, unit: bool) -> None:
    """Says it when answers look as if values came in another scale than the model learned.

    Args:
        model: the model.
        x: (N, H, W, C) images as they are read; anything else is left alone.
        probabilities: from such images to (N, K), in the scale that was asked for.
        unit: that scale is 0..1, reached by a division by 255.

    Raises:
        ValueError: the model says that it wants the other scale.
    """
    span = scale_of(x)
    if span is None or unit and span == "0..1":
        return
    given = "0..1" if unit else span
    if given == "0..1" and rescales(model):
        advice = "leave out --unit" if unit else "multiply the array by 255"
        raise ValueError(f"the model has a Rescaling layer, so it seems to want values in 0..255: {advice}")
    factor = 255.0 if given == "0..1" else 1 / 255.0
    found, other = probabilities(x), probabilities(x * factor)
    if _saturated(found) and given == "0..255" and not _saturated(other):
        note(f"{_ALL_SURE} On values in 0..1 they are not: the model seems to want values in 0..1; pass --unit")
    elif len(x) >= FEWEST and _saturated(found):
        note(f"{_ALL_SURE} If the scale is right, compare labels with known ones before you believe them")
    elif given == "0..1" and len(x) >= FEWEST and _alike(found) and not _alike(other):
        advice = "leave out --unit" if unit else "multiply the array by 255"
        note(f"the model answers all examples looked at alike; it seems to want values in 0..255: {advice}")


_ALL_SURE = "all confidences looked at are 1, as where values have another scale than the model learned."


def scale_of(x: np.ndarray) -> str | None:
    """The scale that the values of images (N, H, W, C) seem to have; None where they are no images or have another."""
    if x.ndim != 4 or not x.size or not (np.min(x) >= 0 and np.max(x) <= 255):
        return None
    return "0..1" if np.max(x) <= 1 else "0..255"


def rescales(model: keras.Model) -> bool:
    """Whether a layer of the model divides its input by about 127 or 255."""
    layers = list(getattr(model, "layers", ()))
    return any(
        isinstance(layer, keras.layers.Rescaling) and np.max(np.abs(layer.scale)) <= 1 / 64 or rescales(layer)
        for layer in layers
    )


def _far(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    down, across = size[0] / wanted[0], size[1] / wanted[1]
    return max(down, across, 1 / down, 1 / across) >= FAR or max(down / across, across / down) >= DISTORTED


def _saturated(probabilities: np.ndarray) -> bool:
    return bool(np.all(np.max(probabilities, axis=-1) >= SURE))


def _alike(probabilities: np.ndarray) -> bool:
    return bool(np.max(np.ptp(probabilities, axis=0)) < HARDLY)
