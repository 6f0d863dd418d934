"""What is mixed: images, labels of any form, weights, masks, boxes and further inputs, all by the same two numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from tests.layers.mixing.cases import CLASSES, IMAGES, KEY, LABELS, MIXING, ROWS, by_hand

ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
SEVERAL = np.random.default_rng(2).integers(0, 2, (8, CLASSES))


def test_cutmix_label_weight_is_the_counted_share_of_pixels():
    """For every image in 10,000: exactly, in float32."""
    images = np.broadcast_to(np.arange(100, dtype="uint8")[:, None, None, None], (100, 13, 17, 1)).copy()
    labels = np.arange(100)
    layer = layers.CutMix(num_classes=100)
    for key in range(100):
        mixed, weights = (np.asarray(part) for part in layer((images, labels), seed=(key, 0)))
        own = (mixed == images).sum((1, 2, 3)).astype("float32")
        assert np.array_equal(weights[labels, labels], own / np.float32(13 * 17))


@pytest.mark.parametrize("name", ["MixUp", "BalancedMixUp", "Remix", "SimilarTargetMix", "SameClassMix"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_images_are_interpolated_and_keep_their_dtype(name, dtype):
    images, layer = IMAGES.astype(dtype), MIXING[name]()
    drawn = layer.sample((images, LABELS), KEY)
    mixed, _ = layer.apply((images, LABELS), drawn)
    assert mixed.dtype == dtype
    exact = by_hand(images, drawn["partner"], drawn["weight"])
    assert (
        np.abs(np.asarray(mixed, "float64") - exact).max() <= {"uint8": 0.501, "float32": 1e-4, "float16": 0.07}[dtype]
    )


@pytest.mark.parametrize(
    "labels, dtype",
    [
        (LABELS, "float32"),
        (LABELS[:, None].astype("uint8"), "float32"),
        (ONE_HOT, "float32"),
        (ONE_HOT.astype("int64"), "float32"),
        (LABELS.astype("int16"), "float32"),
        (LABELS.astype("uint64"), "float32"),
        (SEVERAL, "float32"),
        (SEVERAL.astype(bool), "float32"),
        (ONE_HOT.astype("float16"), "float16"),
        (ONE_HOT.astype("float64"), "float64"),
    ],
    ids=[
        "integers",
        "column",
        "one-hot",
        "one-hot int",
        "int16",
        "uint64",
        "several",
        "several bool",
        "float16",
        "float64",
    ],
)
@pytest.mark.parametrize("name", ["MixUp", "CutMix", "BalancedMixUp"])
def test_class_labels_of_every_form(name, labels, dtype):
    layer = MIXING[name]()
    drawn = layer.sample((IMAGES, labels), KEY)
    mixed = layer.apply((IMAGES, labels), drawn)[1]
    scores = ONE_HOT if labels.size == 8 else labels.astype("float64")
    assert mixed.dtype == dtype
    assert np.allclose(
        mixed, by_hand(scores, drawn["partner"], drawn["weight"]), atol=1e-3 if dtype == "float16" else 1e-6
    )
    assert np.allclose(np.sum(mixed, 1), by_hand(scores.sum(1), drawn["partner"], drawn["weight"]), atol=2e-3)


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 3), (8, 2, 5)])
@pytest.mark.parametrize("make", [lambda: layers.MixUp(1.0), layers.CutMix, lambda: layers.SimilarTargetMix(sigma=5.0)])
def test_regression_targets_of_any_rank(shape, make):
    targets = np.random.default_rng(3).normal(size=shape).astype("float32")
    layer = make()
    drawn = layer.sample((IMAGES, targets), KEY)
    mixed = layer.apply((IMAGES, targets), drawn)[1]
    assert mixed.shape == shape
    assert np.allclose(mixed, by_hand(targets, drawn["partner"], drawn["weight"]), atol=1e-6)


@pytest.mark.parametrize("shape", [(8,), (8, 5), (8, 4, 5), (8, 2, 6, 5, 3)])
@pytest.mark.parametrize("name", [name for name in MIXING if name != "CutMix"])
def test_inputs_of_any_rank(name, shape):
    x = np.random.default_rng(4).normal(size=shape)
    layer = MIXING[name]()
    drawn = layer.sample((x, LABELS), KEY)
    mixed, _ = layer.apply((x, LABELS), drawn)
    assert mixed.shape == shape and mixed.dtype == "float64"
    assert np.allclose(mixed, by_hand(x, drawn["partner"], drawn["weight"]), atol=1e-6)
    called, _ = layer((x, LABELS), seed=KEY)
    assert np.array_equal(called, mixed)


def test_one_partner_and_weight_for_everything():
    layer = layers.MixUp(1.0, num_classes=CLASSES, mix=("table", "sound"))
    inputs = {
        "sound": np.random.default_rng(5).normal(size=(8, 20, 2)).astype("float32"),
        "images": IMAGES,
        "labels": LABELS,
        "sample_weight": np.linspace(1.0, 2.0, 8),
        "segmentation_masks": np.random.default_rng(6).random((8, 6, 10)).astype("float32"),
        "table": ROWS,
    }
    drawn = layer.sample(inputs, KEY)
    mixed = layer.apply(inputs, drawn)
    assert set(mixed) == set(inputs)
    for key, value in {**inputs, "labels": ONE_HOT}.items():
        exact = by_hand(value, drawn["partner"], drawn["weight"])
        assert np.allclose(np.asarray(mixed[key], "float64"), exact, atol=0.51 if key == "images" else 1e-6), key
    assert mixed["sample_weight"].dtype == "float64"


def test_inputs_in_a_dict_beside_labels():
    """The form in which `fit` takes a model of several inputs; none of them need be images."""
    layer = layers.MixUp(1.0, num_classes=CLASSES, mix=("table", "other"))
    x = {"table": ROWS, "other": ROWS[:, :2] + 1.0}
    drawn = layer.sample((x, LABELS), KEY)
    mixed, labels, weight = layer.apply((x, LABELS, np.ones(8, "float32")), drawn)
    for key in x:
        assert np.allclose(mixed[key], by_hand(x[key], drawn["partner"], drawn["weight"]), atol=1e-6)
    assert labels.shape == (8, CLASSES) and np.allclose(weight, 1.0)
    pipeline = kas.Pipeline([layers.RandomFlip(), layers.MixUp(num_classes=CLASSES, mix="table")])
    dataset = tf.data.Dataset.from_tensor_slices(({"images": IMAGES, "table": ROWS}, LABELS)).batch(3)
    assert [x["table"].shape[0] for x, _ in pipeline.map(dataset)] == [3, 3, 2]


def test_cutmix_pastes_masks_and_further_pictures():
    layer = layers.CutMix(num_classes=CLASSES, mix=("depth", "table"))
    depth = IMAGES[..., :1].astype("float32")
    inputs = {"images": IMAGES, "labels": LABELS, "segmentation_masks": IMAGES[..., 0].astype("int32"), "depth": depth}
    drawn = layer.sample(inputs, KEY)
    mixed = layer.apply({**inputs, "table": ROWS}, drawn)
    assert np.array_equal(mixed["segmentation_masks"], mixed["images"][..., 0])
    assert np.array_equal(mixed["depth"], mixed["images"][..., :1])
    assert np.allclose(mixed["table"], by_hand(ROWS, drawn["partner"], drawn["weight"]), atol=1e-6)


def test_cutmix_rectangle_stays_inside_and_holds_the_partner():
    drawn = layers.CutMix().sample((IMAGES, LABELS.astype("float32")), KEY)
    mixed, _ = layers.CutMix().apply((IMAGES, LABELS.astype("float32")), drawn)
    for image, own, partner, (top, left, bottom, right) in zip(
        np.asarray(mixed), IMAGES, drawn["partner"].numpy(), drawn["box"].numpy(), strict=True
    ):
        assert 0 <= top <= bottom <= 6 and 0 <= left <= right <= 10
        expected = own.copy()
        expected[top:bottom, left:right] = IMAGES[partner, top:bottom, left:right]
        assert np.array_equal(image, expected)


# --- boxes ------------------------------------------------------------------------------------------------------------


def boxes():
    corners = np.array([[[1, 1, 5, 4], [0, 0, 10, 6]]] * 8, "float32")
    return {"boxes": corners, "labels": np.array([[2, 3], [4, -1]] * 4)}


def test_mixup_keeps_the_boxes_of_both_with_weights():
    layer = layers.MixUp(1.0, bounding_box_format="xyxy")
    inputs = {"images": IMAGES, "bounding_boxes": boxes()}
    drawn = layer.sample(inputs, KEY)
    mixed = {key: value.numpy() for key, value in layer.apply(inputs, drawn)["bounding_boxes"].items()}
    partner, weight = drawn["partner"].numpy(), drawn["weight"].numpy()[:, None]
    assert np.array_equal(mixed["labels"], np.concatenate([boxes()["labels"], boxes()["labels"][partner]], 1))
    seen = np.concatenate([weight, weight, 1 - weight, 1 - weight], 1)
    assert np.allclose(mixed["weights"], np.where(mixed["labels"] < 0, 0.0, seen))
    assert np.all(mixed["boxes"][mixed["labels"] < 0] == -1.0)
    assert np.array_equal(mixed["boxes"][:, 0], boxes()["boxes"][:, 0])


def test_cutmix_weighs_each_box_by_what_is_seen_of_it():
    """The same shares as counting the pixels of painted boxes."""
    layer = layers.CutMix(bounding_box_format="xyxy")
    inputs = {"images": IMAGES, "bounding_boxes": {"boxes": boxes()["boxes"], "labels": np.full((8, 2), 1)}}
    drawn = layer.sample(inputs, KEY)
    mixed = {key: value.numpy() for key, value in layer.apply(inputs, drawn)["bounding_boxes"].items()}
    for row, (top, left, bottom, right) in enumerate(drawn["box"].numpy()):
        pasted = np.zeros((6, 10), bool)
        pasted[top:bottom, left:right] = True
        for number, (x0, y0, x1, y1) in enumerate(boxes()["boxes"][row].astype(int)):
            hidden = pasted[y0:y1, x0:x1].mean()
            assert np.isclose(mixed["weights"][row, number], 1 - hidden, atol=1e-6)
            assert np.isclose(mixed["weights"][row, 2 + number], hidden, atol=1e-6)
    assert np.array_equal(mixed["labels"] < 0, mixed["weights"] == 0.0)
