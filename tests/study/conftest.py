"""A study small enough to watch: eight-pixel images of three classes, and methods that hardly train."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_aug_ssl.study import Images, Method, Round


def tiny_images() -> Images:
    """Three classes, each bright in its own third of the image, 12 of each to train on and 4 to test on."""
    random = np.random.default_rng(0)

    def images(per_class: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.tile(np.arange(3), per_class)
        x = 0.2 * random.random((len(y), 8, 8, 1), dtype=np.float32)
        for row, label in zip(x, y, strict=True):
            row[:, 3 * label : 3 * label + 2] += 0.7
        return x, y

    return Images(*images(12), *images(4))


def one_layer(task, settings, display):
    """A linear model after `settings.steps` full-batch steps; always claims three pseudo-labels, two of them true."""
    weights = keras.initializers.GlorotUniform(seed=task.seed)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer=weights)]
    model = keras.Sequential(layers)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for step in range(settings.steps):
        model.train_on_batch(task.x_labeled, task.y_labeled)
        display.trained(step + 1, settings.steps, "")
    return model, [Round(settings.steps, 3, 2 / 3)]


class Calls:
    """Methods that count how often they train, one of which can be made to break off like Ctrl-C."""

    def __init__(self) -> None:
        self.trained: list[tuple[str, int]] = []
        self.break_at: tuple[str, int] | None = None

    def method(self, name: str) -> Method:
        def train(task, settings, display):
            if (name, task.seed) == self.break_at:
                raise KeyboardInterrupt
            self.trained.append((name, task.seed))
            return one_layer(task, settings, display)

        return Method(name, f"title of {name}", f"what {name} does", train)


@pytest.fixture
def images() -> Images:
    return tiny_images()


@pytest.fixture
def calls() -> Calls:
    return Calls()
