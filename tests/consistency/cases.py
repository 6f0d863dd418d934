"""One case for every public recipe."""

from __future__ import annotations

import keras
import tensorflow as tf

import keras_aug_ssl as kas


def noise(x, seed):
    """The same with XLA, whose normal numbers are others than TensorFlow's."""
    return 3.4 * tf.random.stateless_uniform(tf.shape(x), seed, alg="philox") - 1.7


@keras.saving.register_keras_serializable(package="tests")
def weak(x, seed):
    return x + 0.1 * noise(x, seed)


@keras.saving.register_keras_serializable(package="tests")
def strong(x, seed):
    return 1.2 * x + 0.4 * noise(x, seed)


RECIPES = {
    "PseudoLabel": lambda model: kas.PseudoLabel(model, weak, ramp_steps=4, start_step=0),
    "PiModel": lambda model: kas.PiModel(model, weak, ramp_steps=4),
    "MeanTeacher": lambda model: kas.MeanTeacher(model, weak, decay=0.9, ramp_steps=4),
    "VAT": lambda model: kas.VAT(model, epsilon=0.5),
    "MixMatch": lambda model: kas.MixMatch(model, weak, ramp_steps=4),
    "UDA": lambda model: kas.UDA(model, weak, strong, threshold=0.4),
    "FixMatch": lambda model: kas.FixMatch(model, weak, strong, threshold=0.4),
    "FlexMatch": lambda model: kas.FlexMatch(model, weak, strong, threshold=0.6, momentum=0.9),
    "FreeMatch": lambda model: kas.FreeMatch(model, weak, strong, momentum=0.9),
    "SoftMatch": lambda model: kas.SoftMatch(model, weak, strong, momentum=0.9),
    "AdaMatch": lambda model: kas.AdaMatch(model, weak, strong, threshold=0.6, total_steps=8),
}
