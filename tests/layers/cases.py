"""One case or more for every public layer, and helpers the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras_aug_ssl as kas
from keras_aug_ssl import layers


class Case(NamedTuple):
    """A layer with strengths under which the middle of a small image stays in view."""

    name: str
    cls: type
    make: Callable[[], Any]
    is_variant: bool  # another case of the same class comes first


def case(cls: type, *args: Any, label: str = "", **kwargs: Any) -> Case:
    return Case(cls.__name__ + (f"-{label}" if label else ""), cls, lambda: cls(*args, **kwargs), bool(label))


def composed(cls: type, parts: Callable[[], Any], label: str = "", **kwargs: Any) -> Case:
    """A case whose layers are made anew each time."""
    return Case(cls.__name__ + (f"-{label}" if label else ""), cls, lambda: cls(parts(), **kwargs), bool(label))


def geometry() -> list[Any]:
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomElasticTransform(alpha=8.0, sigma=3.0),
        layers.RandomTranslation(0.1, 0.1),
    ]


def everything() -> list[Any]:
    return [
        layers.RandomPosterization((5, 7)),
        layers.RandomFlip(),
        layers.RandomRotation(0.03, fill_mode="constant", fill_value=40.0),
        layers.RandomColorJitter((0, 255), 0.1, 0.2, (0.4, 0.6), 0.1),
        layers.RandomGaussianBlur(),
        layers.RandomErasing(scale=(0.02, 0.1), fill_value=0.0),
    ]


LAYER_CASES = [
    case(layers.RandomFlip, "horizontal_and_vertical"),
    case(layers.RandomTranslation, 0.1, 0.15),
    case(layers.RandomTranslation, 0.1, 0.1, fill_mode="constant", fill_value=80.0, label="constant"),
    case(layers.RandomRotation, 0.1),
    case(layers.RandomRotation, 0.1, interpolation="nearest", fill_mode="nearest", label="nearest"),
    case(layers.RandomZoom, 0.2),
    case(layers.RandomShear, 0.2, 0.2),
    case(layers.RandomAffine, 0.05, 0.05, zoom_factor=0.1, shear_factor=0.1, fill_mode="nearest"),
    case(layers.RandomPerspective, scale=0.4, fill_value=80.0),
    case(layers.RandomCrop, 20, 22),
    case(layers.RandomResizedCrop, 22, 26, area_factor=(0.6, 1.0)),
    case(layers.RandomElasticTransform, alpha=10.0, sigma=3.0),
    case(layers.RandomThinPlateSpline, 0.05),
    case(layers.RandomBrightness, 0.3),
    case(layers.RandomContrast, 0.4),
    case(layers.RandomSaturation, 0.8),
    case(layers.RandomHue, 0.5),
    case(layers.RandomColorJitter, (0, 255), 0.2, 0.3, (0.3, 0.7), 0.2),
    case(layers.RandomColorJitter, (0, 1), 0.2, 0.3, label="unit"),
    case(layers.RandomGrayscale, 0.5),
    case(layers.RandomInvert, 0.5),
    case(layers.RandomPosterization, (1, 7)),
    case(layers.Solarization, 0.3, 0.8),
    case(layers.Equalization),
    case(layers.Equalization, (0, 1), label="unit"),
    case(layers.AutoContrast),
    case(layers.RandomGamma, (0.5, 2.0)),
    case(layers.RandomGaussianBlur, kernel_size=5, sigma=(0.5, 2.0)),
    case(layers.RandomSharpness, 1.0),
    case(layers.RandomNoise, 0.1),
    case(layers.RandomErasing, 0.8),
    case(layers.RandomErasing, scale=(0.1, 0.2), fill_value=20.0, label="constant"),
    case(layers.RandAugment, factor=0.4),
    case(layers.TrivialAugment),
    case(layers.AugMix, num_chains=2, chain_depth=1),
    case(layers.MixUp, 0.4),
    case(layers.CutMix),
    case(layers.SameClassMix),
    case(layers.SimilarTargetMix),
    case(layers.BalancedMixUp, num_classes=4),
    case(layers.Remix, class_counts=[100, 1, 50, 3]),
    composed(layers.RandomApply, lambda: [layers.RandomInvert(1.0), layers.RandomRotation(0.1)], rate=0.5),
    composed(
        layers.RandomChoice,
        lambda: [layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1), layers.RandomFlip()],
    ),
    composed(kas.Pipeline, geometry),
    composed(kas.Pipeline, everything, "everything", seed=3),
]


def plain(layer):
    """`layer`, not compiled: a compilation takes longer than everything else in a small test."""
    layer.jit_compile = False
    return layer
