"""The pool's class mix: found where predictions are calibrated, believed only beyond what errors explain."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.teaching import class_mix
from tests.helpers import clusters, network, run

MIX = np.array([0.7, 0.2, 0.1])
EVEN = np.full(3, 1 / 3)


def posteriors(mix, distance, count=20_000, seed=0):
    """Calibrated posteriors under even classes, Gaussians at `distance` from the origin, for rows of another mix."""
    draw = np.random.default_rng(seed)
    label = draw.choice(len(mix), count, p=mix)
    x = distance * np.eye(len(mix))[label] + draw.normal(size=(count, len(mix)))
    likelihood = np.exp(distance * x - (distance * x).max(axis=1, keepdims=True))
    return likelihood / likelihood.sum(axis=1, keepdims=True), label


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_calibrated_predictions_give_the_mix_however_often_they_are_wrong(distance):
    probabilities, label = posteriors(MIX, distance)
    found = class_mix.likeliest_mix(probabilities, EVEN)
    assert np.abs(found - np.bincount(label, minlength=3) / len(label)).max() < 0.02
    if distance < 2.0:  # counting what is predicted doesn't
        counted = np.bincount(probabilities.argmax(axis=1), minlength=3) / len(label)
        assert np.abs(counted - MIX).max() > 0.05


def test_an_estimate_is_believed_as_far_as_errors_dont_explain_it():
    sharp, _ = posteriors(MIX, 4.0)
    believed = class_mix.estimate(sharp, EVEN)
    assert believed.trust == 1.0 and np.abs(believed.shares - MIX).max() < 0.02
    blurred, _ = posteriors(MIX, 0.7)
    doubted = class_mix.estimate(blurred, EVEN)
    assert doubted.trust == 0.0 and np.allclose(doubted.shares, EVEN)
    same, _ = posteriors(EVEN, 4.0)
    kept = class_mix.estimate(same, EVEN)
    assert np.abs(kept.shares - EVEN).max() < 0.01  # whatever of it is believed


def test_an_absent_class_stays_absent_and_shares_sum_to_one():
    probabilities, _ = posteriors(MIX, 3.0)
    found = class_mix.estimate(probabilities, np.array([0.5, 0.5, 0.0]))
    assert found.shares[2] == 0.0 and found.shares.sum() == pytest.approx(1.0)
    assert "class mix 0: 0." in str(found) and "20000 predictions" in str(found)


def skewed(keep=3):
    """`clusters` with few rows of the last class."""
    x, y, pool, hidden = clusters(labeled=4, unlabeled=60)
    rows = (hidden < 2) | (np.cumsum(hidden == 2) <= keep)
    return x, y, pool[rows], hidden[rows]


def test_quotas_follow_the_estimate_and_a_prior_overrides():
    x, y, pool, hidden = skewed()
    taken = {}
    for prior in (None, "labeled", [0.49, 0.49, 0.02]):
        st = kas.SelfTraining(pool, kas.rules.TopFraction(0.5), start_epoch=6, prior=prior)
        run(st, network(), epochs=8, task=(x, y))
        label = st.table()["label"]
        taken[str(prior)] = np.bincount(label[st.table()["weight"] > 0].astype(int), minlength=3)
        if prior is None:
            truth = np.bincount(hidden, minlength=3) / len(hidden)
            assert st.class_mix_.trust == 1.0 and np.abs(st.class_mix_.shares - truth).max() < 0.05
        else:
            assert st.class_mix_ is None
    assert taken["None"][2] <= 4 and taken["None"][:2].min() > taken["labeled"][:2].max()


def test_the_estimate_is_made_once_and_kept_with_the_run(tmp_path):
    x, y, pool, _ = skewed()

    def one():
        return kas.SelfTraining(pool, kas.rules.TopFraction(0.3, step=0.1), start_epoch=4, backup_dir=tmp_path)

    first = one()
    run(first, network(), epochs=6, task=(x, y))
    mix = first.class_mix_
    second = one()
    run(second, network(), epochs=9, task=(x, y))
    for a, b in zip(second.class_mix_, mix, strict=True):
        assert np.array_equal(a, b)


def test_rows_that_are_not_finite_are_no_part_of_it():
    x, y, pool, hidden = skewed()
    pool[::7] = np.nan
    st = kas.SelfTraining(pool, kas.rules.TopFraction(0.5), start_epoch=6)
    with pytest.warns(UserWarning, match="NaN or infinity"):
        run(st, network(), epochs=7, task=(x, y))
    assert st.class_mix_.rows == np.isfinite(pool).all(axis=1).sum()


def test_several_labels_and_numbers_have_no_mix():
    x, _, pool, _ = clusters()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    st = kas.SelfTraining(pool, kas.rules.LowVariance(passes=2, view=lambda x: x + 0.01), start_epoch=1)
    run(st, model, epochs=2, task=(x, x[:, 0]))
    assert st.class_mix_ is None


def test_thousands_of_classes_are_estimated_from_fewer_rows_and_shown_in_short():
    assert class_mix.rows_needed(10) == 10_000 and class_mix.rows_needed(20_000) == 1_000
    even = np.full(50, 0.02)
    text = str(class_mix.estimate(np.eye(50), even))
    assert text.count(": 0.020") == 20 and "of 50 classes" in text
