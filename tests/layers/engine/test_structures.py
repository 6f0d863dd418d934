"""What goes in comes out in the same structure: labels, weights, masks, boxes and keypoints, each in its own dtype."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.kernels.boxes import FORMATS
from keras_aug_ssl.layers.engine.batch import to_dtype
from tests.layers.cases import plain

KEY = (7, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(4)


def right_and_down(**kwargs):
    """Moves every picture by two pixels to the right and three down."""
    return plain(layers.RandomTranslation((0.5, 0.5), (0.25, 0.25), fill_mode="constant", **kwargs))


def equal(one, other):
    tf.nest.assert_same_structure(one, other)
    return all(np.array_equal(a, b) for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True))


MASK = np.zeros((4, 6, 8, 1), "int32")


@pytest.mark.parametrize("labels", [MASK, MASK[..., 0], {"boxes": np.ones((4, 2, 4)), "labels": np.ones((4, 2))}])
def test_masks_and_boxes_in_the_place_of_labels_are_refused_where_images_move(labels):
    """They would stay behind without a word; a dict says what they are, or that they are to stay."""
    flip = layers.RandomFlip(bounding_box_format="xyxy")
    for layer in (flip, kas.Pipeline([layers.RandomInvert(), flip]), layers.AugMix(), layers.CutMix(num_classes=2)):
        with pytest.raises(ValueError, match='"(segmentation_masks|bounding_boxes)": y'):
            layer((IMAGES, labels))
    assert len(layers.RandomInvert()((IMAGES, labels))) == 2
    if not isinstance(labels, dict):
        assert np.array_equal(flip({"images": IMAGES, "labels": labels})["labels"], labels)
        dataset = tf.data.Dataset.from_tensor_slices((IMAGES, labels))
        with pytest.raises(ValueError, match="segmentation_masks"):
            kas.Pipeline([flip]).map(dataset)


@pytest.mark.parametrize(
    "inputs, error, words",
    [
        (None, TypeError, "`inputs` must be an array"),
        (3.0, TypeError, "`inputs` must be an array"),
        ((IMAGES, np.arange(3)), ValueError, "`labels` must be one for each of the 4 images"),
        ((IMAGES, LABELS, np.ones(5)), ValueError, "`sample_weight` must be one for each of the 4"),
        ({"images": IMAGES, "segmentation_masks": [MASK[0]] * 4}, TypeError, "`segmentation_masks` must be an array"),
        ({"images": IMAGES, "segmentation_masks": MASK.astype(str)}, TypeError, "numbers or booleans"),
        ({"images": IMAGES, "keypoints": np.ones((4, 3, 1))}, ValueError, "2 or more"),
    ],
)
def test_what_is_no_batch_is_named(inputs, error, words):
    with pytest.raises(error, match=words):
        layers.RandomFlip()(inputs)


# --- ways to call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_dataset_map_takes_the_layer_itself(parts):
    arrays = (IMAGES, LABELS, np.ones(4, "float32"))[:parts]
    dataset = tf.data.Dataset.from_tensor_slices(arrays[0] if parts == 1 else arrays).batch(4)
    element = next(iter(dataset.map(right_and_down())))
    assert equal(element[0] if parts > 1 else element, right_and_down()(IMAGES))
    assert parts == 1 or equal(element[1:], arrays[1:])


def test_training_and_seed_may_be_positional():
    layer = layers.RandomRotation(0.2, seed=1)
    assert equal(layer(IMAGES, False), IMAGES)
    assert equal(layer(IMAGES, True, KEY), layer(IMAGES, training=True, seed=KEY))


@pytest.mark.parametrize("seed", [5, -5, 2**40, (5, 6), [5, 6], np.array([5, 6], "uint32"), tf.constant([5, 6])])
def test_a_key_is_an_int_or_two(seed):
    layer = layers.RandomRotation(0.2)
    assert equal(layer(IMAGES, seed=seed), layer.apply(IMAGES, layer.sample(IMAGES, seed)))


def test_output_shape_is_known_beforehand():
    crop = layers.RandomCrop(3, 4)
    assert crop.compute_output_shape((None, 6, 8, 3)) == (None, 3, 4, 3)
    assert crop.compute_output_shape((6, 8, 3)) == (3, 4, 3)
    shapes = crop.compute_output_shape({"images": (2, 6, 8, 3), "segmentation_masks": (2, 6, 8), "labels": (2,)})
    assert shapes == {"images": (2, 3, 4, 3), "segmentation_masks": (2, 3, 4), "labels": (2,)}


# --- labels and weights -----------------------------------------------------------------------------------------------


class Element(NamedTuple):
    images: Any
    labels: Any


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        list(LABELS),
        LABELS.astype("uint8"),
        np.eye(4),
        np.array(list("abcd")),
        (LABELS, np.eye(4)),
        {"a": LABELS},
    ],
    ids=["int64", "list", "uint8", "float64", "strings", "tuple", "dict"],
)
def test_labels_come_back_as_they_are(labels):
    outputs = right_and_down()((IMAGES, labels))
    expected = tf.convert_to_tensor(labels) if isinstance(labels, list) else labels
    assert equal(outputs[1], tf.nest.map_structure(tf.convert_to_tensor, expected))


@pytest.mark.parametrize("inputs", [(IMAGES, LABELS), [IMAGES, LABELS], Element(IMAGES, LABELS), (IMAGES,)])
def test_tuples_lists_and_named_tuples_come_back_as_such(inputs):
    assert type(right_and_down()(inputs)) is type(inputs)


def test_ragged_labels_come_back_as_they_are():
    labels = tf.ragged.constant([[1], [2, 3], [], [4]])
    assert right_and_down()((IMAGES, labels))[1].to_list() == labels.to_list()


def test_arrays_and_tensors_may_be_mixed():
    assert equal(right_and_down()((tf.constant(IMAGES), LABELS)), right_and_down()((IMAGES, tf.constant(LABELS))))


def test_one_image_keeps_its_one_label():
    image, label, weight = right_and_down()((IMAGES[0], LABELS[1], 0.5))
    assert (image.shape, label, weight) == ((6, 8, 3), 1, 0.5)


# --- annotations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool", "float16"])
@pytest.mark.parametrize("channels", [(), (1,), (2,)])
def test_masks_are_read_nearest_in_their_dtype_and_shape(dtype, channels):
    masks = np.arange(4 * 6 * 8).reshape(4, 6, 8, *[1 for _ in channels]) * np.ones(channels) % 7
    masks = masks.astype(dtype)
    moved = right_and_down()({"images": IMAGES, "segmentation_masks": masks})["segmentation_masks"]
    assert moved.dtype == dtype and moved.shape == masks.shape
    assert equal(moved[:, 3:, 2:], masks[:, :-3, :-2]) and not np.any(moved[:, :3]) and not np.any(moved[:, :, :2])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_boxes_and_keypoints_keep_their_dtype_and_whole_ones_are_rounded(dtype):
    boxes = {"boxes": np.array([[[1, 1, 3, 3]]] * 4, dtype), "labels": np.zeros((4, 1), "int64")}
    layer = layers.RandomTranslation((0.45, 0.45), (0.2, 0.2), fill_mode="constant", bounding_box_format="xyxy")
    moved = plain(layer)({"images": IMAGES, "bounding_boxes": boxes, "keypoints": np.ones((4, 1, 2), dtype)})
    expected = np.array([1 + 1.6, 1 + 2.7, 3 + 1.6, 3 + 2.7])
    expected = np.round(expected) if dtype == "int32" else expected
    assert moved["bounding_boxes"]["boxes"].dtype == dtype == moved["keypoints"].dtype
    np.testing.assert_allclose(moved["bounding_boxes"]["boxes"][2, 0], expected, rtol=2e-3)
    np.testing.assert_allclose(moved["keypoints"][2, 0], expected[:2], rtol=2e-3)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
def test_images_of_whole_numbers_are_rounded_as_numpy_does_and_saturate(dtype, jit):
    """Also at halves, at both ends and far beyond them; NaN is some number and no error."""
    limits, draw = np.iinfo(dtype), np.random.default_rng(0)
    values = [draw.normal(0, 300, 1000), np.arange(-70000, 70000) / 2, [np.inf, -np.inf, -1e9, 254.49998, 254.5]]
    values = np.concatenate(values).astype("float32")
    write = tf.function(lambda some: to_dtype(some, tf.as_dtype(dtype)), jit_compile=jit)
    expected = np.clip(
        np.round(values).astype("float64"), limits.min, np.nextafter(np.float32(limits.max + 1), np.float32(0))
    )
    np.testing.assert_array_equal(write(values), expected.astype(dtype))
    assert write(np.full(3, np.nan, "float32")).dtype == dtype


@pytest.mark.parametrize("box_format", FORMATS)
def test_boxes_are_read_as_keras_reads_them(box_format):
    convert = keras.utils.bounding_boxes.convert_format
    corners = {"boxes": np.array([[[1.0, 2, 5, 4], [0, 0, 2, 3]]] * 4, "float32"), "labels": np.array([[3, 4]] * 4)}
    written = convert(corners, "xyxy", box_format, height=6, width=8)
    if not np.allclose(
        convert(written["boxes"], box_format, "xyxy", height=6, width=8)[0], [[1, 2, 5, 4], [0, 0, 2, 3]]
    ):
        pytest.skip(f"this Keras reads {box_format} otherwise than it writes it")
    moved = right_and_down(bounding_box_format=box_format)({"images": IMAGES, "bounding_boxes": written})
    back = convert(moved["bounding_boxes"], box_format, "xyxy", height=6, width=8)
    np.testing.assert_allclose(back["boxes"][1], [[3, 5, 7, 6], [2, 3, 4, 6]], atol=1e-5)


def test_a_box_that_left_is_empty_and_padding_stays_padding():
    boxes = {"boxes": np.array([[[7, 1, 8, 2], [-1, -1, -1, -1]]] * 4, "float32"), "labels": np.array([[3, -1]] * 4)}
    inputs = {"images": IMAGES, "bounding_boxes": boxes | {"area": np.ones((4, 2))}}
    moved = right_and_down(bounding_box_format="xyxy")(inputs)["bounding_boxes"]
    assert equal(moved["labels"], -np.ones((4, 2))) and equal(moved["boxes"], -np.ones((4, 2, 4)))
    assert equal(moved["area"], np.ones((4, 2)))


def test_keypoints_keep_what_stands_behind_x_and_y():
    points = np.array([[[1.0, 1.0, 2.0], [4.0, 0.0, 1.0]]] * 4, "float32")
    moved = right_and_down()({"images": IMAGES, "keypoints": points})["keypoints"]
    np.testing.assert_allclose(moved[3], [[3, 4, 2], [6, 3, 1]], atol=1e-5)


@pytest.mark.parametrize(
    "cls, kwargs", [(layers.RandomInvert, {}), (layers.RandomNoise, {}), (layers.Equalization, {})]
)
def test_what_does_not_move_pixels_leaves_annotations_alone(cls, kwargs):
    inputs = {
        "images": IMAGES,
        "labels": LABELS,
        "sample_weight": np.ones(4),
        "segmentation_masks": IMAGES[..., :1],
        "bounding_boxes": {"boxes": np.array([[[1.0, 2, 3, 4]]] * 4), "labels": np.ones((4, 1))},
        "keypoints": np.ones((4, 1, 2)),
    }
    outputs = cls(bounding_box_format="yxyx", **kwargs)(inputs)
    assert list(outputs) == list(inputs)
    assert all(equal(outputs[key], inputs[key]) for key in inputs if key != "images")
