"""Thousands of random models, inputs and budgets: nothing ever leaves its ball or bounds, and nothing is ever NaN."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.threat import balls, noise
from keras_aug_ssl.testing.attack_subject import network, pictures
from keras_aug_ssl.testing.laws import op_by_op

VALUES, CASES, DRAWS = 6, 60, 90  # 5,400 cases for the attacks together
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
ATTACKS = [*(kas.PGD(0.0, norm, steps=4) for norm in ORDERS), kas.FMN(0.0, "l2", steps=4)]  # a graph each takes seconds


@functools.cache
def model():
    """Each example brings a row of its own weights with it, so that one graph serves all models."""
    inputs = keras.Input((VALUES,)), keras.Input((3, VALUES))
    scores = keras.layers.Dot(axes=(1, 2))([keras.layers.Activation("gelu")(inputs[0]), inputs[1]])
    found = keras.Model(list(inputs), scores)
    found.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return found


@settings(max_examples=DRAWS, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    attack=st.sampled_from(ATTACKS),
    epsilon=st.one_of(st.sampled_from([0.0, 1e-30, 1e-8, 1.0, 1e4]), st.floats(1e-4, 30.0)),
    unit=st.sampled_from([1e-3, 1.0, 255.0]),
    steepness=st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 100.0, 1e12, 1e37]),
)
def test_nothing_leaves_ball_or_bounds(seed, attack, epsilon, unit, steepness):
    draw = np.random.default_rng(seed)
    x = unit * np.clip(draw.uniform(-0.3, 1.3, (CASES, VALUES)), 0.0, 1.0).astype("float32")
    weights = (steepness * draw.normal(size=(CASES, 3, VALUES))).astype("float32")
    limits = {"epsilon": epsilon * unit, "bounds": (0.0, unit), "seed": seed}
    attack = type(attack).from_config({**attack.get_config(), **limits})
    result = attack(model(), [x, weights], draw.integers(0, 3, CASES), input_name=0)
    x_adv = result.x_adv[0]
    assert np.isfinite(x_adv).all() and np.isfinite(result.distance).all()
    assert x_adv.min() >= 0.0 and x_adv.max() <= np.float32(unit)
    size = np.linalg.norm(x_adv.astype("float64") - x, ORDERS[attack.norm], axis=1)
    assert (size <= epsilon * unit * (1.0 + 1e-6)).all(), size.max()


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from(sorted(ORDERS)), scale=st.sampled_from([1e-20, 1.0, 1e9]))
def test_projections_are_inside_and_leave_what_is(seed, norm, scale):
    """A projection is in ball and box at once, and a second one changes nothing."""
    draw = np.random.default_rng(seed)
    ball, order = balls.BALLS[norm], ORDERS[norm]
    delta = (scale * draw.normal(size=(CASES, VALUES))).astype("float32")
    radius = np.float32(scale * draw.uniform(0.0, 4.0))
    down, up = -scale * draw.uniform(0.0, 2.0, delta.shape), scale * draw.uniform(0.0, 2.0, delta.shape)
    box = tf.constant(down, tf.float32), tf.constant(up, tf.float32)
    around = tf.zeros_like(delta), tf.constant(radius), *box
    with op_by_op():
        once = ball.project_in_box(tf.constant(delta), *around)
        twice = ball.project_in_box(once, *around)
    once, twice = np.asarray(once, "float64"), np.asarray(twice, "float64")
    assert (np.linalg.norm(once, order, axis=1) <= radius * (1.0 + 1e-5)).all()
    assert (once >= np.asarray(box[0])).all() and (once <= np.asarray(box[1])).all()
    assert np.allclose(twice, once, atol=1e-5 * scale)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from(sorted(ORDERS)),
    where=st.sampled_from([0.0, 1e-3, 1.0, 255.0, 1e6]),
    radius=st.one_of(st.sampled_from([0.0, 1e-30, 8 / 255, 1e6]), st.floats(1e-6, 300.0)),
)
def test_tightening_undoes_rounding_and_nothing_else(seed, norm, where, radius):
    """A point that rounding put outside comes in again and hardly moves; one inside stays, to the bit."""
    draw = np.random.default_rng(seed)
    ball, radius = balls.BALLS[norm], np.float32(radius)
    origin = (where * draw.normal(size=(CASES, VALUES))).astype("float32")
    rim = ball.steepest(tf.constant(draw.normal(size=origin.shape).astype("float32"))).numpy() * radius
    rim = origin + rim
    within = (origin + draw.uniform(-0.9, 0.9, origin.shape) * radius / VALUES).astype("float32")
    within = np.where(ball.size(tf.constant(within - origin)).numpy()[:, None] <= radius, within, origin)
    with op_by_op():
        moved, same = (np.asarray(ball.tighten(tf.constant(x), tf.constant(origin), radius)) for x in (rim, within))
    assert (np.asarray(ball.size(tf.constant(moved - origin))) <= radius).all()
    assert (np.abs(moved - rim) <= 3e-6 * (np.abs(rim).max(axis=1, keepdims=True) + radius)).all()
    assert np.array_equal(same, within)


@pytest.mark.parametrize("norm", sorted(ORDERS))
def test_random_members_fill_the_ball(norm):
    """Half of them lie within the radius that holds half of the volume: radius / 2^(1 / dimensions)."""
    keys = noise.example_keys(tf.random.normal([4000, 1], seed=0), tf.constant(3))
    like = tf.zeros([4000, VALUES])
    members = np.asarray(balls.BALLS[norm].random(keys, like, tf.constant(2.0)))
    size = np.linalg.norm(members, ORDERS[norm], axis=1)
    assert size.max() <= 2.0 * (1.0 + 1e-6)
    assert np.mean(size < 2.0 * 0.5 ** (1 / VALUES)) == pytest.approx(0.5, abs=0.03)
    assert np.abs(members.mean(axis=0)).max() < 0.05


@pytest.mark.parametrize("norm", sorted(ORDERS))
def test_steepest_gains_the_dual_norm(norm):
    gradient = np.random.default_rng(0).normal(size=(5, VALUES)).astype("float32")
    direction = np.asarray(balls.BALLS[norm].steepest(tf.constant(gradient)))
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    assert np.allclose(np.linalg.norm(direction, ORDERS[norm], axis=1), 1.0, atol=1e-5)
    assert np.allclose((direction * gradient).sum(axis=1), np.linalg.norm(gradient, dual, axis=1), atol=1e-5)
    assert not np.asarray(balls.BALLS[norm].steepest(tf.zeros([2, VALUES]))).any()


def test_what_lies_just_beyond_the_boundary_does_so_in_any_batch():
    """A search that halves its way to the boundary could stop at a tie, which another batch rounds the other way."""
    model, x = network().become("curved"), pictures(60)
    labels = network().scores(x).argmax(axis=1)
    result = kas.DeepFool(steps=5, bounds=(0, 1))(model, x, labels)
    alone = np.concatenate([network().scores(example[None]) for example in result.x_adv])
    np.testing.assert_array_equal(alone.argmax(axis=1) != labels, result.success)
