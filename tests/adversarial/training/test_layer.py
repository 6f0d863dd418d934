"""Adversarial examples from a pipeline: the layers' laws, the attack's, and training on them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.testing import LAYER_LAWS
from tests.helpers import LOGITS, equal_weights


def network(size=(None, None), seed=0, channels=3):
    start = [keras.initializers.GlorotUniform(seed + number) for number in range(2)]
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, kernel_initializer=start[0]),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, kernel_initializer=start[1]),
    ]
    return keras.Sequential([keras.Input((*size, channels)), *layers])


def images(count=6, dtype="uint8"):
    return np.random.default_rng(0).integers(30, 220, (count, 8, 8, 3)).astype(dtype), np.arange(count) % 4


@pytest.fixture(scope="module")
def misled():
    return network()


# Images and labels go together here, so images alone are changed otherwise; a model takes images of one layout; an
# attack is traced for its model, which isn't XLA's; and boxes, which it leaves alone, are the engine's.
NOT_ITS_OWN = (
    "structures are kept",
    "channels first = channels last",
    "an equal layer compiles nothing anew",
    "boxes agree in every format",
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
@pytest.mark.parametrize("law", [law for law in LAYER_LAWS if law not in NOT_ITS_OWN])
def test_laws_of_layers(law, misled):
    kas.testing.check_layer(lambda: kas.AdversarialNoise(misled, kas.FGSM(8, bounds=(0, 255))), only=[law])


@pytest.mark.parametrize("labels", ["numbers", "one-hot", "none"])
@pytest.mark.parametrize("as_dict", [False, True])
def test_it_is_what_the_attack_makes(labels, as_dict):
    """Away from the label, or from the model's own answer, within epsilon; and labels come through."""
    x, y = images(dtype="float32")
    model, attack = network(), kas.FGSM(8.0, bounds=(0, 255))
    given = {"numbers": y, "one-hot": np.eye(4, dtype="float32")[y], "none": None}[labels]
    layer = kas.AdversarialNoise(model, attack)
    if given is None:
        found = layer(x, training=True, seed=(1, 2))
    else:
        out = layer({"images": x, "labels": given} if as_dict else (x, given), training=True, seed=(1, 2))
        found, kept = (out["images"], out["labels"]) if as_dict else out
        assert np.array_equal(kept, given)
    far = np.abs(found - attack(model, x, None if given is None else y).x_adv) > 1e-3
    assert far.mean() < 0.01  # where the gradient is all but zero, rounding decides its sign


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_model_of_volumes_is_misled_by_whole_volumes(data_format):
    first = data_format == "channels_first"
    shape = (1, 3, 4, 5) if first else (3, 4, 5, 1)
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4)])
    x, y = np.random.default_rng(0).uniform(50, 200, (6, *shape)).astype("float32"), np.arange(6) % 4
    layer = kas.AdversarialNoise(model, kas.FGSM(8.0, bounds=(0, 255)), data_format=data_format)
    found, _ = layer((x, y), training=True, seed=(1, 2))
    assert np.allclose(found, kas.FGSM(8.0, bounds=(0, 255))(model, x, y).x_adv, atol=1e-3)


def test_the_rate_is_the_share_of_changed_images():
    x, y = images(200)
    layer = kas.AdversarialNoise(network(), kas.FGSM(8, bounds=(0, 255)), rate=0.3)
    found, _ = layer((x, y), training=True, seed=(1, 2))
    changed = (np.asarray(found) != x).reshape(200, -1).any(1)
    assert 0.2 < changed.mean() < 0.4
    assert np.abs(np.asarray(found).astype(int) - x).max() == 8


def test_draws_are_keyed():
    x, y = images(dtype="float32")
    layer = kas.AdversarialNoise(network(), kas.PGD(8, steps=1, bounds=(0, 255)))
    one, same, other = (np.asarray(layer((x, y), training=True, seed=(1, key))[0]) for key in (2, 2, 3))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_pipeline_of_clean_and_attacked_images_trains():
    """AdvProp in a few lines: the attack sees the weights of the model in training."""
    x, y = images(12, "float32")
    model = network()
    model.compile(keras.optimizers.SGD(0.1), LOGITS)
    noise = kas.AdversarialNoise(model, kas.FGSM(8, bounds=(0, 255)), rate=0.5)
    augment = kas.Pipeline([kas.layers.RandomFlip("horizontal"), noise], seed=3)
    before = np.asarray(noise((x, y), training=True, seed=(1, 2))[0])
    data = augment.map(tf.data.Dataset.from_tensor_slices((x, y)).batch(6))
    assert np.isfinite(model.fit(data, epochs=3, verbose=0).history["loss"]).all()
    assert "attack" in str(augment.plan())
    model.set_weights([-weight for weight in model.get_weights()])
    assert not np.array_equal(before, noise((x, y), training=True, seed=(1, 2))[0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
def test_it_keeps_its_model_when_saved(tmp_path):
    """As a part of a model it adds nothing to train, and comes back with the model it misled."""
    x, _ = images(dtype="float32")
    victim = network(seed=5)
    layer = kas.AdversarialNoise(victim, kas.FGSM(8, bounds=(0, 255)))
    victim.set_weights([weight + 0.1 for weight in victim.get_weights()])
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)])
    assert len(model.trainable_weights) == 2
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert equal_weights(loaded.model, victim)
    assert np.allclose(loaded(x, training=True, seed=(1, 2)), layer(x, training=True, seed=(1, 2)), atol=1e-3)


def test_errors_say_what_to_do():
    model = network()
    for error, arguments, message in (
        (TypeError, {"model": 3}, "`model` must be a keras.Model"),
        (TypeError, {"attack": "fgsm"}, "`attack` must be an attack"),
        (ValueError, {"attack": kas.DDN()}, "`attack` must be untargeted and with a fixed epsilon"),
        (ValueError, {"attack": kas.FGSM(0.1, bounds=(np.zeros(3), np.ones(3)))}, "bounds are two numbers"),
        (ValueError, {"rate": 2.0}, "`rate`"),
    ):
        with pytest.raises(error, match=message):
            kas.AdversarialNoise(**{"model": model, "attack": kas.FGSM(0.1), **arguments})
