"""Color layers against a plain float64 reference, layer by layer and fused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.kernels import color
from keras_aug_ssl.layers.engine.batch import Spec
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
IMAGES = RANDOM.uniform(60, 190, (5, 7, 6, 3))  # far enough from black and white for nothing to be clipped


# --- the reference: float64, one image at a time ----------------------------------------------------------------------


def brightness(image, share):
    return image + 255 * share


def contrast(image, factor):
    mean = image.mean((0, 1))
    return mean + factor * (image - mean)


def saturation(image, factor):
    grey = (image @ LUMA)[..., None]
    return grey + factor * (image - grey)


def hue(image, turns):
    angle = 2 * np.pi * turns
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return image @ (np.linalg.inv(TO_YIQ) @ rotation @ TO_YIQ).T


def pairs():
    """(layer, its reference for the numbers it draws with key 3)."""
    spec = Spec(5, 7, 6, 3)
    brighter = layers.RandomBrightness(0.2)
    shares = brighter.sample(spec, 3)["matrix"].numpy()[:, 0, 3] / 255
    yield brighter, [lambda x, s=s: brightness(x, s) for s in shares]
    contrasty = layers.RandomContrast(0.4)
    factors = contrasty.sample(spec, 3)["matrix"].numpy()[:, 0, 0]
    yield contrasty, [lambda x, f=f: contrast(x, f) for f in factors]
    saturated = layers.RandomSaturation((0.3, 0.6))
    red = saturated.sample(spec, 3)["matrix"].numpy()[:, 0, 0]
    yield saturated, [lambda x, f=f: saturation(x, f) for f in (red - LUMA[0]) / (1 - LUMA[0])]
    grey = layers.RandomGrayscale(0.5)
    coins = grey.sample(spec, 3)["matrix"].numpy()[:, 0, 0] < 0.5
    yield grey, [lambda x, c=c: saturation(x, 0.0 if c else 1.0) for c in coins]
    negative = layers.RandomInvert(0.5)
    coins = negative.sample(spec, 3)["matrix"].numpy()[:, 0, 0] < 0
    yield negative, [lambda x, c=c: 255 - x if c else x for c in coins]


@pytest.mark.parametrize("layer, references", list(pairs()), ids=lambda part: getattr(part, "name", ""))
def test_a_layer_does_what_its_reference_does(layer, references):
    result = plain(layer)(IMAGES.astype("float32"), seed=3).numpy()
    for image, reference, found in zip(IMAGES, references, result, strict=True):
        np.testing.assert_allclose(found, reference(image).clip(0, 255), atol=1e-3 * 255)
    assert len({round(float(one.sum()), 2) for one in result}) > 1


def test_hue_is_a_rotation_in_yiq():
    turns = np.array([0.0, 0.05, -0.1, 0.25, 0.5])
    change = color.hue(tf.constant(turns, tf.float32), 3)
    result = color.apply(tf.constant(IMAGES, tf.float32), change.matrix, (-1e9, 1e9)).numpy()
    for image, turn, found in zip(IMAGES, turns, result, strict=True):
        np.testing.assert_allclose(found, hue(image, turn), atol=0.02)
        np.testing.assert_allclose(found @ LUMA, image @ LUMA, atol=0.02)  # luma stays


@pytest.mark.parametrize("layer", [layers.RandomHue(1.0), layers.RandomSaturation(1.0), layers.RandomGrayscale(1.0)])
def test_greys_stay_grey(layer):
    grey = RANDOM.integers(0, 256, (4, 5, 5, 1), dtype=np.uint8).repeat(3, axis=-1)
    assert np.array_equal(plain(layer)(grey, seed=1), grey)


# --- ranges of the draws ----------------------------------------------------------------------------------------------


def draws_of(layer, entry=(0, 0), count=4000):
    return layer.sample(Spec(count, 4, 4, 3), 1)["matrix"].numpy()[:, entry[0], entry[1]]


def test_contrast_draws_from_its_documented_range():
    assert np.allclose(np.percentile(draws_of(layers.RandomContrast(0.3)), (0, 50, 100)), (0.7, 1.0, 1.3), atol=0.02)
    skewed = draws_of(layers.RandomContrast((0.1, 0.5)))
    assert np.allclose(np.percentile(skewed, (0, 50, 100)), (0.9, 1.2, 1.5), atol=0.02)


def test_brightness_draws_to_both_sides():
    shifts = draws_of(layers.RandomBrightness(0.2, value_range=(-1, 1)), (0, 3))
    assert np.allclose(np.percentile(shifts, (0, 50, 100)), (-0.4, 0, 0.4), atol=0.02)


@pytest.mark.parametrize("factor, multiplier", [(0.0, 0.0), (0.25, 1 / 3), (0.5, 1.0), (0.75, 3.0)])
def test_saturation_multiplies_by_the_odds(factor, multiplier):
    red = draws_of(layers.RandomSaturation((factor, factor)), count=2)
    np.testing.assert_allclose((red - LUMA[0]) / (1 - LUMA[0]), multiplier, atol=1e-5)


def test_full_saturation_is_finite_and_in_range():
    result = plain(layers.RandomSaturation((1.0, 1.0)))(IMAGES.astype("float32"), seed=1).numpy()
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 255


@pytest.mark.parametrize("cls", [layers.RandomInvert, layers.RandomGrayscale])
@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_a_chance_is_a_chance(cls, chance):
    changed = np.abs(draws_of(cls(chance)) - 1.0) > 1e-3
    assert abs(changed.mean() - chance) < 0.03


def test_the_parts_of_a_jitter_come_in_every_order():
    """Adding before multiplying differs from multiplying before adding: both occur, about equally often."""
    jitter = layers.RandomColorJitter((0, 255), brightness_factor=(0.1, 0.1), saturation_factor=(0.0, 0.0))
    assert set(np.round(draws_of(jitter, (0, 3)), 3)) == {25.5}  # these two commute
    both = layers.RandomColorJitter((0, 255), brightness_factor=(0.2, 0.2), contrast_factor=(0.5, 0.0))
    inverted = kas.Pipeline([both, layers.RandomInvert(1.0)])
    images = np.full((200, 2, 2, 3), 100.0, "float32")
    images[:, 0] = 200.0
    results = {tuple(np.round(one.ravel(), 1)) for one in plain(inverted)(images, seed=2).numpy()[:, :, 0, 0]}
    assert len(results) > 50, "contrast is drawn for each image"


# --- composition ------------------------------------------------------------------------------------------------------


def some_layers():
    return [
        layers.RandomContrast(0.3),
        layers.RandomBrightness(0.1),
        layers.RandomSaturation((0.4, 0.6)),
        layers.RandomHue(0.1),
        layers.RandomContrast(0.2),
        layers.RandomInvert(0.5),
        layers.RandomGrayscale(0.3),
        layers.RandomColorJitter((0, 255), 0.05, 0.1, (0.45, 0.55), 0.05),
    ]


def test_fused_equals_one_after_the_other_before_clipping():
    parts, images = some_layers(), IMAGES.astype("float32")
    pipeline = plain(kas.Pipeline(parts))
    assert len(pipeline.plan()) == 1
    sampled, one_by_one = pipeline.sample(images, 4), images
    for name, layer in zip(pipeline.names, parts, strict=True):
        one_by_one = plain(layer).apply(one_by_one, sampled[name])
    np.testing.assert_allclose(pipeline.apply(images, sampled), one_by_one, atol=0.05)


def test_values_are_clipped_once_behind_the_run():
    up, down = layers.RandomBrightness((0.5, 0.5)), layers.RandomBrightness((-0.5, -0.5))
    images = RANDOM.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    assert np.abs(plain(kas.Pipeline([up, down]))(images).numpy().astype(int) - images).max() <= 1
    assert plain(up)(images).numpy().max() == 255


def test_another_value_range_does_not_fuse():
    parts = [layers.RandomBrightness(0.1), layers.RandomBrightness(0.1, value_range=(0, 1))]
    assert len(kas.Pipeline(parts).plan()) == 2


def test_uint8_is_the_rounded_float():
    images = np.round(IMAGES).astype("uint8")
    pipeline = plain(kas.Pipeline(some_layers()))
    exact = pipeline(images.astype("float32"), seed=2).numpy()
    assert np.array_equal(pipeline(images, seed=2), np.round(exact).astype("uint8"))


# --- channels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", some_layers(), ids=lambda layer: layer.name)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_channels(layer, channels):
    images = RANDOM.uniform(60, 190, (3, 5, 4, channels)).astype("float32")
    result = plain(layer)(images, seed=1).numpy()
    assert result.shape == images.shape
    only_colors = isinstance(layer, (layers.RandomSaturation, layers.RandomHue, layers.RandomGrayscale))
    if only_colors and channels < 3:
        np.testing.assert_allclose(result, images, atol=1e-3)
    if only_colors and channels == 4:
        np.testing.assert_allclose(result[..., 3], images[..., 3], atol=1e-3)
        alone = plain(type(layer).from_config(layer.get_config()))(images[..., :3], seed=1)
        np.testing.assert_allclose(result[..., :3], alone, atol=1e-3)


def test_the_mean_is_the_images_own():
    images = np.concatenate([IMAGES[:1], 0.1 * IMAGES[1:2]]).astype("float32")
    np.testing.assert_allclose(color.mean_color(tf.constant(images)), images.mean((1, 2)), rtol=1e-5)
    assert color.mean_color(tf.zeros([0, 4, 4, 3])).shape == (0, 3)
