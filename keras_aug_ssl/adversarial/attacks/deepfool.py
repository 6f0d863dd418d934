"""DeepFool: to the nearest linearised boundary, until it is crossed."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.closest import Closest, MinimalAttack, dual, line_search
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem, apart, differentiable
from keras_aug_ssl.adversarial.threat import planes
from keras_aug_ssl.adversarial.threat.balls import flat, spread
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning import heads


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class DeepFool(MinimalAttack):
    """Steps to the nearest boundary of the linearised model until the decision changes.

    Moosavi-Dezfooli et al. 2016, algorithm 2. Quick, and close to the smallest perturbation; `DDN` and `FMN` come
    closer. Where we differ: a step goes to the nearest point of the linearised boundary *inside the bounds*, so it
    doesn't stall there; the boundary is linearised again where it was crossed; and the crossing is found by bisection.

    Args:
        epsilon: perturbations beyond this size don't count, >= 0; None for no limit.
        norm: "l2", "linf" or "l1".
        steps: linearisations at most.
        candidates: most probable wrong classes whose boundaries are looked at.
        overshoot: share by which a step goes beyond the boundary, >= 0.
        refinements: further steps from the original, to the boundary as linearised at the last fooling point, >= 0.
        **common: `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.DeepFool()(model, np.array([[0.75, 0.5]]), [0]).distance.round(2)
        array([0.18], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float | None = None,
        norm: str = "l2",
        *,
        steps: int = 50,
        candidates: int = 10,
        overshoot: float = 0.02,
        refinements: int = 2,
        **common: Any,
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.candidates = checks.integer("DeepFool", "candidates", candidates, 1)
        self.refinements = checks.integer("DeepFool", "refinements", refinements, 0)
        self.overshoot = checks.number("DeepFool", "overshoot", overshoot, 0.0)

    def search(self, problem: Problem) -> Found:
        problem = with_rivals(problem, self.candidates)

        def body(problem: Problem, state: dict[str, Any], i: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
            x = state["x"]
            margins, gradients, fooled = linearise(problem, x)
            closest = state["closest"].meet(x, problem.distance(x), fooled, tf.reduce_all(gradients == 0, axis=[1, 2]))
            # From a point that fools, the next step starts again at the original, with the boundary as seen from here.
            origin = tf.where(spread(fooled, x), problem.x, x)
            following = self._step(problem, origin, x, margins, gradients)
            crossings = state["crossings"] + tf.cast(fooled, tf.int32)
            return {"x": following, "closest": closest, "crossings": crossings}, crossings > self.refinements

        none = tf.zeros([problem.size], tf.int32)
        start = {"x": problem.x, "closest": Closest.none(problem), "crossings": none}
        return line_search(problem, iterate(problem, body, start, self.steps + 1)["closest"]).found()

    def _step(
        self, problem: Problem, origin: tf.Tensor, x: tf.Tensor, margins: tf.Tensor, gradients: tf.Tensor
    ) -> tf.Tensor:
        """The point nearest to `origin`, and a little beyond, on the nearest of the boundaries linearised at `x`."""
        bounds = problem.limits.low, problem.limits.high
        down, up = (flat(tf.broadcast_to(bound, tf.shape(x)) - origin) for bound in bounds)
        movable = ((gradients > 0) & (up[:, None] > 0)) | ((gradients < 0) & (down[:, None] < 0))
        rows = tf.reshape(tf.where(movable, gradients, 0.0), [-1, tf.shape(gradients)[2]])
        slope = tf.reshape(dual(problem.ball).size(rows), tf.shape(margins))
        gains = tf.einsum("bkn,bn->bk", gradients, flat(x - origin)) - margins
        nearest = tf.argmin(gains / tf.maximum(slope, 1e-30), axis=1)
        gradient, gain = (tf.gather(part, nearest, axis=1, batch_dims=1) for part in (gradients, gains))
        # The boundary itself belongs to the old decision as often as not; a little beyond it lies the new one.
        gain += 1e-6 * tf.maximum(1.0, gain)
        change = tf.reshape(planes.reach(problem.ball, gradient, gain, down, up), tf.shape(x))
        return problem.clip(origin + (1.0 + self.overshoot) * change)

    def recipe(self) -> dict[str, Any]:
        return {
            **super().recipe(),
            "candidates": self.candidates,
            "overshoot": self.overshoot,
            "refinements": self.refinements,
        }


def with_rivals(problem: Problem, candidates: int) -> Problem:
    """The problem with a row `rivals` (B, k): the most probable wrong classes, or the labels nearest to a flip."""
    head = problem.victim.head
    clean = problem.rows["clean"]
    wrongness = clean * (1.0 - 2.0 * problem.y) if head.kind == heads.LABELS else objectives.without(clean, problem.y)
    most = head.units if head.kind == heads.LABELS else head.num_classes - 1
    return problem.with_rows(rivals=tf.math.top_k(wrongness, min(candidates, most)).indices)


def rival_margins(problem: Problem, scores: tf.Tensor) -> tf.Tensor:
    """(B, k) values, positive where a rival beats the label: the boundaries are their zeros.

    A targeted attack has one boundary: that between the target and the best other class.
    """
    if problem.targeted:
        return problem.margin(scores)[:, None]
    if problem.victim.head.kind == heads.LABELS:
        return tf.gather(scores * (1.0 - 2.0 * problem.y), problem.rows["rivals"], batch_dims=1)
    own = tf.gather(scores, problem.y, batch_dims=1)[:, None]
    return tf.gather(scores, problem.rows["rivals"], batch_dims=1) - own


def linearise(problem: Problem, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Margins (B, k) of the rivals, their gradients (B, k, n), and where the boundary is crossed; one forward pass.

    Margins are told from twice beyond what rounding hides: a step to the very boundary never counts as across it, and
    the next would be of no length.
    """

    def run(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(x)
            scores = problem.scores(x)
            margins = rival_margins(problem, scores)
            columns = tf.unstack(margins, axis=1)
        return scores, margins, [differentiable(tape.gradient(column, x)) for column in columns]

    scores, margins, gradients = apart(run, x)
    gradients = [flat(problem.masked(problem.sound(gradient))) for gradient in gradients]
    rounding = problem.rounding(scores)
    margins = margins if rounding is None else margins - 2.0 * rounding[:, None]
    return margins, tf.stack(gradients, axis=1), problem.crossed(scores)
