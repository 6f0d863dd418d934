"""Objectives, the gradient with respect to the input, and its use in both directions, by hand and by differences."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.threat.balls import BALLS
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS, Head
from keras_aug_ssl.testing.attack_subject import network, pictures

SCORES = np.array([[2.0, -1.0, 0.5, 1.0], [0.0, 3.0, 1.0, -2.0], [0.1, 0.0, -0.1, 0.2]], "float32")
Y = np.array([0, 2, 3], "int32")


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def value(objective, scores=SCORES, *goal):
    return np.asarray(objective(tf.constant(scores, tf.float32), *(goal or (tf.constant(Y),))))


def slope(objective, scores):
    scores = tf.constant(scores, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = objective(scores, tf.constant(Y))
    return np.asarray(tape.gradient(found, scores))


def test_cross_entropy_is_that_of_keras():
    expected = keras.losses.sparse_categorical_crossentropy(Y, SCORES, from_logits=True)
    assert np.allclose(value(objectives.cross_entropy), expected, atol=1e-6)


@pytest.mark.parametrize("objective", [objectives.log_odds, objectives.sharp_log_odds, objectives.margin])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_no_gradient_saturates(objective, factor):
    """Whatever the unit of the logits, the slope towards the label is -1 and that of its rivals adds up to 1."""
    found = slope(objective, factor * SCORES)
    own = found[np.arange(3), Y]
    assert np.allclose(own, -1.0, atol=1e-4) and np.allclose(found.sum(axis=1), 0.0, atol=1e-4)


def test_margin_is_positive_where_another_is_chosen():
    assert np.array_equal(value(objectives.margin) > 0, SCORES.argmax(axis=1) != Y)
    assert np.allclose(value(objectives.margin), [-1.0, 2.0, -0.1])


def test_dlr_is_the_margin_in_units_of_the_spread():
    assert np.allclose(value(objectives.dlr), [-1.0 / 1.5, 2.0 / 3.0, -0.1 / 0.2], atol=1e-6)
    assert np.allclose(value(objectives.dlr, 7.0 * SCORES + 3.0), value(objectives.dlr), atol=1e-5)
    assert np.allclose(value(objectives.dlr, SCORES[:, :2], tf.zeros(3, tf.int32)), SCORES[:, 1] - SCORES[:, 0])


def test_targeted_dlr_is_as_printed():
    target = np.array([1, 1, 0], "int32")
    gap = [2.0 - (0.5 - 1.0) / 2, 3.0 - (0.0 - 2.0) / 2, 0.2 - (0.0 - 0.1) / 2]
    expected = [(-1.0 - 2.0) / gap[0], (3.0 - 1.0) / gap[1], (0.1 - 0.2) / gap[2]]
    assert np.allclose(value(objectives.targeted_dlr, SCORES, tf.constant(Y), tf.constant(target)), expected, atol=1e-6)


def test_divergence_of_predictions():
    clean, moved = softmax(SCORES), softmax(SCORES[::-1])
    expected = (clean * (np.log(clean) - np.log(moved))).sum(axis=1)
    assert np.allclose(value(objectives.divergence, SCORES[::-1], SCORES), expected, atol=1e-5)
    assert np.allclose(value(objectives.divergence, SCORES, SCORES), 0.0, atol=1e-6)


def test_labels_add_up_their_binary_cross_entropies():
    labels = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]], "float32")
    wrongness = SCORES * (1.0 - 2.0 * labels)
    expected = np.log(np.log1p(np.exp(wrongness)).sum(axis=1))
    assert np.allclose(value(objectives.any_label, SCORES, labels), expected, atol=1e-5)
    sure = value(objectives.any_label, np.where(labels > 0, 90.0, -90.0), labels)
    assert np.allclose(sure, np.log(4.0) - 90.0, atol=1e-3)  # where softplus itself is zero in float32


LOGITS = {"from_logits": True}
ONE_HOT = np.eye(4, dtype="float32")[Y]
PAIRS = np.array([[0.0, 2.0], [0.0, -1.0]], "float32")  # what a head of one unit makes of its outputs
ONES = np.ones((2, 1), "float32")


@pytest.mark.parametrize(
    ("loss", "head", "given", "fitted"),
    [
        (
            keras.losses.SparseCategoricalCrossentropy(),
            Head(CLASSES, False, 4, "softmax"),
            (Y, SCORES),
            (Y, softmax(SCORES)),
        ),
        (keras.losses.CategoricalCrossentropy(**LOGITS), Head(CLASSES, True, 4), (Y, SCORES), (ONE_HOT, SCORES)),
        (keras.losses.BinaryCrossentropy(**LOGITS), Head(LABELS, True, 4), (ONE_HOT, SCORES), (ONE_HOT, SCORES)),
        (keras.losses.MeanSquaredError(), Head(NUMBERS, False, 4), (ONE_HOT, SCORES), (ONE_HOT, SCORES)),
        (keras.losses.BinaryCrossentropy(**LOGITS), Head(BINARY, True, 1), (ONES[:, 0], PAIRS), (ONES, PAIRS[:, 1:])),
    ],
    ids=["sparse", "one-hot", "labels", "numbers", "binary"],
)
def test_a_keras_loss_gets_what_fit_would_give_it(loss, head, given, fitted):
    found = value(objectives.from_keras("test", loss, head), given[1], tf.constant(given[0]))
    each = [float(loss(fitted[0][i : i + 1], fitted[1][i : i + 1])) for i in range(len(found))]
    assert np.allclose(found, each, atol=1e-5)


def test_input_gradient_is_that_of_differences():
    model, x = network().become("curved"), pictures(2)
    labels = np.array([0, 1])
    gradient = kas.input_gradient(model, x, labels)
    assert gradient.shape == x.shape and gradient.dtype == np.float32
    for at in [(0, 2, 3, 0), (1, 4, 0, 0)]:
        around = np.stack([x, x])
        around[0][at] += 0.01
        around[1][at] -= 0.01
        up, down = (
            np.asarray(keras.losses.sparse_categorical_crossentropy(labels, network().scores(moved), from_logits=True))
            for moved in around
        )
        assert gradient[at] == pytest.approx((up - down)[at[0]] / 0.02, abs=2e-3)


def test_an_example_has_the_same_gradient_alone():
    model, x = network().become("curved"), pictures(3)
    labels = np.array([0, 1, 2])
    alone = kas.input_gradient(model, x[1:2], labels[1:2])
    assert np.allclose(kas.input_gradient(model, x, labels)[1:2], alone, atol=1e-6)
    assert tf.is_tensor(kas.input_gradient(model, tf.constant(x), labels))


def test_fgsm_climbs_and_descends():
    model, x = network().become("curved"), 0.25 + 0.5 * pictures(3)
    labels = np.array([0, 1, 2])
    signs = np.sign(kas.input_gradient(model, x, labels))
    for targeted, direction in ((False, 1.0), (True, -1.0)):
        moved = kas.fgsm(model, x, labels, epsilon=0.1, targeted=targeted)
        assert np.allclose(moved, x + direction * 0.1 * signs, atol=1e-6)
    assert tf.is_tensor(kas.fgsm(model, tf.constant(x), labels, epsilon=0.1))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("rows", [1, 251])
def test_fgsm_is_the_attack_without_its_verdict(norm, rows):
    model = keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    x = np.random.default_rng(0).integers(0, 256, (rows, 3, 3, 1), dtype=np.uint8)
    one_hot = np.eye(3)[np.arange(rows) % 3]
    expected = kas.FGSM(8.0, norm, bounds=(0, 255))(model, x, one_hot).x_adv
    assert np.array_equal(kas.fgsm(model, x, one_hot, epsilon=8.0, norm=norm, bounds=(0, 255)), expected)
    assert not np.array_equal(expected, x)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("epsilon", [0.1, 0.3, 7.0])
def test_the_step_of_fgsm_ends_inside_to_the_last_bit(norm, epsilon):
    """Bounds, mask and, as float32 measures it, the ball: also where `x + epsilon` rounds to beyond it."""
    draw = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    x, mask = draw.uniform(-2, 3, (100, 5, 5, 1)).astype("float32"), draw.integers(0, 2, (5, 5, 1))
    moved = kas.FGSM(epsilon, norm, bounds=(-2, 3))(model, x, np.arange(100) % 3, mask=mask).x_adv
    assert np.array_equal(moved[:, mask == 0], x[:, mask == 0])
    assert moved.min() >= -2 and moved.max() <= 3
    size = BALLS[norm].size(tf.constant(moved - x)).numpy()
    assert (size > 0).all() and (size <= np.float32(epsilon)).all()


def test_a_callable_is_raised():
    """The negative mean output of class 2 as a loss: the attack lowers that output."""
    model, x = network().become("curved"), pictures(3)

    def low_output(y_true, y_pred):
        return -y_pred[:, 2]

    result = kas.FGSM(0.05, loss=low_output)(model, x, np.zeros(3, int))
    assert (network().scores(result.x_adv)[:, 2] < network().scores(x)[:, 2]).all()
    assert np.allclose(result.loss, -network().scores(result.x_adv)[:, 2], atol=1e-5)
