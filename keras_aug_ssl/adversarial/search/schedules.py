"""Auto-PGD's step rules: steps that halve by themselves when progress stalls."""

from __future__ import annotations

import tensorflow as tf

from keras_aug_ssl.adversarial.search.problem import Problem
from keras_aug_ssl.adversarial.search.steps import Memory, Point, Step, steepest
from keras_aug_ssl.adversarial.threat.balls import flat, spread

_RHO = 0.75  # share of a window's steps that must improve the objective
_INERTIA = 0.25  # share of the last move that the next one repeats


def windows(steps: int, first: float, decrease: float, least: float) -> list[int]:
    """For each step the length of the window that ends with it, when progress is judged then, else 0."""
    window, since = max(int(first * steps), 1), 0
    lengths = []
    for _ in range(steps):
        since += 1
        lengths.append(window if since == window else 0)
        if since == window:
            window, since = (
                max(window - max(int(decrease * steps), 1 if decrease else 0), max(int(least * steps), 1), 1),
                0,
            )
    return lengths


class AutoStep(Step):
    """The schedule of Auto-PGD (Croce & Hein 2020, algorithm 1), each example for itself.

    A step starts at twice the radius. At fixed checkpoints it halves, and the search returns to the best point so far,
    where fewer than 75 % of the steps since the last checkpoint raised the objective (condition 1), or where neither
    step nor best value changed over the last window (condition 2).

    Args:
        steps: number of steps of the whole ascent, which fixes the checkpoints.
    """

    def __init__(self, steps: int):
        self.windows = windows(steps, 0.22, 0.03, 0.06)

    def init(self, problem: Problem, x: tf.Tensor) -> Memory:
        count = tf.zeros([problem.size])
        lowest = count - float("inf")
        return {
            "previous": x,
            "best": {"x": x, "gradient": tf.zeros_like(x), "value": lowest},
            "last_value": -lowest,  # the first evaluation is no rise
            "value_at_check": lowest,
            "length": self.first_length(problem) + count,
            "rises": count,
            "halved": tf.ones([problem.size], tf.bool),
        }

    def first_length(self, problem: Problem) -> tf.Tensor:
        """Length of the first steps."""
        return 2.0 * problem.radius

    def update(self, problem: Problem, i: tf.Tensor, memory: Memory, point: Point) -> tuple[tf.Tensor, Memory]:
        improved = point.value > memory["best"]["value"]
        best = {
            "x": tf.where(spread(improved, point.x), point.x, memory["best"]["x"]),
            "gradient": tf.where(spread(improved, point.x), point.gradient, memory["best"]["gradient"]),
            "value": tf.where(improved, point.value, memory["best"]["value"]),
        }
        rises = memory["rises"] + tf.cast(point.value > memory["last_value"], tf.float32)
        memory = {**memory, "best": best, "rises": rises, "last_value": point.value}
        window = tf.gather(tf.constant([0, *self.windows]), i)  # the first evaluation ends no step
        memory, back = tf.cond(
            window > 0, lambda: self.judge(problem, memory, window), lambda: (memory, tf.zeros_like(memory["halved"]))
        )
        at = Point(
            tf.where(spread(back, point.x), best["x"], point.x),
            point.value,
            tf.where(spread(back, point.x), best["gradient"], point.gradient),
        )
        following = self.move(problem, i, memory, at)
        return following, {**memory, "previous": point.x}

    def judge(self, problem: Problem, memory: Memory, window: tf.Tensor) -> tuple[Memory, tf.Tensor]:
        """At a checkpoint: the memory for the next window, and which examples go back to their best point."""
        oscillates = memory["rises"] <= _RHO * tf.cast(window, tf.float32)
        stalls = ~memory["halved"] & (memory["value_at_check"] >= memory["best"]["value"])
        halve = oscillates | stalls
        memory = {
            **memory,
            "length": tf.where(halve, memory["length"] / 2.0, memory["length"]),
            "halved": halve,
            "value_at_check": memory["best"]["value"],
            "rises": tf.zeros_like(memory["rises"]),
        }
        return memory, halve

    def move(self, problem: Problem, i: tf.Tensor, memory: Memory, at: Point) -> tf.Tensor:
        """A projected step with inertia (eqs. 3 and 4)."""
        step = spread(memory["length"], at.x) * steepest(problem, at.x, at.gradient)
        ahead = problem.project(at.x + step)
        inertia = tf.where(i > 0, _INERTIA, 0.0)
        return problem.project(at.x + (1.0 - inertia) * (ahead - at.x) + inertia * (at.x - memory["previous"]))


class SparseAutoStep(AutoStep):
    """The schedule for L1 balls, where steps move few values (Croce & Hein 2021, "Mind the box", algorithm 1).

    Besides its length a step has a share of values that it moves, which follows the sparsity of the best point so far.
    """

    def __init__(self, steps: int):
        self.windows = windows(steps, 0.04, 0.0, 0.04)

    def init(self, problem: Problem, x: tf.Tensor) -> Memory:
        count = tf.zeros([problem.size])
        return {**super().init(problem, x), "share": count + 0.2, "moved": count + self._size(problem)}

    def first_length(self, problem: Problem) -> tf.Tensor:
        return problem.radius

    def judge(self, problem: Problem, memory: Memory, window: tf.Tensor) -> tuple[Memory, tf.Tensor]:
        delta = flat(memory["best"]["x"] - problem.x)
        moved = tf.reduce_sum(tf.cast(tf.abs(delta) > 0, tf.float32), axis=1)
        sparser = moved < 0.95 * memory["moved"]
        length = tf.where(sparser, problem.radius, memory["length"] / 1.5)
        memory = {
            **memory,
            "share": moved / self._size(problem) / 1.5,
            "length": tf.clip_by_value(length, problem.radius / 10.0, problem.radius),
            "moved": moved,
        }
        return memory, sparser

    def move(self, problem: Problem, i: tf.Tensor, memory: Memory, at: Point) -> tf.Tensor:
        values = flat(tf.abs(at.gradient))
        ordered = tf.sort(values, axis=1, direction="DESCENDING")
        last = tf.cast(memory["share"] * self._size(problem), tf.int32)
        smallest = tf.gather(ordered, tf.clip_by_value(last, 0, tf.shape(values)[1] - 1), batch_dims=1)
        signs = tf.sign(at.gradient) * tf.cast(tf.abs(at.gradient) >= spread(smallest, at.x), tf.float32)
        count = tf.maximum(tf.reduce_sum(tf.abs(flat(signs)), axis=1), 1.0)
        return problem.project(at.x + spread(memory["length"] / count, at.x) * signs)

    def _size(self, problem: Problem) -> tf.Tensor:
        return tf.cast(tf.size(problem.x) // tf.maximum(problem.size, 1), tf.float32)
