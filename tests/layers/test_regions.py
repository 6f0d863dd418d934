"""Erasing: areas and shapes as in the paper, and what becomes of masks and boxes behind the rectangle."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import layers
from keras_aug_ssl.kernels import regions
from keras_aug_ssl.layers.engine.batch import Spec
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)


def test_area_shape_and_place_are_spread_as_asked():
    erase = layers.RandomErasing(scale=(0.02, 0.2), aspect_ratio=(0.5, 2.0), fill_value=0.0)
    top, left, bottom, right = erase.sample(Spec(6000, 200, 200, 3), 1)["box"].numpy().T
    tall, wide = bottom - top, right - left
    area, aspect = tall * wide / 200**2, np.log2(tall / wide)
    assert area.min() > 0.018 and area.max() < 0.204 and abs(area.mean() - 0.11) < 0.003
    assert abs(aspect.mean()) < 0.03 and abs(aspect.std() - 2 / np.sqrt(12)) < 0.03
    assert top.min() >= 0 and left.min() >= 0 and bottom.max() <= 200 and right.max() <= 200
    middle = (left + wide / 2 - wide / 2) / (200 - wide)  # uniform over the places it fits
    assert abs(middle.mean() - 0.5) < 0.02 and middle.min() < 0.01 and middle.max() > 0.99


def test_a_side_longer_than_the_image_is_cut():
    box = regions.rectangle(tf.constant([1.0]), tf.constant([4.0]), tf.constant([0.9]), tf.constant([0.9]), (10, 30))
    assert box.numpy().tolist() == [[0, box[0, 1], 10, box[0, 1] + 9]]


@pytest.mark.parametrize("size", [(8, 8), (1, 9), (9, 1), (1, 1)])
def test_exactly_the_rectangle_is_painted(size):
    images = RANDOM.integers(1, 256, (6, *size, 3), dtype=np.uint8)
    erase = plain(layers.RandomErasing(scale=(0.3, 0.9), fill_value=0.0))
    drawn = erase.sample(images, 2)
    result = erase.apply(images, drawn).numpy()
    for image, (top, left, bottom, right), found in zip(images, drawn["box"].numpy(), result, strict=True):
        expected = image.copy()
        expected[top:bottom, left:right] = 0
        assert np.array_equal(found, expected)


def test_noise_fills_the_value_range_evenly():
    images = np.full((4, 50, 50, 3), 128, "uint8")
    result = plain(layers.RandomErasing(scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0)))(images, seed=1).numpy()
    assert np.abs(np.histogram(result, bins=5, range=(0, 255))[0] / result.size - 0.2).max() < 0.01
    assert np.mean(result == 0) < 0.01 and np.mean(result == 255) < 0.01


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1), (3, 4)])
def test_noise_is_the_same_in_every_dtype_and_unit(size):
    images = RANDOM.integers(0, 256, (5, *size, 3), dtype=np.uint8)
    erase = layers.RandomErasing(scale=(0.3, 0.9))
    result = plain(erase)(images, seed=2).numpy()
    assert np.array_equal(plain(erase)(images.astype("float32"), seed=2), result)
    units = layers.RandomErasing(scale=(0.3, 0.9), value_range=(-1, 1))
    assert np.allclose(units((images / 127.5 - 1).astype("float32"), seed=2), result / 127.5 - 1, atol=1e-6)
    box = erase.sample(images, 2)["box"].numpy()
    outside = ~regions.inside(box, size).numpy()
    assert np.array_equal(result[outside], images[outside])


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0])
def test_the_chance_to_be_erased(factor):
    box = layers.RandomErasing(factor, scale=(0.1, 0.2), fill_value=0.0).sample(Spec(3000, 40, 40, 1), 1)["box"].numpy()
    assert abs(np.any(box, axis=1).mean() - factor) < 0.03


BEHIND = [  # (top, left, bottom, right) erased; what is left of a box from (2, 2) to (8, 6), or None
    ((0, 0, 1, 1), (2, 2, 8, 6)),
    ((3, 3, 5, 5), (2, 2, 8, 6)),  # inside: the outline stays
    ((0, 0, 4, 9), (2, 4, 8, 6)),  # covers the top from side to side
    ((5, 0, 9, 9), (2, 2, 8, 5)),
    ((0, 0, 9, 4), (4, 2, 8, 6)),
    ((0, 6, 9, 9), (2, 2, 6, 6)),
    ((2, 2, 6, 8), None),  # exactly the box
    ((0, 0, 9, 9), None),
    ((3, 0, 5, 9), (2, 2, 8, 6)),  # a stripe through the middle: both ends are seen
    ((0, 0, 4, 7), (2, 2, 8, 6)),  # a corner
]


@pytest.mark.parametrize("erased, left_over", BEHIND)
def test_a_box_is_cut_to_what_is_seen(erased, left_over):
    erase = plain(layers.RandomErasing(fill_value=0.0, bounding_box_format="xyxy"))
    boxes = {"boxes": np.array([[[2.0, 2, 8, 6]]], "float32"), "labels": np.array([[3]])}
    masks = np.ones((1, 10, 10, 1), "uint8")
    inputs = {"images": np.ones((1, 10, 10, 1), "float32"), "bounding_boxes": boxes, "segmentation_masks": masks}
    drawn = {"box": tf.constant([erased]), "fill": tf.zeros([1, 1, 1, 1])}
    result = erase.apply(inputs, drawn)
    expected = (-1, -1, -1, -1) if left_over is None else left_over
    assert result["bounding_boxes"]["boxes"].numpy()[0, 0].tolist() == list(expected)
    assert result["bounding_boxes"]["labels"].numpy().item() == (-1 if left_over is None else 3)
    assert np.array_equal(result["segmentation_masks"], result["images"])
