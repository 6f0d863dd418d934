"""Every public layer keeps every law that is about it."""

from __future__ import annotations

import functools
import inspect

import pytest

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
