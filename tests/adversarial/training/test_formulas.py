"""One step of every method against the paper's formula in NumPy and float64, BatchNormalization included."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.methods import Batch, Free, Ikl, Mart, Trades, Virtual
from tests.helpers import LOGITS

EPSILON, MOMENTUM = 0.2, 0.9


def network():
    start = keras.initializers.GlorotUniform(3)
    hidden = [keras.layers.Dense(4, kernel_initializer=start), keras.layers.BatchNormalization(momentum=MOMENTUM)]
    last = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(4))
    return keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Activation("tanh"), last])


def task():
    draw = np.random.default_rng(1)
    x, y = draw.uniform(0.3, 0.7, (6, 3)).astype("float32"), np.array([0, 1, 2, 0, 1, 2])
    return x, y, np.array([1.0, 0.5, 2.0, 1.0, 0.0, 1.5], "float32")


def forward(parameters, x, moments):
    """Logits in training mode; the batch's mean and variance are appended to `moments`."""
    kernel, bias, scale, shift, kernel2, bias2 = parameters
    hidden = x @ kernel + bias
    mean, variance = hidden.mean(0), hidden.var(0)
    moments.append((mean, variance))
    hidden = np.tanh((hidden - mean) / np.sqrt(variance + 1e-3) * scale + shift)
    return hidden @ kernel2 + bias2


def log_softmax(z):
    return z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)) - z.max(1, keepdims=True)


def cross_entropy(z, y):
    return -log_softmax(z)[np.arange(len(y)), y]


def divergence(z, other):
    return (np.exp(log_softmax(z)) * (log_softmax(z) - log_softmax(other))).sum(1)


def standard(now, then, x, moved, y, weight, moments):
    return np.mean(weight * cross_entropy(forward(now, moved, moments), y))


def mixed(now, then, x, moved, y, weight, moments):
    z = forward(now, np.concatenate([x, moved]), moments)
    clean, attacked = (np.mean(weight * cross_entropy(part, y)) for part in np.split(z, 2))
    return 0.3 * clean + 0.7 * attacked


def trades(now, then, x, moved, y, weight, moments):
    clean, attacked = forward(now, x, moments), forward(now, moved, moments)
    return np.mean(weight * (cross_entropy(clean, y) + 6.0 * divergence(clean, attacked)))


def mart(now, then, x, moved, y, weight, moments):
    clean, attacked = forward(now, x, moments), forward(now, moved, moments)
    p, rows = np.exp(log_softmax(attacked)), np.arange(len(y))
    others = p.copy()
    others[rows, y] = 0.0
    boosted = cross_entropy(attacked, y) - np.log(1.0 - others.max(1))
    unsure = 1.0 - np.exp(log_softmax(clean))[rows, y]
    return np.mean(weight * (boosted + 5.0 * divergence(clean, attacked) * unsure))


def ikl(now, then, x, moved, y, weight, moments):
    clean, attacked = forward(now, x, moments), forward(now, moved, moments)
    fixed = np.exp(log_softmax(forward(then, x, [])))  # where gradients are stopped
    member = np.eye(3)[y] * weight[:, None]
    usual = (member.T @ fixed / member.sum(0)[:, None])[y]
    pairs = [z[:, :, None] - z[:, None, :] for z in (clean, attacked)]
    squares = 0.25 * np.einsum("bj,bk,bjk->b", usual, usual, (pairs[0] - pairs[1]) ** 2)
    crossed = -(fixed * log_softmax(attacked)).sum(1)
    return np.mean(weight * (cross_entropy(clean, y) + 20.0 * squares + 4.0 * crossed))


def virtual(now, then, x, moved, y, weight, moments):
    turned = divergence(forward(then, x, []), forward(now, moved, []))
    return np.mean(weight * (cross_entropy(forward(now, x, moments), y) + 1.0 * turned))


def gradient(loss, now):
    """Central differences."""
    found = []
    for part in now:
        slope = np.zeros_like(part)
        for index in np.ndindex(part.shape):
            kept, values = part[index], []
            for step in (1e-5, -1e-5):
                part[index] = kept + step
                values.append(loss(now))
            part[index] = kept
            slope[index] = (values[0] - values[1]) / 2e-5
        found.append(slope)
    return found


CASES = {
    "standard": (standard, "standard", {}),
    "mixed": (mixed, "standard", {"clean_fraction": 0.3}),
    "fast": (standard, "fast", {}),
    "mixed fast": (mixed, "fast", {"clean_fraction": 0.3}),
    "free": (standard, Free(1), {}),
    "trades": (trades, Trades(6.0), {}),
    "ikl": (ikl, Ikl(20.0, 4.0), {}),
    "mart": (mart, Mart(5.0), {}),
    "virtual": (virtual, Virtual(1.0), {}),
}


@pytest.mark.parametrize("share", [0.0, 0.1], ids=["", "perturbed weights"])
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_the_formula(case, share):
    """With `weight_perturbation` w - lr grad L(w + v), where |v_l| = share |w_l| along the gradient of each kernel."""
    formula, method, options = CASES[case]
    x, y, weight = task()
    model = network()
    trainer = kas.AdversarialTraining(model, kas.PGD(EPSILON, steps=2), method, weight_perturbation=share, **options)
    trainer.compile(keras.optimizers.SGD(0.5), LOGITS, run_eagerly=True)
    before = [value.numpy().astype("float64") for value in model.trainable_weights]
    moved = examples(trainer, Batch(x, y, weight)).astype("float64")
    history = trainer.fit(x, y, batch_size=6, sample_weight=weight, shuffle=False, verbose=0).history

    place, moments = [part.copy() for part in before], []
    if share:
        slopes = gradient(lambda now: formula(now, before, x, moved, y, weight, []), place)
        for part, slope in zip(place, slopes, strict=True):
            if part.ndim > 1:
                part += share * np.linalg.norm(part) * slope / np.linalg.norm(slope)
    fixed = [part.copy() for part in place]
    loss = formula(place, fixed, x, moved, y, weight, moments)
    slopes = gradient(lambda now: formula(now, fixed, x, moved, y, weight, []), place)
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)
    for found, start, slope in zip(model.trainable_weights, before, slopes, strict=True):
        assert np.allclose(found.numpy(), start - 0.5 * slope, atol=2e-5)
    mean, variance = np.zeros(4), np.ones(4)
    for batch_mean, batch_variance in moments:
        mean, variance = (
            MOMENTUM * old + (1.0 - MOMENTUM) * new for old, new in ((mean, batch_mean), (variance, batch_variance))
        )
    assert np.allclose(model.layers[1].moving_mean, mean, atol=1e-6)
    assert np.allclose(model.layers[1].moving_variance, variance, atol=1e-6)


def examples(trainer, batch, share=1.0):
    """What the first step of a training is to make, before the training."""
    victim, step = trainer.victim(batch.x, batch.y), tf.constant(0, tf.int64)
    batch = batch._replace(x=tf.constant(batch.x))
    if isinstance(trainer.method, Free):
        problem = trainer.attack.problem(victim, batch.x, batch.y, step, share)
        return problem.project(problem.x + problem.ball.random(problem.rows["keys"], problem.x, problem.radius)).numpy()
    return trainer.method.examples(trainer, victim, batch, step, tf.constant(share)).numpy()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_virtual_direction_of_a_linear_model(norm):
    """The answer of a linear model of two classes turns along the difference of their weights, and nowhere else."""
    x = np.random.default_rng(0).uniform(0.4, 0.6, (5, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    trainer = kas.AdversarialTraining(model, kas.PGD(0.1, norm), "virtual")
    trainer.compile("sgd", LOGITS)
    change = examples(trainer, Batch(x, np.zeros(5, int), None)) - x
    kernel = model.layers[0].kernel.numpy()
    normal = kernel[:, 1] - kernel[:, 0]
    direction = np.sign(normal) if norm == "linf" else normal / np.linalg.norm(normal)
    side = np.sign(change @ normal)
    assert np.allclose(change, 0.1 * side[:, None] * direction, atol=1e-3)
