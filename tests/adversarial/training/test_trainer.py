"""Adversarial training inside `fit`: every method, what it leaves as it was, and what it learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.methods import METHODS, Free, Mart, Trades
from tests.helpers import LOGITS


def network(normalised=False, seed=0):
    start = keras.initializers.GlorotUniform(seed=seed)
    middle = [keras.layers.BatchNormalization()] if normalised else []
    layers = [keras.layers.Dense(6, "relu", kernel_initializer=start), *middle]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, kernel_initializer=start)])


def data(count=32):
    draw = np.random.default_rng(0)
    y = np.arange(count) % 2
    return np.clip(0.5 + 0.15 * (2 * y - 1)[:, None] + 0.1 * draw.normal(size=(count, 4)), 0, 1).astype("float32"), y


def robust(model, method="standard", epsilon=0.05, graphs=False, optimizer="sgd", **compile):
    """A compiled trainer. Graphs take longer to trace than a few small batches to train."""
    trainer = kas.AdversarialTraining(model, kas.PGD(epsilon, steps=2), method)
    settings = {"metrics": ["accuracy"], "run_eagerly": not graphs, "jit_compile": False, **compile}
    trainer.compile(optimizer, LOGITS, **settings)
    return trainer


def same_weights(one, other, **tolerance):
    return all(np.allclose(a, b, **tolerance) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_like_a_keras_model(method):
    """Validation data, callbacks, sample weights and BatchNormalization."""
    x, y = data()
    model = network(normalised=True)
    before = model.get_weights()
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))
    settings = {"sample_weight": np.ones(len(x)), "validation_data": (x, y), "callbacks": [note]}
    history = robust(model, method).fit(x, y, batch_size=16, epochs=1, verbose=0, **settings)
    assert seen == [["accuracy", "loss", "val_accuracy", "val_loss"]] == [sorted(history.history)]
    assert np.isfinite(list(history.history.values())).all()
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed[:2]) and all(changed[4:6])  # kernels, and the moving statistics
    assert (model.layers[1].moving_variance.numpy() > 0.0).all()


@pytest.mark.parametrize("method", ["standard", "fast", Free(1)], ids=["standard", "fast", "free"])
def test_without_a_budget_training_is_plain(method):
    """With epsilon 0 weights and BatchNormalization statistics are those of `fit`: the attack itself moves nothing."""
    x, y = data()
    plain, wrapped = network(normalised=True), network(normalised=True)
    plain.compile("sgd", LOGITS, run_eagerly=True)
    for model in (plain, robust(wrapped, method, epsilon=0.0)):
        model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    assert same_weights(plain, wrapped, atol=1e-6)


def test_graph_and_eager_train_alike():
    x, y = data()
    first, second = network(), network()
    for model, graphs in ((first, True), (second, False)):
        robust(model, "trades", graphs=graphs).fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    assert same_weights(first, second, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_weightless_examples_teach_nothing(method):
    x, y = data(16)
    first, second = network(), network()
    weight = (np.arange(16) < 8).astype("float32")
    changed = np.where(weight[:, None] > 0, x, 1.0 - x)
    for model, inputs in ((first, x), (second, changed)):
        robust(model, method).fit(inputs, y, batch_size=16, sample_weight=weight, shuffle=False, verbose=0)
    assert same_weights(first, second, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
def test_it_is_saved_and_loaded_as_the_wrapped_model(tmp_path):
    x, y = data(16)
    model = network(normalised=True)
    trainer = robust(model)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    trainer.fit(x, y, batch_size=16, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert type(loaded) is keras.Sequential and loaded.loss is not None
    assert np.array_equal(loaded.predict(x, verbose=0), trainer.predict(x, verbose=0))
    trainer.save_weights(tmp_path / "w.weights.h5")
    other = network(normalised=True, seed=1)
    other.load_weights(tmp_path / "w.weights.h5")
    assert same_weights(other, model)
    assert trainer.evaluate(x, y, verbose=0) == pytest.approx(loaded.evaluate(x, y, verbose=0))


def test_its_config_makes_an_equal_one():
    trainer = robust(network(), Trades(beta=2.0))
    other = kas.AdversarialTraining.from_config(trainer.get_config())
    assert other.attack.get_config() == trainer.attack.get_config()
    assert type(other.method) is Trades and other.method.beta == 2.0
    assert other.model.get_config() == trainer.model.get_config()


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset"])
def test_data_sets(kind):
    x, y = data()

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[16 * index : 16 * index + 16], y[16 * index : 16 * index + 16]

    by_array, by_set = network(), network()
    robust(by_array).fit(x, y, batch_size=16, shuffle=False, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16) if kind == "tf.data" else Sequence()
    robust(by_set).fit(batches, verbose=0, shuffle=False)
    assert same_weights(by_array, by_set, atol=1e-6)


def test_it_unlearns_what_an_attack_can_turn():
    """A value that always tells the class, but by less than epsilon, gives way to one that tells it by more, mostly."""
    side = np.tile([-1, 1], 200)
    strong = np.where(np.arange(400) < 40, -side, side)
    x, y = np.stack([0.5 + 0.15 * side, 0.5 + 0.4 * strong], axis=1).astype("float32"), (side + 1) // 2
    robust_accuracy = []
    for epsilon in (0.0, 0.3):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="zeros")])
        trainer = kas.AdversarialTraining(model, kas.FGSM(epsilon))
        trainer.compile(keras.optimizers.Adam(0.5), LOGITS, jit_compile=False)
        trainer.fit(x, y, batch_size=400, epochs=60, verbose=0)
        robust_accuracy.append(kas.FGSM(0.3)(model, x, y).robust_accuracy)  # exact, since the model is linear
    assert robust_accuracy[0] < 0.2 and robust_accuracy[1] == pytest.approx(0.9)


def test_inputs_outside_the_bounds_stop_training():
    x, y = data(16)
    with pytest.raises(ValueError, match=r"AdversarialTraining: `x` must be inside bounds \(0, 1\)"):
        robust(network()).fit(x + 1.0, y, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="inputs must lie inside"):
        robust(network()).fit(tf.data.Dataset.from_tensor_slices((x + 1.0, y)).batch(16), verbose=0)


@pytest.mark.parametrize("method", ["trades", Mart()], ids=["trades", "mart"])
def test_methods_that_compare_predictions_need_classes(method):
    x, y = data(16)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    trainer = kas.AdversarialTraining(model, kas.PGD(0.1, steps=1), method)
    trainer.compile("sgd", "mean_squared_error", run_eagerly=True)
    with pytest.raises(ValueError, match="`method`|`loss`"):
        trainer.fit(x, y.astype("float32"), verbose=0)


def test_a_named_input_is_attacked_in_training():
    x, y = data(16)
    parts = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    model = keras.Model(parts, keras.layers.Dense(2)(keras.layers.Concatenate()(list(parts.values()))))
    trainer = kas.AdversarialTraining(model, kas.PGD(0.1, steps=1), input_name="a")
    trainer.compile("sgd", LOGITS, run_eagerly=True)
    history = trainer.fit({"a": x, "b": 9.0 * x}, y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
