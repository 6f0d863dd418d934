"""Mixing layers where they are used: in `tf.data`, in pipelines, in a choice, in `fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from tests.layers.mixing.cases import CLASSES, IMAGES, KEY, LABELS, MIXING


@pytest.mark.parametrize("name", MIXING)
def test_eager_graph_and_data_agree(name):
    layer = MIXING[name]()
    eager = layer((IMAGES, LABELS), seed=KEY)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8).map(lambda x, y: layer((x, y), seed=KEY))
    compiled = tf.function(lambda x, y: layer((x, y), seed=KEY), jit_compile=True, autograph=False)
    for images, labels in (next(iter(dataset)), compiled(IMAGES, LABELS)):
        assert np.abs(np.asarray(images, int) - np.asarray(eager[0], int)).max() <= 1
        assert np.allclose(labels, eager[1], atol=1e-6)


@pytest.mark.parametrize("name", MIXING)
def test_nothing_happens_at_inference(name):
    images, labels = MIXING[name]()((IMAGES, LABELS), training=False)
    assert np.array_equal(images, IMAGES) and labels.dtype == LABELS.dtype
    pipeline = kas.Pipeline([layers.RandomCrop(4, 4), MIXING[name]()])  # which does work at inference
    _, labels = pipeline((IMAGES, LABELS), training=False)
    assert np.array_equal(labels, LABELS) and labels.dtype == LABELS.dtype


def test_a_choice_of_mixing_layers():
    """Each image is mixed by one of them, and every label is of the one form."""
    choice = layers.RandomChoice([MIXING["MixUp"](), MIXING["CutMix"]()])
    drawn = choice.sample((IMAGES, LABELS), KEY)
    interpolated = drawn["0_mix_up"]["weight"].numpy() < 1.0
    pasted = np.any(drawn["1_cut_mix"]["box"].numpy() != 0, 1)
    assert not np.any(interpolated & pasted) and interpolated.any() and pasted.any()
    images, labels = choice.apply((IMAGES, LABELS), drawn)
    neither = ~interpolated & ~pasted
    assert np.array_equal(images[neither], IMAGES[neither])
    assert labels.shape == (8, CLASSES) and np.allclose(np.sum(labels, 1), 1.0)


SHARING = [name for name in MIXING if name != "Remix"]  # whose labels are meant to differ from what is seen


@pytest.mark.parametrize("second", SHARING)
@pytest.mark.parametrize("first", ["MixUp", "CutMix", "SameClassMix"])
@pytest.mark.parametrize("together", [kas.Pipeline, layers.RandomChoice])
def test_labels_are_what_is_seen_whichever_layers_mix_together(together, first, second):
    """Channel k of an image is 1 where class k is seen: its mean is the label's share. (Of what was pasted, a second
    paste may hide any part.)"""
    if first == second == "CutMix":
        pytest.skip("areas of areas are not counted")
    labels = np.eye(CLASSES, dtype="float32")[np.arange(32) % CLASSES]
    images = np.tile(labels[:, None, None, :], (1, 6, 6, 1))
    both = together([MIXING[first](), MIXING[second]()])
    for key in range(3):
        seen, shares = both((images, labels), seed=(key, 0))
        np.testing.assert_allclose(np.mean(seen, (1, 2)), shares, atol=1e-5)


def test_who_has_no_label_gets_none_from_a_second_mix():
    labels = np.where(np.arange(16) % 2, -1, np.arange(16) % CLASSES)
    images = np.tile((labels >= 0)[:, None, None, None], (1, 4, 4, 1)).astype("float32")
    both = kas.Pipeline([MIXING["MixUp"](), MIXING["BalancedMixUp"]()])
    for key in range(5):
        seen, shares = both((images, labels), seed=(key, 0))
        assert not np.any(shares[labels < 0]) and np.array_equal(seen, images)


def test_negative_numbers_are_targets_for_the_next_layer_too():
    """Integers are numbers to SimilarTargetMix; behind it nobody may take one below zero for a missing label."""
    x, y = np.arange(-8, 8, dtype="float32")[:, None], np.arange(-8, 8)
    both = kas.Pipeline([layers.SimilarTargetMix(sigma=np.inf), layers.MixUp(1.0)])
    crossed = [both.sample((x, y), seed=(key, 0))["1_mix_up"]["partner"].numpy()[:8] >= 8 for key in range(5)]
    assert np.any(crossed)


def test_one_mix_after_another():
    """Labels that were mixed before are mixed again, and boxes keep the product of their weights."""
    pipeline = kas.Pipeline([MIXING["MixUp"](), MIXING["CutMix"]()], bounding_box_format="xyxy")
    boxes = {"boxes": np.array([[[1, 1, 5, 4]]] * 8, "float32"), "labels": np.ones((8, 1), "int32")}
    mixed = pipeline({"images": IMAGES, "labels": LABELS, "bounding_boxes": boxes})
    assert np.allclose(np.sum(mixed["labels"], 1), 1.0)
    weights = mixed["bounding_boxes"]["weights"].numpy()
    assert weights.shape == (8, 4) and np.allclose(weights.sum(1), 1.0, atol=1e-5)  # one object in the same place


def test_parallel_map_is_reproducible_and_batches_differ():
    images = np.tile(IMAGES, (4, 1, 1, 1))
    dataset = tf.data.Dataset.from_tensor_slices((images, np.tile(LABELS, 4))).batch(8)
    pipeline = kas.Pipeline([MIXING["CutMix"]()])
    runs = [[y.numpy() for _, y in pipeline.map(dataset, seed=1, num_parallel_calls=n)] for n in (1, 4)]
    assert np.array_equal(*runs)
    assert len({batch.tobytes() for batch in runs[0]}) == 4


@pytest.mark.parametrize("name", ["MixUp", "SameClassMix", "Remix"])
def test_config_keeps_every_argument(name):
    layer = MIXING[name](mix=("table",), per_batch=True, seed=5)
    other = type(layer).from_config(layer.get_config())
    assert other.get_config() == layer.get_config() and other.mix == ("table",)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_fit_on_mixed_batches(policy):
    """Labels stay float32 under any policy, and a regression on rank-1 targets keeps its shape."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)
        model = keras.Sequential([keras.Input((6, 10, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
        model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
        mixed = dataset.map(layers.CutMix(num_classes=CLASSES))
        assert mixed.element_spec[1].dtype == "float32"
        history = model.fit(mixed, epochs=1, verbose=0)
        assert np.isfinite(history.history["loss"][0])
    finally:
        keras.config.set_dtype_policy(before)
