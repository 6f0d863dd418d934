"""The fast adaptive boundary attack."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.deepfool import linearise, with_rivals
from keras_aug_ssl.adversarial.search.closest import Closest, MinimalAttack, line_search
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat import noise, planes
from keras_aug_ssl.adversarial.threat.balls import flat, spread

_ALPHA = 0.1  # largest weight of the original's projection, the paper's alpha_max
_ETA = 1.05  # how far a step goes beyond the linearised boundary
_BETA = 0.9  # after a success, back to this share of the perturbation

State = dict[str, Any]


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class FAB(MinimalAttack):
    """Steps between linearised boundary and original, which stay close to both (Croce & Hein 2020b, algorithm 1).

    The targeted form, FAB-T, as in AutoAttack: one walk for each of the most probable wrong classes, with a single
    gradient a step. Each step goes to a mean of the projections of the current point and of the original onto the
    linearised boundary, exactly inside the bounds; after a success it backs up towards the original. At the end the
    crossing is found by bisection.

    Args:
        epsilon: perturbations beyond this size don't count, >= 0; None for no limit. An example leaves when one within
            epsilon is found, so without it every walk is walked to the end.
        norm: "linf", "l2" or "l1".
        steps: steps of one walk.
        candidates: number of wrong classes to walk to.
        restarts: walks to each class; those after the first begin at random points near the original.
        **common: `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.FAB()(model, np.array([[0.75, 0.5]]), [0]).distance.round(3)
        array([0.125], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float | None = None,
        norm: str = "linf",
        *,
        steps: int = 100,
        candidates: int = 9,
        restarts: int = 1,
        **common: Any,
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.candidates = checks.integer("FAB", "candidates", candidates, 1)
        self.restarts = checks.integer("FAB", "restarts", restarts, 1)

    def search(self, problem: Problem) -> Found:
        problem = with_rivals(problem, self.candidates)
        rivals = 1 if problem.targeted else problem.rows["rivals"].shape[1]

        limited = tf.math.is_finite(problem.radius)

        def walk(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            rival = tf.gather(problem.rows["rivals"], [i % rivals], axis=1)
            closest = self._walk(problem.with_rows(rivals=rival), i // rivals, state["closest"])
            return {"closest": closest}, closest.exists & (closest.distance <= problem.radius) & limited

        state = iterate(problem, walk, {"closest": Closest.none(problem)}, rivals * self.restarts)
        return line_search(problem, state["closest"]).found()

    def _walk(self, problem: Problem, restart: tf.Tensor, closest: Closest) -> Closest:
        """One walk towards one class."""

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            margins, gradients, _ = linearise(problem, state["x"])
            x = self._step(problem, state["x"], margins[:, 0], gradients[:, 0])
            fooled = problem.crossed(problem.scores(x))
            dead = tf.reduce_all(gradients == 0, axis=[1, 2])
            closest = state["closest"].meet(x, problem.distance(x), fooled, dead).spend(1)
            back = problem.x + _BETA * (x - problem.x)
            return {"x": tf.where(spread(fooled, x), back, x), "closest": closest}, tf.zeros_like(fooled)

        begin = self._begin(problem, restart, closest)
        return iterate(problem, body, {"x": begin, "closest": closest}, self.steps)["closest"]

    def _begin(self, problem: Problem, restart: tf.Tensor, closest: Closest) -> tf.Tensor:
        """The original, or for a later walk a random point half as far as the closest one known."""
        draw = noise.normal(noise.fold(problem.rows["keys"], restart), tf.shape(problem.x)[1:])
        size = tf.maximum(problem.ball.size(draw), 1e-30)
        reach = tf.minimum(closest.distance, problem.radius)
        reach = tf.where(tf.math.is_finite(reach) & (restart > 0), 0.5 * reach, 0.0)
        return problem.clip(problem.x + problem.masked(spread(reach / size, draw) * draw))

    def _step(self, problem: Problem, x: tf.Tensor, margin: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """A mean of the projections of `x` and of the original onto the linearised boundary (eqs. 7 to 9)."""
        origin, bounds = problem.x, (problem.limits.low, problem.limits.high)
        moved = tf.reduce_sum(gradient * flat(x - origin), axis=1)
        # One call for both, since its Newton loop costs the same for twice the rows.
        points, gains = tf.concat([x, origin], 0), tf.concat([-margin, moved - margin], 0)
        sides = tf.sign(gains)  # a point beyond the boundary is projected back onto it
        down, up = (flat(tf.broadcast_to(bound, tf.shape(points)) - points) for bound in bounds)
        normals = tf.concat([gradient, gradient], 0) * sides[:, None]
        change = planes.reach(problem.ball, normals, tf.abs(gains), down, up)
        near, far = (tf.reshape(part, tf.shape(x)) for part in tf.split(change, 2))
        near_size, far_size = (tf.maximum(problem.ball.size(part), 1e-8) for part in (near, far))
        alpha = spread(tf.minimum(near_size / (near_size + far_size), _ALPHA), x)
        return problem.clip((1.0 - alpha) * (x + _ETA * near) + alpha * (origin + _ETA * far))

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "candidates": self.candidates, "restarts": self.restarts}
