"""What sliders say is what runs, what is copied, and what is saved."""

from __future__ import annotations

import inspect
import json

import keras
import numpy as np
import pytest

from keras_aug_ssl import layers
from keras_aug_ssl.explore import stacks

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
# What a single image has no use for, or is made of others, or has no number to move and another in its place.
APART = {"MixUp", "CutMix", "SameClassMix", "SimilarTargetMix", "BalancedMixUp", "Remix", "RandomApply", "RandomChoice",
         "RandomCrop", "RandomResizedCrop", "RandomAffine", "RandomColorJitter", "AugmentationLayer", "MixingLayer",
         "Pipeline", "Spec"}  # fmt: skip


def run(code, images=IMAGES):
    names = {"images": images}
    exec(code, names)
    return np.asarray(names["augmented"])


def test_every_layer_has_its_sliders_or_a_reason():
    public = {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    assert set(stacks.KNOBS) == public - APART


@pytest.mark.parametrize("name", stacks.KNOBS)
def test_every_slider_can_be_moved_to_its_ends(name):
    (begun,) = stacks.add([], name)
    stacks.pipeline([begun])
    for argument, (low, high, start) in stacks.KNOBS[name].items():
        assert low <= start <= high
        for value in (low, high):
            made = stacks.pipeline(stacks.changed([begun], 0, argument, value))
            assert made.layers[0].get_config()[argument] is not None


def test_a_stack_is_never_changed_in_place():
    stack = stacks.add(stacks.add([], "RandomFlip"), "RandomRotation")
    before = json.dumps(stack)
    assert stacks.changed(stack, 1, "factor", 0.3)[1] == ("RandomRotation", {"factor": 0.3})
    assert [name for name, _ in stacks.removed(stack, 0)] == ["RandomRotation"]
    assert json.dumps(stack) == before


@pytest.mark.parametrize("names", [["RandomFlip", "RandomRotation", "RandomZoom"], ["AugMix"], ["RandAugment"]])
def test_copied_code_and_json_give_the_same_images_for_the_same_key(names):
    stack: list = []
    for name in names:
        stack = stacks.add(stack, name)
    shown = np.asarray(stacks.pipeline(stack)(IMAGES, training=True, seed=(4, 0)))
    assert np.array_equal(run(stacks.code(stack, (4, 0))), shown)
    assert not np.array_equal(run(stacks.code(stack, (5, 0))), shown)
    loaded = keras.saving.deserialize_keras_object(json.loads(stacks.as_json(stack)))
    assert np.array_equal(np.asarray(loaded(IMAGES, training=True, seed=(4, 0))), shown)
