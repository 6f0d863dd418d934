"""Attacks that look for the smallest perturbation by walking along the boundary: DDN and FMN."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.closest import Closest, MinimalAttack, anneal, dual
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat.balls import spread

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class BoundaryWalk(MinimalAttack):
    """Base of attacks that raise the loss on a sphere or in a ball whose radius follows the boundary.

    The radius shrinks after a point that fools the model and grows after one that doesn't, by a share that becomes
    smaller. Steps are shares of the radius, so the walk is the same in every unit of the inputs. Until the first
    success the radius is the distance at which the linearised objective reaches the boundary.
    """

    shrink = (0.1, 0.005)
    """First and last share by which the radius changes."""

    def place(self, problem: Problem, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Brings a perturbation to the radius."""
        raise NotImplementedError

    def direction(self, problem: Problem, gradient: tf.Tensor) -> tf.Tensor:
        """The direction of a step, of norm 1."""
        return problem.ball.steepest(gradient)

    def search(self, problem: Problem) -> Found:
        span = tf.minimum(problem.limits.high - problem.limits.low, 1e6)
        widest = problem.ball.size(tf.broadcast_to(span, tf.shape(problem.x)[1:])[None])

        def body(problem: Problem, state: dict[str, Any], i: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
            x, closest = state["x"], state["closest"]
            point = problem.evaluate(x)
            distance = problem.distance(x)
            closest = closest.meet(x, distance, point.fooled, point.dead)
            slope = tf.maximum(dual(problem.ball).size(point.gradient), 1e-30)
            estimate = tf.minimum(distance - problem.margin(point.scores) / slope, widest)
            radius = self._next_radius(state["radius"], closest, point.fooled, estimate, i)
            step = spread(anneal(1.0, 0.01, i, self.steps) * radius, x) * self.direction(problem, point.gradient)
            x = problem.clip(problem.x + self.place(problem, problem.masked(x + step - problem.x), radius))
            return {"x": x, "radius": radius, "closest": closest}, tf.zeros_like(point.fooled)

        start = {"x": problem.x, "radius": tf.zeros([problem.size]), "closest": Closest.none(problem)}
        return iterate(problem, body, start, self.steps)["closest"].found()

    def _next_radius(
        self, radius: tf.Tensor, closest: Closest, fooled: tf.Tensor, estimate: tf.Tensor, i: tf.Tensor
    ) -> tf.Tensor:
        share = anneal(*self.shrink, i, self.steps)
        inward = (1.0 - share) * tf.minimum(radius, closest.distance)
        outward = tf.minimum((1.0 + share) * radius, closest.distance)
        # A flat objective puts the estimate anywhere; doubling reaches the bounds soon enough.
        searching = tf.clip_by_value(estimate, 1.05 * radius, tf.where(radius > 0, 2.0 * radius, estimate))
        return tf.where(fooled, inward, tf.where(closest.exists, outward, searching))


@register
class DDN(BoundaryWalk):
    """Decoupled direction and norm: L2 perturbations about as small as Carlini and Wagner's at a fraction of the cost.

    Rony et al. 2019, algorithm 1. Every step turns along the gradient and is then put on the sphere of the current
    radius. Where we differ: the first radius comes from the linearised model instead of 1, steps are shares of the
    radius, and the share by which it changes becomes smaller.

    Args:
        epsilon: perturbations beyond this L2 size don't count, >= 0; None for no limit.
        steps: gradient steps.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.DDN()(model, np.array([[0.75, 0.5]]), [0]).distance.round(2)  # the boundary is 0.25 / sqrt(2) away
        array([0.18], dtype=float32)
    """

    def __init__(self, epsilon: float | None = None, *, steps: int = 100, **common: Any):
        super().__init__(epsilon, common.pop("norm", "l2"), steps=steps, **common)
        if self.norm != "l2":
            checks.fail("DDN", "norm", '"l2"', self.norm, "FMN walks in the other norms.")

    def place(self, problem: Problem, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        return delta * spread(radius / tf.maximum(problem.ball.size(delta), 1e-30), delta)


@register
class FMN(BoundaryWalk):
    """Fast minimum norm: the smallest perturbation in Linf, L2 or L1 (Pintor et al. 2021, algorithm 1).

    Where we differ: steps are shares of the radius along the direction natural to the norm (the sign of the gradient in
    Linf), not fixed lengths along the gradient, which on digits found smaller Linf perturbations.

    Args:
        epsilon: perturbations beyond this size don't count, >= 0; None for no limit.
        norm: "linf", "l2" or "l1".
        steps: gradient steps.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.FMN(norm="linf")(model, np.array([[0.75, 0.5]]), [0]).distance.round(3)
        array([0.125], dtype=float32)
    """

    def __init__(self, epsilon: float | None = None, norm: str = "linf", *, steps: int = 100, **common: Any):
        super().__init__(epsilon, norm, steps=steps, **common)

    def direction(self, problem: Problem, gradient: tf.Tensor) -> tf.Tensor:
        if self.norm == "l1":  # all values a little: the projection picks the few that matter
            return gradient / spread(tf.maximum(problem.ball.size(gradient), 1e-30), gradient)
        return super().direction(problem, gradient)

    def place(self, problem: Problem, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        return problem.ball.project(delta, radius)
