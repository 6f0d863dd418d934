"""Augmentation layers, for a model or a `tf.data` map."""

from keras_aug_ssl.layers.base import AugmentationLayer
from keras_aug_ssl.layers.batch import Spec
from keras_aug_ssl.layers.colour import (
    RandomBrightness,
    RandomColorJitter,
    RandomContrast,
    RandomHue,
    RandomSaturation,
)
from keras_aug_ssl.layers.composite import RandomApply, RandomChoice
from keras_aug_ssl.layers.geometry import RandomFlip, RandomRotation, RandomShear, RandomTranslation, RandomZoom
from keras_aug_ssl.layers.pipeline import Pipeline

__all__ = [
    "AugmentationLayer",
    "Pipeline",
    "RandomApply",
    "RandomBrightness",
    "RandomChoice",
    "RandomColorJitter",
    "RandomContrast",
    "RandomFlip",
    "RandomHue",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Spec",
]
