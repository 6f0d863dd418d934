"""A task that prepares its inputs itself means in every part of the library what it means in `predict`."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.meaning import calling
from tests.meaning.tasks import FOLLOWED, TASKS, Hidden, Network, Pipeline, Preprocessor, Samples, Steps, images, plain

X, Y = images()
REFUSED = "plain = keras.Model"
PGD = {"epsilon": 37.0, "steps": 3, "bounds": (0, 255)}
# Keras says so of every data set given to fit; and it reads variables into arrays in a way NumPy 2 warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def test_the_tasks_are_right_by_predict_and_evaluate_and_wrong_by_call():
    for task in [each() for each in TASKS]:
        assert (task.predict(X).argmax(axis=1) == Y).all() and task.evaluate(X, Y, verbose=0)[1] == 1.0
        assert np.mean(np.argmax(task(X), axis=1) == Y) == 0.5


@pytest.mark.parametrize("make", FOLLOWED)
def test_attacks_are_those_on_the_plain_model(make):
    task, reference = make(), plain()
    found, expected = (kas.PGD(**PGD)(model, X, Y) for model in (task, reference))
    np.testing.assert_allclose(found.x_adv, expected.x_adv, atol=1e-3)
    np.testing.assert_array_equal(found.success, expected.success)
    assert 0 < found.success.mean() < 1
    np.testing.assert_allclose(kas.input_gradient(task, X, Y), kas.input_gradient(reference, X, Y), rtol=1e-3)
    report = kas.evaluate_robustness(task, (X, Y), [kas.FGSM()], [1, 60], bounds=(0, 255), checks=False)
    assert report.clean_accuracy == 1.0 and report.worst_case[60.0] < 1.0
    np.testing.assert_array_equal(kas.certify(task, X[:8], 5.0, n0=20, n=40).prediction, Y[:8])


@pytest.mark.parametrize("make", [each for each in TASKS if each not in FOLLOWED])
def test_what_no_graph_can_follow_is_refused_or_known_to_have_no_gradient(make):
    def refused_or_right(use, right):
        try:
            assert right(use())
        except ValueError as error:
            assert REFUSED in str(error) or "gradient" in str(error)

    refused_or_right(
        lambda: kas.evaluate_robustness(make(), (X, Y), [kas.FGSM(), kas.Square(steps=3)], [1], bounds=(0, 255)),
        lambda report: report.clean_accuracy == 1.0 and any("no gradient" in each for each in report.warnings),
    )
    refused_or_right(lambda: kas.certify(make(), X[:8], 5.0, n0=20, n=40), lambda found: (found[0] == Y[:8]).all())
    for use in (kas.input_gradient, kas.PGD(**PGD), kas.DeepFool(bounds=(0, 255))):
        with pytest.raises(ValueError, match=f"{REFUSED}|gradient"):
            use(make(), X, Y)


@pytest.mark.parametrize("make", TASKS)
def test_pools_are_scored_as_predict_answers(make):
    task = make()
    found = kas.calibration.dry_run(task, X, kas.rules.Threshold(0.6), X, Y)
    expected = task.predict(X).max(axis=1) >= 0.6
    assert found.added == expected.sum() and found.precision == 1.0
    st = kas.SelfTraining(X[10:], kas.rules.Threshold(0.5), start_epoch=0, oracle=Y[10:])
    training_set = st.training_set(X[:10], Y[:10], batch_size=10, steps=2)
    history = task.fit(training_set.as_dataset(), epochs=2, callbacks=[st], verbose=0).history
    assert history["pseudo_accuracy"] == [1.0, 1.0] and history["n_pseudo"] == [50.0, 50.0]
    np.testing.assert_allclose(st.table()["confidence"], task.predict(X[10:]).max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(st.transduction_, Y)


@pytest.mark.parametrize("make", TASKS)
def test_rounds_of_tasks(make):
    trainer = kas.SelfTrainer(make, select=kas.rules.Threshold(0.5), rounds=1)
    trainer.fit(X[:10], Y[:10], X[10:], epochs=1, batch_size=10, steps=2, validation_data=(X, Y))
    np.testing.assert_array_equal(trainer.transduction_, Y)
    assert [score["accuracy"] for score in trainer.scores_] == [1.0, 1.0]


@pytest.mark.parametrize("make", TASKS)
def test_several_passes(make):
    task, labeled = make(), (X[:10], Y[:10])
    by_views = kas.rules.Uncertainty(0.5, passes=2, view=lambda x: x + 1.0)
    by_models = kas.rules.Uncertainty(0.5, passes=[task, plain()])
    for rule in (by_views, by_models):
        assert kas.calibration.dry_run(task, X, rule, *labeled).precision == 1.0
    by_dropout = kas.rules.Uncertainty(0.5, passes=4)
    if make in (Samples, Preprocessor):
        assert kas.calibration.dry_run(task, X, by_dropout, *labeled).precision == 1.0
    elif make in (Steps, Hidden):  # they know no training mode
        with pytest.raises(ValueError, match=REFUSED):
            kas.calibration.dry_run(task, X, by_dropout, *labeled)


@pytest.mark.parametrize(
    ("make", "data"), [(Samples, (X, Y)), (Preprocessor, (tf.data.Dataset.from_tensor_slices((X, Y)).batch(20),))]
)
def test_adversarial_training_prepares_as_the_task_does(make, data):
    weights = []
    for model in (make(), plain()):
        robust = kas.AdversarialTraining(model, kas.PGD(**PGD))
        robust.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
        assert robust.evaluate(X, Y, verbose=0)[1] == 1.0
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        robust.fit(*data, epochs=1, batch_size=None if len(data) == 1 else 20, shuffle=False, verbose=0)
        assert (robust.predict(X, verbose=0).argmax(axis=1) == Y).all()
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("make", [Steps, Hidden])
def test_adversarial_training_refuses_what_only_inference_can_follow(make):
    robust = kas.AdversarialTraining(make(), kas.PGD(**PGD))
    robust.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for use in (lambda: robust.fit(X, Y, verbose=0), lambda: robust.evaluate(X, Y, verbose=0)):
        with pytest.raises(ValueError, match=REFUSED):
            use()
    with pytest.raises(ValueError, match=REFUSED):
        kas.evaluate_robustness(robust, (X, Y), [kas.FGSM()], [1], bounds=(0, 255))


@pytest.mark.parametrize("make", TASKS)
def test_commands(make, tmp_path, capsys):
    task, file = make(), str(tmp_path / "task.keras")
    task(X[:1])  # builds it
    task.save(file)
    np.save(tmp_path / "x.npy", X)
    assert main(["pseudo-label", file, f"{tmp_path}/x.npy", "--out", f"{tmp_path}/y.csv"]) == 0
    with open(tmp_path / "y.csv", encoding="utf-8") as stream:
        assert [int(row["label"]) for row in csv.DictReader(stream)] == Y.tolist()
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    options = ["--epsilon", "1", "--steps", "2", "--bounds", "0", "255", "--out", f"{tmp_path}/table.json"]
    capsys.readouterr()
    code = main(["attack", file, f"{tmp_path}/data.npz", *options])
    shown = capsys.readouterr()
    if make in FOLLOWED:
        assert code == 0 and "100.0" in shown.out.splitlines()[4]
    else:
        assert code == 2 and (REFUSED in shown.err or "gradient" in shown.err)


class Decides(Network):
    """Its `predict` does something with the outputs, nothing with the inputs."""

    made = staticmethod(lambda outputs: outputs.argmax(axis=-1))

    def predict(self, x, **kwargs):
        return self.made(super().predict(x, **kwargs))


def test_a_predict_that_only_reads_the_outputs_changes_nothing():
    x = np.linspace(-1, 1, 12, dtype="float32")[:, None, None, None] * np.ones((3, 3, 1), "float32")
    activated = type("Activated", (Decides,), {"made": staticmethod(lambda out: tf.nn.softmax(out).numpy())})
    logged = type("Logged", (Decides,), {"made": staticmethod(lambda out: out)})
    for model in (Decides(), logged(), activated(activation=None)):
        assert calling.route_of(model, x[-1:]) is calling.directly  # one row is enough
        assert kas.FGSM(0.1, bounds=(-1, 1))(model, x).x_adv.shape == x.shape
        robust = kas.AdversarialTraining(model, kas.FGSM(0.1, bounds=(-1, 1)))
        robust.compile("sgd", model.loss)
        robust.fit(x, (x.mean(axis=(1, 2, 3)) > 0).astype("int32"), verbose=0)


def test_one_row_of_a_sure_task_is_not_taken_for_a_plain_model():
    task = Hidden()
    task.head.set_weights([np.array([[-500.0, 500.0]], "float32"), np.zeros(2, "float32")])
    bright = X[1:2]
    np.testing.assert_array_equal(task.predict(bright), task(bright))
    assert calling.route_of(task, bright) is calling.by_predict


def test_an_untrained_head_proves_nothing():
    task = Hidden()
    task.head.set_weights([np.zeros((1, 2), "float32"), np.zeros(2, "float32")])
    assert calling.route_of(task, X) is calling.by_predict
    with pytest.raises(ValueError, match=REFUSED):
        kas.FGSM(1.0, bounds=(0, 255))(task, X, Y)


def test_a_preprocessor_taken_away_is_noticed():
    task, attack = Preprocessor(), kas.FGSM(1.0, bounds=(0, 255))
    assert attack(task, X, Y).success.mean() == 0.0
    task.preprocessor = None
    found = kas.FGSM(0.001, bounds=(0, 3))(task, X[:, ::2, ::2] / 100, Y)  # without it, all of these are bright
    assert found.success.mean() == 0.5


def test_plain_models_pay_nothing(monkeypatch):
    monkeypatch.setattr(keras.Model, "predict", keras.Model.predict)
    monkeypatch.setattr(calling, "_compared", lambda *_: pytest.fail("a plain model was compared"))
    for model in (plain(), Network(), kas.AdversarialTraining(plain(), kas.FGSM(1.0, bounds=(0, 255)))):
        assert calling.route_of(model, X) is calling.directly


def test_a_fit_that_takes_no_training_set_is_told_what_it_takes():
    class Converts(Pipeline):
        def fit(self, x=None, y=None, **kwargs):
            return super().fit(np.asarray(x), y, **kwargs)

    st = kas.SelfTraining(X[10:])
    for use in (lambda made: Converts().fit(made), tf.data.Dataset.from_tensor_slices, np.array):
        with pytest.raises(TypeError, match="as_dataset"):
            use(st.training_set(X[:10], Y[:10]))
