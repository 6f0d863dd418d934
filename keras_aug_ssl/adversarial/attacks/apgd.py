"""Auto-PGD: gradient ascent without a step size to choose."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.fixed_radius import IterativeAttack
from keras_aug_ssl.adversarial.search.loop import Best, restart
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.search.schedules import AutoStep, SparseAutoStep
from keras_aug_ssl.adversarial.search.steps import Step
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning import heads

TARGETED = "targeted"


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class APGD(IterativeAttack):
    """Projected gradient ascent that sets its own step size (Croce & Hein 2020, algorithm 1).

    Stronger than `PGD` at the same cost, and the heart of `AutoAttack`. With `loss="targeted"` it walks, one start
    after the other, towards each of the most probable wrong classes by the targeted difference of logits ratio (eq. 7).

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1" (there by the schedule of Croce & Hein 2021).
        steps: gradient steps of one start.
        restarts: random starts; for `loss="targeted"` the number of wrong classes to walk to, at most all. None for 1
            start, and for 9 classes.
        samples: evaluations averaged for each gradient, for models that draw random numbers in inference.
        loss: what to raise: "auto", "crossentropy", "dlr", "margin", "targeted", a Keras loss or a callable.
        **common: `early_stop`, `bounds`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> x, y = np.array([[0.75, 0.5], [0.9, 0.1]]), [0, 0]
        >>> kas.APGD(epsilon=0.2, steps=10)(model, x, y).success
        array([ True, False])
    """

    def __init__(
        self,
        epsilon: float = 8 / 255,
        norm: str = "linf",
        *,
        steps: int = 100,
        restarts: int | None = None,
        samples: int = 1,
        loss: Any = "auto",
        **common: Any,
    ):
        each_class = isinstance(loss, str) and loss == TARGETED
        super().__init__(epsilon, norm, steps=steps, loss="dlr" if each_class else loss, **common)
        restarts = (9 if each_class else 1) if restarts is None else restarts
        self.restarts = checks.integer("APGD", "restarts", restarts, 1)
        self.samples = checks.integer("APGD", "samples", samples, 1)
        if each_class and self.targeted:
            checks.fail("APGD", "targeted", 'False with loss="targeted", which walks to every wrong class', True)
        self.loss = loss

    def search(self, problem: Problem) -> Found:
        problem = dataclasses.replace(problem, samples=self.samples)
        rule = SparseAutoStep(self.steps) if self.norm == "l1" else AutoStep(self.steps)
        if self.loss == TARGETED:
            return self._each_class(problem, rule)

        def climb(problem: Problem, i: tf.Tensor, best: Best) -> Best:
            return self.ascend(problem, surface_start(problem, i), rule, best)

        return restart(problem, climb, self.restarts, early_stop=self.early_stop).found()

    def objective(self, head: heads.Head, compiled: Any) -> objectives.Objective:
        if self.loss != TARGETED:
            return super().objective(head, compiled)
        if head.kind not in (heads.CLASSES, heads.BINARY):
            checks.fail("APGD", "loss", 'another than "targeted" for a model without classes', self.loss)
        return objectives.dlr

    def _each_class(self, problem: Problem, rule: Step) -> Found:
        classes = problem.victim.head.num_classes
        wrong = objectives.without(problem.rows["clean"], problem.y)
        ranked = tf.math.top_k(wrong, min(self.restarts, classes - 1)).indices
        problem = dataclasses.replace(problem, objective=lambda scores, goal: objectives.targeted_dlr(scores, *goal))

        def climb(problem: Problem, i: tf.Tensor, best: Best) -> Best:
            goal = (problem.y, tf.gather(problem.rows["ranked"], i, axis=1))
            return self.ascend(problem.with_rows(goal=goal), surface_start(problem, i), rule, best)

        problem = problem.with_rows(ranked=ranked)
        return restart(problem, climb, ranked.shape[1], early_stop=self.early_stop).found()

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "restarts": self.restarts, "samples": self.samples}


def surface_start(problem: Problem, number: tf.Tensor) -> tf.Tensor:
    """A random point of the ball's surface, where Auto-PGD begins."""
    keys = noise.fold(problem.rows["keys"], number)
    shape = tf.shape(problem.x)[1:]
    draw = 2.0 * noise.uniform(keys, shape) - 1.0 if problem.ball.name == "linf" else noise.normal(keys, shape)
    draw /= spread(tf.maximum(problem.ball.size(draw), 1e-30), draw)
    return problem.project(problem.x + problem.span * draw)
