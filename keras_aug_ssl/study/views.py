"""How images are shown to the networks of a study: by what leaves the class of such images as it is."""

from __future__ import annotations

import numpy as np

from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine.pipeline import Pipeline


def weak(images: np.ndarray) -> Pipeline:
    """The view on which FixMatch and its kin guess labels.

    Args:
        images: (N, H, W, C) in [0, 1]. Three channels are taken for photographs, which have two sides; one for writing
            and the like, which is another thing in the mirror.
    """
    if _photographs(images):
        return layers.weak_augmentation()
    return Pipeline([layers.RandomTranslation(0.1, 0.1, fill_mode="constant")])


def strong(images: np.ndarray) -> Pipeline:
    """The view from which everything clean is learned.

    A digit stays the digit it is: no flips, which turn 2 into no digit, and no turns of 6 into 9. On a part of the
    training digits that was kept back it was half a point better than the geometry alone, and self-training on it no
    longer fell below its start.
    """
    if _photographs(images):
        return layers.strong_augmentation(value_range=(0, 1))
    return Pipeline([
        layers.RandomShear(0.2, 0.1),
        layers.RandomTranslation(0.15, 0.15),
        layers.RandomRotation(0.08),
        layers.RandomZoom(0.25),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomErasing(0.7, value_range=(0, 1)),
    ])  # fmt: skip


def gentle(images: np.ndarray) -> Pipeline:
    """Geometry alone, for images that are attacked besides: half erased and attacked, too little of a digit is left."""
    if _photographs(images):
        return layers.weak_augmentation()
    return Pipeline([
        layers.RandomTranslation(0.15, 0.15, fill_mode="constant"),
        layers.RandomRotation(0.05, fill_mode="constant"),
        layers.RandomZoom(0.2, fill_mode="constant"),
        layers.RandomShear(0.2, 0.2, fill_mode="constant"),
        layers.RandomElasticTransform(0.3, fill_mode="constant"),
    ])  # fmt: skip


def _photographs(images: np.ndarray) -> bool:
    return images.shape[-1] == 3
