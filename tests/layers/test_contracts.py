"""Every public layer keeps every law that is about it."""

from __future__ import annotations

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.testing import LAYER_LAWS, check_layer
from keras_aug_ssl.testing.subject import Subject
from tests.layers.cases import LAYER_CASES


@functools.lru_cache(maxsize=2)
def subject(name):
    (case,) = (case for case in LAYER_CASES if case.name == name)
    return Subject(case.make)


# Laws that are checked in graphs take long: once for each class.
LAWS_BY_CASE = [
    pytest.param(case.name, law, id=f"{case.name}-{name}")
    for case in LAYER_CASES
    for name, law in LAYER_LAWS.items()
    if law.concerns(subject(case.name)) and not (law.graphs and case.is_variant)
]


@pytest.mark.parametrize("name, law", LAWS_BY_CASE)
def test_law(name, law):
    law(subject(name))


def test_every_public_layer_has_a_case():
    public = {getattr(layers, name) for name in layers.__all__}
    public = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, layers.AugmentationLayer)}
    assert {case.cls for case in LAYER_CASES} == public - {layers.AugmentationLayer, layers.MixingLayer}


def test_check_layer_runs_what_is_asked():
    def make():
        return layers.RandomInvert(0.5)

    names = ["same key, same output", "values stay in range"]
    assert check_layer(make, only=names) == names
    assert check_layer(make, only=names, skip=names[:1]) == names[1:]
    with pytest.raises(ValueError, match="`only` must be one of"):
        check_layer(make, only=["no such law"])
    assert kas.testing.LAYER_LAWS is LAYER_LAWS


@pytest.mark.parametrize("make", [keras.layers.RandomFlip, lambda: 3, layers.RandomFlip(), "RandomFlip"])
def test_check_layer_refuses_what_is_no_layer_of_ours(make):
    with pytest.raises(TypeError, match="`make` must be a class or a function that makes a layer derived from"):
        check_layer(make)


class Keyed(layers.RandomInvert):
    """Remembers the dtypes of its keys."""

    seen: list[str] = []

    def draw(self, spec, key):
        self.seen.append(f"{key.dtype.name} {key.shape}")
        return super().draw(spec, key)


def test_a_key_is_what_draw_says():
    images, dataset = np.zeros((2, 4, 4, 3), "uint8"), tf.data.Dataset.from_tensors(np.zeros((2, 4, 4, 3), "uint8"))
    layer = Keyed(0.5)
    layer(images)
    layer(images, seed=(1, 2))
    layer.sample(images, 3)
    layers.Pipeline([layer, layers.RandomChoice([Keyed(0.5), Keyed(0.1)])])(images)
    list(layers.Pipeline([layer], jit_compile=False).map(dataset, seed=7))
    layer(images, training=False)
    assert len(layer.seen) >= 6 and set(layer.seen) == {"uint64 (2,)"}


def test_a_layer_that_is_half_written_says_what_is_missing():
    class Half(layers.AugmentationLayer):
        def draw(self, spec, key):
            return {"factor": tf.ones([spec.batch_size])}

    images = np.zeros((2, 4, 4, 3), "uint8")
    for layer, name in ((layers.AugmentationLayer(), "draw"), (Half(), "run")):
        with pytest.raises(NotImplementedError, match=f"defines no `{name}`.*kas.layers.AugmentationLayer"):
            layer(images)
    with pytest.raises(NotImplementedError, match="defines no `keep`"):
        layers.RandomApply([Half()])(images)
