"""Robustness reports: figures that follow from a linear model, warnings where gradients are hidden, and only there."""

from __future__ import annotations

import json
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.evaluation import inputs as evaluation_inputs
from tests.helpers import LOGITS

STEPWISE = [0.1, 0.2, 0.4]
PGD = kas.PGD(steps=20)  # as the checks use it, so that one graph serves both
QUICK = {"attacks": [PGD], "epsilons": [0.2]}


def network(*layers, shape=(2,)):
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile("sgd", LOGITS)
    return model


@pytest.fixture(scope="module")
def two_halves():
    """Class 0 where x0 > x1: the Linf distance to the boundary is half the difference, the L2 one that by sqrt(2)."""
    return network(keras.layers.Dense(2, kernel_initializer="identity"))


@pytest.fixture(scope="module")
def points():
    """Linf distances 0.05, 0.15 and 0.3 from the boundary, and one point on the wrong side of it."""
    x = np.array([[0.55, 0.45], [0.65, 0.35], [0.8, 0.2], [0.45, 0.55]], "float32")
    return x, np.zeros(4, int)


@pytest.fixture(scope="module")
def digits():
    (x, y), _ = kas.data.load("digits")
    return x.astype("float32") / 255, y


@pytest.fixture(scope="module")
def reader(digits):
    """A small network that has learned to read digits."""
    starts = [keras.initializers.GlorotUniform(seed=seed) for seed in (0, 1)]
    hidden = keras.layers.Dense(32, "relu", kernel_initializer=starts[0])
    model = network(
        keras.layers.Flatten(), hidden, keras.layers.Dense(10, kernel_initializer=starts[1]), shape=(8, 8, 1)
    )
    model.compile("adam", LOGITS)
    model.fit(*digits, epochs=8, batch_size=32, verbose=0, shuffle=False)
    return model


@keras.saving.register_keras_serializable(package="test_evaluation")
class Levels(keras.layers.Layer):
    """Rounds to five grey levels and says that its gradient is zero."""

    def call(self, x):
        @tf.custom_gradient
        def rounded(x):
            return tf.round(4 * x) / 4, tf.zeros_like

        return rounded(x)


@keras.saving.register_keras_serializable(package="test_evaluation")
class Ripples(keras.layers.Layer):
    """Adds ripples too low to see, too steep to climb."""

    def call(self, x):
        return x + 0.02 * tf.sin(2000 * x)


@keras.saving.register_keras_serializable(package="test_evaluation")
class Rounding(keras.layers.Layer):
    """Rounds to five grey levels; TensorFlow has no gradient for that."""

    def call(self, x):
        return tf.round(4 * x) / 4


def test_figures_follow_from_the_distances(two_halves, points):
    report = kas.evaluate_robustness(two_halves, points, [PGD, kas.FMN()], STEPWISE)
    expected = {0.1: 0.5, 0.2: 0.25, 0.4: 0.0}
    assert report.clean_accuracy == 0.75 and report.examples == 4 and report.norm == "linf"
    assert report.worst_case == expected
    assert [curve.attack for curve in report.curves] == ["PGD", "FMN"]
    assert all(curve.accuracy == expected and curve.seconds > 0 for curve in report.curves)
    assert report.warnings == ()


def test_smallest_perturbations_are_described_by_their_distances(two_halves, points):
    """Whatever epsilon they were made with: they run without."""
    report = kas.evaluate_robustness(two_halves, points, [kas.FMN(epsilon=0.001)], [0.1], checks=False)
    assert report.curves[0].distance[0.5] == pytest.approx(0.15, rel=0.01)


def test_an_example_is_robust_when_no_attack_fools_it(digits, reader):
    x, y = digits[0][:60], digits[1][:60]
    attacks = [kas.FGSM(), PGD, kas.GaussianNoise()]
    report = kas.evaluate_robustness(reader, (x, y), attacks, STEPWISE, checks=False)
    fooled = np.zeros(60, bool)
    wrong = np.asarray(reader(x)).argmax(1) != y
    for epsilon in STEPWISE:
        for attack in (kas.FGSM(epsilon), kas.PGD(epsilon, steps=20), kas.GaussianNoise(epsilon)):
            fooled |= attack(reader, x, y).success | wrong
        assert report.worst_case[epsilon] == pytest.approx(1 - fooled.mean())


def test_success_in_the_worst_case_only_rises(two_halves):
    """A single step on a ripple overshoots: more at the larger radius than at the smaller one."""
    model = network(Ripples(), keras.layers.Dense(2, kernel_initializer="identity"))
    x = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2)).astype("float32")
    y = np.asarray(model(x)).argmax(1)
    epsilons = np.linspace(0.001, 0.1, 12)
    report = kas.evaluate_robustness(model, (x, y), [kas.FGSM()], epsilons, checks=False)
    single, worst = list(report.curves[0].accuracy.values()), list(report.worst_case.values())
    assert single != sorted(single, reverse=True)
    assert worst == sorted(worst, reverse=True)
    assert all(w <= s for w, s in zip(worst, single, strict=True))


def test_other_models_see_the_attacked_examples(two_halves, points):
    """What fools the model fools its twin, and helps the one that decides the other way round."""
    swapped = network(keras.layers.Rescaling(-1.0), two_halves)
    report = kas.evaluate_robustness(
        two_halves, points, [kas.FGSM()], [0.2, 0.4], transfer={"twin": two_halves, "swapped": swapped}, checks=False
    )
    assert report.curves[0].transfer == {"twin": {0.2: 0.25, 0.4: 0.0}, "swapped": {0.2: 0.75, 0.4: 1.0}}
    assert "swapped on the examples of FGSM: 75.0 % at 0.2, 100.0 % at 0.4" in str(report)
    assert report.table()[0] == {"attack": "FGSM", "epsilon": 0.2, "accuracy": 0.25, "twin": 0.25, "swapped": 0.75}


def test_data_sets_give_what_arrays_give(two_halves, points):
    arrays = kas.evaluate_robustness(two_halves, points, **QUICK, checks=False)
    stream = tf.data.Dataset.from_tensor_slices(points)
    for data in (stream, stream.batch(3)):
        assert kas.evaluate_robustness(two_halves, data, **QUICK, checks=False).worst_case == arrays.worst_case


def test_one_of_several_inputs_is_attacked(two_halves, points):
    x, y = points
    inputs = {"attacked": keras.Input((2,), name="attacked"), "left": keras.Input((2,), name="left")}
    model = keras.Model(inputs, two_halves(inputs["attacked"]) + 0.0 * inputs["left"])
    model.compile("sgd", LOGITS)
    data = {"attacked": x, "left": x}, y
    report = kas.evaluate_robustness(model, data, [kas.FGSM()], [0.2], input_name="attacked", checks=False)
    assert report.clean_accuracy == 0.75 and report.worst_case == {0.2: 0.25}


def test_bounds_hold_for_all_attacks(two_halves, points):
    x, y = points
    wide = network(keras.layers.Rescaling(1 / 255), two_halves)
    report = kas.evaluate_robustness(wide, (255 * x, y), [kas.FGSM()], [51.0], bounds=(0, 255), checks=False)
    assert report.worst_case == {51.0: 0.25}


def test_attacks_bring_their_epsilons_and_names():
    attacks = [kas.PGD(0.1, steps=3), kas.PGD(0.4, steps=3), kas.PGD(0.2, steps=9), kas.FMN()]
    assert evaluation_inputs.radii(None, attacks, given=True) == [0.1, 0.2, 0.4]
    assert list(evaluation_inputs.named(attacks)) == ["PGD(steps=3)", "PGD(steps=9)", "FMN"]


def test_default_attacks_and_epsilons():
    attacks = evaluation_inputs.comparable(evaluation_inputs.usual("classes"), (0.0, 255.0))
    assert list(evaluation_inputs.named(attacks)) == ["FGSM", "PGD", "AutoAttack", "GaussianNoise"]
    assert list(evaluation_inputs.named(evaluation_inputs.usual("labels"))) == ["FGSM", "PGD", "APGD", "GaussianNoise"]
    assert evaluation_inputs.radii(None, attacks, given=False) == pytest.approx([2, 4, 8, 16])


def test_json_and_markdown_hold_the_figures(two_halves, points, tmp_path):
    report = kas.evaluate_robustness(two_halves, points, [PGD, kas.FMN()], [0.1], checks=False)
    text = report.to_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == text + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    content = json.loads(text)
    assert content["worst_case"] == {"0.1": 0.5} and content["curves"][0]["attack"] == "PGD"
    assert "| worst case | 75.0 | 50.0 |" in str(report)
    assert "FMN, linf distance: " in str(report)


def test_undefined_distances_are_null():
    """Nothing was fooled, so there is no distance to describe."""
    curve = kas.adversarial.Curve("FMN", {0.1: 0.5}, 1.0, {0.5: float("nan")})
    report = kas.RobustnessReport("linf", 2, 0.5, {0.1: 0.5}, (curve,), ())
    assert json.loads(report.to_json())["curves"][0]["distance"] == {"0.5": None}


def test_plot_has_a_curve_an_attack_from_clean_accuracy_on(two_halves, points):
    report = kas.evaluate_robustness(two_halves, points, [PGD, kas.FMN()], STEPWISE, checks=False)
    lines = report.plot().axes[0].lines
    assert [line.get_label() for line in lines] == ["PGD", "FMN", "worst case"]
    assert all(list(line.get_xdata()) == [0.0, *STEPWISE] for line in lines)
    assert lines[-1].get_ydata().tolist() == [75.0, 50.0, 25.0, 0.0]


def test_an_honest_model_raises_no_warning(digits, reader):
    report = kas.evaluate_robustness(reader, (digits[0][:150], digits[1][:150]), [PGD], STEPWISE)
    assert report.warnings == ()


@pytest.mark.parametrize(
    ("layer", "before", "signs"),
    [
        (Levels, True, ["Square", "whole range", "gradient is zero"]),
        (Ripples, True, ["FGSM", "Square", "whole range"]),
        (lambda: keras.layers.Rescaling(1000.0), False, ["so sure"]),
    ],
)
def test_hidden_gradients_raise_warnings(layer, before, signs, digits, reader):
    parts = [layer(), reader] if before else [reader, layer()]
    model = network(*parts, shape=(8, 8, 1))
    report = kas.evaluate_robustness(model, (digits[0][:100], digits[1][:100]), **QUICK)
    assert all(text.startswith("gradient masking?") for text in report.warnings)
    for sign in signs:
        assert any(sign in text for text in report.warnings), (sign, report.warnings)
    assert "Warning: gradient masking?" in str(report)


class Elsewhere(kas.scale.InProcess):
    """Workers that are handed copies of model, data and attacks, and hand over what they found in another order."""

    def map(self, make, items):
        make = pickle.loads(pickle.dumps(make))
        yield from list(super().map(make, pickle.loads(pickle.dumps(list(items)))))[::-1]


@pytest.mark.parametrize("engine", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_attacks_that_need_a_gradient_are_left_out_where_there_is_none(engine, digits, reader):
    model = network(Rounding(), reader, shape=(8, 8, 1))
    data = digits[0][:40], digits[1][:40]
    report = kas.evaluate_robustness(model, data, [kas.FGSM(), kas.Square(steps=200)], [0.2], engine=engine)
    assert [curve.attack for curve in report.curves] == ["Square"]
    assert report.warnings[0].startswith("FGSM is left out") and "has no gradient" in report.warnings[1]
    with pytest.raises(ValueError, match="needs no gradient"):
        kas.evaluate_robustness(model, data, [kas.FGSM()], [0.2], engine=engine)


@pytest.mark.parametrize("bounds", [None, (-1.0, 2.0)])
def test_workers_elsewhere_find_the_same(bounds, digits, reader):
    data = tuple(part[:12] for part in digits)
    attacks = [kas.PGD(steps=3), kas.FMN(steps=5), kas.GaussianNoise()]
    options = {"epsilons": [0.05, 0.1], "bounds": bounds, "transfer": {"itself": reader}}
    here = kas.evaluate_robustness(reader, data, attacks, **options)
    there = kas.evaluate_robustness(reader, data, attacks, engine=Elsewhere(), **options)
    for one, other in zip(here.table(), there.table(), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert there.worst_case == here.worst_case and there.warnings == here.warnings


def test_the_model_is_left_as_it_was(two_halves, points):
    before = two_halves.get_weights()
    kas.evaluate_robustness(two_halves, points, **QUICK, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, two_halves.get_weights(), strict=True))


def test_progress_counts_examples_of_all_runs(two_halves, points, capsys):
    kas.evaluate_robustness(two_halves, points, [PGD, kas.FMN()], STEPWISE, checks=False, batch_size=2, verbose=1)
    shown = capsys.readouterr().out
    assert "2/16" in shown and "16/16" in shown


@pytest.mark.parametrize(
    ("attacks", "epsilons", "words"),
    [
        ([], [0.1], "`attacks` must be a list of attacks"),
        (["pgd"], [0.1], "`attacks` must be a list of attacks"),
        (kas.PGD(), [0.1], "`attacks` must be a list of attacks"),
        ([kas.PGD(targeted=True)], [0.1], "untargeted"),
        ([kas.SpatialAttack()], [0.1], "by an epsilon; received 'SpatialAttack'"),
        ([kas.PGD(), kas.DDN()], [0.1], "the same norm"),
        ([kas.PGD(), kas.PGD(bounds=(0, 255))], [0.1], "the same bounds"),
        ([kas.PGD()], [-0.1], "`epsilons` must be a finite number >= 0; received -0.1"),
        ([kas.PGD()], [], "`epsilons` must be a list"),
        ([kas.PGD()], 0.1, "`epsilons` must be a list"),
        ([kas.FMN()], None, "`epsilons` must be a list"),
    ],
)
def test_bad_attacks_and_epsilons(attacks, epsilons, words, two_halves, points):
    with pytest.raises(ValueError, match=words):
        kas.evaluate_robustness(two_halves, points, attacks, epsilons)


def test_bad_data(two_halves, points):
    x, y = points
    unlabeled = tf.data.Dataset.from_tensor_slices(x).batch(2)
    for data in (x, unlabeled, (x, None)):
        with pytest.raises(ValueError, match="Without labels there is no accuracy"):
            kas.evaluate_robustness(two_halves, data, **QUICK)
    with pytest.raises(ValueError, match="one label for each"):
        kas.evaluate_robustness(two_halves, (x, y[:2]), **QUICK)
    with pytest.raises(ValueError, match="bounds"):
        kas.evaluate_robustness(two_halves, (9 * x, y), **QUICK)


def test_a_regression_model_has_no_accuracy(points):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    with pytest.raises(ValueError, match="must be a classifier"):
        kas.evaluate_robustness(model, points, **QUICK)


@pytest.mark.parametrize("engine", ["ray", 2, kas.scale.InProcess])
def test_an_engine_that_is_none_is_named(engine):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    with pytest.raises(TypeError, match="evaluate_robustness: `engine` must be None or an engine"):
        kas.evaluate_robustness(model, (np.full((2, 2), 0.5), [0, 1]), [kas.FGSM(0.1)], engine=engine)
