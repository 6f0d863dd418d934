"""Layers called eagerly and inside models of another backend; and the laws that don't ask for TensorFlow's graphs."""

from __future__ import annotations

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import backend, layers
from keras_aug_ssl.testing import LAYER_LAWS
from keras_aug_ssl.testing.subject import Subject
from tests.layers.cases import LAYER_CASES

ON_JAX = keras.backend.backend() == "jax"
NATIVE = type(keras.ops.zeros([1]))
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype("uint8")
# A backend has dtypes of its own: what has none there, as int64 in JAX, leaves in the nearest one.
ELSEWHERE = {"labels and masks keep their dtype", "boxes agree in every format", "threads draw for themselves"}


@functools.lru_cache(maxsize=1)
def subject(case):
    return Subject(case.make)


@pytest.mark.parametrize("case", [case for case in LAYER_CASES if not case.is_variant], ids=lambda case: case.name)
def test_laws_hold(case, monkeypatch):
    if not ON_JAX:  # the laws compare dtypes by name, which those of torch don't have
        monkeypatch.setattr(backend, "to_native", lambda outputs: outputs)
    laws = [law for name, law in LAYER_LAWS.items() if not law.graphs and name not in ELSEWHERE]
    for law in laws:
        if law.concerns(subject(case)):
            law(subject(case))


def augmentation(**kwargs):
    return kas.Pipeline([layers.RandomFlip("horizontal"), layers.RandomInvert(0.5)], seed=3, **kwargs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, keras.ops.convert_to_tensor, tf.constant], ids=["numpy", "own", "tf"])
def test_an_eager_call_returns_tensors_of_the_backend(convert, training):
    augment, labels = augmentation(), np.arange(4)
    called = augment(convert(IMAGES), training=training, seed=(1, 2))
    images, kept = augment((convert(IMAGES), labels), training=training, seed=(1, 2))
    assert {type(images), type(kept), type(called)} == {NATIVE}
    expected = augment.apply(IMAGES, augment.sample(IMAGES, (1, 2))) if training else IMAGES
    for found in (images, called):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kept), labels)
    assert keras.backend.standardize_dtype(images.dtype) == "uint8"


def test_each_call_draws_anew_and_a_crop_crops_at_inference():
    noise = layers.RandomNoise(0.5, seed=1)
    first, second = (keras.ops.convert_to_numpy(noise(IMAGES)) for _ in range(2))
    again = keras.ops.convert_to_numpy(layers.RandomNoise(0.5, seed=1)(IMAGES))
    assert (first != second).any() and (first == again).all()
    cropped = layers.RandomCrop(8, 8)(keras.ops.convert_to_tensor(IMAGES), training=False)
    assert type(cropped) is NATIVE and tuple(cropped.shape) == (4, 8, 8, 3)


def holder():
    return keras.Sequential([keras.Input((12, 12, 3)), augmentation(), keras.layers.Flatten(), keras.layers.Dense(2)])


def test_a_model_that_holds_a_layer_predicts_saves_and_loads(tmp_path):
    model = holder()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rest = keras.Sequential([keras.Input((12, 12, 3)), *model.layers[1:]])
    for found in (model, loaded):
        np.testing.assert_allclose(found.predict(IMAGES, verbose=0), rest.predict(IMAGES, verbose=0), rtol=1e-5)


@pytest.mark.skipif(not ON_JAX, reason="torch runs a model's layers one by one")
def test_what_jax_compiles_says_to_augment_the_data_instead():
    model = holder()
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match=r"(?s)Pipeline.*Pipeline.map\(dataset\)"):
        model.fit(IMAGES, np.zeros((4, 2)), verbose=0)


@pytest.mark.skipif(ON_JAX, reason="JAX compiles a model's layers")
def test_a_model_of_torch_augments_in_fit():
    class Seen(keras.layers.Layer):
        def call(self, x):
            self.last = keras.ops.convert_to_numpy(x)
            return x

    seen = Seen()
    model = keras.Sequential([keras.Input((12, 12, 3)), augmentation(), seen, keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.zeros((4, 2)), shuffle=False, verbose=0)
    assert (seen.last != IMAGES).any()
    model.predict(IMAGES, verbose=0)
    assert (seen.last == IMAGES).all()


@pytest.mark.skipif(ON_JAX, reason="JAX differentiates what it traces, which the test above sees")
def test_no_gradient_is_lost_without_a_word():
    images = keras.ops.convert_to_tensor(IMAGES.astype("float32")).requires_grad_()
    with pytest.raises(NotImplementedError, match="differentiates"):
        augmentation()(images, training=True)


def test_shapes_are_known_before_a_call():
    pipeline = kas.Pipeline([layers.RandomCrop(8, 6), layers.RandomFlip()])
    assert pipeline.compute_output_shape((None, 12, 12, 3)) == (None, 8, 6, 3)
    symbolic = pipeline(keras.KerasTensor((None, 12, 12, 3), "uint8"), training=True)
    assert symbolic.shape == (None, 8, 6, 3) and symbolic.dtype == "uint8"


def test_stock_layers_come_in_and_one_image_and_dicts_come_out():
    pipeline = kas.Pipeline.from_keras([keras.layers.RandomFlip(seed=1), keras.layers.Rescaling(1 / 255)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pipeline({"images": IMAGES[0], "labels": 1}, training=True)
    assert tuple(found["images"].shape) == (12, 12, 3) and float(keras.ops.max(found["images"])) <= 1.0
