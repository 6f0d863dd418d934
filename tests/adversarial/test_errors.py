"""Errors name who was called, the argument at fault, and what to do."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.testing.attack_subject import SHAPE, network, pictures


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: kas.PGD(-0.1), "PGD: `epsilon` must be a finite number >= 0; received -0.1"),
        (lambda: kas.FMN(-1.0), "FMN: `epsilon`"),
        (lambda: kas.FGSM(float("nan")), "FGSM: `epsilon`"),
        (lambda: kas.PGD(0.1, norm="l7"), "PGD: `norm` must be one of 'linf', 'l2', 'l1'"),
        (lambda: kas.PGD(0.1, bounds=(1.0, 0.0)), "PGD: `bounds` must be (low, high)"),
        (lambda: kas.PGD(0.1, steps=0), "PGD: `steps`"),
        (lambda: kas.PGD(0.1, step_size=0.0), "PGD: `step_size`"),
        (lambda: kas.PGD(0.1, restarts=0), "PGD: `restarts`"),
        (lambda: kas.PGD(0.1, seed=-1), "PGD: `seed`"),
        (lambda: kas.PGD(0.1, loss="hinge"), "PGD: `loss` must be one of"),
        (lambda: kas.MomentumFGSM(0.1, decay=-1.0), "MomentumFGSM: `decay`"),
        (lambda: kas.APGD(0.1, samples=0), "APGD: `samples`"),
        (lambda: kas.APGD(0.1, loss="targeted", targeted=True), "APGD: `targeted`"),
        (lambda: kas.Square(0.1, share=0.0), "Square: `share`"),
        (lambda: kas.GaussianNoise(0.1, repeats=0), "GaussianNoise: `repeats`"),
        (lambda: kas.DeepFool(overshoot=-0.1), "DeepFool: `overshoot`"),
        (lambda: kas.FAB(candidates=0), "FAB: `candidates`"),
        (lambda: kas.DDN(norm="linf"), "DDN: `norm` must be \"l2\"; received 'linf'. FMN walks"),
        (lambda: kas.CarliniWagner(norm="l1"), "CarliniWagner: `norm`"),
        (lambda: kas.CarliniWagner(confidence=-1.0), "CarliniWagner: `confidence`"),
        (lambda: kas.Boundary(norm="l1"), "Boundary: `norm`"),
        (lambda: kas.HopSkipJump(evaluations=50, max_evaluations=20), "HopSkipJump: `max_evaluations`"),
        (lambda: kas.AutoAttack(0.1, version="slow"), "AutoAttack: `version`"),
        (lambda: kas.AutoAttack(0.1, loss="dlr"), "AutoAttack: `loss`"),
        (lambda: kas.SpatialAttack(200.0), "SpatialAttack: `max_degrees`"),
        (lambda: kas.SpatialAttack(grid=(3, 3)), "SpatialAttack: `grid`"),
        (lambda: kas.UniversalPerturbation(0.1, epochs=0), "UniversalPerturbation: `epochs`"),
        (lambda: kas.AdversarialTraining(plain(), kas.FMN()), "AdversarialTraining: `attack`"),
        (lambda: kas.AdversarialTraining(plain(), kas.PGD(targeted=True)), "AdversarialTraining: `attack`"),
        (lambda: kas.AdversarialTraining(plain(), kas.PGD(), method="quick"), "AdversarialTraining: `method`"),
    ],
)  # fmt: skip
def test_arguments(make, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        make()


def plain(*layers, units=3, shape=(4,), **compile):
    model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(units)])
    if compile:
        model.compile(**compile)
    return model


ATTACK = kas.FGSM(0.1)
X, Y = np.full((2, 4), 0.5, "float32"), np.array([0, 1])


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (2.0 * X + 0.5, Y, {}, "FGSM: `x` must be inside bounds (0, 1)"),
        (np.full_like(X, np.nan), Y, {}, "FGSM: `x` must be inside bounds"),
        (X[:0], Y[:0], {}, "FGSM: `x`"),
        (X, [0, 3], {}, "FGSM: `y` must be class numbers 0 to 2"),
        (X, [0, -1], {}, "FGSM: `y` must be class numbers 0 to 2"),
        (X, [0.0, 0.5], {}, "FGSM: `y` must be class numbers 0 to 2"),
        (X, [0], {}, "FGSM: `y` must be one label for each of the 2 examples"),
        (X, np.zeros((2, 5)), {}, "FGSM: `y` must be class numbers (N,) or one-hot labels (N, 3)"),
        (X, Y, {"mask": np.full(4, 0.5)}, "FGSM: `mask` must be 1 where"),
        (X, Y, {"mask": np.ones(3)}, "FGSM: `mask`"),
        (X, Y, {"batch_size": 0}, "FGSM: `batch_size`"),
        (X, Y, {"input_name": "image"}, "FGSM: `input_name`"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), Y, {}, "FGSM: `y` must be None when"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(2).take(0), None, {}, "FGSM: `x` must be a data set with"),
    ],
)
def test_data(x, y, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        ATTACK(plain(), x, y, **options)


@pytest.mark.parametrize(
    ("attack", "model", "words"),
    [
        (kas.FGSM(targeted=True), lambda: plain(), "FGSM: `y` must be the classes to reach"),
        (ATTACK, lambda: plain(units=1), "FGSM: `model` must be a model whose outputs are known"),
        (ATTACK, lambda: plain(loss="sparse_categorical_crossentropy"), "compiled with from_logits=True"),
        (ATTACK, lambda: plain(keras.layers.Lambda(tf.round)), "Square, HopSkipJump or Boundary"),
        (ATTACK, lambda: keras.Sequential([plain(units=1), keras.layers.Softmax()]), "at least two classes"),
        (ATTACK, lambda: plain(keras.layers.Reshape((2, 2))), "FGSM: `model` must be a model with outputs of shape"),
        (kas.FMN(), lambda: plain(units=1, loss="mse"), "FMN: `model` must be a classifier"),
        (kas.FGSM(loss="dlr"), lambda: plain(loss="mse"), "FGSM: `loss`"),
        (kas.SpatialAttack(), lambda: plain(), "SpatialAttack: `x` must be images"),
        (
            kas.FGSM(bounds=(np.zeros(3), np.ones(3))), lambda: plain(),
            "FGSM: `bounds` must be numbers or arrays that broadcast to (4,)",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")
def test_models(attack, model, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        attack(model(), X)


def test_kinds():
    with pytest.raises(TypeError, match="FGSM: `model` must be a keras.Model"):
        ATTACK(lambda x: x, X)
    with pytest.raises(TypeError, match="AdversarialTraining: `attack` must be an attack"):
        kas.AdversarialTraining(plain(), "pgd")
    with pytest.raises(TypeError, match="FGSM: `x` must be an array of numbers"):
        ATTACK(plain(), X.astype(str), Y)


def test_default_epsilons_need_finite_bounds():
    with pytest.raises(ValueError, match="`epsilons` must be given where the bounds are infinite.*epsilons="):
        kas.evaluate_robustness(plain(), (X, Y), bounds=(-np.inf, np.inf))


@pytest.mark.parametrize("batch", [1, 4])
def test_states_of_a_recurrent_layer_are_left_alone(batch):
    model = keras.Sequential([keras.layers.GRU(3, stateful=True), keras.layers.Dense(3)])
    x = np.full((batch, 2, 2), 0.5, "float32")
    model(x)
    before = model.layers[0].states[0].numpy()
    with pytest.raises(ValueError, match="FGSM: `model` must be a model that remembers nothing.*stateful=False"):
        ATTACK(model, x)
    assert np.array_equal(before, model.layers[0].states[0].numpy())


def test_ragged_lists():
    with pytest.raises(ValueError, match="FGSM: `x` must be an array, or nested lists of numbers of one shape"):
        ATTACK(plain(), [[0.1, 0.2], [0.3]], Y)


def test_a_shared_perturbation_has_one_mask():
    attack = kas.UniversalPerturbation(0.1)
    with pytest.raises(ValueError, match="UniversalPerturbation: `mask`"):
        attack(network().become("curved"), pictures(2), mask=np.ones((2, *SHAPE)))
