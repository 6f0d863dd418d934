"""A class that is out of the question, by a mask or without training rows, changes no decision and so no attack."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.helpers import LOGITS

X = np.random.default_rng(0).uniform(0.3, 0.7, (40, 5)).astype("float32")
WEIGHTS = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
ATTACKS = {
    "PGD": kas.PGD(0.3, steps=10),
    "APGD": kas.APGD(0.3, steps=10),
    "Square": kas.Square(0.3, steps=50),
    "FMN": kas.FMN(steps=20),
    "DeepFool": kas.DeepFool(norm="linf"),
    "FAB": kas.FAB(norm="linf", steps=10),
}


class Masked(keras.layers.Layer):
    """Puts a class that isn't allowed behind the others."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def call(self, scores):
        return tf.concat([scores, tf.zeros_like(scores[:, :1]) + self.value], axis=1)


def model(value=None):
    layers = [keras.Input((5,)), keras.layers.Dense(3, use_bias=False)]
    made = keras.Sequential(layers if value is None else [*layers, Masked(value)])
    made.set_weights([WEIGHTS])
    made.compile(loss=LOGITS)
    return made


@functools.cache  # what an attack has compiled for a model is never freed
def alone(name):
    """Decisions without the class, and what the attack then fools."""
    y = model().predict(X, verbose=0).argmax(1)
    return y, ATTACKS[name](model(), X, y).success.mean()


@pytest.mark.parametrize("value", [-20.0, -1e9, -np.inf])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hopeless_class_saves_nobody(name, value):
    (y, fooled), beside = alone(name), model(value)
    assert fooled > 0.2
    assert np.abs(ATTACKS[name](beside, X, y).success.mean() - fooled) <= 0.05
    wrong = ATTACKS[name](beside, X, (y + 1) % 3)
    assert wrong.robust_accuracy == 0.0 and wrong.success.all()


def test_a_model_without_an_answer_is_neither_accurate_nor_robust():
    """Of NaN the largest is the first, class 0."""
    lost = model()
    lost.set_weights([np.full((5, 3), np.nan)])
    report = kas.evaluate_robustness(lost, (X[:10], np.zeros(10, int)), [kas.BIM(steps=2)], [0.1])
    assert report.clean_accuracy == 0.0 and report.worst_case[0.1] == 0.0


def test_every_sample_of_a_gradient_is_a_query():
    """The clean scores, five steps of three samples, the last point, and what comes out."""
    y = model().predict(X, verbose=0).argmax(1)
    result = kas.APGD(1e-6, steps=5, samples=3)(model(), X, y)
    assert set(result.queries[~result.success]) == {1 + 5 * 3 + 1 + 1}


class Whole(keras.layers.Layer):
    """Has no gradient, and refuses what is no number."""

    def call(self, x):
        tf.debugging.assert_all_finite(x, "asked about NaN")
        return tf.round(x * 9.0)


def test_decision_attacks_ask_about_numbers_only():
    """Also about examples that no start fools, which leave before the first step."""
    sure = keras.Sequential([keras.Input((5,)), Whole(), keras.layers.Dense(3)])
    sure.set_weights([np.zeros((5, 3)), np.array([9.0, 0, 0])])
    sure.compile(loss=LOGITS)
    result = kas.HopSkipJump(steps=2, evaluations=8)(sure, X)
    assert not result.success.any() and result.queries.max() < 8 + 60


def test_without_attacks_named_several_labels_get_their_own():
    several = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="sigmoid")])
    several.compile(loss="binary_crossentropy")
    y = (several.predict(X, verbose=0) > 0.5).astype("float32")
    report = kas.evaluate_robustness(several, (X, y), epsilons=[0.1])
    assert "APGD" in str(report) and report.worst_case[0.1] < report.clean_accuracy == 1.0
    with pytest.raises(ValueError, match="AutoAttack: `model` must be a model of classes.*margin"):
        kas.AutoAttack(0.1)(several, X, y)


def test_a_universal_perturbation_reads_the_labels_of_a_data_set():
    yes_no = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="sigmoid")])
    yes_no.compile("sgd", "mse")
    batches = tf.data.Dataset.from_tensor_slices((X, (X[:, 0] > 0.5).astype("float32"))).batch(10)
    assert len(kas.UniversalPerturbation(0.1, epochs=1)(yes_no, batches).success) == 40
