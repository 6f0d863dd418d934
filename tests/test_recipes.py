"""Robust self-training in one call: it is the parts together, and a restart goes on exactly."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network

X, Y, POOL, HIDDEN = clusters()
ATTACK = kas.PGD(0.3, steps=2, bounds=(-10, 10))
FEEDING = {"batch_size": 8, "steps": 4}
HARDENING = {"warmup_steps": 5, "weight_perturbation": 0.01}


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            raise KeyboardInterrupt


def start(backup_dir=None):
    rule = kas.rules.TopFraction(0.2, step=0.1)
    return kas.SelfTraining(POOL, rule, start_epoch=1, backup_dir=backup_dir, oracle=HIDDEN), network(dropout=0.3)


def run(st, model, *callbacks, epochs=4):
    return kas.robust_self_training(
        model, st, (X, Y), ATTACK, feeding=FEEDING, hardening=HARDENING, epochs=epochs, callbacks=list(callbacks),
        verbose=0,
    )  # fmt: skip


def test_one_call_is_the_parts_in_one_fit():
    st, model = start()
    history = run(st, model)
    other, plain = start()
    trainer = kas.AdversarialTraining(plain, ATTACK, "trades", **HARDENING)
    trainer.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    expected = trainer.fit(other.training_set(X, Y, **FEEDING), epochs=4, callbacks=[other], verbose=0)
    assert equal_weights(model, plain)
    np.testing.assert_equal(history.history, expected.history)
    for column in st.table().columns:
        np.testing.assert_array_equal(st.table()[column], other.table()[column])
    assert isinstance(history.model, kas.AdversarialTraining) and st.n_iter_ == 3


def test_a_restart_goes_on_to_the_same_bits(tmp_path):
    whole = start()
    run(*whole)
    with pytest.raises(KeyboardInterrupt):
        run(*start(tmp_path), Stop())
    resumed = start(tmp_path)
    assert run(*resumed).epoch == [3]
    assert equal_weights(whole[1], resumed[1])
    for column in whole[0].table().columns:
        np.testing.assert_array_equal(whole[0].table()[column], resumed[0].table()[column])


def test_labels_are_made_on_rows_that_nobody_attacked():
    """The audit row of the first selection doesn't know the attack: no weight moves before it."""
    tables = []
    for epsilon in (0.0, 2.0):
        st, model = start()
        model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
        attack = kas.PGD(epsilon, steps=2, bounds=(-10, 10))
        kas.robust_self_training(model, st, (X, Y), attack, "standard", feeding=FEEDING, epochs=2, verbose=0)
        tables.append(st.table())
    for column in tables[0].columns:
        np.testing.assert_array_equal(tables[0][column], tables[1][column])


def test_a_pool_is_enough_and_a_model_must_be_compiled():
    with pytest.warns(UserWarning, match="start_epoch"):
        kas.robust_self_training(network(), POOL, (X, Y), ATTACK, "fast", feeding=FEEDING, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="`model` must be compiled"):
        kas.robust_self_training(keras.Sequential([keras.layers.Dense(3)]), POOL, (X, Y), ATTACK)


def own_loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(y, outputs)


class OwnAdam(keras.optimizers.Adam):
    pass


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.01

    def get_config(self):
        return {}


@pytest.mark.parametrize(("optimizer", "loss", "options"), [
    (lambda: "adam", own_loss, {"metrics": [own_loss]}),
    (lambda: OwnAdam(OwnSchedule()), lambda y, outputs: own_loss(y, outputs), {"jit_compile": True}),
    (lambda: keras.optimizers.LossScaleOptimizer(OwnAdam(0.01)), own_loss, {"run_eagerly": True}),
], ids=["functions", "classes", "wrapped"])  # fmt: skip
def test_what_a_model_is_compiled_with_need_not_be_registered(optimizer, loss, options):
    model = network()
    model.compile(optimizer(), loss, **options)
    kind = type(model.optimizer)
    history = kas.robust_self_training(
        model, kas.SelfTraining(POOL, start_epoch=1), (X, Y), ATTACK, feeding=FEEDING, epochs=2, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all() and type(model.optimizer) is kind
    assert all(getattr(model, name) == value for name, value in options.items() if name != "metrics")


def test_hardening_takes_the_arguments_it_names():
    model, st = network(), kas.SelfTraining(POOL)
    for wrong in ({"method": "fast"}, {"warmup": 5}):
        with pytest.raises(ValueError, match="`hardening` must be a dict of clean_fraction, warmup_steps"):
            kas.robust_self_training(model, st, (X, Y), ATTACK, hardening=wrong)
