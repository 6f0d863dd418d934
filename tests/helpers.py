"""Small tasks and networks that tests of several folders share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

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
