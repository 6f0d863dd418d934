"""No public class gives one of Keras's names another meaning."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.testing import hidden_names


def classes_on_keras():
    """Every class of the package that is one of Keras's too."""
    found = set()
    for module in pkgutil.walk_packages(kas.__path__, "keras_aug_ssl."):
        if module.name.endswith("__main__"):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__ == module.name:
                found |= {cls} if any(base.__module__.startswith("keras.") for base in cls.__mro__) else set()
    return sorted(found, key=lambda cls: cls.__qualname__)


def test_layers_models_losses_callbacks_and_data_sets_are_looked_at():
    found = classes_on_keras()
    kinds = (keras.layers.Layer, keras.Model, keras.losses.Loss, keras.callbacks.Callback, keras.utils.PyDataset)
    for kind in (*kinds, keras.random.SeedGenerator):
        assert any(issubclass(cls, kind) for cls in found), f"no subclass of {kind.__name__} among {found}"


@pytest.mark.parametrize("cls", classes_on_keras(), ids=lambda cls: cls.__qualname__)
def test_class_hides_nothing(cls):
    assert hidden_names(cls) == []


def test_callback_and_models_hide_nothing_by_what_they_set():
    pool = kas.UnlabeledPool(np.zeros((8, 2), "float32"))
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    for thing in (kas.SelfTraining(pool), kas.AdversarialTraining(network, attack=kas.FGSM(0.1))):
        assert hidden_names(thing) == []


class MethodForProperty(keras.layers.Layer):
    def weights(self, key, count):
        return np.zeros(count)


class PropertyForMethod(keras.Model):
    @property
    def summary(self):
        return ""


class LacksAnArgument(keras.callbacks.Callback):
    def on_epoch_end(self, epoch):
        pass


class DemandsOneMore(keras.utils.PyDataset):
    def on_epoch_end(self, pool):
        pass


class SetsAValue(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.on_epoch_end = None


@pytest.mark.parametrize(
    "thing, said",
    [
        (MethodForProperty, r"MethodForProperty.weights(self, key, count) hides the property Layer.weights"),
        (MethodForProperty(), r"MethodForProperty.weights(self, key, count) hides the property Layer.weights"),
        (PropertyForMethod, "PropertyForMethod.summary hides the method Model.summary"),
        (LacksAnArgument, "can't be called as Callback.on_epoch_end(self, epoch, logs)"),
        (DemandsOneMore, "DemandsOneMore.on_epoch_end(self, pool) can't be called as PyDataset.on_epoch_end(self)"),
        (SetsAValue(), "the attribute SetsAValue.on_epoch_end hides the method Callback.on_epoch_end"),
    ],
)
def test_a_hidden_name_is_found(thing, said):
    (sentence,) = hidden_names(thing)
    assert said in sentence
