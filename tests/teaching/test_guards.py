"""Alarms: silent in healthy runs, heard when something is wrong, and undone when that is wanted."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.teaching.guards import Facts, alarms
from tests.helpers import clusters, equal_weights, network, run

X, Y, POOL, HIDDEN = clusters(unlabeled=100)


def facts(**changed):
    healthy = {"rows": 1000, "accepted": 400, "kept": 390, "relabelled": 5, "confidence": 0.9}
    mix = {"mix": np.full(10, 0.1), "prior": np.full(10, 0.1), "inference": 0.95, "training": 1.0, "labeled": 100}
    return Facts(**(healthy | mix | changed))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, None),
        ({"inference": 0.11}, "normalization"),
        ({"mix": np.array([0.8, 0.2] + [0.0] * 8)}, "collapse"),
        ({"relabelled": 150}, "flips"),
        ({"accepted": 950}, "acceptance"),
        ({"accepted": 100}, "acceptance"),
        ({"confidence": 0.6}, "confidence"),
        ({"judged": 20, "right": 9}, "precision"),
        ({"judged": 20, "right": 10}, None),
        ({"judged": 9, "right": 0}, None),
        ({"inference": None, "training": None, "mix": None, "prior": None}, None),
    ],
)
def test_each_alarm_has_its_sign(changed, kind):
    found = alarms(3, facts(**changed), facts())
    assert [alarm.kind for alarm in found] == ([] if kind is None else [kind])
    assert all(str(alarm).startswith("SelfTraining, selection 3: ") for alarm in found)


def test_few_rows_say_too_little():
    few = {"rows": 150, "accepted": 100, "kept": 100, "relabelled": 90, "confidence": 0.1, "labeled": 10}
    assert not alarms(3, facts(**few, inference=0.1, mix=np.eye(10)[0]), facts(rows=150, accepted=10))


def test_classes_that_are_rare_among_the_labels_may_be_rare_in_the_pool():
    skewed = np.array([0.97] + [0.03 / 9] * 9)
    assert not alarms(1, facts(mix=skewed, prior=skewed), None)


def normalized(momentum):
    start = keras.initializers.GlorotUniform
    layers = [keras.Input((3,)), keras.layers.Dense(16, kernel_initializer=start(0))]
    layers += [keras.layers.BatchNormalization(momentum=momentum), keras.layers.ReLU()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax", kernel_initializer=start(1))])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_running_averages_that_lag_are_heard_and_others_are_not():
    shifted = [part + 30.0 if part.dtype == "float32" else part for part in clusters(labeled=10)]
    with pytest.warns(UserWarning, match="BatchNormalization's running averages have not caught up.*momentum=0.9"):
        st = kas.SelfTraining(shifted[2], start_epoch=8, max_iter=1)
        run(st, normalized(0.999), epochs=9, task=shifted)
    assert st.alarms_[0].kind == "normalization" and st.alarms_[0].round == 1
    st = kas.SelfTraining(shifted[2], kas.rules.TopK(6), start_epoch=5)
    run(st, normalized(0.7), task=shifted)
    assert not st.alarms_


class Scramble(keras.callbacks.Callback):
    """Turns the model's classes round before an epoch, as a model gone wrong would."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            kernel, bias = self.model.layers[-1].get_weights()
            self.model.layers[-1].set_weights([np.roll(kernel, 1, axis=1), np.roll(bias, 1)])


def gone_wrong(on_alarm, epochs=8):
    st = kas.SelfTraining(POOL, kas.rules.TopFraction(0.9), start_epoch=4, on_alarm=on_alarm)
    model = network()
    made = st.training_set(X, Y, batch_size=8, steps=6)
    with pytest.warns(UserWarning, match="changed their label"):
        history = model.fit(made, epochs=epochs, callbacks=[Scramble(6), st], verbose=0)
    return st, model, history.history


def test_warn_goes_on():
    st, _, history = gone_wrong("warn", epochs=7)
    assert st.n_iter_ == 3 and history["pseudo_flip_rate"][-1] > 0.5 and st.alarms_[0].kind == "flips"


def test_pause_leaves_the_pool_as_it_was():
    st, _, history = gone_wrong("pause", epochs=7)
    assert st.n_iter_ == 2 and history["n_pseudo"][-1] == history["n_pseudo"][-2]
    assert np.mean(st.transduction_[len(X) :][st.table()["selected"]] == HIDDEN[st.table()["selected"]]) > 0.9


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_labels_that_held_out_rows_contradict_are_not_learned(labels):
    held = POOL[:150], HIDDEN[:150]
    for truth, kinds in ((held[1], set()), ((held[1] + 1) % 3, {"precision"})):
        st = kas.SelfTraining(
            POOL[150:], start_epoch=3, labels=labels, holdout=(held[0], truth), on_alarm="pause", temperature=2.0
        )
        model = network(loss="categorical_crossentropy") if labels == "soft" else network()
        made = st.training_set(X, np.eye(3)[Y] if labels == "soft" else Y, batch_size=8, steps=6)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = model.fit(made, epochs=6, callbacks=[st], verbose=0).history
        assert {alarm.kind for alarm in st.alarms_} == kinds
        assert (history["n_pseudo"][-1] == 0) == bool(kinds)
        assert any("will hurt more than help" in str(each.message) for each in said) == bool(kinds)


@pytest.mark.parametrize("turned", [False, True])
def test_held_out_labels_of_minus_one_and_one_are_read_as_the_model_is(turned):
    two = HIDDEN < 2
    x, y = POOL[two], 2.0 * HIDDEN[two] - 1.0
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "tanh", kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.05), "hinge")
    held = x[40:120], y[40:120] * (-1.0 if turned else 1.0)
    st = kas.SelfTraining(x[120:], start_epoch=2, holdout=held, on_alarm="pause")
    made = st.training_set(x[:40], y[:40], batch_size=8, steps=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(made, epochs=4, callbacks=[st], verbose=0)
    assert {alarm.kind for alarm in st.alarms_} == ({"precision"} if turned else set())


def test_held_out_numbers_are_no_classes_and_judge_nothing():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    rule = kas.rules.LowVariance(0.5, passes=2, view=lambda x: x + 0.01 * np.sin(np.arange(len(x)))[:, None])
    st = kas.SelfTraining(POOL, rule, start_epoch=1, holdout=(X, np.linspace(-9.0, 9.0, len(X))))
    made = st.training_set(X, X.sum(1), batch_size=8, steps=6)
    model.fit(made, epochs=2, callbacks=[st], verbose=0)
    assert not st.alarms_


def test_rollback_takes_weights_optimizer_and_pool_back():
    st, model, history = gone_wrong("rollback", epochs=7)
    assert st.n_iter_ == 1 and history["n_pseudo"][-1] > 0
    # Back to where epoch 5 began, then one epoch: 30 batches before, 6 after.
    assert int(model.optimizer.iterations) == 36
    assert np.mean(model.predict(POOL, verbose=0).argmax(1) == HIDDEN) > 0.9


def test_rolling_back_is_resumed_too(tmp_path):
    def setting(backup_dir=None):
        return kas.SelfTraining(
            POOL, kas.rules.TopFraction(0.9), start_epoch=4, on_alarm="rollback", backup_dir=backup_dir
        ), network()

    def fit(st, model, *callbacks, epochs=9):
        made = st.training_set(X, Y, batch_size=8, steps=6)
        with pytest.warns(UserWarning, match="changed their label"):
            model.fit(made, epochs=epochs, callbacks=[Scramble(7), st, *callbacks], verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    whole = setting()
    fit(*whole)
    st, model = setting(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        model.fit(st.training_set(X, Y, 8, steps=6), epochs=9, callbacks=[Scramble(7), st, Stop()], verbose=0)
    resumed = setting(tmp_path)
    fit(*resumed)
    assert equal_weights(whole[1], resumed[1])
    assert [alarm.round for alarm in resumed[0].alarms_] == [alarm.round for alarm in whole[0].alarms_]


def two_clusters(rare):
    """A pool of 1,000 points of which `rare` belong to class 1, far from the others, and five labeled ones of each."""
    random, hidden = np.random.default_rng(0), (np.arange(1000) >= 1000 - rare).astype(int)
    y = (np.arange(10) >= 5).astype(int)
    points = [(random.normal(size=(len(each), 4)) + 6.0 * each[:, None]).astype("float32") for each in (y, hidden)]
    return points[0], y, points[1], hidden


class Forget(keras.callbacks.Callback):
    """Makes a model say class 0 whatever comes, as one that has collapsed does."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 4:
            kernel, _ = self.model.layers[-1].get_weights()
            self.model.layers[-1].set_weights([0 * kernel, np.array([9.0, 0.0])])


@pytest.mark.parametrize(("rare", "forgets"), [(10, False), (10, True), (500, True)])
def test_a_pool_may_have_other_shares_than_the_labelled_rows_and_a_collapse_is_heard(rare, forgets):
    x, y, pool, hidden = two_clusters(rare)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax", kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    st = kas.SelfTraining(pool, kas.rules.Threshold(0.95), start_epoch=4, max_iter=1, oracle=hidden)
    made = st.training_set(x, y, batch_size=16, steps=40)
    if forgets:
        with pytest.warns(UserWarning, match="collapsing onto few"):
            model.fit(made, epochs=5, callbacks=[Forget(), st], verbose=0)
        assert [alarm.kind for alarm in st.alarms_] == ["collapse"]
    else:
        history = model.fit(made, epochs=5, callbacks=[st], verbose=0).history
        assert history["pseudo_accuracy"][-1] == 1.0 and history["n_pseudo_class_1"][-1] == rare and not st.alarms_


def test_a_prior_that_is_given_is_what_the_pool_is_held_to():
    x, y, pool, _ = two_clusters(10)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax", kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    st = kas.SelfTraining(pool, kas.rules.Threshold(0.95), start_epoch=4, max_iter=1, prior=[0.5, 0.5])
    with pytest.warns(UserWarning, match="collapsing onto few"):
        model.fit(st.training_set(x, y, batch_size=16, steps=40), epochs=5, callbacks=[st], verbose=0)


@pytest.mark.parametrize("on_alarm", ["warn", "rollback"])
def test_when_nothing_is_ever_selected_the_way_out_is_named_once(on_alarm):
    model = network()
    flat = keras.Sequential([model.layers[1], keras.layers.Dense(3), keras.layers.Rescaling(0.02)])
    flat = keras.Sequential([keras.Input((3,)), *flat.layers, keras.layers.Softmax()])
    flat.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    st = kas.SelfTraining(POOL, kas.rules.Threshold(0.95), start_epoch=0, on_alarm=on_alarm)
    with pytest.warns(
        UserWarning, match="3 selections have taken none.*temperature='calibrated' with holdout"
    ) as caught:
        run(st, flat, epochs=5)
    assert len(caught) == 1 and st.n_iter_ == 5 and [alarm.kind for alarm in st.alarms_] == ["nothing"]
    assert int(flat.optimizer.iterations) == 30
    rule = kas.rules.Threshold(0.95)
    sharpened = kas.SelfTraining(POOL, rule, start_epoch=0, temperature="calibrated", holdout=(POOL[:60], HIDDEN[:60]))
    assert run(sharpened, flat, epochs=4).history["n_pseudo"][-1] > 0
