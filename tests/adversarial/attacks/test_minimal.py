"""The smallest perturbation: against planes known by hand, and against each other."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.threat.balls import BALLS
from keras_aug_ssl.adversarial.threat.planes import reach
from keras_aug_ssl.testing.attack_subject import DUAL, network, pictures
from keras_aug_ssl.testing.laws import op_by_op

KERNEL = np.array([[2.0, -1.0, 0.5], [0.5, 1.0, -1.5], [-1.0, 0.5, 1.0], [0.2, -0.7, 0.9]], "float32")
X = np.array([[0.7, 0.5, 0.4, 0.5], [0.4, 0.7, 0.5, 0.4], [0.4, 0.4, 0.7, 0.6]], "float32")
WIDE = (-9.0, 10.0)


@pytest.fixture(autouse=True)
def eagerly():
    """Tracing takes longer than everything else here."""
    with op_by_op():
        yield


@pytest.fixture(scope="module")
def planes():
    """Three linear classes, so that every boundary is a plane."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([KERNEL])
    return model


def nearest_plane(norm):
    """Distances of `X` to the nearest boundary: the least margin over dual norm among the two wrong classes."""
    scores = X @ KERNEL
    label = scores.argmax(axis=1)
    rows = []
    for row, own in zip(scores, label, strict=True):
        wrong = [k for k in range(3) if k != own]
        rows.append(min((row[own] - row[k]) / DUAL[norm](KERNEL[:, own] - KERNEL[:, k]) for k in wrong))
    return np.array(rows)


@pytest.mark.parametrize(
    ("attack", "excess"),
    [
        *((kas.DeepFool(norm=norm, steps=4, bounds=WIDE), 0.001) for norm in BALLS),
        *((kas.FAB(norm=norm, steps=5, bounds=WIDE), 0.01) for norm in BALLS),
        *((kas.FMN(norm=norm, steps=30, bounds=WIDE), 0.03) for norm in BALLS),
        (kas.DDN(steps=30, bounds=WIDE), 0.03),
        (kas.CarliniWagner(steps=20, searches=2, bounds=WIDE), 0.1),
        (kas.HopSkipJump(steps=2, evaluations=20, bounds=WIDE), 0.6),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.norm}" if isinstance(value, Attack) else "",
)
def test_the_nearest_of_several_planes(planes, attack, excess):
    result = attack(planes, X)
    smallest = nearest_plane(attack.norm)
    assert result.success.all()
    assert (result.distance >= smallest * 0.999).all()
    assert (result.distance <= smallest * (1.0 + excess)).all(), result.distance / smallest


def test_beyond_epsilon_nothing_counts(planes):
    smallest = nearest_plane("l2")
    epsilon = float(np.sort(smallest)[1]) * 1.01  # two of three boundaries are nearer
    result = kas.DDN(epsilon, steps=20, bounds=WIDE)(planes, X)
    assert np.array_equal(result.success, smallest < epsilon)
    assert np.array_equal(result.x_adv[~result.success], X[~result.success])
    assert result.distance.max() <= epsilon


def test_a_target_has_a_boundary_of_its_own(planes):
    scores = X @ KERNEL
    target = (scores.argmax(axis=1) + 1) % 3
    for attack in (kas.DeepFool(steps=8, targeted=True, bounds=WIDE), kas.FAB(steps=8, targeted=True, bounds=WIDE)):
        result = attack(planes, X, target)
        assert result.success.all() and (result.distance >= nearest_plane(attack.norm) * 0.999).all()
        assert np.array_equal((result.x_adv @ KERNEL).argmax(axis=1), target)


def test_confidence_leads_by_its_margin(planes):
    result = kas.CarliniWagner(confidence=0.5, steps=20, searches=2, bounds=WIDE)(planes, X)
    ordered = np.sort(result.x_adv @ KERNEL, axis=1)
    assert result.success.all() and (ordered[:, 2] - ordered[:, 1] >= 0.5 - 1e-4).all()
    assert (result.distance > nearest_plane("l2")).all()


def test_walks_come_as_close_as_linearised_steps():
    """On the curved network, with pixels at their bounds, DDN's L2 distances are at most DeepFool's, but for 1 %."""
    model, x = network().become("curved"), pictures(5)
    first, walk = (attack(model, x) for attack in (kas.DeepFool(steps=6), kas.DDN(steps=25)))
    assert walk.success.all() and (walk.distance <= 1.01 * first.distance).all()


def test_more_steps_come_closer():
    model, x = network().become("curved"), pictures(2)
    short, long = (kas.Boundary(steps=steps)(model, x) for steps in (1, 20))
    assert np.array_equal(short.success, long.success) and short.success.any()
    assert (long.distance <= short.distance).all() and (long.distance < short.distance).any()


@pytest.mark.parametrize("norm", BALLS)
def test_a_plane_is_reached_inside_a_box_at_the_least_cost(norm):
    """Against a linear or, in L2, a convex program, with and without enough room in the box."""
    draw = np.random.default_rng(4)
    normal = draw.normal(size=(6, 5)).astype("float32")
    down, up = -draw.uniform(0.0, 1.0, (6, 5)).astype("float32"), draw.uniform(0.0, 1.0, (6, 5)).astype("float32")
    most = np.where(normal > 0, normal * up, normal * down).sum(axis=1)
    gain = (most * np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.5])).astype("float32")
    change = np.asarray(reach(BALLS[norm], *map(tf.constant, (normal, gain, down, up))))
    assert (change >= down - 1e-6).all() and (change <= up + 1e-6).all()
    assert np.allclose((normal * change).sum(axis=1), np.minimum(gain, most), atol=1e-4)
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    for row in range(5):
        best = least_cost(order, normal[row], gain[row], down[row], up[row])
        assert np.linalg.norm(change[row], order) == pytest.approx(best, rel=1e-3, abs=1e-4)


def least_cost(order, normal, gain, down, up):
    """Smallest norm of a change in the box whose inner product with `normal` is `gain`."""
    n = len(normal)
    if order == 2:
        plane = {"type": "eq", "fun": lambda d: normal @ d - gain}
        boxes = list(zip(down, up, strict=True))
        found = scipy.optimize.minimize(lambda d: d @ d, np.zeros(n), bounds=boxes, constraints=plane, tol=1e-10)
        return np.sqrt(found.fun)
    # The parts above and below zero, and for Linf the largest of them, are the variables.
    parts, limits = np.hstack([normal, -normal]), [(0, high) for high in (*up, *-down)]
    if order == 1:
        return scipy.optimize.linprog(np.ones(2 * n), A_eq=[parts], b_eq=[gain], bounds=limits).fun
    below = np.hstack([np.eye(2 * n), -np.ones((2 * n, 1))])
    cost, equal = np.append(np.zeros(2 * n), 1.0), [np.append(parts, 0.0)]
    return scipy.optimize.linprog(cost, below, np.zeros(2 * n), equal, [gain], [*limits, (0, None)]).fun
