"""Small tasks and networks that tests of several folders share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_aug_ssl as kas

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def clusters(labeled: int = 3, unlabeled: int = 40, classes: int = 3) -> tuple[Any, ...]:
    """Points around the corners of a simplex: `(x, y, x_unlabeled, y_hidden)`, easy to learn."""
    random = np.random.default_rng(5)

    def points(each: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.tile(np.arange(classes), each)
        x = 2.0 * np.eye(classes)[y] + 0.5 * random.normal(size=(len(y), classes))
        return x.astype("float32"), y

    return (*points(labeled), *points(unlabeled))


def network(seed: int = 0, classes: int = 3, dropout: float = 0.0, **compile: Any) -> keras.Model:
    """A small classifier with softmax; equal seeds give equal weights."""
    inputs = keras.Input((classes,))
    x = keras.layers.Dense(8, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed))(inputs)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=seed)(x)
    outputs = keras.layers.Dense(classes, "softmax", kernel_initializer=keras.initializers.GlorotUniform(seed + 1))(x)
    model = keras.Model(inputs, outputs)
    settings: dict[str, Any] = {"optimizer": keras.optimizers.Adam(0.02), "loss": "sparse_categorical_crossentropy"}
    model.compile(**(settings | {"metrics": ["accuracy"]} | compile))
    return model


def run(
    st: kas.SelfTraining, model: keras.Model | None = None, epochs: int = 6, task: Any = None, **feeding: Any
) -> keras.callbacks.History:
    """Fits on `clusters`, or a task like it, with few steps."""
    x, y, *_ = clusters() if task is None else task
    training_set = st.training_set(x, y, **({"batch_size": 8, "steps": 6} | feeding))
    return (model or network()).fit(training_set, epochs=epochs, callbacks=[st], verbose=0)


def equal_weights(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models have the same weights, bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def half_bright(left: bool) -> np.ndarray:
    """A grey image of 4 x 4 pixels whose left or right half is white."""
    image = np.zeros((4, 4, 1), np.uint8)
    image[:, slice(0, 2) if left else slice(2, 4)] = 255
    return image


def half_bright_model(file: Path) -> str:
    """Saves a softmax model of 4 x 4 grey images in 0..1: class 1 where the left half is the brighter one, else 0."""
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    kernel = np.zeros((16, 2), np.float32)
    kernel[:, 1] = np.tile([1, 1, -1, -1], 4)
    model.layers[-1].set_weights([kernel, np.zeros(2, np.float32)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save(file)
    return str(file)


def half_bright_images(place: Path) -> str:
    """Writes two PNG files, one of them in a folder of its own, and a text that is no image."""
    (place / "more").mkdir(parents=True)
    (place / "left.png").write_bytes(tf.io.encode_png(half_bright(True)).numpy())
    (place / "more" / "right.png").write_bytes(tf.io.encode_png(half_bright(False)).numpy())
    (place / "notes.txt").write_text("no image")
    return str(place)
