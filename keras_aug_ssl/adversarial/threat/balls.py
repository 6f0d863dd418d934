"""The sets of allowed perturbations: Linf, L2 and L1 balls.

A ball measures a perturbation, pulls one back inside, names the direction that gains most per unit of its norm, and
draws a random member. Perturbations are (B, ...); sizes are (B,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.threat import noise

_TINY = 1e-30  # a zero gradient gives 0 / tiny = 0, a step of no length; 0 / 0 would poison the batch

_NEIGHBOUR = 0.6 * 2.0**-23  # this share of a float32 number more or less rounds to the next one


class Ball:
    """A ball of some norm around the origin; stateless, so the radius is an argument."""

    name = ""

    def size(self, delta: tf.Tensor) -> tf.Tensor:
        """Norm of each perturbation, (B,)."""
        raise NotImplementedError

    def project(self, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Moves each perturbation to the nearest one of norm at most `radius`."""
        raise NotImplementedError

    def project_in_box(
        self, delta: tf.Tensor, origin: tf.Tensor, radius: tf.Tensor, low: tf.Tensor, high: tf.Tensor
    ) -> tf.Tensor:
        """The points between `low` and `high` where perturbations of `origin`, itself between them, may lead.

        Clipping comes last: it only shortens a perturbation.
        """
        return tf.clip_by_value(origin + self.project(delta, radius), low, high)

    def tighten(self, x: tf.Tensor, origin: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Moves points that rounding left outside the ball around `origin` towards it, and leaves the others."""
        change = x - origin
        size = self.size(change)
        slack = 1e-6 * tf.reduce_max(tf.abs(flat(x)), axis=1)
        keep = tf.clip_by_value(1.0 - (size - radius + slack) / tf.maximum(size, _TINY), 0.0, 1.0)
        nearer = tf.clip_by_value(origin + spread(keep, x) * change, tf.minimum(x, origin), tf.maximum(x, origin))
        x = tf.where(spread(size > radius, x), nearer, x)
        return tf.where(spread(self.size(x - origin) > radius, x), origin, x)

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        """Directions of norm 1 (0 for a zero gradient) with the largest inner product with `gradient`."""
        raise NotImplementedError

    def random(self, keys: tf.Tensor, like: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Draws one uniformly distributed member of the ball for each example."""
        raise NotImplementedError


class Linf(Ball):
    """Every value may change by at most the radius."""

    name = "linf"

    def size(self, delta: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.abs(flat(delta)), axis=1)

    def project(self, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        radius = spread(radius, delta)
        return tf.clip_by_value(delta, -radius, radius)

    def tighten(self, x: tf.Tensor, origin: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        # A sum rounds by at most half the distance of two numbers: the next one is inside, and not beyond the origin.
        change = x - origin
        excess = change - self.project(change, radius)
        return x - tf.sign(excess) * (_NEIGHBOUR * tf.abs(x))

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        return tf.sign(gradient)

    def random(self, keys: tf.Tensor, like: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        return spread(radius, like) * (2.0 * noise.uniform(keys, tf.shape(like)[1:]) - 1.0)


class L2(Ball):
    """The Euclidean length of the change is at most the radius."""

    name = "l2"

    def size(self, delta: tf.Tensor) -> tf.Tensor:
        largest = tf.reduce_max(tf.abs(flat(delta)), axis=1)  # squares of values below 1e-23 would vanish in float32
        scaled = flat(delta) / tf.maximum(largest, _TINY)[:, None]
        return largest * tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=1))

    def project(self, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        size = self.size(delta)
        return delta * spread(tf.minimum(1.0, radius / tf.maximum(size, _TINY)), delta)

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        return gradient / spread(tf.maximum(self.size(gradient), _TINY), gradient)

    def random(self, keys: tf.Tensor, like: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        direction = self.steepest(noise.normal(noise.fold(keys, 0), tf.shape(like)[1:]))
        dimensions = tf.cast(tf.reduce_prod(tf.shape(like)[1:]), tf.float32)
        share = noise.uniform(noise.fold(keys, 1), [1])[:, 0] ** (1.0 / dimensions)  # volume grows as radius^d
        return direction * spread(radius * share, like)


class L1(Ball):
    """The absolute changes add up to at most the radius: few values change, by much."""

    name = "l1"

    def __init__(self, share: float = 0.01):
        self.share = share

    def size(self, delta: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(flat(delta)), axis=1)

    def project(self, delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Shrinks all values by one threshold, found by sorting (Duchi et al. 2008, figure 1)."""
        values = tf.abs(flat(delta))
        descending = tf.sort(values, direction="DESCENDING")
        rank = tf.cast(tf.range(1, tf.shape(values)[1] + 1), values.dtype)
        limit = (tf.cumsum(descending, axis=1) - spread(radius, values)) / rank
        kept = tf.maximum(tf.reduce_sum(tf.cast(descending > limit, tf.int32), axis=1), 1)
        threshold = tf.maximum(tf.gather(limit, kept - 1, batch_dims=1), 0.0)
        shrunk = tf.sign(flat(delta)) * tf.maximum(values - threshold[:, None], 0.0)
        return tf.reshape(shrunk, tf.shape(delta))

    def project_in_box(
        self, delta: tf.Tensor, origin: tf.Tensor, radius: tf.Tensor, low: tf.Tensor, high: tf.Tensor
    ) -> tf.Tensor:
        """The nearest point of ball and box at once (Croce & Hein 2021, section 3.1), its threshold found by bisection.

        In L1 projecting and then clipping wastes most of the radius on values that the bounds cut off.
        """
        down, up = low - origin, high - origin

        def shrunk(threshold: tf.Tensor) -> tf.Tensor:
            size = tf.maximum(tf.abs(delta) - spread(threshold, delta), 0.0)
            return tf.clip_by_value(tf.sign(delta) * size, down, up)

        def halve(step: tf.Tensor, least: tf.Tensor, most: tf.Tensor) -> tuple[tf.Tensor, ...]:
            middle = 0.5 * (least + most)
            outside = self.size(shrunk(middle)) > radius
            return step + 1, tf.where(outside, middle, least), tf.where(outside, most, middle)

        largest = tf.reduce_max(tf.abs(flat(delta)), axis=1)
        start = (tf.constant(0), tf.zeros_like(largest), largest)
        _, _, threshold = tf.while_loop(lambda step, *_: step < 24, halve, start, parallel_iterations=1)
        inside = shrunk(tf.where(self.size(shrunk(tf.zeros_like(threshold))) > radius, threshold, 0.0))
        return tf.clip_by_value(origin + inside, low, high)

    def steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        """Spreads the step over the `share` of values with the largest gradients.

        All of it on the single largest value is the exact answer, and needs as many steps as values must change; the
        share follows Tramer & Boneh (2019), section 4.
        """
        values = tf.abs(flat(gradient))
        count = tf.maximum(tf.cast(self.share * tf.cast(tf.shape(values)[1], tf.float32), tf.int32), 1)
        smallest = tf.math.top_k(values, count).values[:, -1:]
        chosen = tf.cast((values >= smallest) & (values > 0), values.dtype)
        chosen /= tf.maximum(tf.reduce_sum(chosen, axis=1, keepdims=True), 1.0)
        return tf.reshape(tf.sign(flat(gradient)) * chosen, tf.shape(gradient))

    def random(self, keys: tf.Tensor, like: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Exponential variables divided by their sum and one more are uniform in the ball."""
        shape = tf.shape(like)[1:]
        signs = tf.sign(noise.uniform(noise.fold(keys, 0), shape) - 0.5)
        lengths = -tf.math.log(1.0 - noise.uniform(noise.fold(keys, 1), shape))
        extra = -tf.math.log(1.0 - noise.uniform(noise.fold(keys, 2), [1])[:, 0])
        return signs * lengths * spread(radius / tf.maximum(self.size(lengths) + extra, _TINY), like)


BALLS = {"linf": Linf(), "l2": L2(), "l1": L1()}


def named(owner: str, norm: Any) -> Ball:
    """Returns the ball that `norm` names: "linf", "l2", "l1", or infinity, 2, 1."""
    names = {np.inf: "linf", 2: "l2", 1: "l1"}
    norm = norm.lower() if isinstance(norm, str) else names.get(norm, norm)
    return BALLS[checks.one_of(owner, "norm", norm, BALLS)]


def flat(values: tf.Tensor) -> tf.Tensor:
    """Reshapes (B, ...) to (B, n)."""
    return tf.reshape(values, [tf.shape(values)[0], -1])


def spread(per_example: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes (B,) to (B, 1, 1, ...) so that it broadcasts against `like`; a scalar stays one."""
    per_example = tf.convert_to_tensor(per_example)
    if per_example.shape.rank == 0:
        return per_example
    return tf.reshape(per_example, tf.concat([tf.shape(per_example)[:1], tf.ones([tf.rank(like) - 1], tf.int32)], 0))
