"""What all attacks for the smallest perturbation share: the closest point so far, and a norm without a limit."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.loop import iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat.balls import BALLS, Ball, spread
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning import heads

LINE_ROUNDS = 16
"""Halvings of a line search: an error of 2^-16 of the distance."""
_DUALS = {"linf": "l1", "l2": "l2", "l1": "linf"}


class Closest(NamedTuple):
    """The closest fooling point of each example: x (B, ...), distance (B,), infinite while there is none; dead (B,)
    gradients met, queries (B,) spent."""

    x: tf.Tensor
    distance: tf.Tensor
    dead: tf.Tensor
    queries: tf.Tensor

    @classmethod
    def none(cls, problem: Problem) -> Closest:
        """Before any evaluation."""
        size = problem.size
        return cls(problem.x, tf.fill([size], np.inf), tf.zeros([size], tf.bool), tf.zeros([size], tf.int32))

    @property
    def exists(self) -> tf.Tensor:
        """Where a fooling point is known, (B,)."""
        return tf.math.is_finite(self.distance)

    def meet(self, x: tf.Tensor, distance: tf.Tensor, fooled: tf.Tensor, dead: tf.Tensor | None = None) -> Closest:
        """After one more evaluation."""
        better = fooled & (distance < self.distance)
        return Closest(
            x=tf.where(spread(better, x), x, self.x),
            distance=tf.where(better, distance, self.distance),
            dead=self.dead if dead is None else self.dead | (dead & ~fooled),
            queries=self.queries + 1,
        )

    def spend(self, queries: int) -> Closest:
        """After evaluations that can't be kept."""
        return self._replace(queries=self.queries + queries)

    def found(self) -> Found:
        """What a search returns."""
        return Found(self.x, self.queries, self.dead)


class MinimalAttack(Attack):
    """Base of attacks for the smallest perturbation.

    Args:
        epsilon: perturbations beyond this size don't count, >= 0; None for no limit.
        norm: "linf", "l2" or "l1".
        steps: iterations.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.
    """

    minimal = True
    needs_epsilon = False

    def __init__(self, epsilon: float | None, norm: str, *, steps: int, **common: Any):
        super().__init__(epsilon, norm, **common)
        self.steps = checks.integer(type(self).__name__, "steps", steps, 1)

    def objective(self, head: heads.Head, compiled: Any) -> objectives.Objective:
        if head.kind == heads.NUMBERS:
            expected = "a classifier, since a boundary between decisions is looked for"
            advice = "PGD raises the error of a regression model."
            checks.fail(type(self).__name__, "model", expected, head.kind, advice)
        return super().objective(head, compiled)

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "steps": self.steps}


def dual(ball: Ball) -> Ball:
    """The ball whose norm measures gradients: a change of size s gains at most s times it."""
    return BALLS[_DUALS[ball.name]]


def anneal(first: float, last: float, i: tf.Tensor, steps: int) -> tf.Tensor:
    """Goes from `first` to `last` along half a cosine."""
    return last + (first - last) * 0.5 * (1.0 + tf.cos(math.pi * tf.cast(i, tf.float32) / steps))


def line_search(problem: Problem, start: Closest) -> Closest:
    """Moves fooling points to the boundary: along the line to the original, in Linf by clipping to ever smaller cubes.

    Args:
        problem: the batch.
        start: fooling points, where they exist.
    """

    def between(problem: Problem, far: tf.Tensor, share: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        delta = far - problem.x
        if problem.ball.name == "linf":
            return problem.x + problem.ball.project(delta, share * size)
        return problem.x + spread(share, delta) * delta

    def body(problem: Problem, state: dict[str, Any], i: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
        middle = 0.5 * (state["low"] + state["high"])
        x = between(problem, state["far"], middle, state["size"])
        fooled = problem.crossed(problem.scores(x))
        after = {
            **state,
            "low": tf.where(fooled, state["low"], middle),
            "high": tf.where(fooled, middle, state["high"]),
            "closest": state["closest"].meet(x, problem.distance(x), fooled),
        }
        return after, ~state["closest"].exists

    none = tf.zeros([problem.size])
    size = tf.where(start.exists, start.distance, 0.0)
    state = {"far": start.x, "size": size, "low": none, "high": none + 1.0, "closest": start}
    return iterate(problem, body, state, LINE_ROUNDS)["closest"]
