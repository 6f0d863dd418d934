"""Displacement fields: elastic, thin-plate, and their inverse for points."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from keras_aug_ssl import layers
from keras_aug_ssl.kernels import boxes, fields
from keras_aug_ssl.layers.engine.base import execute
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.warp import GeometricLayer
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)
SCIPY_MODES = {"reflect": "reflect", "nearest": "nearest", "constant": "grid-constant", "wrap": "grid-wrap"}
SIZES = [(9, 13), (12, 7), (1, 8), (8, 1), (1, 1), (2, 2)]


def warp(images, matrices, fill_mode="reflect", interpolation="bilinear", fill_value=0.0):
    """Images (B, H, W, C) read through (B, 3, 3) matrices, as a geometric layer would."""
    layer = GeometricLayer(fill_mode, interpolation, fill_value)
    batch = Batch(tf.constant(images), tf.as_dtype(images.dtype))
    matrices = tf.constant(matrices, tf.float32) + tf.zeros([len(images), 1, 1])
    return execute([(layer, {"out_to_in": matrices})], batch, jit=False).images.numpy()


def bend(images, field, **kwargs):
    """Images read through a (B, H, W, 2) displacement field."""
    batch = Batch(tf.constant(images), tf.as_dtype(images.dtype))
    return execute([(GeometricLayer(**kwargs), {"field": tf.constant(field)})], batch, jit=False).images.numpy()


def random_affine(size, strength=0.4):
    """A matrix that turns, scales, shears and shifts about the middle; moves some of every border out of view."""
    linear = np.eye(2) + RANDOM.uniform(-strength, strength, (2, 2))
    centre = np.array([size[1] - 1, size[0] - 1]) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre + RANDOM.uniform(-1.5, 1.5, 2)
    return matrix


def by_scipy(image, matrix, order, mode, value):
    """What `warp` computes, by scipy: which speaks of (row, column), we of (x, y)."""
    swap = np.array([1, 0])
    linear, offset = matrix[:2, :2][swap][:, swap], matrix[:2, 2][swap]
    return ndimage.affine_transform(image.astype("float64"), linear, offset, order=order, mode=mode, cval=value)


# --- one resampling ---------------------------------------------------------------------------------------------------


# --- fields -----------------------------------------------------------------------------------------------------------


def elastic_field(**kwargs):
    layer = layers.RandomElasticTransform(scale=(1.0, 1.0), **kwargs)
    return layer.sample(Spec(8, 64, 64, 3), 3)["field"].numpy()


def test_elastic_fields_are_independent_smooth_and_as_strong_as_asked():
    field = elastic_field(alpha=34.0, sigma=4.0)
    correlation = np.corrcoef(field[..., 0].ravel(), field[..., 1].ravel())[0, 1]
    assert abs(correlation) < 0.1
    # Uniform noise has variance 1/3; a Gaussian of sigma pixels keeps 1 / (4 pi sigma^2) of it.
    expected = 34.0 * np.sqrt(1 / 3 / (4 * np.pi * 16.0))
    assert abs(field[:, 12:-12, 12:-12].std() / expected - 1) < 0.1
    lags = np.corrcoef(field[:, :, :-4].ravel(), field[:, :, 4:].ravel())[0, 1]
    assert abs(lags - np.exp(-(4.0**2) / (4 * 4.0**2))) < 0.08
    assert len({round(float(one.sum()), 3) for one in field}) == 8, "every image has its own"


def test_an_elastic_field_is_the_smoothed_noise_of_the_paper():
    noise = RANDOM.uniform(-1, 1, (2, 32, 29, 2)).astype("float32")
    field = fields.elastic(tf.constant(noise.reshape(2, 32, 58)), sigma=2.0, radius=6).numpy()
    smooth = [ndimage.gaussian_filter(one.astype("float64"), (2.0, 2.0, 0), radius=(6, 6, 0)) for one in noise]
    np.testing.assert_allclose(field, np.stack(smooth)[:, 6:-6, 6:-6], atol=1e-5)


def test_an_elastic_field_is_as_strong_at_the_border_as_inside():
    field = elastic_field(alpha=34.0, sigma=2.0)
    inside, border = field[:, 6:-6, 6:-6].std(), field[:, [0, -1]].std()
    assert abs(border / inside - 1) < 0.1


def test_no_strength_no_change():
    images = RANDOM.integers(0, 256, (2, 12, 9, 3), dtype=np.uint8)
    for layer in (layers.RandomElasticTransform(alpha=0.0), layers.RandomThinPlateSpline(0.0)):
        np.testing.assert_allclose(plain(layer)(images, seed=1), images, atol=1)
    assert np.array_equal(plain(layers.RandomElasticTransform(alpha=0.0))(images, seed=1), images)


def test_a_mask_is_the_nearest_reading_of_the_images_own_field():
    masks = RANDOM.integers(0, 9, (3, 20, 16, 1)).astype("int32")
    layer = plain(layers.RandomElasticTransform(alpha=20.0, sigma=2.0))
    images = masks.astype("float32")
    drawn = layer.sample(images, 4)
    moved = layer.apply({"images": images, "segmentation_masks": masks}, drawn)
    expected = bend(masks, drawn["field"].numpy(), interpolation="nearest")
    assert np.array_equal(moved["segmentation_masks"], expected)
    np.testing.assert_allclose(moved["images"], bend(images, drawn["field"].numpy()), atol=1e-3)


def test_a_field_displaces_by_what_it_says():
    images = RANDOM.integers(0, 256, (1, 8, 9, 2), dtype=np.uint8)
    field = np.zeros((1, 8, 9, 2), "float32") + [2.0, -1.0]
    assert np.array_equal(bend(images, field.astype("float32"), fill_mode="wrap"), np.roll(images, (1, -2), (1, 2)))


@pytest.mark.parametrize("points_per_side", [2, 3, 5])
def test_a_thin_plate_hits_its_control_points(points_per_side):
    size = (4 * (points_per_side - 1) + 1, 6 * (points_per_side - 1) + 1)
    moves = RANDOM.uniform(-2, 2, (3, points_per_side**2, 2)).astype("float32")
    field = fields.thin_plate(tf.constant(moves), points_per_side, size).numpy()
    np.testing.assert_allclose(field[:, ::4, ::6].reshape(3, -1, 2), moves, atol=1e-3)


def test_a_thin_plate_reproduces_affine_displacements():
    size = (13, 17)
    y, x = (grid.astype("float32") for grid in np.mgrid[:13, :17])
    plane = np.stack([0.1 * x - 0.2 * y + 1.0, 0.05 * y + 0.3], -1)
    at_x, at_y = np.linspace(0, 16, 4), np.linspace(0, 12, 4)[:, None]
    moves = np.stack([0.1 * at_x - 0.2 * at_y + 1.0, 0.05 * at_y + 0.3 + 0 * at_x], -1)
    field = fields.thin_plate(tf.constant(moves.reshape(1, -1, 2), tf.float32), 4, size).numpy()
    np.testing.assert_allclose(field[0], plane, atol=2e-3)


def test_a_field_is_inverted_for_points():
    layer = layers.RandomElasticTransform(scale=(1.0, 1.0), alpha=20.0, sigma=4.0)
    field = layer.sample(Spec(4, 30, 40, 3), 1)["field"]
    points = RANDOM.uniform(8, 22, (4, 6, 2)).astype("float32")
    moved = boxes.invert_field(tf.constant(points), field)
    np.testing.assert_allclose(moved + boxes.sample_field(field, moved), points, atol=0.02)
