"""Augmentation layers, for a model or a `tf.data` map."""

from keras_aug_ssl.layers.affine import RandomAffine, RandomPerspective
from keras_aug_ssl.layers.augmix import AugMix
from keras_aug_ssl.layers.bends import RandomElasticTransform, RandomThinPlateSpline
from keras_aug_ssl.layers.color import RandomBrightness, RandomContrast, RandomHue, RandomSaturation
from keras_aug_ssl.layers.crops import RandomCrop, RandomResizedCrop
from keras_aug_ssl.layers.engine.base import AugmentationLayer
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.composite import RandomApply, RandomChoice
from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.layers.filters import RandomGaussianBlur, RandomNoise, RandomSharpness
from keras_aug_ssl.layers.geometry import RandomFlip, RandomRotation, RandomShear, RandomTranslation, RandomZoom
from keras_aug_ssl.layers.mixing import CutMix, MixingLayer, MixUp
from keras_aug_ssl.layers.policies import RandAugment, TrivialAugment, strong_augmentation, weak_augmentation
from keras_aug_ssl.layers.recolor import RandomColorJitter, RandomGrayscale, RandomInvert
from keras_aug_ssl.layers.regions import RandomErasing
from keras_aug_ssl.layers.similar import BalancedMixUp, Remix, SameClassMix, SimilarTargetMix
from keras_aug_ssl.layers.tone import AutoContrast, Equalization, RandomGamma, RandomPosterization, Solarization

__all__ = [
    "AugMix",
    "AugmentationLayer",
    "AutoContrast",
    "BalancedMixUp",
    "CutMix",
    "Equalization",
    "MixUp",
    "MixingLayer",
    "Pipeline",
    "RandAugment",
    "RandomAffine",
    "RandomApply",
    "RandomBrightness",
    "RandomChoice",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGamma",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomNoise",
    "RandomPerspective",
    "RandomPosterization",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomThinPlateSpline",
    "RandomTranslation",
    "RandomZoom",
    "Remix",
    "SameClassMix",
    "SimilarTargetMix",
    "Solarization",
    "Spec",
    "TrivialAugment",
    "strong_augmentation",
    "weak_augmentation",
]
