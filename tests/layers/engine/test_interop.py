"""Stock Keras layers in a pipeline: the same arguments mean the same, and what has no counterpart stays as it is."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine.interop import StockLayer
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
def test_colors_and_tones_are_keras_own(name, arguments, tolerance):
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


def contrast_of(layer, **kwargs):
    """(lowest, highest) contrast that a translated layer draws."""
    flat = np.tile(np.array([100.0, 150.0], "float32"), (2000, 1)).reshape(2000, 1, 2, 1)
    result = np.asarray(kas.Pipeline.from_keras(layer, seed=1, jit_compile=False, **kwargs)(flat))
    spread = np.ptp(result, axis=(1, 2, 3)) / 50
    return round(float(spread.min()), 2), round(float(spread.max()), 2)


def test_contrast_is_drawn_from_the_range_that_keras_documents():
    one_number = stock.RandomContrast(0.2)
    loaded = stock.RandomContrast.from_config(one_number.get_config())
    jitter = stock.RandomColorJitter((0, 255), contrast_factor=0.2)
    for layer in (one_number, loaded, jitter, [stock.RandomContrast(factor=0.2)]):
        assert contrast_of(layer) == (0.8, 1.2)
    assert contrast_of(stock.RandomContrast((0, 0.2))) == (1.0, 1.2)
    assert contrast_of(stock.RandomContrast((0.1, 0.3))) == (0.9, 1.3)


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
        "1. resample: RandomRotation + RandomZoom + RandomTranslation\n2. color: RandomContrast + RandomInvert"
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


# --- channels, data formats and seeds ---------------------------------------------------------------------------------


def to_grey(images):
    return tf.image.rgb_to_grayscale(images)


def to_rgb(images):
    return tf.image.grayscale_to_rgb(images)


@pytest.mark.parametrize(
    "stack, images",
    [
        (lambda: [stock.Lambda(to_grey), stock.RandomContrast((0.5, 0.5)), stock.RandomErasing(1.0)], IMAGES),
        (lambda: [stock.Lambda(to_rgb), stock.RandomRotation(0.1), stock.RandomHue(0.1)], IMAGES[..., :1]),
        (lambda: [stock.Lambda(to_grey), stock.Lambda(to_rgb), stock.RandomSaturation(0.2)], IMAGES),
    ],
    ids=["fewer", "more", "fewer, then more"],
)
def test_a_stock_layer_may_change_the_number_of_channels(stack, images):
    stack = stack()
    expected = keras.Sequential(stack)(images, training=True).shape
    pipeline = plain(kas.Pipeline.from_keras(stack))
    assert pipeline(images).shape == expected
    mapped = pipeline.map(tf.data.Dataset.from_tensor_slices(images).batch(2), seed=1)
    assert sum(len(batch) for batch in mapped) == 3 and mapped.element_spec.shape[-1] == expected[-1]


def not_layers_of_ours():
    """Names of stock layers that something else of this library, such as an attack, is registered under."""
    for name in dir(keras.layers):
        ours = keras.saving.get_registered_object(f"keras_aug_ssl>{name}")
        if ours is not None and not issubclass(ours, layers.AugmentationLayer):
            yield name


def test_a_stock_layer_is_not_taken_for_what_else_has_its_name():
    assert "GaussianNoise" in not_layers_of_ours()
    for name in not_layers_of_ours():
        stock = getattr(keras.layers, name)(0.1)
        (step,) = kas.Pipeline.from_keras([stock]).layers
        assert isinstance(step, StockLayer) and step.layer is stock


def test_a_stock_layer_that_makes_no_images_is_named():
    with pytest.raises(ValueError, match="`layers` must be layers that turn images into images; received 'Flatten"):
        kas.Pipeline.from_keras([stock.Flatten(), stock.RandomFlip()])(IMAGES)


FIRST = {"data_format": "channels_first"}


def columns_first():
    """(1, 3, 6, 8): columns differ, rows and channels don't."""
    return np.tile(np.arange(8, dtype="float32"), (3, 6, 1))[None] * 10


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomBrightness", (0.0,)),
        ("RandomInvert", ((0.0, 0.0),)),
        ("Rescaling", (1.0,)),
        ("RandomPosterization", ((8, 8),)),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_layers_to_which_it_matters_say_the_data_format(name, arguments, order):
    other = getattr(stock, name)(*arguments)
    stack = [stock.RandomTranslation(0.0, (0.25, 0.25), fill_mode="constant", **FIRST), other][::order]
    images = columns_first()
    pipeline = plain(kas.Pipeline.from_keras(stack))
    assert pipeline.data_format == "channels_first"
    np.testing.assert_allclose(pipeline(images), np.asarray(keras.Sequential(stack)(images, training=True)), atol=1e-3)


def test_a_layer_that_is_not_told_sees_images_as_they_are():
    stack = [stock.RandomFlip("vertical", **FIRST), stock.Lambda(lambda images: images[:, :1])]
    pipeline = plain(kas.Pipeline.from_keras(stack))
    assert pipeline(columns_first()).shape == (1, 1, 6, 8)
    assert stack[1](columns_first()).shape == (1, 1, 6, 8)


def test_data_formats_that_differ_are_refused_unless_one_is_said():
    for make, parts in (
        (kas.Pipeline.from_keras, [stock.RandomTranslation(0.1, 0.1, **FIRST), stock.RandomRotation(0.1)]),
        (kas.Pipeline.from_keras, [stock.CenterCrop(4, 4, **FIRST), stock.RandomContrast(0.1)]),
        (kas.Pipeline, [layers.RandomFlip(**FIRST), layers.RandomRotation(0.1)]),
    ):
        with pytest.raises(ValueError, match="`data_format` must be given where layers differ"):
            make(parts)
        assert make(parts, data_format="channels_first").data_format == "channels_first"
    assert kas.Pipeline([layers.RandomFlip(**FIRST), layers.RandomBrightness(0.1)]).data_format == "channels_first"
    assert layers.RandomApply([layers.RandomFlip(**FIRST)]).data_format == "channels_first"


def makers():
    flip, turn = {"seed": 1}, {"seed": 2}
    yield lambda: kas.Pipeline.from_keras([stock.RandomFlip(**flip), stock.RandomRotation(0.1, **turn)])
    yield lambda: kas.Pipeline.from_keras(keras.Sequential([stock.RandomCrop(8, 8, **flip), stock.Equalization()]))
    yield lambda: kas.Pipeline([layers.RandomFlip(**flip), layers.AutoContrast(), layers.RandomRotation(0.1, **turn)])
    yield lambda: kas.Pipeline([kas.Pipeline([layers.RandomFlip(**flip)]), kas.Pipeline([layers.Equalization()])])
    yield lambda: layers.RandomApply([layers.RandomRotation(0.1, **turn)])
    yield lambda: kas.Pipeline([layers.RandomApply([layers.RandomRotation(0.1)], seed=3)])
    yield lambda: layers.RandomChoice([layers.RandomFlip(**flip), layers.RandomRotation(0.1, **turn)])
    yield lambda: kas.Pipeline([layers.RandAugment(**flip), layers.AugMix(**turn)])


@pytest.mark.parametrize("make", list(makers()))
def test_layers_with_seeds_repeat_themselves(make):
    first, second = plain(make()), plain(make())
    calls = [np.asarray(first(IMAGES)) for _ in range(3)]
    assert all(np.array_equal(call, second(IMAGES)) for call in calls)
    assert any(not np.array_equal(calls[0], call) for call in calls[1:])
    loaded = plain(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(first)))
    assert np.array_equal(loaded(IMAGES), calls[0])


def test_other_seeds_of_layers_and_one_of_the_pipeline_count():
    def result(*seeds, **kwargs):
        parts = [layers.RandomFlip(seed=seeds[0]), layers.RandomRotation(0.1, seed=seeds[1])]
        return np.asarray(plain(kas.Pipeline(parts, **kwargs))(IMAGES))

    assert not np.array_equal(result(1, 2), result(1, 3))
    assert not np.array_equal(result(1, 2), result(2, 1))
    assert np.array_equal(result(1, 2, seed=7), result(3, 4, seed=7))
    assert not np.array_equal(result(None, None), result(None, None))


def test_seeds_of_some_layers_only_are_said_to_count_for_nothing():
    with pytest.warns(UserWarning, match="1 of 2 layers have a seed"):
        pipeline = kas.Pipeline([layers.RandomFlip(seed=1), layers.RandomRotation(0.1)])
    assert pipeline.seed is None
    # A stock layer that was given none is no such case, though Keras stores the one it drew.
    assert kas.Pipeline.from_keras([stock.RandomCrop(8, 8), stock.RandomFlip()]).seed is None
