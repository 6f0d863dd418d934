"""Tone layers against Pillow on uint8 images, and against arithmetic done by hand on others."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine.batch import Spec
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)
# Dark, bright, of low contrast, of few levels; two of one level alone.
IMAGES = np.stack(
    [
        RANDOM.integers(0, 60, (32, 40, 3)),
        RANDOM.integers(150, 256, (32, 40, 3)),
        RANDOM.normal(120, 12, (32, 40, 3)).clip(0, 255),
        RANDOM.choice([3, 80, 200], (32, 40, 3)),
        np.full((32, 40, 3), 77),
        np.full((32, 40, 3), 255),
    ]
).astype("uint8")


def by_pillow(function, *arguments):
    return np.stack([np.asarray(function(Image.fromarray(image), *arguments)) for image in IMAGES])


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_is_pillows(bits):
    assert np.array_equal(plain(layers.RandomPosterization(bits))(IMAGES), by_pillow(ImageOps.posterize, bits))


@pytest.mark.parametrize("threshold", [0, 64, 127, 255])
def test_solarize_is_pillows(threshold):
    layer = layers.Solarization(threshold_factor=(threshold / 255, threshold / 255))
    assert np.array_equal(plain(layer)(IMAGES), by_pillow(ImageOps.solarize, threshold))


def test_solarize_adds_first():
    layer = layers.Solarization((0.2, 0.2), (0.5, 0.5))
    values = np.array([0, 60, 100, 250], "uint8").reshape(1, 1, 4, 1)
    assert np.ravel(plain(layer)(values)).tolist() == [51, 111, 255 - 151, 0]


def test_autocontrast_is_pillows_but_rounded():
    ours, pillow = plain(layers.AutoContrast())(IMAGES).numpy().astype(int), by_pillow(ImageOps.autocontrast)
    assert np.isin(ours - pillow, (0, 1)).all()  # Pillow cuts off the fraction
    low, high = (getattr(IMAGES[:4].astype("float64"), end)((1, 2), keepdims=True) for end in ("min", "max"))
    exact = (IMAGES[:4] - low) / (high - low) * 255
    assert np.abs(ours[:4] - exact).max() <= 0.501


def test_equalize_spreads_the_cumulated_histogram():
    """The formula of Keras and OpenCV, written out."""
    ours = plain(layers.Equalization())(IMAGES).numpy()
    for image, found in zip(IMAGES, ours, strict=True):
        for channel in range(3):
            counts = np.bincount(image[..., channel].ravel(), minlength=256)
            cumulated, least = np.cumsum(counts), counts[counts > 0][0]
            table = np.arange(256)
            if least < cumulated[-1]:
                table = np.round(np.clip((cumulated - least) / (cumulated[-1] - least), 0, 1) * 255)
            assert np.array_equal(found[..., channel], table[image[..., channel]])


def test_equalize_is_pillows_on_images_of_many_pixels():
    """Pillow takes whole numbers of pixels a level, and a level's lower end: a few levels apart, alike in all else."""
    image = RANDOM.normal(120, 30, (256, 256, 3)).clip(0, 255).astype("uint8")
    pillow = np.asarray(ImageOps.equalize(Image.fromarray(image))).astype(int)
    assert np.abs(plain(layers.Equalization())(image).numpy() - pillow).max() <= 6


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.2])
def test_gamma_is_a_power(exponent):
    expected = np.round(255 * (IMAGES / 255.0) ** exponent)
    result = plain(layers.RandomGamma((exponent, exponent)))(IMAGES).numpy().astype(float)
    assert np.abs(result - expected).max() <= 1 and np.mean(result != expected) < 0.02  # a half, rounded either way


# --- other ranges and dtypes ------------------------------------------------------------------------------------------


def tone_layers(value_range=(0, 255)):
    return [
        layers.RandomPosterization(3, value_range),
        layers.Solarization((0.1, 0.1), (0.6, 0.6), value_range),
        layers.Equalization(value_range),
        layers.AutoContrast(value_range),
        layers.RandomGamma((1.7, 1.7), value_range),
    ]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (0, 65535)])
def test_the_value_range_only_scales(place, value_range):
    low, high = value_range
    dtype = "uint16" if high > 1 else "float32"
    scaled = (low + (high - low) * (IMAGES / 255.0)).astype(dtype)
    expected = plain(tone_layers()[place])(IMAGES).numpy()
    result = plain(tone_layers(value_range)[place])(scaled).numpy().astype("float64")
    np.testing.assert_allclose((result - low) / (high - low) * 255, expected, atol=0.51)


def test_values_outside_the_range_are_clipped_in_a_graph():
    """Eagerly they are an error; in a graph nobody can look."""
    values = np.array([-0.5, 0.25, 1.5], "float32").reshape(1, 1, 3, 1)
    for layer in tone_layers((0, 1)):
        result = tf.function(plain(layer), autograph=False)(values).numpy()
        assert np.isfinite(result).all() and result.min() >= 0.0 and result.max() <= 1.0


def test_an_image_of_one_level_stays():
    flat = IMAGES[4:]
    for layer in (layers.Equalization(), layers.AutoContrast()):
        assert np.array_equal(plain(layer)(flat), flat)
        np.testing.assert_allclose(plain(layer)(flat.astype("float32")), flat, atol=1e-3)


def test_posterize_draws_every_number_of_bits():
    bits = layers.RandomPosterization((3, 6)).sample(Spec(2000, 4, 4, 3), 1)["bits"].numpy()
    assert np.allclose(np.bincount(bits.astype(int))[3:] / 2000, 0.25, atol=0.04) and set(bits) == {3, 4, 5, 6}


# --- fused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_one_table_is_one_after_the_other(dtype):
    images = IMAGES.astype(dtype)
    pipeline = plain(kas.Pipeline(tone_layers()))
    assert len(pipeline.plan()) == 1
    one_by_one = images
    for layer in tone_layers():
        one_by_one = plain(layer)(one_by_one, seed=1)
    if dtype == "uint8":
        assert np.array_equal(pipeline(images, seed=1), one_by_one)
    else:
        np.testing.assert_allclose(pipeline(images, seed=1), one_by_one, atol=1e-2)


@pytest.mark.parametrize("layer", [layers.Equalization, layers.AutoContrast])
def test_images_that_a_choice_leaves_alone_stay(layer):
    half = kas.Pipeline([layers.RandomApply([layer(), layers.RandomInvert(1.0), layer()], rate=0.5)])
    half.jit_compile = True
    images = np.concatenate([IMAGES[:4]] * 4)
    result = tf.function(lambda x: half(x, seed=3), autograph=False)(images).numpy()
    changed = np.any(result != images, axis=(1, 2, 3))
    drawn = half.sample(images, 3)["0_random_apply"]
    (first,) = (value["applies"].numpy() for name, value in drawn.items() if name.startswith("0_"))
    assert np.array_equal(changed, first) and 0 < first.sum() < 16
    alone = plain(kas.Pipeline([layer(), layers.RandomInvert(1.0), layer()]))(images)
    assert np.array_equal(result[changed], alone.numpy()[changed])
