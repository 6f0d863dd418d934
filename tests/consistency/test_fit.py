"""Consistency training as users run it: what is selected, other tasks and inputs, precision, replicas, a restart."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.consistency.cases import strong, weak
from tests.helpers import LOGITS, clusters

X, Y, POOL, HIDDEN = clusters(labeled=4, unlabeled=40)


def network(units=3, activation=None, dropout=0.0):
    start = [keras.initializers.GlorotUniform(seed) for seed in (0, 1)]
    hidden = [keras.layers.Dense(8, "relu", kernel_initializer=start[0])]
    hidden += [keras.layers.Dropout(dropout, seed=2)] if dropout else []
    last = keras.layers.Dense(units, activation, kernel_initializer=start[1])
    return keras.Sequential([keras.Input((3,)), *hidden, last])


def stream(y=Y, epoch=None, **options):
    return kas.data.labeled_unlabeled((X, y), POOL, batch_size=6, ratio=3, steps=4, epoch=epoch, **options)


def fit(ssl, data=None, epochs=3, loss=LOGITS, oracle=None, rate=0.02, **settings):
    ssl.compile(keras.optimizers.Adam(rate), loss, **{"metrics": ["accuracy"], "jit_compile": False, **settings})
    counter = kas.data.EpochCounter()
    data = stream(epoch=counter, oracle=oracle) if data is None else data
    return ssl.fit(data, epochs=epochs, callbacks=[counter], verbose=0).history


def same(one, other, atol=0.0):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_selecting_nothing_is_supervised_training_on_the_same_stream():
    none = kas.FixMatch(network(), weak, strong, seed=3)
    none.selector = kas.consistency.Selector(lambda probabilities: tf.zeros_like(probabilities[:, 0]))
    history = fit(none)
    assert history["mask_rate"] == [0.0] * 3 and history["unlabeled_loss"] == [0.0] * 3
    without = kas.FixMatch(network(), weak, strong, unlabeled_weight=0.0, seed=3)
    fit(without)
    same(none.model, without.model)


def test_vat_of_half_precision_stays_finite():
    """Of units that are all dead the gradient is zero, and 1e-12 is zero in 16 bits."""
    layers = [keras.Input((4,), dtype="float16"), keras.layers.Dense(6, "relu"), keras.layers.Dense(3)]
    ssl = kas.VAT(keras.Sequential(layers), epsilon=0.5)
    ssl.model.layers[0].bias.assign([-100.0] * 6)
    ssl.compile(keras.optimizers.SGD(0.01), LOGITS)
    x, pool = np.ones((12, 4), "float16"), np.random.default_rng(0).normal(size=(60, 4)).astype("float16")
    history = ssl.fit(kas.data.labeled_unlabeled((x, np.arange(12) % 3), pool, 6, 2, steps=4), verbose=0).history
    assert np.isfinite(history["loss"]).all() and all(np.isfinite(each).all() for each in ssl.get_weights())


class Oracle(kas.consistency.Labeller):
    """Knows the labels."""

    def ask(self, head, answers, oracle):
        return tf.one_hot(oracle, head.num_classes)[None]


def test_selecting_all_by_an_oracle_is_training_on_all_labels():
    """With one view of all rows, the loss is the sum of the cross-entropies of both parts."""
    views = kas.consistency.Views(kas.consistency.unchanged, "same")
    ssl = kas.ConsistencyModel(network(), labeller=Oracle(0.0), views=views)
    history = fit(ssl, stream(oracle=HIDDEN))
    assert history["pseudo_accuracy"] == [1.0] * 3
    plain = network()
    plain.compile(keras.optimizers.Adam(0.02), LOGITS, jit_compile=False)

    def all_labels(known, pool, hidden):
        x, y = known
        weight = tf.concat([tf.fill(tf.shape(y), 4.0), tf.fill(tf.shape(hidden), 4.0 / 3.0)], axis=0)
        parts = [tf.cast(y, tf.int64), tf.cast(hidden, tf.int64)]
        return tf.concat([x, pool], axis=0), tf.concat(parts, axis=0), weight

    data = stream(oracle=HIDDEN).map(all_labels)
    plain.fit(data, epochs=3, verbose=0)
    same(ssl.model, plain, 1e-3)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y"),
    [
        (3, "softmax", "sparse_categorical_crossentropy", Y),
        (3, "softmax", "categorical_crossentropy", np.eye(3, dtype="float32")[Y]),
        (3, None, LOGITS, Y[:, None]),
        (1, "sigmoid", "binary_crossentropy", (Y == 0).astype("float32")[:, None]),
    ],
)
def test_labels_and_heads_of_every_form(units, activation, loss, y):
    ssl = kas.FixMatch(network(units, activation), weak, strong, threshold=0.6)
    history = fit(ssl, stream(y), epochs=8, loss=loss)
    assert history["accuracy"][-1] > 0.8 and 0 < history["mask_rate"][-1] <= 1


def test_numbers_by_mean_teacher_and_no_fixmatch():
    ssl = kas.MeanTeacher(network(1), weak, ramp_steps=4)
    history = fit(ssl, stream(X[:, :1]), epochs=6, loss="mse", metrics=None)
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ValueError, match="`selector` must be None, or a rule that reads numbers"):
        fit(kas.FixMatch(network(1), weak, strong), stream(X[:, :1]), loss="mse", metrics=None)


def test_tables_of_several_inputs():
    parts = {"a": keras.Input((2,), name="a"), "b": keras.Input((1,), name="b")}
    model = keras.Model(parts, keras.layers.Dense(3)(keras.layers.Concatenate()([parts["a"], parts["b"]])))

    def noisy(x, seed):
        return {name: weak(value, seed) for name, value in x.items()}

    def of(x):
        return {"a": x[:, :2], "b": x[:, 2:]}

    data = kas.data.labeled_unlabeled((of(X), Y), of(POOL), batch_size=6, ratio=2, steps=4)
    ssl = kas.FreeMatch(model, noisy, noisy, momentum=0.9)
    history = fit(ssl, data, epochs=20)
    assert history["accuracy"][-1] > 0.8 and "threshold_2" in history
    assert model.predict(of(X), verbose=0).shape == (12, 3)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ssl = kas.FixMatch(network(), weak, strong, threshold=0.6)
        history = fit(ssl, epochs=8)
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["accuracy"][-1] > 0.8 and np.isfinite(history["loss"]).all()


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_each_pass_of_a_step_drops_units_of_its_own():
    """Shown the same rows twice, the network answers differently only by its dropout."""
    for recipe in (kas.PiModel, kas.MeanTeacher):
        ssl = recipe(network(dropout=0.5), kas.consistency.unchanged, ramp_steps=4, joint=False)
        assert min(fit(ssl, epochs=2, rate=0.0)["unlabeled_loss"]) > 1e-4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2 saves so
def test_a_saved_wrapper_is_loaded_and_goes_on(tmp_path):
    ssl = kas.FreeMatch(network(dropout=0.2), weak, strong, momentum=0.9)
    fit(ssl)
    keras.saving.save_model(ssl, tmp_path / "method.keras")
    loaded = keras.saving.load_model(tmp_path / "method.keras")
    assert isinstance(loaded, kas.ConsistencyModel) and loaded.steps_made == ssl.steps_made == 12
    for model in (ssl, loaded):
        counter = kas.data.EpochCounter()
        model.fit(stream(epoch=counter), epochs=4, initial_epoch=3, callbacks=[counter], verbose=0)
    same(ssl.model, loaded.model)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2 saves so
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_backup_and_restore_goes_on_to_the_same_bits(tmp_path, dropout):
    def run(callbacks):
        ssl, counter = kas.FreeMatch(network(dropout=dropout), weak, strong, momentum=0.9), kas.data.EpochCounter()
        ssl.compile(keras.optimizers.Adam(0.02), LOGITS, jit_compile=False)
        ssl.fit(stream(epoch=counter), epochs=4, callbacks=[counter, *callbacks], verbose=0)
        return ssl

    whole = run([])
    with pytest.raises(KeyboardInterrupt):
        run([keras.callbacks.BackupAndRestore(tmp_path), Stop()])
    resumed = run([keras.callbacks.BackupAndRestore(tmp_path)])
    same(whole.model, resumed.model)
    np.testing.assert_array_equal(whole.thresholds(), resumed.thresholds())


TWO_DEVICES = """
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import keras_aug_ssl as kas
from tests.consistency.test_fit import HIDDEN, fit, network
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    ssl = kas.FreeMatch(network(), lambda x: x, lambda x: 1.1 * x, momentum=0.9)
    history = fit(ssl, oracle=HIDDEN)
weights = [weight.tolist() for weight in ssl.model.get_weights()]
print(json.dumps([history["mask_rate"], history["pseudo_accuracy"], history["accuracy"], weights]))
"""


def test_two_replicas_learn_as_one():
    run = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    rate, right, accuracy, weights = json.loads(run.stdout.splitlines()[-1])
    single = kas.FreeMatch(network(), lambda x: x, lambda x: 1.1 * x, momentum=0.9)
    history = fit(single, oracle=HIDDEN)
    for a, b in zip(weights, single.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    if np.allclose(history["accuracy"], accuracy, atol=1e-6):  # Keras 3.8 loses a part of its own metrics on replicas
        np.testing.assert_allclose(history["pseudo_accuracy"], right, atol=1e-6)
        np.testing.assert_allclose(history["mask_rate"], rate, atol=1e-6)
    else:
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15)


def test_numbers_are_compared_with_an_oracle_by_how_far_they_are():
    x = np.linspace(-1, 1, 40, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    ssl = kas.PiModel(model, weak=kas.consistency.unchanged)
    ssl.compile(keras.optimizers.SGD(0.0), "mse")
    batches = kas.data.labeled_unlabeled((x, x[:, 0]), x, batch_size=10, ratio=2, oracle=np.full(40, 7.0, "float32"))
    history = ssl.fit(batches, verbose=0).history
    assert history["pseudo_mean_absolute_error"] == [7.0] and "pseudo_accuracy" not in history
