"""Layers inside a model: fit, mixed precision, XLA, two devices, saving and export."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(0, 255, (12, 10, 8, 3)).astype("float32")
LABELS = RANDOM.integers(0, 3, 12)


def parts():
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.2),
        layers.RandomErasing(scale=(0.05, 0.1), fill_value=0.0),
    ]


def model_with(*augmentation, shape=(10, 8, 3)):
    tail = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input(shape), *augmentation, *tail, keras.layers.Dense(3)])


def compiled(model, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], **kwargs)
    return model


def fitted(model, **kwargs):
    history = compiled(model, **kwargs).fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    return model


def test_layers_do_not_switch_xla_off():
    assert fitted(model_with(kas.Pipeline(parts())), jit_compile=True).jit_compile
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        assert not compiled(model_with(keras.layers.RandomRotation(0.1)), jit_compile=True).jit_compile


def test_all_of_training_compiles():
    bend = [layers.RandomElasticTransform(alpha=5.0, sigma=2.0), layers.RandomThinPlateSpline(0.05, points_per_side=3)]
    rest = [layers.RandomPerspective(), layers.Equalization(), layers.RandomGaussianBlur(), layers.RandomNoise(0.05)]
    fitted(model_with(kas.Pipeline([*parts(), *bend, *rest])), jit_compile=True)


def test_single_layers_train_in_a_sequential_model():
    model = fitted(model_with(*parts()), jit_compile=False)
    assert model.predict(IMAGES, verbose=0).shape == (12, 3)


def test_mixed_precision_leaves_images_exact():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = fitted(model_with(kas.Pipeline(parts(), seed=1)), jit_compile=False)
        augment = model.layers[0]
        assert augment(IMAGES, seed=(1, 2)).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    same = kas.Pipeline(parts(), seed=1)
    assert np.array_equal(augment(IMAGES, seed=(1, 2)), same(IMAGES, seed=(1, 2)))


def test_prediction_sees_the_images_as_they_are():
    model = model_with(kas.Pipeline(parts()))
    bare = keras.Sequential([keras.Input((10, 8, 3)), *model.layers[1:]])
    assert np.array_equal(model.predict(IMAGES, verbose=0), bare.predict(IMAGES, verbose=0))


@pytest.mark.parametrize(
    "cls, kwargs", [(layers.RandomCrop, {}), (layers.RandomResizedCrop, {"area_factor": (0.5, 1)})]
)
def test_a_crop_gives_its_size_at_prediction_too(cls, kwargs):
    model = fitted(model_with(kas.Pipeline([cls(6, 5, **kwargs), layers.RandomInvert(1.0)])), jit_compile=False)
    assert model.layers[0].output.shape == (None, 6, 5, 3)
    middle = model.layers[0](IMAGES, training=False)
    assert middle.shape == (12, 6, 5, 3)
    expected = cls(6, 5, **kwargs)(IMAGES, training=False)
    assert np.array_equal(middle, expected), "what isn't active at inference changes nothing there"
    model.predict(IMAGES, verbose=0)


def test_training_goes_on_from_the_seed():
    """Two models of one seed train alike; the layer draws anew with every step."""
    augment = [kas.Pipeline(parts(), seed=5) for _ in range(2)]
    batches = [[np.asarray(layer(IMAGES)) for _ in range(3)] for layer in augment]
    assert all(np.array_equal(one, other) for one, other in zip(*batches, strict=True))
    assert len({batch.tobytes() for batch in batches[0]}) == 3


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of optimizer variables, with numpy 2.4
def test_models_are_saved_and_exported(tmp_path):
    model = fitted(model_with(kas.Pipeline([layers.RandomCrop(8, 6), *parts()])), jit_compile=False)
    expected = model.predict(IMAGES, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), expected, atol=1e-5)
    loaded.fit(IMAGES, LABELS, verbose=0)
    model.export(str(tmp_path / "exported"), verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))  # named, since its variables live as long as it does
    np.testing.assert_allclose(exported.serve(tf.constant(IMAGES)), expected, atol=1e-5)


def test_nobody_says_training():
    """By itself, or among augmentation only, a layer augments; in a network it is as idle as dropout."""
    invert = layers.RandomInvert(1.0)
    assert np.array_equal(invert(IMAGES), 255 - IMAGES)
    assert np.array_equal(keras.Sequential([invert, layers.RandomCrop(10, 8)])(IMAGES), 255 - IMAGES)
    network = keras.Sequential([keras.Input((10, 8, 3)), invert, keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    assert np.array_equal(network(IMAGES), network.layers[-1](IMAGES))
    assert not np.array_equal(network(IMAGES, training=True), network.layers[-1](IMAGES))


def test_a_functional_model_takes_annotations():
    inputs = {
        "images": keras.Input((10, 8, 3), name="images"),
        "segmentation_masks": keras.Input((10, 8, 1), dtype="int32", name="segmentation_masks"),
    }
    model = keras.Model(inputs, kas.Pipeline(parts())(inputs))
    masks = (IMAGES[..., :1] > 100).astype("int32") * 40001
    outputs = model({"images": IMAGES, "segmentation_masks": masks}, training=True)
    assert outputs["segmentation_masks"].dtype == "int32"
    assert set(np.unique(outputs["segmentation_masks"])) == {0, 40001}


def test_time_distributed_frames():
    video = RANDOM.uniform(0, 255, (2, 3, 6, 5, 3)).astype("float32")
    frames = keras.layers.TimeDistributed(layers.RandomInvert(1.0))
    np.testing.assert_allclose(frames(video, training=True), 255 - video, atol=1e-3)


def test_two_devices(tmp_path):
    """In a process of its own: logical devices must be set up before TensorFlow starts."""
    script = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import keras, keras_aug_ssl as kas

        images, labels = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 3)).astype("float32"), np.arange(16) % 3
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        assert strategy.num_replicas_in_sync == 2
        with strategy.scope():
            augment = kas.Pipeline([kas.layers.RandomRotation(0.2), kas.layers.RandomColorJitter((0, 255), 0.2, 0.2)])
            model = keras.Sequential([keras.Input((8, 8, 3)), augment, keras.layers.Flatten(), keras.layers.Dense(3)])
            model.compile("sgd", "mse")
        history = model.fit(images / 255, np.eye(3)[labels], batch_size=8, epochs=2, verbose=0)
        assert np.isfinite(history.history["loss"]).all()

        def replica():
            return augment(tf.tile(images[:1], [4, 1, 1, 1]), training=True)

        one, other = strategy.experimental_local_results(strategy.run(tf.function(replica)))
        assert not np.array_equal(one, other), "replicas draw for themselves"
        print("trained on two devices")
    """
    path = tmp_path / "two_devices.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment, timeout=300)
    assert "trained on two devices" in done.stdout, done.stderr[-3000:]
