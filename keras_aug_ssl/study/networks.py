"""The one network all methods of a study train."""

from __future__ import annotations

from typing import Any

import keras


def small_network(image_shape: tuple[int, int, int], num_classes: int, seed: int) -> keras.Model:
    """Three convolutions and a linear layer: learns digits in a few hundred steps on a CPU.

    BatchNormalization keeps its running averages with momentum 0.9: with Keras's 0.99 they are still far from the truth
    after a few hundred steps, and a network that is right in training labels the unlabeled images at chance. It comes
    after the pooling, where it has a quarter of the values to go through: a step takes two thirds of the time.

    Args:
        image_shape: (height, width, channels), each side at least 4.
        num_classes: number of outputs, which are logits.
        seed: of the initial weights; equal seeds give equal weights, whatever the global random state.

    Returns:
        The model, not compiled.

    Example:
        >>> small_network((28, 28, 1), num_classes=10, seed=0).output_shape
        (None, 10)
    """
    inputs = keras.Input(image_shape)
    x = inputs
    for index, filters in enumerate((16, 32, 64)):
        start = keras.initializers.HeNormal(seed=1000 * seed + index)
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=start)(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(num_classes, kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(x)
    return keras.Model(inputs, outputs)


def compile_arguments(steps: int) -> dict[str, Any]:
    """What every network of a study is compiled with: Adam, whose rate falls to 0 over `steps` steps.

    At a constant rate the accuracy of the last step is a matter of luck, several points up or down.
    """
    return {
        "optimizer": keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
