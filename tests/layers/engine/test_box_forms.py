"""Boxes in the forms that people have them in: any dtype of labels, ragged, KerasCV's, and what can't be taken."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from tests.layers.cases import plain

IMAGES = np.zeros((2, 6, 8, 3), "uint8")


def right(**kwargs):
    """Moves every picture by four pixels to the right."""
    return plain(layers.RandomTranslation(0.0, (0.5, 0.5), bounding_box_format="xyxy", **kwargs))


def moved(boxes, layer=None, images=IMAGES):
    return (layer or right())({"images": images, "bounding_boxes": boxes})["bounding_boxes"]


@pytest.mark.parametrize("key", ["labels", "classes"])
@pytest.mark.parametrize(
    "dtype, leaves_as",
    [("uint8", "int32"), ("uint16", "int32"), ("uint32", "int64"), ("uint64", "int64"), ("bool", "int32")]
    + [(dtype, dtype) for dtype in ("int8", "int16", "int32", "int64", "float16", "float32", "float64")],
)
def test_a_box_that_left_has_the_label_minus_one_in_every_dtype(dtype, leaves_as, key):
    boxes = np.array([[[1, 1, 3, 3], [5, 1, 7, 3]]] * 2, "float32")
    found = moved({"boxes": boxes, key: np.ones((2, 2), dtype)})
    assert set(found) == {"boxes", key} and found[key].dtype == leaves_as
    assert found[key].numpy().tolist() == [[1, -1]] * 2
    assert found["boxes"].numpy().tolist() == [[[5, 1, 7, 3], [-1] * 4]] * 2


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
@pytest.mark.parametrize("way", ["call", "map"])
def test_ragged_boxes_are_filled_up(dtype, way):
    rows = [[[1.0, 1, 3, 3]], [[0.0, 0, 2, 2], [5.0, 1, 7, 3]]]
    boxes = {
        "boxes": tf.ragged.constant(rows, ragged_rank=1, inner_shape=(4,)),
        "labels": tf.cast(tf.ragged.constant([[1], [2, 3]]), dtype),
        "score": tf.ragged.constant([[0.5], [0.25, 1.0]]),
    }
    if way == "call":
        found = moved(boxes)
    else:
        dataset = tf.data.Dataset.from_tensors({"images": IMAGES, "bounding_boxes": boxes})
        pipeline = kas.Pipeline([right()], jit_compile=False)
        found = next(iter(pipeline.map(dataset, seed=1)))["bounding_boxes"]
    assert found["labels"].numpy().tolist() == [[1, -1], [2, -1]]
    assert found["boxes"].numpy().tolist() == [[[5, 1, 7, 3], [-1] * 4], [[4, 0, 6, 2], [-1] * 4]]
    assert found["score"].numpy().tolist() == [[0.5, 0.0], [0.25, 1.0]]


@pytest.mark.parametrize(
    "boxes, words",
    [
        ({"boxes": np.ones((1, 4)), "labels": np.ones(1)}, r'`bounding_boxes\["boxes"\]` must be of shape \(2, N, 4\)'),
        ({"boxes": np.ones((3, 1, 4)), "labels": np.ones((3, 1))}, r'`bounding_boxes\["boxes"\]` must be'),
        ({"boxes": np.ones((2, 1, 5))}, r'`bounding_boxes\["boxes"\]` must be'),
        ({"boxes": np.ones((2, 1, 4)), "labels": np.ones((2, 1, 3))}, "argmax of one-hot"),
        (
            {"boxes": np.ones((2, 1, 4)), "classes": np.ones((2, 1, 1))},
            r'`bounding_boxes\["classes"\]` must be one number',
        ),
        ({"boxes": np.ones((2, 1, 4)), "labels": np.array([["a"], ["b"]])}, "Encode classes as integers"),
    ],
    ids=["no batch", "another batch", "five numbers", "one-hot", "an axis too many", "words"],
)
def test_what_cannot_be_read_is_named(boxes, words):
    with pytest.raises((ValueError, TypeError), match=words):
        moved(boxes)


def test_one_hot_labels_beside_the_boxes_come_through():
    boxes = {"boxes": np.ones((2, 1, 4), "float32"), "labels": np.ones((2, 1)), "one_hot": np.eye(2)[:, None]}
    assert np.array_equal(moved(boxes)["one_hot"], boxes["one_hot"])


@pytest.mark.parametrize("name", ["images", "segmentation_masks", "keypoints"])
def test_ragged_pixels_say_what_to_do(name):
    ragged = tf.ragged.stack([tf.zeros([4, 5, 3]), tf.zeros([6, 7, 3])])
    inputs = {"images": IMAGES, name: ragged}
    for run in (
        lambda: right()(inputs if name != "images" else ragged),
        lambda: list(kas.Pipeline([right()]).map(tf.data.Dataset.from_tensors(inputs), seed=1)),
    ):
        with pytest.raises(TypeError, match=f"`{name}` must be a dense tensor.*Resize images to one size"):
            run()


@pytest.mark.parametrize("points", [np.ones((3, 2)), np.ones((3, 1, 2)), np.ones((2, 2))])
def test_keypoints_without_their_batch_are_named(points):
    with pytest.raises(ValueError, match="`keypoints` must be of shape"):
        right()({"images": IMAGES, "keypoints": points.astype("float32")})
