"""The benchmark scripts of the augmentation engine work, on inputs small enough for a test."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.testing.laws import op_by_op

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
QUICK_LAWS = [
    "mixed_masks",
    "mixed_numbers",
    "mixed_boxes",
    "other_inputs",
    "counted_pixels",
    "erased_mask",
    "flips",
    "crops",
    "saturation_range",
    "contrast_lower",
    "contrast_at_inference",
    "flat_borders",
    "compiled_models",
]


@pytest.fixture
def script(monkeypatch):
    """Imports a script as when it is run: the modules beside it are found by their bare names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_conformance_is_about_every_public_layer(script):
    public = {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    assert set(script("_stock").LAYERS) == public - {"AugmentationLayer", "MixingLayer", "Spec"} | {"Pipeline"}


@pytest.mark.parametrize("name", QUICK_LAWS)
def test_our_layers_keep_a_special_law_and_stock_layers_can_be_asked(script, name):
    (law,) = (law for law in script("conformance").SPECIAL_LAWS if law.__name__ == name)
    assert law.__doc__
    kept, figure = law(kas.layers)
    assert kept is True, figure
    if not hasattr(keras.layers, "CutMix"):
        pytest.skip("this Keras has not all the layers to be asked")
    kept, figure = law(keras.layers)
    assert isinstance(kept, bool) and figure


def test_a_special_law_is_broken_by_who_raises(script):
    def law(make):
        raise KeyError("masks")

    assert script("conformance").special_verdict(law, None) == (False, "raises KeyError")


def test_verdicts_tell_what_is_kept_broken_and_not_asked(script, monkeypatch):
    conformance = script("conformance")
    some = {name: kas.testing.LAYER_LAWS[name] for name in ("same key, same output", "sample, then apply")}
    broken = SimpleNamespace(concerns=lambda subject: True)
    monkeypatch.setattr(conformance, "LAYER_LAWS", {**some, "broken": broken})  # not callable: raises a TypeError
    ours, stock = script("_stock").subjects("RandomBrightness")
    held = {"same key, same output": None, "broken": "raises TypeError"}
    assert conformance.verdicts(stock) == held
    assert conformance.verdicts(ours) == {**held, "sample, then apply": None}


def test_tables_count_what_is_kept(script, capsys):
    conformance = script("conformance")
    results = {
        "RandomFlip": ({"dtypes are kept": None}, {"dtypes are kept": "uint8 becomes float32"}),
        "RandomNoise": ({"dtypes are kept": None}, {}),
    }
    assert conformance.by_layer(results).lines[-3:] == [
        "| RandomFlip | 1 of 1 | 0 of 1 |  | dtypes are kept |",
        "| RandomNoise | 1 of 1 | – |  |  |",
        "| all | 2 of 2 | 0 of 1 |  |  |",
    ]
    line = "| dtypes are kept | 2 of 2 | 0 of 1 | RandomFlip: uint8 becomes float32 |"
    assert line in conformance.by_law(results).lines
    assert line in capsys.readouterr().out


def test_a_stock_subject_is_a_function_of_its_key(script):
    ours, stock = script("_stock").subjects("RandomBrightness")
    images = stock.images()
    first, again, other = (np.asarray(stock.augment(seed=key)(images)) for key in ((7, 3), (7, 3), (7, 4)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert stock.plain(data_format="channels_first").data_format == "channels_first"
    with pytest.raises(NotImplementedError, match="no_such_thing"):
        stock.plain(no_such_thing=1)
    assert script("_stock").subjects("RandomThinPlateSpline")[1] is None


def test_one_pass_is_nearest_to_the_reference_and_both_libraries_move_alike(script):
    detail = script("detail")
    images = detail.edges(None).astype("float32")[:, ::2, ::2, :1]
    found = detail.compare(images, [[0.03, -0.07, 0.05, 0.04, -0.06]])
    one_pass, ours, stock = (found[name][0] for name in detail.CONTENDERS)
    assert one_pass[0] > ours[0] + 1.0 and one_pass[2] > ours[2]
    np.testing.assert_allclose(ours, stock, rtol=1e-3)


def test_the_reference_of_no_movement_is_the_image(script):
    detail = script("detail")
    images = detail.noise(None).astype("float32")[:1, :24, :24]
    with op_by_op():
        np.testing.assert_allclose(detail.reference([0.0] * 5, images), images, atol=1e-2)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("  1f:\tvmulps %ymm1,%ymm2,%ymm3", "on 8"),
        ("  1f:\tvfmadd231ps (%rax),%zmm2,%zmm3", "on 16"),
        ("  1f:\tvaddps %xmm1,%xmm2,%xmm3", "on 4"),
        ("  1f:\tvmulss %xmm1,%xmm2,%xmm3", "on one number"),
        ("  1f:\tvgatherdps %ymm1,(%rax,%ymm2,4),%ymm3", "gathers"),
        ("  1f:\tvmovups %ymm1,(%rax)", None),
        ("Disassembly of section .text:", None),
    ],
)
def test_a_profile_counts_floating_point_instructions_by_width(script, line, expected):
    assert script("layer_profile")._kind(line) == expected
