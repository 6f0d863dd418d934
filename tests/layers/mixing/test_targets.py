"""Targets and weights of models of several outputs: every one mixed by the same weight, in its place."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import layers
from tests.layers.mixing.cases import CLASSES, IMAGES, KEY, LABELS, MIXING, ROWS, by_hand

HARD, NUMBERS = np.eye(CLASSES, dtype="float32")[LABELS], np.linspace(-1, 1, 8, dtype="float32")[:, None]
STRUCTURES = {
    "dict": {"kind": HARD, "size": NUMBERS},
    "tuple": (HARD, NUMBERS),
    "list": [HARD, NUMBERS],
    "nested": {"kind": HARD, "boxes": (NUMBERS, {"far": NUMBERS * 3})},
}


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("name", [name for name in MIXING if name != "Remix"])
def test_every_target_is_mixed_by_the_same_weight(name, kind):
    layer, targets = MIXING[name](), STRUCTURES[kind]
    inputs = (IMAGES, targets)
    drawn = layer.sample(inputs, KEY)
    mixed = layer(inputs, training=True, seed=KEY)[1]
    tf.nest.assert_same_structure(mixed, targets)
    for before, after in zip(tf.nest.flatten(targets), tf.nest.flatten(mixed), strict=True):
        by_weight = by_hand(before, drawn["partner"], drawn["weight"])
        np.testing.assert_allclose(after, before if "SameClass" in name else by_weight, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_rows_with_several_targets_and_weights_are_a_batch(rank):
    x = np.stack([ROWS] * 4, 1).reshape(8, *{2: [20], 3: [4, 5], 4: [2, 2, 5]}[rank])
    weights = {"kind": np.linspace(0, 1, 8, dtype="float32"), "size": np.ones(8, "float32")}
    layer = layers.MixUp(1.0)
    inputs = (x, STRUCTURES["dict"], weights)
    drawn = layer.sample(inputs, KEY)
    mixed = layer(inputs, training=True, seed=KEY)
    np.testing.assert_allclose(mixed[0], by_hand(x, drawn["partner"], drawn["weight"]), atol=1e-5)
    for name in weights:
        np.testing.assert_allclose(mixed[2][name], by_hand(weights[name], drawn["partner"], drawn["weight"]), atol=1e-6)


def test_integer_targets_among_several_need_the_number_of_classes():
    targets = {"kind": LABELS, "size": NUMBERS}
    with pytest.raises(ValueError, match="`num_classes` must be given"):
        layers.MixUp()((IMAGES, targets))
    mixed = layers.MixUp(num_classes=CLASSES)((IMAGES, targets))[1]
    assert mixed["kind"].shape == (8, CLASSES) and mixed["size"].shape == (8, 1)


def test_who_misses_any_target_is_mixed_with_the_like():
    numbers = NUMBERS.copy()
    numbers[[0, 3, 6]] = np.nan
    partner = np.asarray(layers.MixUp(1.0).sample((IMAGES, (HARD, numbers)), KEY)["partner"])
    assert set(partner[[0, 3, 6]]) == {0, 3, 6}


def test_one_class_is_to_be_equal_in_every_target():
    coarse = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    partner = np.asarray(layers.SameClassMix().sample((IMAGES, (LABELS, coarse)), KEY)["partner"])
    assert np.array_equal(LABELS[partner], LABELS) and np.array_equal(coarse[partner], coarse)


def test_what_is_said_of_one_target_is_refused_of_several():
    with pytest.raises(ValueError, match="Remix: `labels` must be one target"):
        MIXING["Remix"]()((IMAGES, STRUCTURES["dict"]))


def test_several_targets_in_a_data_set():
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, STRUCTURES["dict"])).batch(4)
    for _, targets in dataset.map(layers.CutMix()):
        assert targets["kind"].shape == (4, CLASSES) and targets["size"].shape == (4, 1)


@pytest.mark.parametrize("name", ["MixUp", "CutMix", "Remix"])
def test_labels_of_every_form_one_after_the_other(name):
    """Whatever form came before: numbers with and without an axis of one, booleans, one-hot."""

    def scores(labels):
        return getattr(layers, name)(num_classes=CLASSES)((IMAGES, labels), training=True, seed=KEY)[1]

    wanted = scores(LABELS)
    for labels in (LABELS[:, None].astype("uint8"), HARD.astype("uint8"), LABELS, HARD):
        np.testing.assert_allclose(scores(labels), wanted, atol=1e-6)
    yes = scores(LABELS > 0)
    assert yes.shape == (8, CLASSES) and np.allclose(np.sum(yes, axis=1), 1.0) and not np.any(yes[:, 2:])
    with pytest.raises(TypeError, match="`labels` must be numbers"):
        scores(np.array(list("abcdefgh")))
