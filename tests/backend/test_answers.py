"""What asks a model for answers works on every backend; what needs its gradients says so."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas

# Classes 0 and 1 are on the two sides of the diagonal: (0.75, 0.5) is 0.125 from it in Linf and 0.18 in L2.
X, Y = np.array([[0.75, 0.5], [0.9, 0.1], [0.2, 0.8]], "float32"), np.array([0, 0, 1])


def diagonal(**last):
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="identity", **last)(inputs))


def test_certificates_and_votes():
    prediction, radius = kas.certify(diagonal(), X[:2], sigma=0.25, n=1000)
    assert prediction.tolist() == [0, 0] and 0.1 < radius[0] < 0.25 / np.sqrt(2) < radius[1]


@pytest.mark.parametrize("last", [{}, {"activation": "softmax"}], ids=["logits", "probabilities"])
def test_attacks_that_ask_for_answers(last):
    model = diagonal(**last)
    assert kas.Square(0.2, steps=50)(model, X, Y).success.tolist() == [True, False, False]
    report = kas.evaluate_robustness(model, (X, Y), [kas.Square(steps=30)], epsilons=[0.2])
    assert report.worst_case[0.2] == pytest.approx(2 / 3) and not report.warnings


def test_attacks_that_ask_for_decisions():
    model = diagonal()
    assert kas.GaussianNoise(0.5, repeats=20)(model, X[:1], Y[:1]).success.all()
    for attack in (kas.HopSkipJump(steps=1), kas.Boundary(steps=5)):
        assert 0.17 < attack(model, X[:1], Y[:1]).distance[0] < 0.6


def test_a_changed_model_answers_anew():
    model = diagonal()
    assert not kas.Square(0.01, steps=2)(model, X, Y).success.any()
    model.set_weights([-weight for weight in model.get_weights()])
    assert kas.Square(0.01, steps=2)(model, X, Y).success.all()


def augment(x):
    return x


GRADIENTS = {
    "attack": lambda model: kas.PGD(0.1)(model, X, Y),
    "attacks": lambda model: kas.AutoAttack(0.1)(model, X, Y),
    "smallest": lambda model: kas.DeepFool()(model, X, Y),
    "universal": lambda model: kas.UniversalPerturbation(0.1)(model, X, Y),
    "report": lambda model: kas.evaluate_robustness(model, (X, Y), epsilons=[0.1]),
    "fgsm": lambda model: kas.fgsm(model, X, Y),
    "input_gradient": lambda model: kas.input_gradient(model, X, Y),
    "saliency": lambda model: kas.saliency(model, X, Y),
    "loss": lambda model: kas.Square(0.1, loss=keras.losses.SparseCategoricalCrossentropy(True))(model, X, Y),
    "layer": lambda model: kas.AdversarialNoise(model, kas.PGD(0.1)),
    "training": lambda model: kas.AdversarialTraining(model, kas.PGD(0.1)),
    "consistency": lambda model: kas.FixMatch(model, weak=augment, strong=augment),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_what_needs_gradients_says_so(name):
    with pytest.raises(NotImplementedError, match=f"needs Keras on TensorFlow.* '{keras.backend.backend()}'"):
        GRADIENTS[name](diagonal())
