"""Laws about a layer as a part of a Keras model: what it leaves of Keras's, and whether the model can live."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.testing.keras_names import hidden_names
from keras_aug_ssl.testing.laws import Law, broken, register, same
from keras_aug_ssl.testing.subject import Subject

LAWS: list[Law] = []


@register(LAWS, "nothing of Keras's is hidden")
def nothing_of_keras_is_hidden(subject: Subject) -> None:
    """No method or attribute has the name of one of Keras's and another meaning."""
    hidden = hidden_names(subject.layer)
    if hidden:
        broken(f"{hidden[0]}, whatever calls it by Keras's meaning fails")


@keras.saving.register_keras_serializable(package="keras_aug_ssl_testing")
class Holder(keras.Model):
    """A network that augments by itself: in `call`, which takes no `training`, or in `train_step` what needs labels."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.independent = getattr(layer, "independent", True)  # a stock layer takes images alone in any case
        self.pool, self.head = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)

    def call(self, images: Any) -> Any:
        images = self.layer(images) if self.independent else images
        return self.head(self.pool(images))

    def train_step(self, data: Any) -> Any:
        return super().train_step(data if self.independent else self.layer(data[:2], training=True))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Holder:
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


@register(LAWS, "lives inside a model", graphs=True)
def lives_inside_a_model(subject: Subject) -> None:
    """A model that holds the layer fits, twice, with the best weights restored; summarizes, counts, saves and loads."""
    try:
        with warnings.catch_warnings():
            # Of numpy 2, about how Keras reads the optimizer's variables.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            _live(Holder(subject.plain()), subject)
    except (TypeError, ValueError, AttributeError, tf.errors.OpError) as error:
        broken(f"a model that holds it fails: {type(error).__name__}: {str(error)[:300]}")


def _live(model: Holder, subject: Subject) -> None:
    images, labels = subject.images(), np.eye(4, dtype="float32")
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    asked = _count_calls(model.layer, "_augment") if subject.has_parameters else [1]
    for _ in range(2):
        stopper = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True)
        model.fit(images, labels, epochs=2, verbose=0, callbacks=[stopper])
    if not asked:
        broken("`fit` of a model whose `call` takes no `training` doesn't augment")
    asked.clear()
    model.summary(print_fn=lambda *line, **style: None)
    if model.count_params() != sum(weights.size for weights in model.get_weights()):
        broken(f"it counts {model.count_params()} parameters of weights {model.get_weights()}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        same(theirs, mine, "the loaded model's weights and the saved model's")
    predicted = model.predict(images, verbose=0)
    if subject.has_parameters and asked:
        broken("`predict` augments")
    # Called rather than asked to predict, which would compile it: a third of this law's time.
    same(np.asarray(loaded(images)), predicted, "predictions of the loaded model and the saved", 1e-4)


def _count_calls(layer: Any, name: str) -> list[int]:
    """A list that grows with each call of a method of `layer`."""
    calls: list[int] = []
    method = getattr(layer, name)

    def counted(*args: Any, **keywords: Any) -> Any:
        calls.append(1)
        return method(*args, **keywords)

    setattr(layer, name, counted)
    return calls
