"""Calibration: what is known in closed form, and a dry run against the run itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import calibration
from tests.helpers import clusters, network, run

X, Y, POOL, HIDDEN = clusters()


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def calibrated():
    """Logits whose softmax says exactly how often each class is true."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(20000, 4)) * 2.0
    labels = (softmax(logits).cumsum(axis=1) < random.random((20000, 1))).sum(axis=1)
    return logits, labels


def test_a_calibrated_model_has_no_error_and_temperature_one(calibrated):
    logits, labels = calibrated
    assert calibration.expected_calibration_error(softmax(logits), labels) < 0.015
    assert calibration.temperature(softmax(logits), labels) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_temperature_undoes_a_scaling_of_logits(calibrated, factor):
    logits, labels = calibrated
    scaled = softmax(logits * factor)
    assert calibration.expected_calibration_error(scaled, labels) > 0.05
    found = calibration.temperature(scaled, labels)
    assert found == pytest.approx(factor, rel=0.03)
    assert calibration.expected_calibration_error(softmax(logits * factor / found), labels) < 0.015


def test_reliability_counts_every_row_once_and_its_error_is_the_mean_gap():
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0], [1.0, 0.0]])
    found = calibration.reliability(probabilities, [0, 1, 0, 1], bins=10)
    assert found.count.sum() == 4 and found.count[-1] == 2 and found.accuracy[-1] == 0.5
    assert found.error == pytest.approx((0.5 + 0.6 + 2 * 0.5) / 4)
    assert np.isnan(found.accuracy[0])


def test_reliability_is_drawn():
    figure = calibration.reliability(softmax(np.random.default_rng(0).normal(size=(50, 3))), [0] * 50).plot()
    axes = figure.axes[0]
    assert axes.get_xlabel() == "confidence" and len(axes.patches) > 0
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("right", "total", "low", "high"), [(0, 0, 0, 1), (10, 10, 0.722, 1), (0, 10, 0, 0.278), (50, 100, 0.404, 0.596)]
)
def test_intervals_are_wilsons(right, total, low, high):
    assert calibration.precision_interval(right, total) == pytest.approx((low, high), abs=1e-3)


def test_intervals_hold_what_they_promise():
    random = np.random.default_rng(0)
    hits = [
        low <= 0.9 <= high
        for low, high in (calibration.precision_interval(k, 60) for k in random.binomial(60, 0.9, 500))
    ]
    assert np.mean(hits) > 0.92


def test_a_dry_run_says_what_the_run_then_does():
    st = kas.SelfTraining(POOL[:60], kas.rules.Threshold(0.9), start_epoch=4, oracle=HIDDEN[:60])
    model = network()
    run(st, model, epochs=4)
    said = calibration.dry_run(model, POOL[:60], kas.rules.Threshold(0.9), POOL[60:], HIDDEN[60:])
    probabilities = model.predict(POOL[:60], verbose=0)
    taken = probabilities.max(1) >= 0.9
    assert said.added == taken.sum() > 0 and said.rows == 60
    np.testing.assert_array_equal(said.per_class, np.bincount(probabilities.argmax(1)[taken], minlength=3))
    low, high = said.interval
    assert low <= said.precision <= high and said.precision > 0.9
    assert str(said).startswith(f"Threshold(confidence=0.9) would add {said.added} of 60 rows (0: ")


def test_a_dry_run_asks_the_teachers_who_will_label():
    model, teachers = network(), [network(), network()]
    for seed, teacher in enumerate(teachers):
        keras.utils.set_random_seed(seed)
        teacher.fit(POOL, HIDDEN, epochs=20, verbose=0)
    said = calibration.dry_run(model, POOL, kas.rules.Threshold(0.9), X, Y, teachers=teachers)
    taken = np.mean([teacher.predict(POOL, verbose=0) for teacher in teachers], axis=0).max(1) >= 0.9
    assert said.added == taken.sum() > 0
    with pytest.raises(ValueError, match="`select` must be a rule without passes="):
        calibration.dry_run(model, POOL, kas.rules.Uncertainty(0.1, passes=3), X, Y, teachers=teachers)


@pytest.mark.parametrize(("shift", "hurts"), [(0, False), (1, True)])
def test_a_dry_run_says_whether_self_training_will_hurt(shift, hurts):
    model = network()
    model.fit(POOL, HIDDEN, epochs=20, verbose=0)
    said = calibration.dry_run(model, POOL, kas.rules.Threshold(0.5), X, (Y + shift) % 3)
    assert said.judged < 10 and not said.will_hurt  # too few to say
    said = calibration.dry_run(model, POOL, kas.rules.Threshold(0.5), POOL[:60], (HIDDEN[:60] + shift) % 3)
    assert said.will_hurt == hurts == ("will hurt" in str(said))


def test_a_dry_run_that_takes_nothing_knows_nothing():
    said = calibration.dry_run(network(), POOL, lambda p: np.zeros(len(p)), X, Y)
    assert said.added == 0 and np.isnan(said.precision) and said.interval == (0.0, 1.0)
    assert "unknown precision" in str(said)


def test_self_training_uses_held_out_rows_for_its_level_and_temperature():
    st = kas.SelfTraining(
        POOL[30:],
        kas.rules.TargetPrecision(0.9),
        start_epoch=3,
        holdout=(POOL[:30], HIDDEN[:30]),
        temperature="calibrated",
    )
    run(st, epochs=5)
    assert (
        st.table()["selected"].any()
        and np.mean(st.transduction_[len(X) :][st.table()["selected"]] == HIDDEN[30:][st.table()["selected"]]) > 0.85
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: calibration.reliability(np.ones((2, 2)), [0, 1]),
        lambda: calibration.reliability(np.full((2, 2), 0.5), [0]),
        lambda: calibration.reliability(np.full((2, 2), 0.5), [0, 5]),
        lambda: calibration.reliability(np.full((2, 2), 0.5), [0, 1], bins=0),
        lambda: calibration.temperature(np.empty((0, 2)), []),
        lambda: calibration.dry_run(network(), POOL, kas.rules.Threshold(), X, Y, temperature=0.0),
    ],
)
def test_bad_input_is_named(make):
    with pytest.raises(ValueError, match="`"):
        make()


@pytest.mark.parametrize("rows", [1, 8, 500])
def test_rows_that_are_all_right_support_no_more_than_their_number_does(rows):
    random = np.random.default_rng(0)
    logits = random.normal(size=(rows, 3))
    logits = np.where(np.arange(3) == 0, logits.max(axis=1, keepdims=True) + 0.5, logits)

    def probabilities(divisor=1.0):
        e = np.exp(logits / divisor)
        return e / e.sum(axis=1, keepdims=True)

    found = kas.calibration.temperature(probabilities(), np.zeros(rows, int))
    assert 0.01 < found < 100
    assert probabilities(found).max(axis=1).mean() == pytest.approx((rows + 1) / (rows + 2), abs=1e-3)


def test_a_flat_head_is_sharpened():
    random, rows = np.random.default_rng(0), 2000
    truth = random.normal(size=(rows, 4)) * 3.0
    labels = np.array([random.choice(4, p=np.exp(row) / np.exp(row).sum()) for row in truth])
    flat = np.exp(0.02 * truth) / np.exp(0.02 * truth).sum(axis=1, keepdims=True)
    assert kas.calibration.temperature(flat, labels) == pytest.approx(0.02, rel=0.1)


def test_labels_that_say_no_by_minus_one_are_read_as_such():
    x, truth = POOL, (HIDDEN > 0).astype("float32")
    said = {}
    for loss, labels in (("hinge", 2 * truth - 1), ("binary_hinge", truth)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), "hinge")
        model.fit(x, labels, epochs=20, verbose=0)
        said[loss] = calibration.dry_run(model, x, kas.rules.TopFraction(0.5), x, labels)
    one, other = said.values()
    assert one.precision == other.precision > 0.8


def test_what_is_wrong_is_shown():
    for probabilities, labels, shown in (
        ([[0.5, 0.5], [0.5, np.nan]], [0, 1], "nan"), ([[0.5, 0.5], [0.5, 0.5]], [1, -1], "-1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=shown):
            calibration.reliability(np.array(probabilities), np.array(labels))
