"""Together with the rest of Keras: callbacks, weights, several inputs, strategies, compiled steps, other tasks."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network, run

X, Y, POOL, HIDDEN = clusters()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's LearningRateScheduler
def test_callbacks_of_keras(tmp_path):
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1, oracle=HIDDEN)
    model = network()
    callbacks = [
        st,
        keras.callbacks.EarlyStopping("pseudo_accuracy", mode="max", patience=20, restore_best_weights=False),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_accuracy", save_best_only=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    made = st.training_set(X, Y, batch_size=8, steps=4)
    model.fit(made, epochs=4, callbacks=callbacks, validation_data=(POOL, HIDDEN), verbose=0)
    header, *lines = (tmp_path / "log.csv").read_text().splitlines()
    assert {"n_pseudo", "n_pseudo_class_2", "pseudo_flip_rate", "pseudo_confidence"} <= set(header.split(","))
    assert len(lines) == 4 and (tmp_path / "best.keras").exists()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's callback reads the optimizer's counter so
def test_tensorboard(tmp_path):
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1, oracle=HIDDEN)
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    network().fit(st.training_set(X, Y, batch_size=8, steps=2), epochs=2, callbacks=[st, board], verbose=0)
    tags = [
        value.tag
        for path in (tmp_path / "train").iterdir()
        for record in tf.data.TFRecordDataset(str(path))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    ]
    assert "epoch_n_pseudo" in tags and "epoch_pseudo_accuracy" in tags


def test_early_stopping_ends_the_rounds():
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=0)
    made = st.training_set(X, Y, batch_size=8, steps=2)
    stop = keras.callbacks.EarlyStopping("n_pseudo", mode="max", patience=1)
    network().fit(made, epochs=9, callbacks=[st, stop], verbose=0)
    assert st.n_iter_ == 2 and st.termination_condition_ in ("max_iter", "no_change")


def test_sample_weights_and_class_weights_change_what_is_learned():
    weights = []
    for feeding in ({}, {"sample_weight": np.linspace(0, 2, len(X))}, {"class_weight": {0: 5.0}}):
        model = network()
        run(kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1), model, epochs=2, **feeding)
        weights.append(model)
    assert not equal_weights(weights[0], weights[1]) and not equal_weights(weights[0], weights[2])


def test_class_weight_of_fit_is_the_same_as_of_the_training_set():
    one, other = network(), network()
    run(kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1), one, epochs=2, class_weight={0: 5.0, 1: 1.0, 2: 1.0})
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1)
    made = st.training_set(X, Y, batch_size=8, steps=6)
    other.fit(made, epochs=2, callbacks=[st], class_weight={0: 5.0, 1: 1.0, 2: 1.0}, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_several_inputs():
    def parts(x):
        return {"left": x[:, :2], "right": x[:, 2:]}

    inputs = {"left": keras.Input((2,), name="left"), "right": keras.Input((1,), name="right")}
    joined = keras.layers.Concatenate()([inputs["left"], inputs["right"]])
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(joined))
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    st = kas.SelfTraining(kas.UnlabeledPool(parts(POOL)), kas.rules.TopK(6), start_epoch=2, oracle=HIDDEN)
    history = run(st, model, task=(parts(X), Y))
    assert history.history["n_pseudo"][-1] == 18 and history.history["pseudo_accuracy"][-1] > 0.9


@pytest.mark.parametrize("settings", [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}])
def test_ways_of_running_steps(settings):
    plain, other = network(), network(**settings)
    for model in (plain, other):
        run(kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1), model, epochs=3)
    for a, b in zip(plain.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_several_workers_give_the_same_when_fit_does_not_shuffle():
    models = []
    for workers in (1, 3):
        st, model = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1), network()
        made = st.training_set(X, Y, batch_size=8, steps=6)
        made.workers = workers
        model.fit(made, epochs=3, callbacks=[st], shuffle=False, verbose=0)
        models.append(model)
    assert equal_weights(*models)


def test_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(policy)
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2, oracle=HIDDEN)
    assert run(st, model).history["pseudo_accuracy"][-1] > 0.8


def test_averaged_weights_as_teacher_leave_the_weights_alone():
    def fit(teacher, steps=6):
        model = network(optimizer=keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.99))
        st = kas.SelfTraining(POOL, lambda p: np.zeros(len(p)), start_epoch=1, teacher=teacher)
        run(st, model, epochs=3, steps=steps)
        return st, model

    (current, one), (average, other) = fit("current"), fit("average")
    assert equal_weights(one, other)
    assert not np.allclose(current.table()["confidence"], average.table()["confidence"], atol=1e-3)


def test_an_average_needs_an_optimizer_that_keeps_it():
    with pytest.raises(ValueError, match="use_ema=True"):
        run(kas.SelfTraining(POOL, start_epoch=0, teacher="average"), epochs=1)


def test_one_hot_labels():
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2, oracle=np.eye(3)[HIDDEN])
    history = run(st, network(loss="categorical_crossentropy"), task=(X, np.eye(3, dtype="float32")[Y]))
    assert history.history["pseudo_accuracy"][-1] > 0.9
    np.testing.assert_array_equal(st.transduction_[: len(Y)], Y)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_yes_or_no_with_one_unit(logits, column):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, None if logits else "sigmoid")])
    model.compile(keras.optimizers.Adam(0.1), keras.losses.BinaryCrossentropy(from_logits=logits))
    y = (Y == 0).astype("float32")
    st = kas.SelfTraining(POOL, kas.rules.TopK(9), start_epoch=2, oracle=HIDDEN == 0)
    history = run(st, model, task=(X, y[:, None] if column else y))
    assert history.history["pseudo_accuracy"][-1] > 0.9
    assert history.history["n_pseudo_class_0"][-1] == history.history["n_pseudo_class_1"][-1] == 9
    assert set(st.transduction_) == {-1, 0, 1}


def test_several_labels_with_absent_ones_and_undecided_ones_kept_open():
    def labels(x):
        return (x > 1.0).astype("float32")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    rule = kas.rules.Decided(0.8, 0.2, share=0.6)
    st = kas.SelfTraining(POOL, rule, start_epoch=3, oracle=labels(POOL))
    history = run(st, model, task=(X, labels(X)), epochs=8)
    assert history.history["n_pseudo"][-1] > 20 and history.history["pseudo_accuracy"][-1] > 0.9
    given = st.transduction_[len(X) :]
    rows = ~np.isnan(given).any(axis=1)
    assert rows.sum() == history.history["n_pseudo"][-1]
    decided = (given[rows] == 0) | (given[rows] == 1)
    assert ((given[rows] > 0.2) & (given[rows] < 0.8) | decided).all() and not decided.all()


def test_a_row_of_several_labels_is_as_sure_as_the_least_sure_of_them():
    def table(rule):
        model = keras.Sequential([keras.Input((3,))])
        model.add(keras.layers.Dense(3, "sigmoid", kernel_initializer=keras.initializers.GlorotUniform(0)))
        model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
        st = kas.SelfTraining(POOL, rule, start_epoch=3)
        run(st, model, task=(X, (X > 1.0).astype("float32")), epochs=4)
        return st.table()

    rules, sure = kas.rules, lambda p: np.maximum(p, 1.0 - p).min(axis=1) >= 0.7
    tables = [table(rule) for rule in (rules.Threshold(0.7), rules.Margin(0.4), rules.Decided(0.7, 0.3), sure)]
    selected = tables[0]["confidence"] >= 0.7
    assert 10 < selected.sum() < len(POOL) - 10
    for each in tables:
        np.testing.assert_array_equal(each["selected"], selected)
    entropy = -(0.7 * np.log2(0.7) + 0.3 * np.log2(0.3))
    np.testing.assert_array_equal(table(rules.Entropy(entropy))["selected"], selected)
    np.testing.assert_array_equal(tables[0]["uncertainty"] <= entropy, selected)


@pytest.mark.parametrize("ensemble", [False, True])
def test_regression_by_variance(ensemble):
    def target(x):
        return (x[:, 0] - 2.0 * x[:, 1]).astype("float32")

    def regressor(seed):
        start = keras.initializers.GlorotUniform
        layers = [keras.Input((3,)), keras.layers.Dense(16, "relu", kernel_initializer=start(seed))]
        layers += [keras.layers.Dropout(0.2, seed=seed), keras.layers.Dense(1, kernel_initializer=start(seed + 1))]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.Adam(0.03), "mse")
        return model

    passes = [regressor(5), regressor(7)] if ensemble else 4
    st = kas.SelfTraining(POOL, kas.rules.LowVariance(0.25, passes), start_epoch=2, oracle=target(POOL))
    history = run(st, regressor(0), task=(X, target(X)), epochs=6)
    assert history.history["n_pseudo"][-1] == 30
    assert history.history["pseudo_mean_absolute_error"][-1] < np.abs(target(POOL)).mean()
    assert np.isfinite(st.transduction_).sum() == len(X) + 30 and np.isnan(st.table()["confidence"]).all()
    table = st.table()
    assert table["uncertainty"][table["selected"]].max() <= table["uncertainty"][~table["selected"]].min()


@pytest.mark.parametrize("trainer", [False, True])
def test_quotas_follow_a_prior_that_is_given(trainer):
    def counts(**options):
        if trainer:
            made = kas.SelfTrainer(network, kas.rules.TopFraction(1.0), rounds=1, **options)
            history = made.fit(X, Y, POOL, epochs=6, batch_size=8, steps=6).history_[-1]
        else:
            history = run(kas.SelfTraining(POOL, kas.rules.TopFraction(1.0), start_epoch=5, **options)).history
        return [history[f"n_pseudo_class_{label}"][-1] for label in range(3)]

    predicted = counts(prior=[1, 0, 0])[0]  # all that look like class 0
    assert predicted > 20 and max(counts()) <= 40
    assert counts(prior=[8, 1, 1]) == [predicted, 12, 12]


def test_without_a_rule_the_outputs_decide_and_a_later_fit_decides_anew():
    def several(x):
        return (x > 1.0).astype("float32")

    keras.utils.set_random_seed(0)
    labels = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "sigmoid")])
    labels.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    numbers = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8), keras.layers.Dropout(0.2, seed=1)])
    numbers.add(keras.layers.Dense(1))
    numbers.compile(keras.optimizers.Adam(0.03), "mse")

    st = kas.SelfTraining(POOL, start_epoch=3)
    assert run(st, numbers, task=(X, X[:, 0]), epochs=4).history["n_pseudo"][-1] == 0.2 * len(POOL)
    taken = st.table()["uncertainty"][st.table()["selected"]]
    assert taken.max() <= np.sort(st.table()["uncertainty"])[len(taken) - 1]

    run(st, labels, task=(X, several(X)), epochs=8)
    given = st.transduction_[len(X) :]
    rows = ~np.isnan(given).any(axis=1)
    assert 0 < rows.sum() < len(POOL) and np.isin(given[rows], (0, 1)).all()

    yes = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    yes.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    for classifier, y in ((yes, Y == 0), (network(optimizer=keras.optimizers.Adam(0.05)), Y)):
        run(st, classifier, task=(X, y.astype("float32")), epochs=6)
        table = st.table()
        assert 0 < table["selected"].sum() < np.sum(table["confidence"] >= 0.9)
        for label in np.unique(table["label"][table["selected"]]):  # the surest of each class
            mine = table["label"] == label
            taken = table["confidence"][mine & table["selected"]]
            assert taken.min() >= table["confidence"][mine & ~table["selected"]].max(initial=0.0)


def test_dropout_passes_leave_no_trace():
    def fit(select):
        model = network(dropout=0.4)
        model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), model])
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        run(kas.SelfTraining(POOL, select, start_epoch=1), model, epochs=3)
        return model

    nothing = kas.rules.Margin(1.0) & kas.rules.Uncertainty(0.0, passes=3)
    assert equal_weights(fit(nothing), fit(kas.rules.Margin(1.0)))


def test_views_instead_of_dropout():
    def jitter(x, seed):
        return x + 0.5 * np.random.default_rng(seed).normal(size=x.shape).astype("float32")

    st = kas.SelfTraining(POOL, kas.rules.Uncertainty(0.2, passes=3, view=jitter), start_epoch=3)
    run(st, epochs=4)
    uncertainty = st.table()["uncertainty"]
    assert 0 < np.mean(uncertainty <= 0.2) < 1 and st.table()["selected"].sum() == (uncertainty <= 0.2).sum()


def test_dropout_passes_need_dropout():
    with pytest.raises(ValueError, match="Dropout"):
        run(kas.SelfTraining(POOL, kas.rules.Uncertainty(), start_epoch=0), epochs=1)


def test_before_the_first_step_the_average_of_the_weights_is_the_weights():
    def confidence(teacher):
        model = network(optimizer=keras.optimizers.Adam(use_ema=True))
        st = kas.SelfTraining(POOL, kas.rules.TopK(3), start_epoch=0, teacher=teacher)
        run(st, model, epochs=1)
        return st.table()["confidence"]

    np.testing.assert_array_equal(confidence("average"), confidence("current"))


@pytest.mark.parametrize(("classes", "keys"), [(3, {f"n_pseudo_class_{c}" for c in range(3)}), (1000, {"sum"})])
def test_logs_stay_short_with_many_classes(classes, keys):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(classes, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = run(kas.SelfTraining(POOL, kas.rules.TopK(2), start_epoch=0), model, epochs=1).history
    found = {name for name in history if name.startswith("n_pseudo_class")}
    assert found == (keys if classes == 3 else {"n_pseudo_classes", "n_pseudo_class_max"})
    if classes == 1000:
        assert 1 < history["n_pseudo_classes"][0] <= len(POOL) and history["n_pseudo_class_max"][0] == 2


def test_a_model_is_never_asked_for_more_rows_than_it_is_trained_on():
    sizes = set()

    class Note(keras.layers.Layer):
        def call(self, x):
            sizes.add(x.shape[0])
            return x

    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization()(Note()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Dropout(0.2)(x)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    task = clusters(labeled=100)
    st = kas.SelfTraining(POOL, kas.rules.Threshold(0.0) & kas.rules.Uncertainty(1.0, passes=2), start_epoch=0)
    run(st, model, epochs=1, task=task, batch_size=4, steps=1)
    assert max(size for size in sizes if size) == 4 and st.table()["selected"].all()


@pytest.mark.parametrize(
    ("options", "fits", "warned"),
    [
        ({}, [(0, 5)], [0]),
        ({}, [(0, 6)], []),
        ({"start_epoch": 4}, [(0, 3)], [0]),
        ({"start_epoch": 2}, [(0, 2), (2, 3)], []),
        ({"start_epoch": 1}, [(0, 1), (0, 1)], [1]),
        ({"start_epoch": 1}, [(0, 1), (1, 2), (2, 3)], []),
        ({"start_epoch": 1, "every": 5}, [(0, 2), (2, 3)], []),
        ({"max_iter": 0}, [(0, 2)], []),
    ],
)
def test_a_fit_that_ends_before_the_first_selection_says_so(options, fits, warned):
    st, model = kas.SelfTraining(POOL, kas.rules.TopK(3), **options), network()
    made = st.training_set(X, Y, batch_size=8, steps=1)
    for number, (first, stop) in enumerate(fits):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(made, epochs=stop, initial_epoch=first, callbacks=[st], verbose=0)
        said = [each for each in caught if "nothing is selected in this fit" in str(each.message)]
        assert bool(said) == (number in warned)
