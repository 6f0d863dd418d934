"""Several teachers: the mean of what they say labels, how far they spread is the uncertainty."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.helpers import LOGITS, clusters, equal_weights, network, run

X, Y, POOL, HIDDEN = clusters()
ALL = kas.rules.Threshold(0.0)


def dense(units, activation=None, loss=None, seed=0, scale=1.0, optimizer="sgd", hidden=0):
    """A teacher that knows nothing and says it in its own way."""
    weights = keras.initializers.RandomNormal(stddev=scale, seed=seed)
    last = keras.layers.Dense(units, activation, kernel_initializer=weights)
    model = keras.Sequential([keras.Input((3,)), *[keras.layers.Dropout(0.3)] * hidden, last])
    if loss is not None:
        model.compile(optimizer, loss)
    return model


def said(st):
    """Label, confidence and uncertainty of the pool as they were last scored."""
    table = st.table()
    return table["label"], table["confidence"], table["uncertainty"]


def softmax(x):
    return np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_the_mean_labels_and_the_spread_of_the_predicted_class_is_the_uncertainty(temperature):
    heads = [
        dense(3, None, LOGITS, 1),
        dense(3, "softmax", "sparse_categorical_crossentropy", 2),
        dense(3, "softmax", "categorical_crossentropy", 3),
        dense(3, "softmax", None, 4),  # never compiled: its last activation tells
        dense(3, None, None, 5),
    ]
    st = kas.SelfTraining(POOL, ALL, start_epoch=0, teachers=heads, temperature=temperature)
    run(st, epochs=1)
    logits = np.stack([POOL @ model.get_weights()[0] for model in heads])
    each = softmax(logits / (temperature or 1.0))
    mean, deviation = each.mean(axis=0), each.std(axis=0)
    label = mean.argmax(axis=1)
    for found, expected in zip(said(st), (label, mean.max(1), deviation[np.arange(len(label)), label]), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_model_in_training_is_a_teacher_only_where_it_is_in_the_list():
    def confidence(make):
        model = network(optimizer=keras.optimizers.SGD(0.5))
        st = kas.SelfTraining(POOL, lambda p: np.zeros(len(p)), start_epoch=1, teachers=make(model))
        run(st, model, epochs=3)
        return st.table()["confidence"], np.mean([each.predict(POOL, verbose=0) for each in make(model)], axis=0)

    other = network(3)
    (alone, _), (both, _), (itself, _) = (confidence(lambda m, k=k: k(m)) for k in (
        lambda m: [other], lambda m: [m, other], lambda m: [m]))  # fmt: skip
    np.testing.assert_allclose(alone, other.predict(POOL, verbose=0).max(axis=1), atol=1e-6)
    model = network(optimizer=keras.optimizers.SGD(0.5))
    st = kas.SelfTraining(POOL, lambda p: np.zeros(len(p)), start_epoch=1)
    run(st, model, epochs=3)
    np.testing.assert_array_equal(itself, st.table()["confidence"])
    assert not np.allclose(both, alone) and not np.allclose(both, itself)


def test_teachers_are_left_as_they_are():
    def teacher(seed):
        x = keras.layers.BatchNormalization()(inputs := keras.Input((3,)))
        outputs = keras.layers.Dense(3, "softmax")(keras.layers.Dropout(0.5, seed=seed)(x))
        model = keras.Model(inputs, outputs)
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    teachers = [teacher(1), teacher(2)]
    before = [[variable.value.numpy() for variable in each.variables] for each in teachers]
    run(kas.SelfTraining(POOL, kas.rules.TopK(5), start_epoch=0, teachers=teachers), epochs=2)
    after = [[variable.value.numpy() for variable in each.variables] for each in teachers]
    for one, other in zip(sum(before, []), sum(after, []), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "select", [None, kas.rules.Uncertainty(0.1), kas.rules.Threshold(0.4) & kas.rules.Uncertainty(0.1),
               kas.rules.TopK(4), kas.rules.FlexThreshold(0.6), kas.rules.TargetPrecision(0.1)],
)  # fmt: skip
def test_every_rule_goes_by_what_teachers_say_without_further_passes(select):
    teachers = [dense(3, "softmax", None, seed, 0.3) for seed in range(3)]
    for each in teachers:
        each.layers[-1].kernel.assign_add(np.eye(3))
    st = kas.SelfTraining(POOL, select, start_epoch=0, teachers=teachers, holdout=(X, Y), oracle=HIDDEN)
    assert run(st, epochs=2).history["n_pseudo"][-1] > 0
    if isinstance(select, kas.rules.Uncertainty):
        np.testing.assert_array_equal(st.table()["selected"], st.table()["uncertainty"] <= 0.1)


def test_one_teacher_makes_the_passes_that_a_rule_asks_for():
    teacher = dense(3, "softmax", "sparse_categorical_crossentropy", 1, hidden=1)
    run(st := kas.SelfTraining(POOL, kas.rules.Uncertainty(0.1), start_epoch=0, teachers=[teacher]), epochs=1)
    uncertainty = st.table()["uncertainty"]
    assert uncertainty.max() > 0.05 and 0 < st.table()["selected"].mean() < 1


def test_an_ensemble_that_a_rule_names_is_read_each_in_its_own_form():
    members = [dense(3, None, LOGITS, 1), dense(3, "softmax", None, 2)]
    found = []
    for passes, teachers in ((members, None), (None, members)):
        st = kas.SelfTraining(POOL, kas.rules.Uncertainty(1.0, passes), start_epoch=0, teachers=teachers)
        run(st, epochs=1)
        found.append(said(st))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ValueError, match="`passes` must be models that predict .*3 classes; .*4 classes"):
        run(kas.SelfTraining(POOL, kas.rules.Uncertainty(1.0, [dense(4)] * 2), start_epoch=0), epochs=1)


def test_soft_labels_are_the_mean():
    teachers = [dense(3, None, LOGITS, 1), dense(3, "softmax", None, 2)]
    st = kas.SelfTraining(POOL, ALL, start_epoch=0, teachers=teachers, labels="soft")
    model = network(loss="categorical_crossentropy")
    run(st, model, task=(X, np.eye(3, dtype="float32")[Y]), epochs=1)
    mean = np.mean([softmax(POOL @ each.get_weights()[0]) for each in teachers], axis=0)
    np.testing.assert_allclose(st._labeller.books.selected.targets, mean, atol=1e-6)


def test_a_calibrated_temperature_is_that_of_the_mean():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3)).astype("float32")
    y = np.array([random.choice(3, p=softmax(row)) for row in x])
    teachers = [dense(3, "softmax", None, seed, scale=0.3) for seed in (1, 2)]
    for each in teachers:
        each.layers[-1].kernel.assign(4.0 * np.eye(3) + 0.5 * each.layers[-1].kernel)
    divisor = kas.calibration.temperature([each.predict(x, verbose=0) for each in teachers], y)
    assert divisor == pytest.approx(4.0, rel=0.25)
    st = kas.SelfTraining(POOL, ALL, start_epoch=0, teachers=teachers, temperature="calibrated", holdout=(x, y))
    run(st, epochs=1)
    mean = np.mean([softmax(POOL @ each.get_weights()[0] / divisor) for each in teachers], axis=0)
    np.testing.assert_allclose(st.table()["confidence"], mean.max(axis=1), atol=1e-4)
    one = teachers[0].predict(x, verbose=0)
    assert kas.calibration.temperature(one, y) == kas.calibration.temperature(one[None], y)


def test_numbers_by_mean_and_root_of_the_mean_variance():
    teachers = [dense(2, None, "mse", seed) for seed in range(3)]
    student = dense(2, None, "mse", 9)
    st = kas.SelfTraining(POOL, kas.rules.LowVariance(0.5), start_epoch=0, teachers=teachers, oracle=POOL[:, :2])
    run(st, student, task=(X, X[:, :2]), epochs=1)
    each = np.stack([POOL @ model.get_weights()[0] for model in teachers])
    spread = np.sqrt(each.var(axis=0).mean(axis=1))
    table = st.table()
    np.testing.assert_allclose(table["uncertainty"], spread, rtol=1e-4)
    assert table["selected"].sum() == len(POOL) // 2
    np.testing.assert_allclose(table["label"][table["selected"]], each.mean(axis=0)[table["selected"]], rtol=1e-4)


def test_several_labels_by_the_mean():
    teachers = [dense(3, None, keras.losses.BinaryCrossentropy(from_logits=True), 1, 3.0), dense(3, "sigmoid", None, 2)]
    several = (X > 1.0).astype("float32")
    st = kas.SelfTraining(POOL, ALL, start_epoch=0, teachers=teachers)
    run(st, dense(3, "sigmoid", "binary_crossentropy", 3), task=(X, several), epochs=1)
    each = np.stack([1.0 / (1.0 + np.exp(-POOL @ model.get_weights()[0])) for model in teachers])
    np.testing.assert_array_equal(st.table()["label"], each.mean(axis=0) >= 0.5)
    np.testing.assert_allclose(st.table()["uncertainty"], each.std(axis=0).max(axis=1), atol=1e-5)


def test_yes_or_no_by_one_unit_or_by_two():
    teachers = [dense(1, "sigmoid", "binary_crossentropy", 1), dense(2, "softmax", None, 2), dense(1, None, None, 3)]
    teachers[2].compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    st = kas.SelfTraining(POOL, ALL, start_epoch=0, teachers=teachers)
    run(st, dense(1, "sigmoid", "binary_crossentropy", 4), task=(X, (Y == 0).astype("float32")), epochs=1)
    weights = [each.get_weights()[0] for each in teachers]
    yes = [POOL @ weights[0], POOL @ (weights[1][:, 1:] - weights[1][:, :1]), POOL @ weights[2]]
    mean = np.mean([1.0 / (1.0 + np.exp(-logit[:, 0])) for logit in yes], axis=0)
    np.testing.assert_array_equal(st.table()["label"], mean > 0.5)
    np.testing.assert_allclose(st.table()["confidence"], np.maximum(mean, 1.0 - mean), atol=1e-5)


def test_several_inputs_in_uint8_and_rows_that_are_not_finite():
    def parts(x):
        return {"left": (100 * np.abs(x[:, :2])).astype("uint8"), "right": x[:, 2:].copy()}

    def made(units, activation, loss):
        inputs = {"left": keras.Input((2,), name="left", dtype="uint8"), "right": keras.Input((1,), name="right")}
        left = keras.layers.Rescaling(0.01)(inputs["left"])
        x = keras.layers.Concatenate()([left, inputs["right"]])
        model = keras.Model(inputs, keras.layers.Dense(units, activation)(x))
        model.compile("adam", loss)
        return model

    pool = parts(POOL)
    pool["right"][3] = np.nan
    teachers = [made(3, None, LOGITS), made(3, "softmax", "sparse_categorical_crossentropy")]
    st = kas.SelfTraining(pool, ALL, start_epoch=0, teachers=teachers)
    with pytest.warns(UserWarning, match="1 of the pool's 120 rows"):
        run(st, made(3, None, LOGITS), task=(parts(X), Y), epochs=1)
    np.testing.assert_array_equal(st.table()["selected"], np.arange(len(POOL)) != 3)


def test_mixed_precision_and_replicas():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        teachers = [dense(3, "softmax", "sparse_categorical_crossentropy", 1)]
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    teachers.append(dense(3, None, LOGITS, 2))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = network()
    st = kas.SelfTraining(POOL, kas.rules.TopK(5), start_epoch=1, teachers=teachers)
    assert run(st, model, epochs=2).history["n_pseudo"][-1] > 0


def test_averages_of_each_teacher_label():
    def averaging():
        model = network(3, optimizer=keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9))
        for _ in range(3):  # at its end a fit puts the averages in place of the weights
            model.train_on_batch(X, Y)
        return model

    trained = averaging()
    found = {}
    for teacher in ("current", "average"):
        st = kas.SelfTraining(POOL, ALL, start_epoch=0, teacher=teacher, teachers=[trained, trained])
        run(st, epochs=1)
        found[teacher] = st.table()["confidence"]
    assert not np.allclose(found["current"], found["average"], atol=1e-3)
    trained.optimizer.finalize_variable_values(trained.trainable_variables)
    np.testing.assert_allclose(trained.predict(POOL, verbose=0).max(axis=1), found["average"], atol=1e-6)


def interrupted(directory, teachers, at=3):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == at:
                raise KeyboardInterrupt

    model = network(dropout=0.3)
    st = kas.SelfTraining(POOL, kas.rules.TopFraction(0.1, step=0.1), start_epoch=1, backup_dir=directory,
                          teachers=[model if each is None else each for each in teachers])  # fmt: skip
    made = st.training_set(X, Y, batch_size=8, steps=5)
    model.fit(made, epochs=6, callbacks=[st] if at is None else [st, Interrupt()], verbose=0)
    return st, model


def test_resumed_equals_uninterrupted_with_the_same_teachers_only(tmp_path):
    teachers = [None, dense(3, "softmax", None, 1), network(7)]
    whole = interrupted(None, teachers, at=None)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, teachers)
    for others in ([None, dense(3, "softmax", None, 2), teachers[2]], teachers[:2], teachers[1:]):
        with pytest.raises(ValueError, match="`backup_dir` must be .*Theirs had another teacher"):
            interrupted(tmp_path, others, at=None)
    st, model = interrupted(tmp_path, [None, dense(3, "softmax", None, 1), network(7)], at=None)
    assert equal_weights(model, whole[1])
    for column in st.table().columns:
        np.testing.assert_array_equal(st.table()[column], whole[0].table()[column])


@pytest.mark.parametrize(
    ("teachers", "options", "error", "message"),
    [
        ([], {}, ValueError, "`teachers` must be at least one trained Keras model"),
        (dense(3), {}, TypeError, r"`teachers` must be .*teachers=\[model\]"),
        ([3], {}, TypeError, "`teachers` must be"),
        ([dense(4, "softmax")], {}, ValueError, "in training does, 3 classes; .*which predicts 4 classes"),
        ([dense(3, None, "mse")], {}, ValueError, "3 classes; .*which predicts 3 numbers"),
        ([dense(3, "sigmoid", "binary_crossentropy")], {}, ValueError, "3 classes; .*which predicts 3 labels"),
        ([keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])], {}, ValueError, "take the pool's rows"),
        ([dense(3, None, "sparse_categorical_crossentropy")], {}, ValueError, "from_logits=True"),
        ([dense(3), dense(3)], {"select": kas.rules.Uncertainty(passes=3)}, ValueError, "`select` must be a rule"),
        ([dense(3)] * 2, {"relabel": kas.rules.Uncertainty(view=keras.ops.negative)}, ValueError, "`relabel` must be"),
        ([dense(3)], {"teacher": "average"}, ValueError, "compiled models for teacher='average'"),
        ([network()], {"teacher": "average"}, ValueError, "use_ema=True"),
    ],
)  # fmt: skip
def test_what_can_not_be_a_teacher_is_named(teachers, options, error, message):
    with pytest.raises(error, match=message):
        run(kas.SelfTraining(POOL, start_epoch=0, teachers=teachers, **options), epochs=1)


def test_a_teacher_that_diverged_is_named():
    broken = dense(3, "softmax", None, 1)
    broken.layers[-1].bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match=f"finite predictions.*{broken.name!r} have diverged"):
        run(kas.SelfTraining(POOL, start_epoch=0, teachers=[network(), broken]), epochs=1)
