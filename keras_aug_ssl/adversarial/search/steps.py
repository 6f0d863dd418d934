"""Rules for the next point of an ascent: pairs of `init` and `update`, without state of their own.

`init(problem, x)` makes a rule's memory, a dict of tensors with one row an example; `update(problem, i, memory, point)`
returns the next x, inside ball and bounds, and the next memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_aug_ssl.adversarial.search.problem import Problem
from keras_aug_ssl.adversarial.threat.balls import flat, spread

Memory = dict[str, Any]


class Point(NamedTuple):
    """Where a search is: x (B, ...), value (B,) of the objective, gradient (B, ...)."""

    x: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor


class Step:
    """Base of all rules."""

    def init(self, problem: Problem, x: tf.Tensor) -> Memory:
        """Memory at the start of a search."""
        return {}

    def update(self, problem: Problem, i: tf.Tensor, memory: Memory, point: Point) -> tuple[tf.Tensor, Memory]:
        """The point after step `i`, and the memory to take along."""
        raise NotImplementedError


class Plain(Step):
    """Steps of one length along the ball's steepest direction: the sign of the gradient, or the gradient normalised.

    Args:
        size: length of a step, in the unit of the inputs; None for `share` of the radius.
        share: length of a step as a share of the radius.
    """

    def __init__(self, size: float | None = None, share: float = 1.0):
        self.size = size
        self.share = share

    def length(self, problem: Problem) -> tf.Tensor:
        """Length of a step, in a shape that multiplies inputs."""
        return self.share * problem.span if self.size is None else tf.constant(self.size, tf.float32)

    def update(self, problem: Problem, i: tf.Tensor, memory: Memory, point: Point) -> tuple[tf.Tensor, Memory]:
        return self.move(problem, point.x, point.gradient), memory

    def move(self, problem: Problem, x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """One step along `gradient`."""
        return problem.project(x + self.length(problem) * steepest(problem, x, gradient))


class Momentum(Plain):
    """Steps along a decaying sum of gradients, each divided by its mean absolute value (Dong et al. 2018, eq. 6)."""

    def __init__(self, decay: float = 1.0, size: float | None = None, share: float = 1.0):
        super().__init__(size, share)
        self.decay = decay

    def init(self, problem: Problem, x: tf.Tensor) -> Memory:
        return {"sum": tf.zeros_like(x)}

    def update(self, problem: Problem, i: tf.Tensor, memory: Memory, point: Point) -> tuple[tf.Tensor, Memory]:
        scale = tf.reduce_mean(tf.abs(flat(point.gradient)), axis=1)
        total = self.decay * memory["sum"] + point.gradient / spread(tf.maximum(scale, 1e-30), point.gradient)
        return self.move(problem, point.x, total), {"sum": total}


class Adam(Plain):
    """Steps along Adam's direction (Kingma & Ba 2015), which gives every value about the same step."""

    def init(self, problem: Problem, x: tf.Tensor) -> Memory:
        return {"first": tf.zeros_like(x), "second": tf.zeros_like(x)}

    def update(self, problem: Problem, i: tf.Tensor, memory: Memory, point: Point) -> tuple[tf.Tensor, Memory]:
        scale = tf.reduce_max(tf.abs(flat(point.gradient)), axis=1)
        gradient = point.gradient / spread(tf.maximum(scale, 1e-30), point.gradient)
        count = tf.cast(i + 1, tf.float32)
        first = 0.9 * memory["first"] + 0.1 * gradient
        second = 0.999 * memory["second"] + 0.001 * tf.square(gradient)
        direction = (first / (1.0 - 0.9**count)) / (tf.sqrt(second / (1.0 - 0.999**count)) + 1e-8)
        size = spread(tf.maximum(problem.ball.size(direction), 1e-30), direction)
        x = problem.project(point.x + self.length(problem) * direction / size)
        return x, {"first": first, "second": second}


def steepest(problem: Problem, x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """The ball's steepest direction. In L1, which moves few values, those that a bound holds back don't count."""
    if problem.ball.name == "l1":
        held = ((x <= problem.limits.low) & (gradient < 0)) | ((x >= problem.limits.high) & (gradient > 0))
        gradient = tf.where(held, 0.0, gradient)
    return problem.ball.steepest(gradient)
