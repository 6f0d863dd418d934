"""What the tests of this folder share: small batches and every mixing layer."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_aug_ssl import layers

KEY = (7, 3)
CLASSES = 4
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 6, 10, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 0])
ROWS = np.random.default_rng(1).normal(size=(8, 5)).astype("float32")

# Layers that mix labels, and then layers that don't.
MIXING = {
    "MixUp": lambda **kw: layers.MixUp(1.0, num_classes=CLASSES, **kw),
    "CutMix": lambda **kw: layers.CutMix(num_classes=CLASSES, **kw),
    "BalancedMixUp": lambda **kw: layers.BalancedMixUp(1.0, num_classes=CLASSES, **kw),
    "Remix": lambda **kw: layers.Remix(class_counts=[100, 50, 10, 1], **kw),
    "SimilarTargetMix": lambda **kw: layers.SimilarTargetMix(sigma=1.0, **kw),
    "SameClassMix": lambda **kw: layers.SameClassMix(**kw),
    "SameClassMix-nearest": lambda **kw: layers.SameClassMix(neighbours=1, **kw),
}


def many(layer, inputs, count):
    """Parameters of `count` draws with different keys, each stacked."""
    sample = tf.function(lambda key: layer.sample(inputs, key), autograph=False)
    drawn = [sample(tf.constant([key, 11], tf.int64)) for key in range(count)]
    return {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}


def by_hand(values, partner, weight):
    """weight * values + (1 - weight) * values[partner], in float64."""
    values = np.asarray(values, "float64")
    weight = np.asarray(weight, "float64").reshape([-1] + [1] * (values.ndim - 1))
    return weight * values + (1 - weight) * values[np.asarray(partner)]


def standard_error_of_variance(draws):
    """How far the variance of so many draws lies from the true one, by chance."""
    centred = draws - draws.mean()
    return np.sqrt(((centred**4).mean() - (centred**2).mean() ** 2) / len(draws))
