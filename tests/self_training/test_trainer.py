"""Rounds with weights made anew."""

from __future__ import annotations

import inspect
import warnings

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import LOGITS, clusters, equal_weights, network

X, Y, POOL, HIDDEN = clusters()
FEEDING = {"epochs": 3, "batch_size": 8, "steps": 6}


def build(number):
    return network(seed=10 * number, dropout=0.2)


def trained(build_model=build, **options):
    names = ("validation_data", "oracle", "callbacks", "epochs")
    fitting = FEEDING | {name: options.pop(name) for name in names if name in options}
    trainer = kas.SelfTrainer(build_model, **({"rounds": 3} | options))
    return trainer.fit(X, Y, POOL, **fitting)


def test_a_curriculum_over_the_rounds():
    trainer = trained(oracle=HIDDEN, rounds=4, select=kas.rules.TopFraction(0.25, step=0.25))
    added = [history["n_pseudo"] for history in trainer.history_]
    assert [set(each) for each in added[:3]] == [{0.0}, {30.0}, {60.0}] and added[4][0] > added[2][0]
    assert trainer.n_iter_ == 4 and trainer.history_[-1]["pseudo_accuracy"][-1] > 0.9
    assert np.mean(trainer.model_.predict(POOL, verbose=0).argmax(1) == HIDDEN) > 0.9
    np.testing.assert_array_equal(trainer.transduction_[: len(Y)], Y)


def test_numbers_enter_by_their_spread_unless_a_rule_is_named():
    def regressor():
        layers = [keras.Input((3,)), keras.layers.Dropout(0.3, seed=1), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        return model

    def fit(**options):
        return kas.SelfTrainer(regressor, rounds=2, **options).fit(X, X[:, 0], POOL, **FEEDING)

    assert [history["n_pseudo"][-1] for history in fit().history_] == [0, 0.2 * len(POOL), 0.4 * len(POOL)]
    with pytest.raises(ValueError, match="SelfTrainer: `select` must be a rule for regression"):
        fit(select=kas.rules.TopFraction(0.2))


def test_no_rounds_is_one_plain_training():
    plain = build(0)
    st = kas.SelfTraining(POOL, kas.rules.TopFraction(0.2))
    plain.fit(st.training_set(X, Y, 8, steps=6), epochs=3, verbose=0)
    assert equal_weights(trained(rounds=0).model_, plain)


def test_the_best_round_is_kept():
    calls = []

    def worse_each_time(number):
        calls.append(number)
        rate = 0.05 if number == 1 else 0.0
        return network(seed=number, optimizer=keras.optimizers.Adam(rate))

    trainer = trained(worse_each_time, validation_data=(POOL, HIDDEN))
    assert calls == [0, 1, 2, 3] and trainer.best_round_ == 1 and len(trainer.scores_) == 4
    accuracy = trainer.model_.evaluate(POOL, HIDDEN, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(trainer.scores_[1]["accuracy"])
    assert trained(worse_each_time).best_round_ == 3


@pytest.mark.parametrize(
    ("build_model", "numbers"),
    [
        (lambda number, *rest, rate=0.1, **others: (number, rest, rate, others), [0, 1]),
        (lambda width=8, *rest, **others: (width, rest, others), [8, 8]),
    ],
)
def test_only_an_argument_that_must_be_given_is_the_number(build_model, numbers):
    seen = []

    def built(*given, **named):
        seen.append(build_model(*given, **named)[0])
        return network(seed=0)

    built.__signature__ = inspect.signature(build_model)
    trained(built, rounds=1)
    assert seen == numbers


def test_one_model_trained_on():
    models = []

    def once():
        models.append(network())
        return models[-1]

    trainer = trained(once, reinitialize=False)
    assert len(models) == 1 and trainer.model_ is models[0]
    assert int(models[0].optimizer.iterations) == 4 * 3 * 6


def test_soft_labels_as_noisy_student_has_them():
    trainer = trained(
        lambda n: network(n, loss="categorical_crossentropy"), labels="soft", select=kas.rules.Threshold(0.3)
    )
    assert trainer.history_[-1]["n_pseudo"][-1] == len(POOL) and trainer.termination_condition_ == "all_labeled"


def test_new_callbacks_for_every_training():
    trainer = trained(callbacks=lambda: [keras.callbacks.EarlyStopping("loss", min_delta=99.0, patience=1)])
    assert [len(history["loss"]) for history in trainer.history_] == [2] * 4


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(epoch)
            if len(seen) == 8:
                raise KeyboardInterrupt

    seen = []

    whole = trained(validation_data=(POOL, HIDDEN))
    with pytest.raises(KeyboardInterrupt):
        trained(validation_data=(POOL, HIDDEN), backup_dir=tmp_path, callbacks=lambda: [Fail()])
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1], "callbacks see every training begin with epoch 0"
    resumed = trained(validation_data=(POOL, HIDDEN), backup_dir=tmp_path)
    assert equal_weights(whole.model_, resumed.model_)
    assert resumed.scores_ == whole.scores_ and resumed.best_round_ == whole.best_round_
    np.testing.assert_array_equal(resumed.labeled_iter_, whole.labeled_iter_)
    assert not list(tmp_path.iterdir())


def several(rate=0.05):
    """Two ways to build a model: one with logits, one with a softmax and dropout."""

    def linear(number):
        start = keras.initializers.GlorotUniform(number)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer=start)])
        model.compile(keras.optimizers.Adam(rate), LOGITS, metrics=["accuracy"])
        return model

    return [linear, build]


def four_classes():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("adam", LOGITS)
    return model


def test_the_models_of_a_round_label_together_for_the_next():
    trainer = trained(several(), rounds=1, select=kas.rules.Uncertainty(0.05))
    first = trained(several(), rounds=0)
    each = np.stack([first.models_[0].predict(POOL, verbose=0), first.models_[1].predict(POOL, verbose=0)])
    each[0] = np.exp(each[0]) / np.exp(each[0]).sum(axis=1, keepdims=True)
    label, table = each.mean(axis=0).argmax(axis=1), trainer.table()
    np.testing.assert_array_equal(table["label"][table["selected"]], label[table["selected"]])
    np.testing.assert_allclose(table["uncertainty"], each.std(axis=0)[np.arange(len(POOL)), label], atol=1e-5)
    assert 0 < table["selected"].sum() < len(POOL)
    assert [len(history["loss"]) for history in trainer.history_] == [3] * 4
    assert [each["n_pseudo"][-1] for each in trainer.history_] == [0, 0] + [table["selected"].sum()] * 2


def test_each_builders_best_model_is_kept():
    trainer = trained(several(), validation_data=(POOL, HIDDEN), rounds=1)
    assert len(trainer.scores_) == 4 and len(trainer.models_) == 2
    for place, model in enumerate(trainer.models_):
        best = max(score["accuracy"] for score in trainer.scores_[place::2])
        assert model.evaluate(POOL, HIDDEN, verbose=0, return_dict=True)["accuracy"] == pytest.approx(best)
    accuracies, place = [score["accuracy"] for score in trainer.scores_], trainer.models_.index(trainer.model_)
    assert accuracies[2 * trainer.best_round_ + place] == max(accuracies)
    last = trained(several(), rounds=1)
    assert last.best_round_ == 1 and last.model_ is last.models_[0]
    alone = trained(rounds=0)
    assert alone.models_ == [alone.model_]


@pytest.mark.parametrize(("reinitialize", "ats"), [(True, [4, 7]), (False, [6])])
def test_killed_between_or_inside_trainings_of_a_round(tmp_path, reinitialize, ats):
    class Fail(keras.callbacks.Callback):
        def __init__(self, at):
            super().__init__()
            self.left = at

        def on_epoch_end(self, epoch, logs=None):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    options = {"validation_data": (POOL, HIDDEN), "rounds": 1, "reinitialize": reinitialize, "epochs": 2}
    whole = trained(several(), **options)
    for at in ats:
        fail = Fail(at)
        with pytest.raises(KeyboardInterrupt):
            trained(several(), backup_dir=tmp_path, callbacks=[fail], **options)
        resumed = trained(several(), backup_dir=tmp_path, **options)
        for one, other in zip(whole.models_, resumed.models_, strict=True):
            assert equal_weights(one, other)
        assert resumed.scores_ == whole.scores_ and resumed.best_round_ == whole.best_round_
        assert str(resumed.history_) == str(whole.history_)
        for column in whole.table().columns:
            np.testing.assert_array_equal(resumed.table()[column], whole.table()[column])


def test_a_killed_run_goes_on_with_the_same_builders_only(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(several(), backup_dir=tmp_path, callbacks=lambda: [Stop()])
    for others in (several()[::-1], several()[:1], several(0.1)):
        with pytest.raises(ValueError, match="Theirs had another"):
            trained(others, backup_dir=tmp_path)


class Stop(keras.callbacks.Callback):
    begun = 0

    def on_train_begin(self, logs=None):
        Stop.begun += 1
        if Stop.begun == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: kas.SelfTrainer([]), TypeError, "`build_model` must be a function.*or a list of such functions"),
        (lambda: kas.SelfTrainer([build, 3]), TypeError, "`build_model` must be a function"),
        (
            lambda: kas.SelfTrainer([build, four_classes]).fit(X, Y, POOL),
            ValueError,
            "`teachers` must be models that predict .*3 classes; .*which predicts 4 classes",
        ),
        (lambda: kas.SelfTrainer(3), TypeError, "`build_model` must be a function"),
        (lambda: kas.SelfTrainer(build, rounds=-1), ValueError, "`rounds` must be"),
        (lambda: kas.SelfTrainer(build, labels="x"), ValueError, "`labels` must be"),
        (
            lambda: kas.SelfTrainer(lambda: 3).fit(X, Y, POOL),
            TypeError,
            "`build_model` must be a function that returns",
        ),
        (lambda: kas.SelfTrainer(build).fit(X, Y, POOL, epochs=0), ValueError, "`epochs` must be"),
        (
            lambda: kas.SelfTrainer(build).fit(X, Y, POOL, validation_split=0.1),
            TypeError,
            "fit takes no argument `validation_split`.*'batch_size'",
        ),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=f"SelfTrainer: {message}"):
        make()


def test_callbacks_begin_each_training_anew():
    seen = []

    def rate(epoch, rate):
        seen.append(epoch)
        return rate

    late = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, start_from_epoch=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras's own
        trainer = trained(rounds=1, callbacks=[keras.callbacks.LearningRateScheduler(rate), late])
    assert seen == [0, 1, 2, 0, 1, 2] and [len(each["loss"]) for each in trainer.history_] == [3, 3]
    one = trained(rounds=1, callbacks=keras.callbacks.TerminateOnNaN())
    assert len(one.history_) == 2


@pytest.mark.parametrize("interrupted", [False, True])
def test_models_of_rounds_may_differ(tmp_path, interrupted):
    class Fail(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            begun.append(1)
            if len(begun) == 3:
                raise KeyboardInterrupt

    def wider(number):
        width = 8 if number == 0 else 4
        layers = [keras.Input((3,)), keras.layers.Dense(width, "relu"), keras.layers.Dense(3, "softmax")]
        model = keras.Sequential(layers)
        rate = 0.05 if number == 0 else 0.0
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    begun, options = [], {"rounds": 2, "validation_data": (POOL, HIDDEN), "backup_dir": tmp_path}
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            trained(wider, callbacks=[Fail()], **options)
    trainer = trained(wider, **options)
    assert trainer.best_round_ == 0 and trainer.model_.layers[0].units == 8
    accuracy = trainer.model_.evaluate(POOL, HIDDEN, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(trainer.scores_[0]["accuracy"])


def diverging(at):
    def build_model(number):
        return network(seed=number, optimizer=keras.optimizers.SGD(np.inf if number == at else 0.05))

    return build_model


def test_a_training_that_diverged_is_named_and_never_the_best():
    trainer = kas.SelfTrainer(diverging(1), rounds=3)
    with pytest.raises(ValueError, match="loss stays finite.*NaN in training 1.*model_"):
        trainer.fit(X, Y, POOL, validation_data=(POOL, HIDDEN), **FEEDING)
    assert np.isfinite(trainer.model_.get_weights()[0]).all() and len(trainer.scores_) == 2
    last = trained(diverging(2), rounds=2, validation_data=(POOL, HIDDEN))
    assert last.best_round_ < 2 and np.isfinite(last.model_.predict(POOL, verbose=0)).all()


def test_what_fit_makes_is_unknown_before():
    trainer = kas.SelfTrainer(build)
    for name in ("n_iter_", "history_", "scores_", "best_round_", "model_", "transduction_", "termination_condition_"):
        with pytest.raises(AttributeError, match="Call fit"):
            getattr(trainer, name)
    with pytest.raises(AttributeError, match="Call fit"):
        trainer.table()
    with pytest.raises(AttributeError, match="no attribute 'weights_'"):
        trainer.weights_  # noqa: B018
