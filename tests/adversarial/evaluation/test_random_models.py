"""Models that draw random numbers in inference, on one for which the best possible attack can be computed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy import stats

import keras_aug_ssl as kas

SIGMA = 0.3
EPSILONS = [0.05, 0.1]


class AlwaysNoise(keras.layers.Layer):
    """Adds Gaussian noise, in training or not."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), stddev=SIGMA, seed=self.generator)


def network(*layers):
    """Class 0 where x0 > x1: the logits are the inputs."""
    dense = keras.layers.Dense(2, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((2,)), dense, *layers])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).uniform(0.2, 0.8, (150, 2)).astype("float32")
    return x, (x[:, 1] > x[:, 0]).astype(int)


def best(data, epsilon):
    """What the best attack leaves: it takes 2 epsilon from the margin, whose noise has the size sqrt(2) SIGMA."""
    x, _ = data
    return stats.norm.cdf((np.abs(x[:, 0] - x[:, 1]) - 2 * epsilon) / (np.sqrt(2) * SIGMA)).mean()


def test_accuracies_are_means_over_draws(data):
    """No lucky draw counts: the worst case is what the best possible attack leaves, and no less."""
    attacks = [kas.FGSM(), kas.PGD(steps=10), kas.GaussianNoise(), kas.FMN(steps=20)]
    report = kas.evaluate_robustness(network(AlwaysNoise()), data, attacks, EPSILONS)
    rounding = 0.02  # 5 standard deviations of a mean over 150 examples and 100 draws
    assert report.clean_accuracy == pytest.approx(best(data, 0.0), abs=rounding)
    for epsilon in EPSILONS:
        assert report.worst_case[epsilon] == pytest.approx(best(data, epsilon), abs=rounding)
        assert report.curves[0].accuracy[epsilon] == pytest.approx(best(data, epsilon), abs=rounding)
        assert all(curve.accuracy[epsilon] > best(data, epsilon) - rounding for curve in report.curves)
    (text,) = report.warnings
    assert "random numbers" in text and 'AutoAttack(version="rand")' in text


def test_dropout_that_is_always_on_is_found_out(data):
    class AlwaysDropout(keras.layers.Dropout):
        def call(self, inputs, training=False):
            return super().call(inputs, training=True)

    report = kas.evaluate_robustness(network(AlwaysDropout(0.1)), (data[0][:5], data[1][:5]), [kas.FGSM()], [0.0])
    assert "random numbers" in report.warnings[0]


def test_a_model_that_answers_alike_is_asked_once(data):
    report = kas.evaluate_robustness(network(keras.layers.GaussianNoise(SIGMA)), data, [kas.FGSM()], [0.05])
    assert report.warnings == () and report.clean_accuracy == 1.0
