"""The fourteen operations: which are drawn, how strong they are, and what follows them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_aug_ssl import draws, layers
from keras_aug_ssl.layers.policies import GEOMETRY, OPERATIONS

pytestmark = pytest.mark.usefixtures("without_graphs")
KEY = (7, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)


@keras.saving.register_keras_serializable(package="tests")
class Only(layers.RandAugment):
    """RandAugment that draws the operations it is told, in that order, to one side."""

    def __init__(self, *names, strength=0.5, sign=1.0, **kwargs):
        super().__init__(num_ops=len(names), factor=strength, **kwargs)
        self.told, self.sign = [OPERATIONS.index(name) for name in names], sign

    def chosen(self, spec, key):
        shape = [spec.batch_size, len(self.told)]
        return tf.broadcast_to(self.told, shape), tf.fill(shape, self.factor[0]), tf.fill(shape, self.sign)


def by_pillow(function):
    return np.stack([np.asarray(function(Image.fromarray(image))) for image in IMAGES])


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_operations_are_even_and_signs_are_a_coin():
    layer = layers.RandAugment(num_ops=3, factor=(0.2, 0.6))
    operation, strength, sign = (
        part.numpy() for part in layer.chosen(layers.Spec(4000, 8, 8, 3), draws.as_key((1, 2)))
    )
    for place in range(3):
        counts = np.bincount(operation[:, place], minlength=14)
        assert len(counts) == 14 and np.all(abs(counts - 4000 / 14) < 4 * np.sqrt(4000 / 14))
    assert len(set(map(tuple, operation))) > 1000  # every image draws for itself, every place too
    assert 0.2 <= strength.min() < 0.21 and 0.59 < strength.max() < 0.6
    assert set(sign.ravel()) == {-1.0, 1.0} and abs(sign.mean()) < 4 / np.sqrt(sign.size)


def test_trivial_augment_draws_one_operation_of_31_strengths():
    layer = layers.TrivialAugment()
    operation, strength, _ = (part.numpy() for part in layer.chosen(layers.Spec(5000, 8, 8, 3), draws.as_key((1, 2))))
    assert operation.shape == (5000, 1) and set(operation.ravel()) == set(range(14))
    assert np.allclose(np.unique(strength), np.arange(31) / 30)


@pytest.mark.parametrize("name", OPERATIONS)
def test_strength_zero_is_the_identity(name):
    for images in (IMAGES, IMAGES.astype("float32")):
        assert np.array_equal(Only(name, strength=0.0)(images), images)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "identity"])
def test_every_other_operation_changes_something(name):
    images = IMAGES // 2 + 20  # so that there is contrast to be gained
    assert not np.array_equal(Only(name)(images), images)


# --- how strong it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    "name, enhance",
    [
        ("brightness", ImageEnhance.Brightness),
        ("color", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_pillows(name, enhance, strength, sign):
    """By 1 plus or minus 0.9 at strength 1; Pillow cuts where we round, and rounds the grey it starts from."""
    ours = np.asarray(Only(name, strength=strength, sign=sign)(IMAGES), int)
    pillows = by_pillow(lambda image: enhance(image).enhance(1 + sign * 0.9 * strength)).astype(int)
    if name == "sharpness":  # Pillow leaves the border as it is
        ours, pillows = ours[:, 1:-1, 1:-1], pillows[:, 1:-1, 1:-1]
    assert np.abs(ours - pillows).max() <= 2


@pytest.mark.parametrize("strength, bits, threshold", [(0.3, 7, 0.7), (0.5, 6, 0.5), (1.0, 4, 0.0)])
def test_tone_operations_are_pillows(strength, bits, threshold):
    assert np.array_equal(
        Only("posterize", strength=strength)(IMAGES), by_pillow(lambda i: ImageOps.posterize(i, bits))
    )
    assert np.array_equal(
        Only("solarize", strength=strength)(IMAGES), by_pillow(lambda i: ImageOps.solarize(i, 255 * threshold))
    )


@pytest.mark.parametrize("axis, side", [("x", 24), ("y", 20)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_shift_of_150_pixels_in_331(axis, side, sign):
    matrix = Only(f"translate_{axis}", strength=0.4, sign=sign).sample(IMAGES, KEY)["0_random_affine"]["out_to_in"]
    moved = np.asarray(matrix)[0] @ [3.0, 4.0, 1.0]
    expected = np.array([3.0, 4.0, 1.0])
    expected["xy".index(axis)] -= sign * 0.4 * side * 150 / 331
    assert np.allclose(moved, expected, atol=1e-5)


def test_trivial_augment_shifts_pixels_and_not_shares():
    layer = layers.TrivialAugment()
    for size in ((20, 24), (200, 240)):
        amount = {name: tf.constant([[1.0 if name == "translate_x" else 0.0]]) for name in GEOMETRY}
        assert np.allclose(layer._matrix(amount, layers.Spec(1, *size, 3))[0, :, 2], [-32.0, 0.0, 1.0])


@pytest.mark.parametrize("name, entry, amount", [("shear_x", (0, 1), 0.3), ("shear_y", (1, 0), 0.3)])
def test_shear(name, entry, amount):
    matrix = np.asarray(Only(name, strength=1.0).sample(IMAGES, KEY)["0_random_affine"]["out_to_in"])[0]
    assert np.isclose(matrix[entry], amount)
    centre = np.array([11.5, 9.5, 1.0])
    assert np.allclose(matrix @ centre, centre, atol=1e-5)


def test_turn_by_30_degrees():
    matrix = np.asarray(Only("rotate", strength=1.0).sample(IMAGES, KEY)["0_random_affine"]["out_to_in"])[0]
    assert np.isclose(abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 30.0, atol=1e-4)


def test_two_of_a_family_are_one_after_the_other():
    """Two turns are one turn by both, two brightnesses one by the product: nothing is resampled or clipped between."""
    images = IMAGES.astype("float32")
    both, once = Only("rotate", "rotate", strength=0.2), Only("rotate", strength=0.4)
    assert np.allclose(both(images), once(images), atol=1e-2)
    lighter = Only("brightness", "brightness", strength=0.5)(images)
    assert np.allclose(lighter, np.minimum(images * 1.45**2, 255.0), atol=1e-2)
    first, second = Only("rotate", "translate_x"), Only("translate_x", "rotate")
    assert not np.array_equal(first(IMAGES), second(IMAGES))  # in the order drawn


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("rotate", "shear_x"), ("translate_y", "brightness"), ("equalize", "shear_y")])
def test_masks_boxes_and_points_follow(names):
    images = np.full((2, 40, 48, 3), 40, "uint8")
    images[:, 14:26, 16:32] = 200
    inputs = {
        "images": images,
        "segmentation_masks": (images[..., 0] == 200).astype("int32"),
        "bounding_boxes": {"boxes": np.array([[[16, 14, 32, 26]]] * 2, "float32"), "labels": np.ones((2, 1), "int64")},
        "keypoints": np.array([[[23.5, 19.5]]] * 2, "float32"),
    }
    result = Only(*names, strength=0.4, bounding_box_format="xyxy", fill_mode="nearest")(inputs)
    bright = np.asarray(result["images"])[..., 0] > np.asarray(result["images"])[0, 0, 0, 0] + 40
    mask = np.asarray(result["segmentation_masks"]) == 1
    assert np.sum(bright & mask) / np.sum(bright | mask) > 0.9
    rows, columns = np.nonzero(bright[0])
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.asarray(result["bounding_boxes"]["boxes"])[0, 0] - around).max() <= 1.5
    x, y = np.asarray(result["keypoints"])[0, 0]
    assert np.allclose([x, y], [columns.mean(), rows.mean()], atol=1.0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(channels):
    images = np.random.default_rng(1).integers(0, 256, (32, 8, 8, channels), dtype=np.uint8)
    assert layers.RandAugment(seed=1)(images).shape == images.shape
    if channels == 4:  # what colors do leaves alpha alone
        images = np.repeat(images[:1], 2, axis=0)
        assert np.array_equal(Only("color", "contrast")(images)[..., 3], images[..., 3])


def test_unit_range_does_the_same():
    unit = layers.RandAugment((0, 1), num_ops=3, factor=0.4)
    whole = layers.RandAugment((0, 255), num_ops=3, factor=0.4)
    difference = 255 * np.asarray(unit(IMAGES / np.float32(255), seed=KEY)) - whole(IMAGES.astype("float32"), seed=KEY)
    assert np.mean(np.abs(difference) > 0.01) < 0.01  # but where a tone curve jumps


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: layers.RandAugment(num_ops=-1), "num_ops"),
        (lambda: layers.RandAugment(factor=1.5), "factor"),
        (lambda: layers.RandAugment(interpolation="cubic"), "interpolation"),
        (lambda: layers.RandAugment(value_range=(1, 1)), "value_range"),
        (lambda: layers.AugMix(num_chains=0), "num_chains"),
        (lambda: layers.AugMix(chain_depth=0), "chain_depth"),
        (lambda: layers.AugMix(alpha=0.0), "alpha"),
        (lambda: layers.AugMix(factor=(0.5, 1.1)), "factor"),
        (lambda: layers.strong_augmentation(value_range=(1, 1)), "value_range"),
    ],
)
def test_arguments_are_checked(make, argument):
    with pytest.raises((ValueError, TypeError), match=f"`{argument}` must be"):
        make()
