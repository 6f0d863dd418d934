"""Tasks that prepare their inputs in `fit`, `evaluate` and `predict`, each in another way: dark or bright images in
0..255, on which the network behind the preparation is right half of the time, and the task always."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="tests")


def images(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """(N, 6, 6, 1) float32 images in 0..255 and their classes (N,): 0 for dark, 1 for bright."""
    y = np.arange(count) % 2
    noise = np.random.default_rng(1).normal(scale=15.0, size=(count, 6, 6, 1))
    return np.clip(noise + 90 + 75 * y[:, None, None, None], 0, 255).astype("float32"), y


def scaled(x: Any) -> Any:
    """From 0..255 to -1..1, at half the height and width; arrays or tensors."""
    x = x[:, ::2, ::2]
    return (x.astype("float32") if isinstance(x, np.ndarray) else tf.cast(x, tf.float32)) / 127.5 - 1.0


class Network(keras.Model):
    """Decides by the mean of (3, 3, 1) images, whose bounds are -1 and 1."""

    def __init__(self, seed: int = 0, activation: str | None = "softmax", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool, self.drop = keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2, seed=seed)
        self.head = keras.layers.Dense(2, activation)
        self.head.build((None, 1))
        self.head.set_weights([np.array([[-5.0, 5.0]], "float32"), np.zeros(2, "float32")])
        self.compile(
            keras.optimizers.SGD(0.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None),
            metrics=["accuracy"],
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.head(self.drop(self.pool(inputs), training=training))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def plain() -> keras.Model:
    """The same as a plain model with the preparation inside."""
    inputs = keras.Input((6, 6, 1))
    model = keras.Model(inputs, Network()(keras.layers.Lambda(scaled, output_shape=(3, 3, 1))(inputs)))
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Pipeline(Network):
    """Takes arrays and `tf.data` in `fit`, `evaluate` and `predict`, and prepares them by `prepared`."""

    def prepared(self, x: Any) -> Any:
        raise NotImplementedError

    def data(self, x: Any, y: Any = None) -> Any:
        if isinstance(x, tf.data.Dataset):
            return x.map(lambda x, *more: (self.prepared(x), *more)), y
        if not isinstance(x, (np.ndarray, tf.Tensor)):
            raise TypeError("arrays or tf.data")
        return self.prepared(x), y

    def fit(self, x: Any = None, y: Any = None, validation_data: Any = None, **kwargs: Any) -> Any:
        validation_data = None if validation_data is None else self.data(*validation_data)
        return super().fit(*self.data(x, y), validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        if kwargs.get("_use_cached_eval_dataset"):
            return super().evaluate(x, y, **kwargs)
        return super().evaluate(*self.data(x, y), **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        return super().predict(self.data(x)[0], **kwargs)


@register
class Samples(Pipeline):
    """Names its preparation as KerasHub does."""

    def prepared(self, x: Any) -> Any:
        return self.preprocess_samples(x)

    def preprocess_samples(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        return keras.utils.pack_x_y_sample_weight(scaled(x), y, sample_weight)


@register
class Preprocessor(Pipeline):
    """Has its preparation in an attribute."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.preprocessor = scaled

    def prepared(self, x: Any) -> Any:
        return x if self.preprocessor is None else self.preprocessor(x)


@register
class Steps(Network):
    """Prepares inside its steps."""

    def prepared(self, data: Any) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        return keras.utils.pack_x_y_sample_weight(scaled(x), y, weight)

    def train_step(self, data: Any) -> Any:
        return super().train_step(self.prepared(data))

    def test_step(self, data: Any) -> Any:
        return super().test_step(self.prepared(data))

    def predict_step(self, data: Any) -> Any:
        return super().predict_step(self.prepared(data))


@register
class Hidden(Pipeline):
    """Shows nobody what it does, and takes no options in `predict`."""

    def prepared(self, x: Any) -> Any:
        return scaled(x)

    def predict(self, x: Any) -> Any:
        return keras.Model.predict(self, scaled(x), verbose=0)


@register
class InNumpy(Samples):
    """Names its preparation, which no graph can hold."""

    def preprocess_samples(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        if isinstance(x, tf.Tensor) and not tf.executing_eagerly():
            x = tf.ensure_shape(tf.numpy_function(lambda x: scaled(np.asarray(x)), [x], tf.float32), [None, 3, 3, 1])
        else:
            x = scaled(np.asarray(x))
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


FOLLOWED = [Samples, Preprocessor, Steps]
"""Attacks find the way through their preparation."""
TASKS = [*FOLLOWED, Hidden, InNumpy]
