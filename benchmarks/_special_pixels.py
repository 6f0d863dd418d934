"""Special laws about draws, pixels and running: facts about single layers that the general laws don't ask for.

Each takes `make`, `keras.layers` or `keras_aug_ssl.layers`, and returns whether the law is kept and a figure. Its
docstring is the law.
"""

from __future__ import annotations

import tempfile

import keras
import numpy as np
import tensorflow as tf
from _special_parts import pictures

from keras_aug_ssl.testing.laws import op_by_op


def augmented(layer, images, training=True):
    """What a layer makes of images, as an array; operation by operation, since tracing takes longer."""
    with op_by_op():
        return np.asarray(layer(tf.convert_to_tensor(images), training=training))


def places(count, side):
    """Images (count, side, side, 3) in which a pixel says where it is: its column and its row."""
    y, x = np.mgrid[:side, :side]
    return np.repeat(np.stack([x, y, 0 * x], -1)[None], count, 0).astype("float32")


# --- draws ------------------------------------------------------------------------------------------------------------


def flips(make):
    """RandomFlip in both directions has four outcomes."""
    found = augmented(make.RandomFlip("horizontal_and_vertical", seed=1), places(64, 8))
    return len(outcomes := np.unique(found[:, 0, 0], axis=0)) == 4, f"{len(outcomes)} of 4 in 64 images"


def crops(make):
    """RandomCrop draws a place for each image."""
    found = np.unique(augmented(make.RandomCrop(16, 16, seed=1), places(32, 32))[:, 0, 0], axis=0)
    return len(found) > 1, f"places drawn for 32 images: {len(found)}"


def perspective_corners(make):
    """RandomPerspective moves every corner of the image."""
    found = augmented(make.RandomPerspective(scale=0.5, fill_value=-1.0, seed=1), places(32, 32) + 1.0)
    moved = np.abs(found[:, 0, 0, :2] - 1.0).max(-1) > 0.01
    return bool(moved.mean() > 0.5), f"the top left one in {moved.sum()} of 32 images"


def elastic_fields(make):
    """RandomElasticTransform draws the shift in x independently of that in y."""
    images = places(16, 64)
    shift = (augmented(make.RandomElasticTransform(scale=(1.0, 1.0), seed=1), images) - images)[:, 16:-16, 16:-16]
    pairs = [(image[..., 0].ravel(), image[..., 1].ravel()) for image in shift if image.any()]
    each = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    return bool(
        abs(np.mean(each)) < 0.5
    ), f"correlation {np.mean(each):.3f} ± {np.std(each):.3f} over {len(each)} images"


def elastic_batches(make):
    """RandomElasticTransform keeps the images of a batch of unknown size apart."""
    values = [10.0, 60.0, 120.0, 200.0]
    dataset = tf.data.Dataset.from_tensor_slices(np.ones((4, 32, 32, 3), "float32") * np.reshape(values, (4, 1, 1, 1)))
    layer = make.RandomElasticTransform(scale=(0.3, 0.3), seed=1)
    (result,) = dataset.batch(4).map(lambda images: layer(tf.cast(images, tf.float32), training=True))
    found = np.asarray(result).mean((1, 2, 3))
    return np.allclose(found, values, atol=0.5), "means 10, 60, 120, 200 become " + ", ".join(f"{m:.0f}" for m in found)


def policy_draws(make):
    """RandAugment chooses operations for each image."""
    layer, mixed = make.RandAugment(num_ops=1, seed=1), 0
    images = np.full((16, 16, 16, 3), 100.0, "float32")  # flat: tones change it, geometry doesn't
    for _ in range(16):
        middle = augmented(layer, images)[:, 6:10, 6:10]
        changed = np.abs(middle - 100.0).max((1, 2, 3)) > 0.5
        mixed += changed.any() and not changed.all()
    return bool(mixed > 8), f"some images of a batch changed and others not in {mixed} of 16 batches"


def policy_at_zero(make):
    """RandAugment of strength 0 is the identity."""
    layer, images = make.RandAugment(factor=0.0, seed=1), pictures(4)
    moves = [np.abs(augmented(layer, images) - images).max((1, 2, 3)) for _ in range(16)]
    changed = np.mean(np.array(moves) > 1.0)
    return not changed, f"{changed:.0%} of 64 images change, by up to {np.max(moves):.0f}"


def augmix_seed(make):
    """Two AugMix layers of one seed do the same."""
    images = pictures(4)
    same = sum(np.array_equal(*(augmented(make.AugMix(seed=7), images) for _ in range(2))) for _ in range(3))
    return same == 3, f"in {same} of 3 pairs"


# --- values -----------------------------------------------------------------------------------------------------------


def saturation_range(make):
    """RandomSaturation stays within 0 .. 255."""
    found = augmented(make.RandomSaturation(0.8, seed=1), pictures(16))
    inside = found.min() >= -0.01 and found.max() <= 255.01
    return bool(inside), f"values from {found.min():.0f} to {found.max():.0f}, {np.mean(found < -0.01):.0%} negative"


def contrast_lower(make):
    """RandomContrast(0.3) lowers the contrast as often as it raises it."""
    images = 100.0 + 0.2 * pictures(64)
    ratios = augmented(make.RandomContrast(0.3, seed=1), images).std((1, 2, 3)) / images.std((1, 2, 3))
    lower = np.mean(ratios < 1.0)
    return bool(
        0.25 < lower < 0.75
    ), f"lower in {lower:.0%} of 64 images, {ratios.min():.2f} to {ratios.max():.2f} times"


def equalization_mates(make):
    """Equalization of an image doesn't depend on the others in its batch."""
    images = 0.5 * pictures(2)
    images[1] = 0.1 * images[1]
    off = np.abs(augmented(make.Equalization(), images)[0] - augmented(make.Equalization(), images[:1])[0]).max()
    return bool(off < 0.5), f"values differ by up to {off:.0f} beside a dark image"


def contrast_at_inference(make):
    """AutoContrast does nothing with `training=False`."""
    images = 100.0 + 0.2 * pictures(2)
    off = np.abs(augmented(make.AutoContrast(), images, training=False) - images).max()
    return bool(off == 0), f"values change by up to {off:.0f}"


def flat_borders(make):
    """RandomGaussianBlur and RandomSharpness leave an image of one value as it is."""
    images = np.full((4, 16, 16, 3), 100.0, "float32")
    layers = make.RandomGaussianBlur(kernel_size=5, sigma=(1.0, 1.0), seed=1), make.RandomSharpness((0.0, 0.0), seed=1)
    corners = [augmented(layer, images)[:, 0, 0, 0].min() for layer in layers]
    return np.allclose(corners, 100.0, atol=0.1), "in the corner 100 becomes {:.0f} and {:.0f}".format(*corners)


def bytes_survive(make):
    """Brightness, contrast and saturation of uint8 images neither wrap nor raise."""
    images, found = np.full((4, 8, 8, 3), 250, "uint8"), {}
    for layer in (make.RandomBrightness((0.1, 0.1)), make.RandomContrast(0.3), make.RandomSaturation(0.5)):
        try:
            found[type(layer).__name__] = str(augmented(layer, images).flat[0])
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            found[type(layer).__name__] = type(error).__name__
    kept = found["RandomBrightness"] == "255" and not any("Error" in result for result in found.values())
    return kept, "250 becomes " + ", ".join(f"{result} by {name}" for name, result in found.items())


# --- running ----------------------------------------------------------------------------------------------------------


def compiled_models(make):
    """A geometric layer doesn't switch XLA off for the model it is in."""
    layers = [make.RandomRotation(0.1), make.RandomZoom(0.1), make.RandomShear(0.1, 0.1), make.RandomCrop(8, 8)]
    layers += [make.RandomTranslation(0.1, 0.1), make.RandomPerspective()]
    off = [type(layer).__name__ for layer in layers if not layer.supports_jit]  # one is enough
    return not off, f"{len(off)} of {len(layers)} switch it off" + (": " + ", ".join(off) if off else "")


def exported_models(make):
    """A model with RandomFlip, exported by `model.export`, serves one answer for one input."""
    model = keras.Sequential([keras.Input((8, 8, 1)), make.RandomFlip(), keras.layers.Flatten(), keras.layers.Dense(1)])
    with tempfile.TemporaryDirectory() as directory:
        model.export(directory, verbose=False)
        loaded = tf.saved_model.load(directory)
        answers = {float(loaded.serve(places(1, 8)[..., :1])[0, 0]) for _ in range(16)}
    return len(answers) == 1, f"different answers to 16 calls: {len(answers)}"


LAWS = (
    flips,
    crops,
    perspective_corners,
    elastic_fields,
    elastic_batches,
    policy_draws,
    policy_at_zero,
    augmix_seed,
    saturation_range,
    contrast_lower,
    equalization_mates,
    contrast_at_inference,
    flat_borders,
    bytes_survive,
    compiled_models,
    exported_models,
)
