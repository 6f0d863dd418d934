"""A stack of layers as a page holds it, names and values, and what becomes of it: a pipeline, its code, its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import keras

from keras_aug_ssl import layers
from keras_aug_ssl.layers import Pipeline

Values = dict[str, float]
Stack = Sequence[tuple[str, Values]]

KNOBS: dict[str, dict[str, tuple[float, float, float]]] = {
    "RandomFlip": {},
    "RandomTranslation": {"height_factor": (0, 0.5, 0.1), "width_factor": (0, 0.5, 0.1)},
    "RandomRotation": {"factor": (0, 0.5, 0.05)},
    "RandomZoom": {"height_factor": (0, 0.9, 0.2)},
    "RandomShear": {"x_factor": (0, 1, 0.2), "y_factor": (0, 1, 0.0)},
    "RandomPerspective": {"scale": (0, 1, 0.4)},
    "RandomElasticTransform": {"factor": (0, 1, 1.0), "scale": (0, 1, 0.5)},
    "RandomThinPlateSpline": {"scale": (0, 0.3, 0.05)},
    "RandomBrightness": {"factor": (0, 1, 0.2)},
    "RandomContrast": {"factor": (0, 1, 0.3)},
    "RandomSaturation": {"factor": (0, 1, 0.7)},
    "RandomHue": {"factor": (0, 1, 0.2)},
    "RandomGrayscale": {"factor": (0, 1, 0.5)},
    "RandomInvert": {"factor": (0, 1, 0.5)},
    "RandomGamma": {},
    "RandomPosterization": {"factor": (1, 8, 3)},
    "Solarization": {"threshold_factor": (0, 1, 0.5)},
    "AutoContrast": {},
    "Equalization": {},
    "RandomGaussianBlur": {"factor": (0, 1, 1.0), "sigma": (0, 5, 2.0)},
    "RandomSharpness": {"factor": (0, 1, 0.8)},
    "RandomNoise": {"factor": (0, 0.5, 0.1)},
    "RandomErasing": {"factor": (0, 1, 1.0), "scale": (0, 1, 0.3)},
    "RandAugment": {"num_ops": (1, 5, 2), "factor": (0, 1, 0.5)},
    "TrivialAugment": {},
    "AugMix": {"num_chains": (1, 5, 3), "chain_depth": (1, 5, 3)},
}
"""Of each layer, the arguments that a slider moves: (lowest, highest, to begin with). Whole numbers stay whole."""


FIXED = {"RandomFlip": {"mode": "horizontal"}}
"""Arguments that no slider moves, other than a layer's own defaults: few things are themselves upside down."""


def add(stack: Stack, name: str) -> list[tuple[str, Values]]:
    """The stack with one more layer, as it is to begin with."""
    return [*stack, (name, {argument: start for argument, (_, _, start) in KNOBS[name].items()})]


def removed(stack: Stack, place: int) -> list[tuple[str, Values]]:
    """The stack without a layer."""
    return [layer for number, layer in enumerate(stack) if number != place]


def changed(stack: Stack, place: int, argument: str, value: float) -> list[tuple[str, Values]]:
    """The stack with another value of one argument."""
    return [
        (name, {**values, argument: value} if number == place else values)
        for number, (name, values) in enumerate(stack)
    ]


def is_whole(name: str, argument: str) -> bool:
    """Whether an argument counts something."""
    return KNOBS[name][argument][0] >= 1


def pipeline(stack: Stack) -> Pipeline:
    """The pipeline of a stack, for images of 0..255 with boxes in pixels."""
    made = [getattr(layers, name)(**_arguments(name, values)) for name, values in stack]
    return Pipeline(made, bounding_box_format="xyxy")


def code(stack: Stack, key: tuple[int, int]) -> str:
    """Python that makes the pipeline and draws as shown: `augmented`, of a batch `images`."""
    calls = [
        f"        kas.layers.{name}({', '.join(f'{argument}={value!r}' for argument, value in given.items())}),"
        for name, given in ((name, _arguments(name, values)) for name, values in stack)
    ]
    lines = ["import keras_aug_ssl as kas", "", "augment = kas.Pipeline(", "    [", *calls, "    ],"]
    lines += ['    bounding_box_format="xyxy",', ")", f"augmented = augment(images, training=True, seed={key})", ""]
    return "\n".join(lines)


def as_json(stack: Stack) -> str:
    """The pipeline's configuration, which `keras.saving.deserialize_keras_object` makes into one again."""
    return json.dumps(keras.saving.serialize_keras_object(pipeline(stack)), indent=1)


def _arguments(name: str, values: Values) -> dict[str, Any]:
    given: dict[str, Any] = dict(FIXED.get(name, {}))
    for argument, value in values.items():
        given[argument] = int(value) if is_whole(name, argument) else round(value, 4)
    return given
