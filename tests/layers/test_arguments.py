"""Every form of an argument that a stock layer takes is taken with its meaning, or refused by name."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import layers

# What the layers need to be made at all.
REQUIRED = {
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
    "RandomCrop": {"height": 4, "width": 4},
    "RandomRotation": {"factor": 0.1},
    "RandomPosterization": {"factor": 4},
    **{f"Random{kind}": {"factor": 0.1} for kind in ("Brightness", "Contrast", "Saturation", "Hue", "Sharpness")},
}
NUMBERS = [0.2, -0.2, 0, 1, 1.0, True, np.float32(0.2), np.float64(0.2), 1.5, 2, 8, 4.0, None, "0.2", {"a": 1}]
PAIRS = [(0.1, 0.3), [0.1, 0.3], (0.3, 0.1), (-0.3, -0.1), (-0.1, -0.3), (-0.1, 0.3), (0, 0), (0.2, 0.2), (0.5, 1.5)]
PAIRS += [(-1.5, 0.5), (0.1,), (2, 4), (4, 2), (1, 8), np.array([0.1, 0.3])]
FORMS = {
    "seed": [None, 3, np.int64(3), 2**40],
    "data_format": [None, "channels_last", "channels_first"],
    "bounding_box_format": [None, "xyxy", "rel_center_xywh"],
    "name": ["mine"],
    "dtype": ["float32", "mixed_float16"],
    "value_range": [(0, 1), [0, 1], (1, 0), (255, 0), np.array([0, 1]), None, (0.5, 0.5), 1.0],
    "interpolation": ["nearest", "bilinear"],
    "fill_mode": ["reflect", "wrap", "constant", "nearest"],
    "fill_value": [0, 1.5, np.float32(2), -1, None, (1, 2, 3), [1, 2, 3]],
    "mode": ["horizontal", "vertical", "horizontal_and_vertical"],
    "kernel_size": [3, (3, 5), [5, 3], 3.0, np.int64(5)],
    "bins": [256, 7],
    "height": [4, 4.0, np.int64(4)],
    "width": [4],
    "alpha": [0.2, 1, np.float32(0.3)],
    "all_ops": [True, False],
    **dict.fromkeys(("num_ops", "num_chains", "chain_depth"), [1, 2]),
}
SHARED = [name for name in kas.layers.__all__ if hasattr(keras.layers, name) and name != "Pipeline"]


def arguments(cls):
    return [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "kwargs")]


def accepted(make):
    """Whether Keras takes these arguments, also to work with."""
    try:
        layer = make()
        channels_last = layer.data_format == "channels_last"
        layer(np.ones((2, 6, 6, 3) if channels_last else (2, 3, 6, 6), "float32"), training=True)
    except Exception:  # Keras raises what comes
        return None
    return layer


@pytest.mark.parametrize("name", SHARED)
def test_arguments_stand_in_the_same_order_with_the_same_defaults(name):
    stock, ours = (inspect.signature(getattr(where, name).__init__).parameters for where in (keras.layers, layers))
    shared = [argument for argument in stock if argument not in ("self", "kwargs")]
    assert [argument for argument in ours if argument != "self"][: len(shared)] == shared
    assert {key: ours[key].default for key in shared} == {key: stock[key].default for key in shared}


@pytest.mark.parametrize("name", SHARED)
def test_every_form_is_taken_or_refused_by_name(name):
    stock, ours, required = getattr(keras.layers, name), getattr(layers, name), REQUIRED.get(name, {})
    for argument in {*arguments(stock), "bounding_box_format", "dtype", "data_format"}:
        for value in FORMS.get(argument, [*NUMBERS, *PAIRS]):
            given = {**required, argument: value}
            if accepted(lambda given=given: stock(**given)) is None:
                continue
            try:
                ours(**given)
            except (ValueError, TypeError) as error:
                said = str(error)
                assert f"`{argument}` must be" in said and said.count(".") >= 1, (given, said)


# (layer, arguments): forms that Keras makes a range of, and where it is kept; what ours draws from must be the same.
RANGES = [
    ("RandomRotation", "factor", -0.2, (-0.2, 0.2)),
    ("RandomRotation", "factor", (0.3, -0.1), (-0.1, 0.3)),
    ("RandomTranslation", "height_factor", (-0.2, -0.3), (-0.3, -0.2)),
    ("RandomTranslation", "width_factor", -0.3, (-0.3, 0.3)),
    ("RandomZoom", "height_factor", (-0.05, -0.15), (-0.15, -0.05)),
    ("RandomZoom", "width_factor", -0.2, (-0.2, 0.2)),
    ("RandomShear", "x_factor", (0.3, 0.1), (0.1, 0.3)),
    ("RandomBrightness", "factor", -0.2, (-0.2, 0.2)),
    ("RandomBrightness", "factor", [0.2, -0.1], (-0.1, 0.2)),
    ("RandomSaturation", "factor", (0.8, 0.4), (0.4, 0.8)),
    ("RandomHue", "factor", 0.3, (0.0, 0.3)),
    ("RandomSharpness", "factor", (0.9, 0.1), (0.1, 0.9)),
    ("RandomInvert", "factor", (0.9, 0.1), (0.1, 0.9)),
    ("RandomPosterization", "factor", (6, 2), (2, 6)),
    ("RandomErasing", "scale", 0.5, (0.0, 0.5)),
    ("RandomErasing", "scale", (0.5, 0.1), (0.1, 0.5)),
    ("RandomErasing", "value_range", (255, 0), (0.0, 255.0)),
    ("RandomElasticTransform", "scale", (0.5, 0.1), (0.1, 0.5)),
    ("RandomGaussianBlur", "sigma", (0.5, 0.1), (0.1, 0.5)),
    ("Solarization", "threshold_factor", (0.5, 0.1), (0.1, 0.5)),
    ("RandomColorJitter", "hue_factor", (0.5, 0.1), (0.1, 0.5)),
    ("RandAugment", "factor", (0.5, 0.1), (0.1, 0.5)),
    ("AugMix", "factor", (0.5, 0.1), (0.1, 0.5)),
    ("CutMix", "factor", (0.5, 0.1), (0.1, 0.5)),
    ("AutoContrast", "value_range", (1, 0), (0.0, 1.0)),
]


@pytest.mark.parametrize("name, argument, value, expected", RANGES)
@pytest.mark.parametrize("way", ["import swapped", "from_keras"])
def test_negative_and_reversed_forms_mean_what_keras_makes_of_them(name, argument, value, expected, way):
    given = {**REQUIRED.get(name, {}), argument: value}
    if way == "from_keras":
        if not hasattr(keras.layers, name):
            pytest.skip(f"this Keras has no {name}")
        (made,) = kas.Pipeline.from_keras(getattr(keras.layers, name)(**given)).layers
    else:
        made = getattr(layers, name)(**given)
    assert made.get_config()[argument] == pytest.approx(expected)


def test_one_number_beyond_the_limits_is_not_cut_off_in_silence():
    for make in (layers.RandomBrightness, layers.RandomRotation, lambda f: layers.RandomTranslation(f, 0.1)):
        with pytest.raises(ValueError, match="factor` must be"):
            make(1.1)
    assert layers.RandomZoom(1.5).height_factor == (-0.99, 1.5)


def test_erasing_paints_one_value_a_channel():
    erase = layers.RandomErasing(scale=(1.0, 1.0), aspect_ratio=(1, 1), fill_value=[1, 2, 3])
    for data_format, shape in (("channels_last", (2, 4, 4, 3)), ("channels_first", (2, 3, 4, 4))):
        layer = layers.RandomErasing.from_config({**erase.get_config(), "data_format": data_format})
        result = np.asarray(layer(np.zeros(shape, "uint8")))
        result = result if data_format == "channels_last" else np.moveaxis(result, 1, -1)
        assert np.array_equal(result, np.broadcast_to([1, 2, 3], (2, 4, 4, 3)))
    with pytest.raises(ValueError, match="`fill_value` must be one number, or one for each of 1 channels"):
        erase(np.zeros((2, 4, 4, 1), "uint8"))


def test_no_operations_are_the_identity():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype="uint8")
    assert np.array_equal(layers.RandAugment(num_ops=0, factor=1.0)(images), images)
