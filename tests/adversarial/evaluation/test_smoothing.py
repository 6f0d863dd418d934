"""Certificates: on a linear model the smoothed decision and its distance are known exactly."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy import stats

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.evaluation.smoothing import lower_bound

SIGMA = 0.5


@pytest.fixture(scope="module")
def two_halves():
    """Class 0 where x0 > x1."""
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])


@pytest.fixture(scope="module")
def points():
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype("float32")
    return x, np.abs(x[:, 0] - x[:, 1]) / np.sqrt(2)


def test_no_radius_reaches_beyond_the_boundary(two_halves, points):
    """A linear model votes as its middle does, so the majority changes exactly at the boundary."""
    x, distance = points
    prediction, radius = kas.certify(two_halves, x, SIGMA)
    sure = prediction >= 0
    assert sure.sum() > 40
    assert np.array_equal(prediction[sure], (x[sure, 0] < x[sure, 1]).astype(int))
    assert (radius <= distance).all() and (radius[sure] > 0).all() and (radius[~sure] == 0).all()


def test_more_copies_prove_more(two_halves, points):
    """Of n copies the share Phi(distance / sigma) votes for the decision; the bound comes closer as n grows."""
    x, distance = points
    few, many = (kas.certify(two_halves, x, SIGMA, n=n).radius for n in (300, 20_000))
    near = distance < SIGMA
    assert np.abs(many - distance)[near].max() < 0.05
    assert np.mean(distance[near] - few[near]) > 2 * np.mean(distance[near] - many[near])


def test_radius_is_that_of_the_votes(two_halves):
    """Far from the boundary all copies agree, and the radius is as large as n copies can prove."""
    radius = kas.certify(two_halves, np.array([[100.0, 0.0]]), SIGMA, n=1000, alpha=0.01).radius
    assert radius[0] == pytest.approx(SIGMA * stats.norm.ppf(0.01 ** (1 / 1000)), rel=1e-6)


def test_on_the_boundary_it_abstains(two_halves):
    assert kas.certify(two_halves, np.array([[0.5, 0.5]]), SIGMA) == (np.array([-1]), np.array([0.0]))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 5000])
def test_draws_belong_to_the_example(batch_size, two_halves, points):
    x, _ = points
    together = kas.certify(two_halves, x[:9], SIGMA, n=200)
    split = kas.certify(two_halves, x[:9], SIGMA, n=200, batch_size=batch_size)
    alone = kas.certify(two_halves, x[4:5], SIGMA, n=200, batch_size=batch_size)
    assert np.array_equal(together.radius, split.radius) and np.array_equal(together.prediction, split.prediction)
    assert alone.radius[0] == together.radius[4]


def test_seeds_differ_and_repeat(two_halves, points):
    first, again, other = (kas.certify(two_halves, points[0], SIGMA, n=200, seed=seed).radius for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_one_unit_decides_between_two_classes():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")])
    prediction, radius = kas.certify(model, np.array([[2.0], [-2.0]]), SIGMA)
    assert prediction.tolist() == [1, 0] and (radius <= 2.0).all() and (radius > 0.5).all()


def test_scores_that_are_no_numbers_prove_nothing():
    layers = [keras.Input((2,)), keras.layers.Rescaling(np.nan), keras.layers.Dense(2)]
    assert kas.certify(keras.Sequential(layers), np.array([[1.0, 0.0]]), SIGMA).prediction[0] == -1


def test_images_and_bytes(two_halves):
    layers = [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    images = np.full((3, 2, 2, 1), 100, "uint8")
    assert kas.certify(keras.Sequential(layers), images, 10.0, n=50).radius.shape == (3,)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("n", [1, 20, 1000, 100_000])
def test_lower_bound_is_clopper_and_pearsons(n, alpha):
    k = np.unique(np.linspace(0, n, 11).astype(int))
    expected = np.where(k > 0, stats.beta.ppf(alpha, np.maximum(k, 1), n - k + 1), 0.0)
    assert lower_bound(k, n, alpha) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_model_is_left_as_it_was_and_progress_shown(two_halves, points, capsys):
    before = two_halves.get_weights()
    kas.certify(two_halves, points[0], SIGMA, n=50, verbose=1)
    assert "60/60" in capsys.readouterr().out
    assert all(np.array_equal(a, b) for a, b in zip(before, two_halves.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigma": 0.0}, "`sigma` must be a finite number > 0"),
        ({"n": 0}, "`n` must be a whole number >= 1"),
        ({"n0": 0}, "`n0` must be a whole number >= 1"),
        ({"alpha": 1.0}, "`alpha` must be a finite number in"),
        ({"batch_size": 0}, "`batch_size` must be a whole number >= 1"),
        ({"x": np.full((1, 2), np.nan)}, "`x` must be an array of finite numbers"),
    ],
)
def test_bad_input(options, words, two_halves):
    with pytest.raises(ValueError, match=words):
        kas.certify(two_halves, **{"x": np.zeros((1, 2)), "sigma": SIGMA, **options})


def test_regression_models_have_no_certificate():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    with pytest.raises(ValueError, match="chooses one class"):
        kas.certify(model, np.zeros((1, 2)), SIGMA)
