"""Consistency methods with TRADES's term: the term itself, every method, and an exact restart."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.consistency.cases import RECIPES
from tests.helpers import LOGITS, clusters, equal_weights

X, Y, POOL, HIDDEN = clusters(labeled=4, unlabeled=40)
BOUNDS = (-10.0, 10.0)


def network(dropout=0.0):
    start = [keras.initializers.GlorotUniform(seed) for seed in (0, 1)]
    hidden = [keras.layers.Dense(8, "relu", kernel_initializer=start[0]), keras.layers.Dropout(dropout, seed=2)]
    return keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(3, kernel_initializer=start[1])])


def fit(ssl, *callbacks, epochs=2, graphs=False, oracle=None, **settings):
    ssl.compile(keras.optimizers.SGD(0.1), LOGITS, metrics=["accuracy"], jit_compile=False, run_eagerly=not graphs)
    counter = kas.data.EpochCounter()
    data = kas.data.labeled_unlabeled((X, Y), POOL, batch_size=6, ratio=3, steps=3, epoch=counter, oracle=oracle)
    return ssl.fit(data, epochs=epochs, callbacks=[counter, *callbacks], verbose=0, **settings).history


@pytest.mark.parametrize("name", RECIPES)
def test_every_method_becomes_robust_with_the_history_it_had(name):
    """Without a radius it is the method itself."""
    plain, other = (RECIPES[name](network()) for _ in range(2))
    history = fit(plain, epochs=1)
    assert sorted(fit(kas.robust(other, kas.FGSM(0.0, bounds=BOUNDS), beta=3.0), epochs=1)) == sorted(history)
    for a, b in zip(plain.model.get_weights(), other.model.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-5)


def test_the_term_is_trades_on_both_kinds_of_rows():
    """One step's loss is the method's and beta times the mean divergence over all rows."""
    view = kas.consistency.unchanged
    attack = kas.PGD(0.5, steps=2, bounds=BOUNDS)
    plain, other = (kas.PseudoLabel(network(), view, start_step=0) for _ in range(2))
    raised = kas.robust(other, attack, beta=3.0)
    for ssl in (plain, raised):
        ssl.compile(keras.optimizers.SGD(0.0), LOGITS, run_eagerly=True)
    batch = ((X[:6], Y[:6]), POOL[:12])
    losses = [ssl.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history["loss"][0] for ssl in (plain, raised)]
    model, rows = plain.model, np.concatenate([X[:6], POOL[:12]])
    trainer = kas.AdversarialTraining(model, attack, "trades")
    trainer.compile("sgd", LOGITS)
    moved = trainer.training_attack.perturb(trainer.victim(rows, None), rows, None, tf.constant(0, tf.int64))
    clean, attacked = (tf.nn.log_softmax(model(x)).numpy().astype("float64") for x in (rows, moved))
    divergence = (np.exp(clean) * (clean - attacked)).sum(1).mean()
    assert divergence > 1e-3 and losses[1] - losses[0] == pytest.approx(3.0 * divergence, rel=1e-4)


def test_pseudo_labels_are_those_of_clean_rows():
    """The audit: whatever the attack does to a row, its label and whether it counts are as without."""
    audits = []
    for epsilon in (0.0, 2.0):
        ssl = kas.FixMatch(network(), kas.consistency.unchanged, kas.consistency.unchanged, threshold=0.4)
        ssl = kas.robust(ssl, kas.PGD(epsilon, steps=2, bounds=BOUNDS))
        ssl.compile(keras.optimizers.SGD(0.0), LOGITS, run_eagerly=True)  # no weight moves, so answers are comparable
        counter = kas.data.EpochCounter()
        data = kas.data.labeled_unlabeled((X, Y), POOL, batch_size=6, ratio=3, steps=3, epoch=counter, oracle=HIDDEN)
        history = ssl.fit(data, verbose=0, callbacks=[counter]).history
        audits.append([history["mask_rate"], history["pseudo_accuracy"]])
    assert audits[0] == audits[1]


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2 saves so
def test_it_resumes_to_the_same_bits(tmp_path):
    def run(*callbacks):
        ssl = kas.robust(RECIPES["FreeMatch"](network(0.3)), kas.PGD(0.2, steps=2, bounds=BOUNDS))
        fit(ssl, *callbacks, epochs=3, graphs=True)
        return ssl

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(keras.callbacks.BackupAndRestore(tmp_path), Stop())
    resumed = run(keras.callbacks.BackupAndRestore(tmp_path))
    assert equal_weights(whole.model, resumed.model)
    assert np.array_equal(whole.thresholds(), resumed.thresholds())


def test_its_config_makes_an_equal_one():
    ssl = kas.robust(RECIPES["FixMatch"](network()), kas.PGD(0.2, steps=2, bounds=BOUNDS), beta=2.0)
    other = kas.ConsistencyModel.from_config(ssl.get_config())
    assert other.views.beta == 2.0 and other.views.attack.get_config() == ssl.views.attack.get_config()
    assert type(other.views.views) is kas.consistency.Views and other.name == "robust_FixMatch"


def test_errors_say_what_to_do():
    for error, arguments, message in (
        (TypeError, {"ssl": network()}, "`ssl` must be a consistency method"),
        (TypeError, {"attack": "pgd"}, "`attack` must be an attack"),
        (ValueError, {"attack": kas.DDN()}, "`attack` must be untargeted"),
        (ValueError, {"beta": -1.0}, "`beta`"),
    ):
        with pytest.raises(error, match=message):
            kas.robust(**{"ssl": RECIPES["FixMatch"](network()), "attack": kas.PGD(0.1), **arguments})
    with pytest.raises(tf.errors.InvalidArgumentError, match="inputs must lie inside"):
        fit(kas.robust(RECIPES["PseudoLabel"](network()), kas.PGD(0.1, bounds=(0.0, 0.1))))
