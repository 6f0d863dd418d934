"""Stock Keras layers in a pipeline: the same arguments mean the same, and what has no counterpart stays as it is."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.interop import StockLayer
from tests.layers.cases import plain


class Stock:
    """`keras.layers`; a test of a layer that this version of Keras doesn't have yet is skipped."""

    def __getattr__(self, name):
        if name[0].isupper() and not hasattr(keras.layers, name):
            pytest.skip(f"Keras {keras.__version__} has no {name}")
        return getattr(keras.layers, name)


stock = Stock()
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 14, 18, 3)).astype("float32")
SMOOTH = np.stack([np.add.outer(5 * np.arange(14), 7 * np.arange(18)) + 20.0 * c for c in range(3)], -1)[None]
SMOOTH = SMOOTH.astype("float32").repeat(3, axis=0)


def translated(layer, **kwargs):
    pipeline = kas.Pipeline.from_keras(layer, jit_compile=False, **kwargs)
    assert not any(isinstance(part, StockLayer) for part in pipeline.layers)
    return pipeline


# --- the same arguments, the same picture -----------------------------------------------------------------------------

# Layers whose strength is fixed, so that both libraries must do the same; those that Keras gets wrong are left out.
FIXED = {
    "rotation": lambda **k: stock.RandomRotation((0.1, 0.1), **k),
    "translation": lambda **k: stock.RandomTranslation((0.1, 0.1), (-0.2, -0.2), **k),
    "zoom out": lambda **k: stock.RandomZoom((0.2, 0.2), **k),
    "zoom in": lambda **k: stock.RandomZoom((-0.3, -0.3), (-0.1, -0.1), **k),
}


@pytest.mark.parametrize("fill_mode", ["reflect", "wrap", "nearest", "constant"])
@pytest.mark.parametrize("name", FIXED)
def test_geometry_moves_pixels_where_keras_does(name, fill_mode):
    layer = FIXED[name](fill_mode=fill_mode, fill_value=9.0)
    ours, theirs = translated(layer)(SMOOTH).numpy(), np.asarray(layer(SMOOTH, training=True))
    inner = np.s_[:, 4:-4, 5:-5]  # beyond the border the wrapping and reflecting of Keras differs by half a pixel
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=0.5)


@pytest.mark.parametrize(
    "name, arguments, tolerance",
    [
        ("RandomBrightness", [(0.2, 0.2)], 1e-3),
        ("RandomGrayscale", [1.0], 0.1),
        ("RandomInvert", [(1.0, 1.0)], 1e-3),
        ("Solarization", [], 1e-3),
        ("RandomPosterization", [(3, 3)], 1e-3),
        ("AutoContrast", [], 0.51),
        ("RandomSharpness", [(0.5, 0.5)], 0.1),
    ],
)
def test_colours_and_tones_are_keras_own(name, arguments, tolerance):
    layer = getattr(stock, name)(*arguments)
    ours, theirs = translated(layer)(IMAGES).numpy(), np.asarray(layer(IMAGES, training=True))
    np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("bins", [256, 64, 7])
def test_equalization_of_one_image_is_keras_own(bins):
    layer = stock.Equalization(bins=bins)
    ours = translated(layer)(IMAGES[:1].astype("uint8")).numpy()
    theirs = np.asarray(layer(IMAGES[:1], training=True))
    assert np.abs(ours - theirs).max() <= 1 and np.mean(ours != theirs) < 0.02  # halves, rounded either way


def test_one_number_means_what_keras_makes_of_it():
    """Ranges that Keras derives from one number are taken from its config, whatever ours would make of the number."""
    made = {
        "factor": (translated(stock.RandomInvert(0.4)), (0.0, 0.4)),
        "x_factor": (translated(stock.RandomShear(0.2, 0.1)), (0.0, 0.2)),
        "sigma": (translated(stock.RandomGaussianBlur(sigma=0.7)), (0.0, 0.7)),
        "height_factor": (translated(stock.RandomTranslation(0.1, 0.2)), (-0.1, 0.1)),
    }
    for name, (pipeline, expected) in made.items():
        assert getattr(pipeline.layers[0], name) == expected


BOTH_HAVE = {
    "RandomFlip": ["vertical"],
    "RandomTranslation": [0.1, 0.1],
    "RandomRotation": [0.1],
    "RandomZoom": [0.1],
    "RandomShear": [0.1, 0.1],
    "RandomPerspective": [0.5, 0.5],
    "RandomElasticTransform": [0.5, 0.5],
    "RandomCrop": [8, 9],
    "RandomBrightness": [0.1],
    "RandomContrast": [0.1],
    "RandomSaturation": [0.3],
    "RandomHue": [0.1],
    "RandomColorJitter": [(0, 255), 0.1, 0.1, 0.1, 0.1],
    "RandomGrayscale": [0.5],
    "RandomInvert": [0.5],
    "RandomPosterization": [4],
    "Solarization": [0.1, 0.5],
    "Equalization": [],
    "AutoContrast": [],
    "RandomGaussianBlur": [],
    "RandomSharpness": [0.5],
    "RandomErasing": [0.5],
    "RandAugment": [],
    "AugMix": [],
    "MixUp": [],
    "CutMix": [],
}


@pytest.mark.parametrize("name", BOTH_HAVE)
def test_every_layer_both_have_is_translated_with_its_arguments(name):
    layer = getattr(stock, name)(*BOTH_HAVE[name])
    (ours,) = translated(layer).layers
    assert type(ours) is getattr(layers, type(layer).__name__)
    theirs, config = layer.get_config(), ours.get_config()
    for name in set(theirs) & set(config) - {"name", "dtype", "trainable", "seed"}:
        if isinstance(theirs[name], (tuple, list)) and name not in ("x_factor", "y_factor", "factor"):
            assert tuple(config[name]) == tuple(theirs[name]), name
        elif isinstance(theirs[name], str):
            assert config[name] == theirs[name], name


# --- what is taken apart, and what stays ------------------------------------------------------------------------------


def test_sequentials_pipelines_and_lists_are_taken_apart():
    nested = keras.Sequential(
        [
            keras.Input((14, 18, 3)),
            stock.Pipeline([stock.RandomRotation(0.1), stock.RandomZoom(0.1)]),
            keras.Sequential([stock.RandomTranslation(0.1, 0.1), stock.RandomContrast(0.1)]),
        ]
    )
    plan = kas.Pipeline.from_keras([nested, layers.RandomInvert()]).plan()
    assert [part.layers for part in plan] == [
        ["RandomRotation", "RandomZoom", "RandomTranslation"],
        ["RandomContrast", "RandomInvert"],
    ]
    assert str(plan) == (
        "1. resample: RandomRotation + RandomZoom + RandomTranslation\n2. colour: RandomContrast + RandomInvert"
    )


class RandomFlip(stock.Layer):
    """A user's own layer, by chance of a name that we have."""

    def call(self, inputs, training=False):
        return inputs + (10.0 if training else 1.0)


def test_what_we_do_not_have_stays_as_it_is():
    pipeline = plain(kas.Pipeline.from_keras([stock.RandomInvert((1.0, 1.0)), RandomFlip(), stock.Rescaling(0.5)]))
    assert "Keras layer, as it is: RandomFlip" in str(pipeline.plan())
    assert [type(layer) for layer in pipeline.layers] == [layers.RandomInvert, StockLayer, StockLayer]
    np.testing.assert_allclose(pipeline(IMAGES), 0.5 * (255 - IMAGES + 10), atol=1e-3)
    np.testing.assert_allclose(pipeline(IMAGES, training=False), 0.5 * (IMAGES + 1), atol=1e-3)


@pytest.mark.parametrize("batched", [True, False])
def test_stock_layers_work_where_sizes_are_unknown(batched):
    spec = tf.TensorSpec([None, None, None, 3] if batched else [None, None, 3])
    rows = IMAGES[None] if batched else IMAGES
    pipeline = plain(kas.Pipeline.from_keras([stock.Rescaling(0.5), stock.RandomRotation((0.5, 0.5))]))
    mapped = pipeline.map(tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec), seed=1)
    result = np.concatenate([np.reshape(element, (-1, 14, 18, 3)) for element in mapped])
    np.testing.assert_allclose(result, 0.5 * IMAGES[:, ::-1, ::-1], atol=1e-3)


def test_a_stock_layer_that_changes_the_size_tells_those_behind_it():
    pipeline = plain(
        kas.Pipeline.from_keras([stock.CenterCrop(6, 8), stock.RandomTranslation((0.5, 0.5), 0.0, "wrap")])
    )
    expected = np.roll(IMAGES[:, 4:10, 5:13], 3, axis=1)
    np.testing.assert_allclose(pipeline(IMAGES), expected, atol=1e-3)


def test_settings_come_from_the_stock_layers():
    first = {"data_format": "channels_first"}
    parts = [stock.RandomRotation((0.5, 0.5), **first), stock.CenterCrop(6, 8, **first)]
    pipeline = plain(kas.Pipeline.from_keras(parts))
    assert pipeline.data_format == "channels_first"
    result = np.moveaxis(pipeline(np.moveaxis(IMAGES, -1, 1)), 1, -1)
    np.testing.assert_allclose(result, IMAGES[:, ::-1, ::-1][:, 4:10, 5:13], atol=1e-3)
    boxed = kas.Pipeline.from_keras([stock.RandomFlip(bounding_box_format="xywh"), stock.RandomInvert()])
    assert boxed.bounding_box_format == "xywh"
    assert kas.Pipeline.from_keras(parts, data_format="channels_last").data_format == "channels_last"


def test_the_range_behind_a_rescaling_is_another():
    parts = [stock.RandomInvert((1.0, 1.0)), stock.Rescaling(1 / 255), stock.RandomInvert((1.0, 1.0), (0, 1))]
    result = plain(kas.Pipeline.from_keras(parts))(IMAGES)
    np.testing.assert_allclose(result, IMAGES / 255, atol=1e-5)


def test_annotations_beside_a_stock_layer_that_may_move_pixels_are_an_error():
    inputs = {"images": IMAGES, "segmentation_masks": IMAGES[..., :1]}
    with pytest.raises(ValueError, match="CenterCrop: `inputs` must be images without annotations"):
        kas.Pipeline.from_keras([stock.CenterCrop(6, 8)])(inputs)
    assert kas.Pipeline.from_keras([stock.Rescaling(0.5)])(inputs).keys() == inputs.keys()


def test_a_pipeline_with_a_stock_layer_is_saved():
    pipeline = kas.Pipeline.from_keras([stock.Rescaling(0.5), stock.RandomInvert((1.0, 1.0), (0, 200))])
    config = keras.saving.serialize_keras_object(pipeline)
    loaded = plain(keras.saving.deserialize_keras_object(config))
    np.testing.assert_allclose(loaded(IMAGES), 200 - 0.5 * IMAGES, atol=1e-3)


@pytest.mark.parametrize("wrong", ["flip", 3, None])
def test_what_is_no_layer_is_an_error(wrong):
    with pytest.raises(TypeError, match="`stock` must be a Keras layer"):
        kas.Pipeline.from_keras(wrong)
