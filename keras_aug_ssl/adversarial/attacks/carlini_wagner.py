"""The attack of Carlini and Wagner, for comparison with the literature."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.closest import Closest, MinimalAttack, anneal
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat.balls import flat, spread

State = dict[str, Any]
_WALK_BACK = 25  # steps that it takes to come back from a first step of the linearised distance
_LAST_STEP = 0.005  # as `step_share`; the distance found is off by about as much


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class CarliniWagner(MinimalAttack):
    """The smallest L2 perturbation, as the minimum of |delta|^2 + c * max(-margin, -confidence).

    Carlini & Wagner 2017, section V. Adam minimises it for several c, found by bisection for each example. `DDN` comes
    within a few percent at a tenth of the cost. Where we differ: bounds are kept by clipping instead of a
    change of variables by tanh, in which pixels exactly at a bound hardly move; c starts where the linearised model
    puts it; Adam's steps are multiples of the linearised distance, and become smaller.

    Args:
        epsilon: perturbations beyond this L2 size don't count, >= 0; None for no limit.
        steps: steps of Adam for each c.
        searches: number of c tried.
        confidence: margin, in logits, by which the new class must lead, >= 0.
        step_share: Adam's first step in a value, as a multiple of the root mean square change that the linearised
            model asks for, > 0. Long first steps look beyond the nearest boundary and need others to walk back, so
            they are never longer than `steps` / 25; the last ones are always short.
        **common: `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.CarliniWagner()(model, np.array([[0.75, 0.5]]), [0]).distance.round(2)
        array([0.18], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float | None = None,
        *,
        steps: int = 200,
        searches: int = 6,
        confidence: float = 0.0,
        step_share: float = 8.0,
        **common: Any,
    ):
        super().__init__(epsilon, common.pop("norm", "l2"), steps=steps, **{"loss": "margin", **common})
        owner = "CarliniWagner"
        if self.norm != "l2":
            checks.fail(owner, "norm", '"l2"', self.norm, "FMN looks for the smallest perturbation in other norms.")
        self.searches = checks.integer(owner, "searches", searches, 1)
        self.confidence = checks.number(owner, "confidence", confidence, 0.0)
        self.step_share = checks.number(owner, "step_share", step_share, 0.0, low_open=True)

    def search(self, problem: Problem) -> Found:
        point = problem.evaluate(problem.x)
        slope = tf.maximum(problem.ball.size(point.gradient), 1e-12)
        distance = (self.confidence - point.value) / slope
        none = tf.zeros([problem.size])
        start = {
            # Twice the weight for which the linearised objective has its minimum on the boundary.
            "weight": 4.0 * distance / slope,
            "low": none,
            "high": none + float("inf"),
            "closest": Closest.none(problem).meet(problem.x, none, point.fooled, point.dead),
        }
        rms = distance / tf.sqrt(tf.cast(tf.size(problem.x) // tf.maximum(problem.size, 1), tf.float32))

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            closest, reached = self._descend(problem, state["weight"], state["closest"])
            low = tf.where(reached, state["low"], state["weight"])
            high = tf.where(reached, state["weight"], state["high"])
            weight = tf.where(tf.math.is_finite(high), 0.5 * (low + high), 2.0 * low)
            return {"weight": weight, "low": low, "high": high, "closest": closest}, tf.zeros_like(reached)

        return iterate(problem.with_rows(rms=rms), body, start, self.searches)["closest"].found()

    def _descend(self, problem: Problem, weight: tf.Tensor, closest: Closest) -> tuple[Closest, tf.Tensor]:
        """Adam on the penalised distance for one c each; also says which examples it brought across."""

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            x = state["x"]
            point = problem.evaluate(x)
            across = point.value >= self.confidence if self.confidence else point.fooled
            short = tf.cast(point.value < self.confidence, tf.float32) * state["weight"]
            gradient = 2.0 * (x - problem.x) - spread(short, x) * point.gradient
            change, first, second = _adam(gradient, state["first"], state["second"], i)
            share = anneal(min(self.step_share, self.steps / _WALK_BACK), _LAST_STEP, i, self.steps)
            after = {
                **state,
                "x": problem.clip(x - spread(share * problem.rows["rms"], x) * problem.masked(change)),
                "first": first,
                "second": second,
                "reached": state["reached"] | across,
                "closest": state["closest"].meet(x, problem.distance(x), point.fooled & across, point.dead),
            }
            return after, tf.zeros_like(across)

        zeros = tf.zeros_like(problem.x)
        start = {
            "x": problem.x,
            "first": zeros,
            "second": zeros,
            "weight": weight,
            "reached": tf.zeros_like(closest.dead),
            "closest": closest,
        }
        state = iterate(problem, body, start, self.steps)
        return state["closest"], state["reached"]

    def recipe(self) -> dict[str, Any]:
        own = {"searches": self.searches, "confidence": self.confidence, "step_share": self.step_share}
        return {**super().recipe(), **own}


def _adam(gradient: tf.Tensor, first: tf.Tensor, second: tf.Tensor, i: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Adam's direction, about 1 a value, and its two averages."""
    count = tf.cast(i + 1, tf.float32)
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * tf.square(gradient)
    scale = tf.sqrt(second / (1.0 - 0.999**count))
    largest = spread(tf.reduce_max(flat(scale), axis=1), scale)
    # Values without a gradient to speak of stay: relative to the largest, since logits come in any unit.
    return first / (1.0 - 0.9**count) / (scale + 1e-3 * largest + 1e-30), first, second
