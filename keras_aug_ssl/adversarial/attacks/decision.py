"""Attacks that see decisions only: neither scores nor gradients, just whether the model is fooled."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import search_where
from keras_aug_ssl.adversarial.search.closest import LINE_ROUNDS, Closest, MinimalAttack, line_search
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import BALLS, flat, spread

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")
State = dict[str, Any]

_TRIES = 40  # starting points looked at


class DecisionAttack(MinimalAttack):
    """Base of attacks that start at any fooling point and come closer.

    Starting points are the negative of the example, plain ones, and noise from fine to coarse. Where none fools the
    model nothing is found. With an `epsilon`, examples leave as soon as they are inside it.
    """

    differentiates = False

    def advance(self, problem: Problem, state: State, i: tf.Tensor) -> State:
        """One step from fooling points `state["x"]` to new ones; meets them in `state["closest"]`."""
        raise NotImplementedError

    def begin(self, problem: Problem) -> State:
        """What `advance` needs besides x and closest."""
        return {}

    def search(self, problem: Problem) -> Found:
        closest = line_search(problem, find_start(problem))
        limited = tf.math.is_finite(problem.radius)
        near = limited & (closest.distance <= problem.radius)
        posed = problem.with_rows(closest=closest)  # which leave together with their examples
        return search_where(posed, closest.exists & ~near, self._approach, closest.found())

    def _approach(self, problem: Problem) -> Found:
        """Comes closer from the fooling points in `problem.rows["closest"]`."""
        closest = problem.rows["closest"]
        limited = tf.math.is_finite(problem.radius)

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            state = self.advance(problem, state, i)
            found = state["closest"]
            return state, ~found.exists | (limited & (found.distance <= problem.radius))

        start = {"x": closest.x, "closest": closest, **self.begin(problem)}
        return iterate(problem, body, start, self.steps)["closest"].found()


@register
class HopSkipJump(DecisionAttack):
    """Estimates the direction of the boundary from decisions around it, steps along it, and goes back to the boundary.

    Chen et al. 2020, algorithm 2. The strongest of the attacks that need decisions only, at thousands of queries.

    Args:
        epsilon: perturbations beyond this size don't count, >= 0; None for no limit.
        norm: "l2", "linf" or "l1" (measured in L1, with the steps of L2).
        steps: steps along the boundary.
        evaluations: decisions for the first estimate of a direction; they grow with the square root of the step.
        max_evaluations: decisions for one estimate at most.
        **common: `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.HopSkipJump(steps=5)(model, np.array([[0.75, 0.5]]), [0]).distance.round(2)
        array([0.18], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float | None = None,
        norm: str = "l2",
        *,
        steps: int = 20,
        evaluations: int = 100,
        max_evaluations: int = 1000,
        **common: Any,
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.evaluations = checks.integer("HopSkipJump", "evaluations", evaluations, 2)
        self.max_evaluations = checks.integer("HopSkipJump", "max_evaluations", max_evaluations, self.evaluations)

    def advance(self, problem: Problem, state: State, i: tf.Tensor) -> State:
        x, closest = state["x"], state["closest"]
        distance = problem.distance(x)
        direction, spent = self._estimate(problem, x, distance, i)
        moved, tries = _first_fooling(problem, x, direction, distance / tf.sqrt(tf.cast(i + 1, tf.float32)))
        landed = line_search(problem, closest._replace(x=moved, distance=problem.distance(moved)))
        closest = closest.meet(landed.x, problem.distance(landed.x), closest.exists)
        return {"x": landed.x, "closest": closest._replace(queries=landed.queries).spend(spent + tries)}

    def _estimate(
        self, problem: Problem, x: tf.Tensor, distance: tf.Tensor, i: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The direction in which decisions around `x` fool more often (eqs. 9 and 16), and the decisions it cost."""
        values = tf.cast(tf.size(x) // tf.maximum(problem.size, 1), tf.float32)
        count = tf.minimum(self.evaluations * tf.sqrt(tf.cast(i + 1, tf.float32)), self.max_evaluations)
        count = tf.cast(count, tf.int32)
        # The paper's size of the probes; the first is wide, since the start is far from its final place.
        probe = distance / (values if self.norm == "linf" else tf.sqrt(values))
        probe = spread(tf.maximum(tf.where(i == 0, 0.1 * distance, probe), 1e-7), x)
        keys = noise.fold(problem.rows["keys"], 2 * i + 1)

        def add(j: tf.Tensor, signed: tf.Tensor, plain: tf.Tensor, wins: tf.Tensor) -> tuple[tf.Tensor, ...]:
            draw = BALLS["l2"].steepest(problem.masked(noise.normal(noise.fold(keys, j), tf.shape(x)[1:])))
            probed = problem.clip(x + probe * draw)
            change = (probed - x) / probe
            sign = tf.where(problem.fooled(problem.scores(probed)), 1.0, -1.0)
            return j + 1, signed + spread(sign, x) * change, plain + change, wins + sign

        zero = tf.zeros_like(x)
        start = (tf.constant(0), zero, zero, tf.zeros_like(distance))
        shapes = tuple(tf.TensorShape([None, *t.shape[1:]]) if t.shape.rank else t.shape for t in start)
        _, signed, plain, wins = tf.while_loop(lambda j, *_: j < count, add, start, shapes, parallel_iterations=1)
        mean = wins / tf.cast(count, tf.float32)
        one_sided = spread(tf.abs(mean) == 1.0, x)
        direction = tf.where(one_sided, signed, signed - spread(mean, x) * plain)
        direction = tf.sign(direction) if self.norm == "linf" else BALLS["l2"].steepest(direction)
        return direction, count

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "evaluations": self.evaluations, "max_evaluations": self.max_evaluations}


@register
class Boundary(DecisionAttack):
    """A random walk along the boundary towards the original (Brendel et al. 2018, figure 2); in L2.

    The first attack that needed decisions only, and the slowest: a few thousand steps. A step goes round the original
    at equal distance, then towards it; both lengths follow how often such steps succeed.

    Args:
        epsilon: perturbations beyond this L2 size don't count, >= 0; None for no limit.
        steps: steps of two evaluations each.
        **common: `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.Boundary(steps=200)(model, np.array([[0.75, 0.5]]), [0]).distance.round(2)
        array([0.18], dtype=float32)
    """

    def __init__(self, epsilon: float | None = None, *, steps: int = 1000, **common: Any):
        super().__init__(epsilon, common.pop("norm", "l2"), steps=steps, **common)
        if self.norm != "l2":
            checks.fail("Boundary", "norm", '"l2"', self.norm, "HopSkipJump walks in the other norms.")

    def begin(self, problem: Problem) -> State:
        start = tf.zeros([problem.size])
        return {"around": start + 0.1, "inward": start + 0.1}

    def advance(self, problem: Problem, state: State, i: tf.Tensor) -> State:
        x, distance = state["x"], tf.maximum(problem.distance(state["x"]), 1e-30)
        draw = problem.masked(noise.normal(noise.fold(problem.rows["keys"], i), tf.shape(x)[1:]))
        step = BALLS["l2"].steepest(draw) * spread(state["around"] * distance, x)
        delta = x + step - problem.x
        delta *= spread(distance / tf.maximum(problem.ball.size(delta), 1e-30), x)
        turned = problem.clip(problem.x + delta)
        across = problem.fooled(problem.scores(turned))
        nearer = problem.clip(turned + spread(state["inward"], x) * (problem.x - turned))
        inside = across & problem.fooled(problem.scores(nearer))
        x = tf.where(spread(inside, x), nearer, tf.where(spread(across, x), turned, x))
        return {
            "x": x,
            "closest": state["closest"].meet(nearer, problem.distance(nearer), inside).spend(1),
            # Lengths settle where half of the turns and a quarter of the whole steps succeed.
            "around": tf.minimum(state["around"] * tf.where(across, 1.1, 1.0 / 1.1), 1.0),
            "inward": tf.minimum(state["inward"] * tf.where(inside, 1.1**3, 1.0 / 1.1), 0.5),
        }


def find_start(problem: Problem) -> Closest:
    """Some fooling point for each example, if one of the usual suspects is."""

    def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
        x = _suspect(problem, i)
        fooled = problem.fooled(problem.scores(x))
        return {"closest": state["closest"].meet(x, problem.distance(x), fooled)}, fooled

    return iterate(problem, body, {"closest": Closest.none(problem)}, _TRIES)["closest"]


def _suspect(problem: Problem, i: tf.Tensor) -> tf.Tensor:
    """Starting point number `i`: the negative, three plain pictures, then noise in blocks of 1, 2, 4 and 8."""
    low, high = _finite_bounds(problem)
    plain = tf.clip_by_value(tf.cast(i - 1, tf.float32) / 2.0, 0.0, 1.0)
    draw = _block_noise(problem, i)
    share = tf.where(i < 4, plain, draw)
    x = tf.where(i == 0, low + high - problem.x, low + (high - low) * share)
    return problem.clip(problem.x + problem.masked(x - problem.x))


def _block_noise(problem: Problem, i: tf.Tensor) -> tf.Tensor:
    """Uniform noise, constant over blocks whose side goes through 1, 2, 4 and 8 with `i`."""
    shape = problem.x.shape[1:]
    draw = noise.uniform(noise.fold(problem.rows["keys"], i), shape)
    if len(shape) != 3:
        return draw
    block = 2 ** (i % 4)
    for axis in (1, 2):
        draw = tf.gather(draw, tf.range(shape[axis - 1]) // block, axis=axis)
    return draw


def _finite_bounds(problem: Problem) -> tuple[tf.Tensor, tf.Tensor]:
    """The bounds, or where there are none a span about the example that is wide compared with its values."""
    reach = spread(1.0 + 10.0 * tf.reduce_max(tf.abs(flat(problem.x)), axis=1), problem.x)
    low, high = problem.limits.low + 0.0 * reach, problem.limits.high + 0.0 * reach
    low = tf.where(tf.math.is_finite(low), low, problem.x - reach)
    return low, tf.where(tf.math.is_finite(high), high, problem.x + reach)


def _first_fooling(
    problem: Problem, x: tf.Tensor, direction: tf.Tensor, length: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The first of x + length, length / 2, length / 4 ... along `direction` that fools, or `x`; and the tries."""

    def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
        moved = problem.clip(state["x"] + spread(state["length"], x) * problem.masked(state["direction"]))
        fooled = problem.fooled(problem.scores(moved))
        after = {
            **state,
            "length": 0.5 * state["length"],
            "moved": tf.where(spread(fooled, x), moved, state["moved"]),
            "tries": state["tries"] + 1,
        }
        return after, fooled

    start = {"x": x, "moved": x, "direction": direction, "length": length, "tries": tf.zeros([problem.size], tf.int32)}
    state = iterate(problem, body, start, LINE_ROUNDS)
    return state["moved"], state["tries"]
