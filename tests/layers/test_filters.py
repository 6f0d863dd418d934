"""Filters and noise against explicit convolution and their own statistics."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from keras_aug_ssl import layers
from keras_aug_ssl.kernels import filters
from keras_aug_ssl.layers.engine.batch import Spec
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)


def gaussian(sigma, taps):
    weights = np.exp(-0.5 * ((np.arange(taps) - taps // 2) / sigma) ** 2)
    return weights / weights.sum()


@pytest.mark.parametrize("taps", [(1, 5), (3, 3), (7, 1), (9, 5)])
@pytest.mark.parametrize("size", [(8, 11), (1, 6), (3, 2)])
def test_blur_is_convolution_with_mirrored_borders(taps, size):
    """Also with a kernel wider than the image, whose mirror images then repeat."""
    images = RANDOM.uniform(0, 255, (3, *size, 2)).astype("float32")
    sigmas = np.array([0.6, 1.5, 4.0], "float32")
    blurred = filters.blur(tf.constant(images), tf.constant(sigmas), taps)
    for image, sigma, found in zip(images.astype("float64"), sigmas, blurred.numpy(), strict=True):
        rows = ndimage.correlate1d(image, gaussian(sigma, taps[0]), axis=0, mode="reflect")
        expected = ndimage.correlate1d(rows, gaussian(sigma, taps[1]), axis=1, mode="reflect")
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_no_width_no_blur():
    images = RANDOM.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    assert np.array_equal(plain(layers.RandomGaussianBlur(kernel_size=5, sigma=0.0))(images), images)
    assert np.array_equal(plain(layers.RandomGaussianBlur((0.0, 0.0), kernel_size=5))(images), images)


def test_every_image_has_its_own_width_in_the_range():
    sigma = layers.RandomGaussianBlur((1.0, 1.0), sigma=(0.5, 2.0)).sample(Spec(2000, 4, 4, 3), 1)["sigma"].numpy()
    assert np.allclose(np.percentile(sigma, (0, 50, 100)), (0.5, 1.25, 2.0), atol=0.04)
    scaled = layers.RandomGaussianBlur(0.5, sigma=3.0).sample(Spec(2000, 4, 4, 3), 1)["sigma"].numpy()
    assert np.allclose(np.percentile(scaled, (0, 50, 100)), (0.0, 0.75, 1.5), atol=0.05)


@pytest.mark.parametrize("factor", [0.0, 0.25, 0.5, 0.9])
def test_sharpness_is_pillows_away_from_the_border(factor):
    image = RANDOM.integers(0, 256, (1, 12, 10, 3), dtype=np.uint8)
    expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(image[0])).enhance(2 * factor)).astype(int)
    found = plain(layers.RandomSharpness((factor, factor)))(image).numpy()[0].astype(int)
    assert np.abs(found - expected)[1:-1, 1:-1].max() <= 1  # Pillow rounds the smoothed copy first


def test_noise_is_white_gaussian_and_of_the_strength_asked_for():
    grey = np.zeros((6, 40, 40, 3), "float32")
    noise = plain(layers.RandomNoise((0.1, 0.1), value_range=(-0.5, 0.5)))(grey, seed=1).numpy()
    assert abs(noise.mean()) < 3 * 0.1 / np.sqrt(noise.size) and abs(noise.std() - 0.1) < 0.002
    assert stats.kstest(noise.ravel() / 0.1, "norm").pvalue > 1e-3
    flat = noise.reshape(6, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(6)).max() < 0.06, "images have noise of their own"
    shifted = [(0, 1, 0), (1, 0, 0), (0, 0, 1)]
    for rows, columns, channels in shifted:
        moved = np.roll(noise, (rows, columns, channels), (1, 2, 3))
        assert abs(np.corrcoef(noise.ravel(), moved.ravel())[0, 1]) < 0.03


def test_strengths_are_drawn_for_each_image():
    strength = layers.RandomNoise(0.2).sample(Spec(300, 12, 12, 1), 1)["strength"].numpy() / 255
    assert np.allclose(np.percentile(strength, (1, 50, 99)), (0.0, 0.1, 0.2), atol=0.02)
