"""One image under attack: what was changed, and what the model reads before and after."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_aug_ssl import adversarial
from keras_aug_ssl.meaning import reading

ATTACKS = ("FGSM", "PGD", "APGD", "Square")
"""Of those with an epsilon, from the quickest to one that sees no gradient."""


class Attacked(NamedTuple):
    """What a page shows of an attack.

    Attributes:
        image: (H, W, C) uint8 as the model gets it.
        change: (H, W, C) uint8: grey where nothing was changed, magnified until the largest change is seen in full.
        attacked: (H, W, C) uint8.
        before, after: {class: probability} of the five likeliest.
    """

    image: np.ndarray
    change: np.ndarray
    attacked: np.ndarray
    before: dict[str, float]
    after: dict[str, float]


def attack(model: keras.Model, image: np.ndarray, name: str, share: float) -> Attacked:
    """Attacks the class that the model reads now.

    Args:
        model: a classifier of images (H, W, C), in 0..1, or in 0..255 where it begins with a `Rescaling` layer.
        image: (H, W, 3) uint8 of any size; it is resized and greyed to the model's input.
        name: one of `ATTACKS`.
        share: epsilon in shares of the range from black to white, in [0, 1].
    """
    high = value_range_of(model)
    x = _fitted(model, image) / 255.0 * high
    answer = _probabilities(model, x)
    attacker = getattr(adversarial, name)(epsilon=share * high, bounds=(0.0, high))
    x_adv = np.asarray(attacker(model, x, answer.argmax(axis=1)).x_adv)
    change = x_adv - x
    largest = max(float(np.abs(change).max()), 1e-12)
    shown = [_as_bytes(part[0] / high) for part in (x, x_adv)]
    magnified = _as_bytes(0.5 + 0.5 * change[0] / largest)
    return Attacked(shown[0], magnified, shown[1], _likeliest(answer[0]), _likeliest(_probabilities(model, x_adv)[0]))


def value_range_of(model: keras.Model) -> float:
    """255 where the model scales its inputs itself, else 1."""
    rescaling = [layer for layer in model.layers[:3] if isinstance(layer, keras.layers.Rescaling)]
    return 255.0 if rescaling and np.max(np.abs(rescaling[0].scale)) < 0.1 else 1.0


def _fitted(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """(1, H, W, C) float32 of the model's size."""
    height, width, channels = model.input_shape[1:]
    x = image.astype(np.float32)
    x = x.mean(axis=-1, keepdims=True) if channels == 1 else x[..., :channels]
    return np.asarray(keras.ops.image.resize(x[None], (height or len(x), width or x.shape[1]), antialias=True))


def _probabilities(model: keras.Model, x: np.ndarray) -> np.ndarray:
    raw = model(x, training=False)
    head = reading.read("explore", model, raw, getattr(model, "loss", None))
    return np.asarray(head.probabilities(raw))


def _likeliest(probabilities: np.ndarray) -> dict[str, float]:
    order = np.argsort(-probabilities)[:5]
    return {str(number): round(float(probabilities[number]), 4) for number in order}


def _as_bytes(image: Any) -> np.ndarray:
    pixels = (255.0 * np.clip(image, 0.0, 1.0)).round().astype(np.uint8)
    return pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
