"""Accuracy under attack as a value of the epoch, and the alarm of catastrophic overfitting."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.robust_accuracy import robust_accuracy
from tests.helpers import LOGITS, equal_weights


def network():
    start = keras.initializers.GlorotUniform(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=start)])


def data(count=12):
    return np.random.default_rng(0).uniform(0.2, 0.8, (count, 4)).astype("float32"), np.arange(count) % 3


def compiled(model, wrapped):
    trainer = kas.AdversarialTraining(model, kas.RandomFGSM(0.1), "fast") if wrapped else model
    trainer.compile("sgd", LOGITS, run_eagerly=True)
    return trainer


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("as_set", [False, True])
def test_the_value_is_that_of_the_attack(wrapped, as_set):
    """Of a plain model and of the wrapped one, by arrays and data sets; History has it in every epoch."""
    x, y = data()
    model, attack = network(), kas.PGD(0.1, steps=5)
    trainer = compiled(model, wrapped)
    watch = kas.RobustAccuracy(attack, tf.data.Dataset.from_tensor_slices((x, y)).batch(5) if as_set else (x, y))
    history = trainer.fit(x, y, batch_size=6, epochs=2, verbose=0, callbacks=[watch]).history
    assert history["robust_accuracy"][-1] == pytest.approx(attack(model, x, y).robust_accuracy)
    assert len(history["robust_accuracy"]) == 2


def test_a_consistency_model_is_measured_by_what_it_wraps():
    x, y = data()
    ssl = kas.PseudoLabel(network(), weak=kas.consistency.unchanged)
    ssl.compile("sgd", LOGITS, run_eagerly=True)
    watch = kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y))
    stream = kas.data.labeled_unlabeled((x, y), x, batch_size=4, ratio=1)
    assert 0.0 <= ssl.fit(stream, verbose=0, callbacks=[watch]).history["robust_accuracy"][0] <= 1.0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
def test_callbacks_behind_it_can_monitor_it(tmp_path):
    x, y = data()
    watch = kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y), name="pgd")
    save = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="pgd", mode="max", save_best_only=True)
    stop = keras.callbacks.EarlyStopping("pgd", mode="max", patience=0, min_delta=1.0)
    history = compiled(network(), True).fit(x, y, epochs=9, verbose=0, callbacks=[watch, save, stop]).history
    assert len(history["pgd"]) == 2 and (tmp_path / "best.keras").exists()


def test_it_measures_seldom_and_few(monkeypatch):
    x, y = data()
    watch = kas.RobustAccuracy(
        kas.PGD(0.1, steps=2), tf.data.Dataset.from_tensor_slices((x, y)).batch(4), 2, batch_limit=1
    )
    measured = []
    values = iter([0.9, 0.8])
    monkeypatch.setattr(watch, "_measure", lambda attack: measured.append(attack) or next(values))
    history = compiled(network(), False).fit(x, y, epochs=4, verbose=0, callbacks=[watch]).history
    assert history["robust_accuracy"] == [0.9, 0.9, 0.8, 0.8] and measured == 2 * [watch.attack]
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    model, attack = compiled(network(), False), kas.PGD(0.1, steps=2)
    few = robust_accuracy(model, attack, batches, batch_limit=1)
    assert few == pytest.approx(attack(model, x[:4], y[:4]).robust_accuracy)


COLLAPSE = {
    "from one epoch to the next": [(0.30, 0.40), (0.50, 0.60), (0.05, 0.90)],
    "while FGSM stays": [(0.50, 0.60), (0.20, 0.58)],
    "in the first epoch": [(0.10, 0.80)],
    "from the first epoch": [(0.02, 0.35), (0.04, 0.40)],
}
HEALTHY = {
    "rising": [(0.02, 0.10), (0.20, 0.35), (0.50, 0.60)],
    "falling together": [(0.50, 0.60), (0.10, 0.20), (0.40, 0.50)],
    "one look": [(0.02, 0.35), (0.20, 0.40), (0.30, 0.50)],
    "hardly learned": [(0.13, 0.10), (0.03, 0.10), (0.00, 0.06)],
    "noise": [(0.50, 0.60), (0.40, 0.62), (0.45, 0.60)],
}


def followed(values, action, monkeypatch, wrapped=True):
    """A training whose accuracies under the attack and under FGSM are given."""
    x, y = data()
    watch = kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y), on_overfitting=action)
    told = iter(values)
    pair = []

    def measure(attack):
        if attack is watch.attack:
            pair[:] = next(told)
        return pair[0] if attack is watch.attack else pair[1]

    monkeypatch.setattr(watch, "_measure", measure)
    trainer, weights = compiled(network(), wrapped), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(trainer.get_weights()))
    history = trainer.fit(x, y, batch_size=6, epochs=len(values), verbose=0, callbacks=[note, watch]).history
    return watch, trainer, weights, history["robust_accuracy"]


@pytest.mark.parametrize("action", ["warn", "stop", "rollback"])
@pytest.mark.parametrize("case", COLLAPSE)
def test_a_collapse_is_told_and_stopped(case, action, monkeypatch):
    values = COLLAPSE[case] + [(0.0, 0.9)]
    with pytest.warns(UserWarning, match=f"epoch {len(values) - 1}: catastrophic overfitting.*What helps") as said:
        watch, trainer, weights, measured = followed(values, action, monkeypatch)
    assert watch.overfitted_epoch == len(values) - 1 and len(said) == 1
    assert len(measured) == len(values) - (action != "warn")
    going_back = action == "rollback" and "first epoch" not in case
    expected = weights[-2] if going_back else weights[-1]
    assert all(np.array_equal(a, b) for a, b in zip(trainer.get_weights(), expected, strict=True))


@pytest.mark.parametrize("case", HEALTHY)
def test_no_alarm_in_health(case, monkeypatch):
    watch, *_, measured = followed(HEALTHY[case], "stop", monkeypatch)
    assert watch.overfitted_epoch is None and len(measured) == 3


def test_a_plain_model_has_no_training_radius(monkeypatch):
    watch, *_ = followed(COLLAPSE["in the first epoch"], "stop", monkeypatch, wrapped=False)
    assert watch.overfitted_epoch is None


def test_it_leaves_training_as_it_is():
    """The attack moves neither weights nor random states."""
    x, y = data()
    models = []
    for watched in (False, True):
        model = network()
        model.add(keras.layers.Dropout(0.5, seed=3))
        callbacks = [kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y))] if watched else []
        compiled(model, True).fit(x, y, batch_size=6, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
        models.append(model)
    assert equal_weights(*models)


def test_errors_say_what_to_do():
    x, y = data()
    for error, arguments, message in (
        (TypeError, {"attack": "pgd"}, "`attack` must be an attack"),
        (ValueError, {"data": x}, r"`data` must be \(x, y\)"),
        (ValueError, {"every": 0}, "`every`"),
        (ValueError, {"on_overfitting": "cry"}, "`on_overfitting` must be one of"),
    ):
        with pytest.raises(error, match=message):
            kas.RobustAccuracy(**{"attack": kas.PGD(0.1), "data": (x, y), **arguments})


def test_a_training_that_diverged_is_not_robust():
    x, y = data()
    trainer = compiled(network(), True)

    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.set_weights([np.full_like(weight, np.nan) for weight in self.model.get_weights()])

    best = keras.callbacks.EarlyStopping("robust_accuracy", mode="max", patience=9, restore_best_weights=True)
    watch = kas.RobustAccuracy(kas.PGD(0.01, steps=2), (x, y))
    history = trainer.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[Diverge(), watch, best]).history
    assert history["robust_accuracy"][0] > 0.0 == history["robust_accuracy"][-1] and np.isnan(history["loss"][-1])
    assert np.isfinite(trainer.get_weights()[0]).all()
    trainer.set_weights([np.full_like(weight, np.nan) for weight in trainer.get_weights()])
    assert trainer.evaluate(x, y, attack=kas.FGSM(0.1), verbose=0)[-1] == 0.0
    assert kas.Square(0.1, steps=2)(trainer.model, x, y).robust_accuracy == 0.0


def test_what_has_no_accuracy_is_refused():
    x, y = data()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    trainer = kas.AdversarialTraining(model, kas.PGD(0.1, steps=2))
    trainer.compile("sgd", "mse")
    watch = kas.RobustAccuracy(kas.PGD(0.1), (x, y))
    with pytest.raises(ValueError, match="RobustAccuracy: `model` must be a classifier"):
        trainer.fit(x, y, verbose=0, callbacks=[watch])
    with pytest.raises(ValueError, match="evaluate: `model` must be a classifier"):
        trainer.evaluate(x, y, attack=kas.PGD(0.1), verbose=0)
    with pytest.raises(ValueError, match="RobustAccuracy: `attack` must be untargeted and with a limit"):
        kas.RobustAccuracy(kas.FMN(), (x, y))
    with pytest.raises(ValueError, match="evaluate: `attack` must be untargeted and with a limit"):
        compiled(network(), True).evaluate(x, y, attack=kas.FMN(), verbose=0)
