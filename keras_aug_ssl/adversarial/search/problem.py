"""One batch under attack: what may change, how far, and how wrong the model is. Everything here is graph code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_aug_ssl.adversarial.threat.balls import Ball, flat, spread
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.adversarial.victim.model import Victim
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.labels import predicted

_SURE = 16.6  # where odds are above 2^24 = e^16.6, float32 rounds 1 - p to 0 and cross-entropy's gradient is lost

_TIE = 1e-6  # in logits; float32 probabilities near 1/2 are 6e-8 apart
_ROUNDING = 1e-5  # of the largest score: how far the same sums may come apart, in another order


class Evaluation(NamedTuple):
    """The model at one point an example: scores (B, K), value (B,) of the objective, its gradient (zeros where it
    isn't finite), fooled (B,), and dead (B,): the gradient was zero or not finite."""

    scores: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor
    fooled: tf.Tensor
    dead: tf.Tensor


class Found(NamedTuple):
    """What a search returns: x (B, ...), queries (B,) int32 model evaluations spent, dead (B,) gradients met."""

    x: tf.Tensor
    queries: tf.Tensor
    dead: tf.Tensor

    @classmethod
    def nothing(cls, problem: Problem) -> Found:
        """The originals, for nothing."""
        return cls(problem.x, tf.zeros([problem.size], tf.int32), tf.zeros([problem.size], tf.bool))


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may change: `low` and `high` bound the inputs (scalars or the shape of an example), `mask` is 1 where a
    value may change (None: everywhere)."""

    low: tf.Tensor
    high: tf.Tensor
    mask: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Problem:
    """A batch of examples and the question asked of them.

    Attributes:
        victim: the attacked model.
        objective: (scores, y) -> (B,), raised by the attack.
        ball: norm in which perturbations are measured.
        radius: their largest size, a float32 scalar; infinity when only bounds limit them. In training, where no row
            leaves the batch, it may also be (B,), a radius for each example.
        limits: bounds and mask.
        targeted: `y` is where to go, not where to leave.
        rows: tensors with one row an example: `x` the original, `y` the labels, `goal` what the objective compares
            with (the labels as a rule), `clean` the scores at x, `others` the further inputs, `keys` for random
            numbers, `mask` where it differs between examples, and whatever an attack adds.
        compact: examples may leave the batch; else they stay in it unchanged, as XLA's fixed shapes demand.
        looped: the graph is, or may become, part of a loop, where a gradient belongs in a graph of its own (`apart`).
        samples: evaluations whose mean a gradient is, for models that draw random numbers in inference.
    """

    victim: Victim
    objective: Callable[[tf.Tensor, Any], tf.Tensor]
    ball: Ball
    radius: tf.Tensor
    limits: Limits
    targeted: bool
    rows: dict[str, Any]
    compact: bool = True
    looped: bool = False
    samples: int = 1

    @property
    def x(self) -> tf.Tensor:
        """The original inputs."""
        return self.rows["x"]

    @property
    def y(self) -> Any:
        """The labels to leave, or to reach."""
        return self.rows["y"]

    @property
    def span(self) -> tf.Tensor:
        """The radius, in a shape that multiplies inputs."""
        return spread(self.radius, self.x)

    @property
    def mask(self) -> tf.Tensor | None:
        """1 where a value may change, for all examples or for each; None when every value may."""
        return self.rows.get("mask", self.limits.mask)

    @property
    def size(self) -> tf.Tensor:
        """Number of examples."""
        return tf.shape(self.x)[0]

    def with_rows(self, **rows: Any) -> Problem:
        """The same problem with rows added or replaced."""
        return dataclasses.replace(self, rows={**self.rows, **rows})

    def take(self, index: tf.Tensor) -> Problem:
        """The problem of the examples at `index`."""
        rows = tf.nest.map_structure(lambda row: tf.gather(row, index), self.rows)
        return dataclasses.replace(self, rows=rows)

    def scores(self, x: tf.Tensor) -> tf.Tensor:
        """Scores of the model at `x`; costs one query."""
        return self.victim.scores(x, self.rows["others"])

    def value(self, scores: tf.Tensor) -> tf.Tensor:
        """The objective, (B,): larger is nearer to fooling the model."""
        value = self.objective(scores, self.rows["goal"])
        return -value if self.targeted else value

    def fooled(self, scores: tf.Tensor) -> tf.Tensor:
        """Where the decision is wrong (or, targeted, as wished), (B,). Scores that aren't finite fool nobody."""
        head = self.victim.head
        finite = tf.reduce_all(tf.math.is_finite(flat(scores)), axis=1)
        if head.kind == heads.NUMBERS:
            return finite & (self.value(scores) > self.value(self.rows["clean"]))
        same = predicted(head, scores) == self.y
        if head.kind == heads.LABELS:
            same = tf.reduce_all(same, axis=1)
        fooled = finite & (same if self.targeted else ~same)
        # A model that puts out probabilities rounds them: nearer to the boundary than this, its own answer is a tie.
        return fooled if head.logits else fooled & (self.margin(scores) > _TIE)

    def crossed(self, scores: tf.Tensor) -> tf.Tensor:
        """Where the model is fooled by more than rounding, (B,): in another graph or batch it says so too.

        For searches that close in on the boundary until nothing but rounding tells the two sides apart.
        """
        rounding = self.rounding(scores)
        return self.fooled(scores) if rounding is None else self.fooled(scores) & (self.margin(scores) > rounding)

    def rounding(self, scores: tf.Tensor) -> tf.Tensor | None:
        """How far the same margin may come apart when it is computed in another graph or batch, (B,)."""
        if self.victim.head.kind == heads.NUMBERS:
            return None
        several = self.victim.head.kind == heads.LABELS
        return _ROUNDING * (tf.reduce_max(tf.abs(scores), axis=1) if several else objectives.deciding(scores, self.y))

    def margin(self, scores: tf.Tensor) -> tf.Tensor:
        """How far beyond the boundary of the decision the scores are, (B,): positive where the model is fooled."""
        measure = objectives.label_margin if self.victim.head.kind == heads.LABELS else objectives.margin
        value = measure(scores, self.y)
        return -value if self.targeted else value

    def saturated(self, scores: tf.Tensor) -> tf.Tensor:
        """Where the model is too sure for ordinary cross-entropy, (B,)."""
        if self.victim.head.kind not in (heads.CLASSES, heads.BINARY):
            return tf.zeros([self.size], tf.bool)
        return objectives.log_odds(scores, self.y) * (-1.0 if self.targeted else 1.0) < -_SURE

    def evaluate(self, x: tf.Tensor) -> Evaluation:
        """Scores, objective, gradient and decision at `x`; costs a query for each sample."""
        scores, value, raw = self._differentiate(x)
        if self.samples > 1:
            scores, value, raw = self._mean_of_samples(x, scores, value, raw)
        gradient = self.sound(raw)
        dead = tf.reduce_all(flat(gradient) == 0.0, axis=1) | ~tf.reduce_all(tf.math.is_finite(flat(raw)), axis=1)
        return Evaluation(scores, value, self.masked(gradient), self.fooled(scores), dead)

    def _differentiate(self, x: tf.Tensor) -> tuple[tf.Tensor, ...]:
        def run(x: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                scores = self.scores(x)
                value = self.value(scores)
            return scores, value, differentiable(tape.gradient(value, x))

        return apart(run, x) if self.looped else run(x)

    def _mean_of_samples(self, x: tf.Tensor, *first: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inner = dataclasses.replace(self, looped=True)

        def add(i: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return i + 1, *(total + one for total, one in zip(sums, inner._differentiate(x), strict=True))

        start = (tf.constant(1), *first)
        shapes = tuple(part.shape for part in start)
        _, *sums = tf.while_loop(lambda i, *_: i < self.samples, add, start, shapes, parallel_iterations=1)
        return tuple(total / self.samples for total in sums)

    @staticmethod
    def sound(gradient: tf.Tensor) -> tf.Tensor:
        """A gradient, or a change, with zeros where it isn't finite."""
        return tf.math.multiply_no_nan(gradient, tf.cast(tf.math.is_finite(gradient), gradient.dtype))

    def masked(self, delta: tf.Tensor) -> tf.Tensor:
        """Sets to zero what may not change."""
        return delta if self.mask is None else delta * self.mask

    def clip(self, x: tf.Tensor) -> tf.Tensor:
        """Moves `x` into the bounds."""
        return tf.clip_by_value(x, self.limits.low, self.limits.high)

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Moves `x` into the ball, the bounds and the mask."""
        return self._changed_by(x - self.x)

    def distance(self, x: tf.Tensor) -> tf.Tensor:
        """Size of the perturbation, (B,)."""
        return self.ball.size(x - self.x)

    def contain(self, x: tf.Tensor) -> tf.Tensor:
        """`project`, and then strictly: no rounding leaves `x` outside the ball, and values that aren't finite go."""
        inside = self._changed_by(self.sound(x - self.x))
        return self.ball.tighten(self.masked_exactly(inside), self.x, self.radius)

    def reached(self, direction: tf.Tensor) -> tf.Tensor:
        """Where a step of the radius leads from the originals along `direction`, of norm 1 or 0: `contain`, cheaper."""
        x = self.masked_exactly(self.clip(self.x + self.span * direction))
        return self.ball.tighten(x, self.x, self.radius)

    def _changed_by(self, delta: tf.Tensor) -> tf.Tensor:
        low, high = self.limits.low, self.limits.high
        return self.ball.project_in_box(self.masked(delta), self.x, self.radius, low, high)

    def masked_exactly(self, x: tf.Tensor) -> tf.Tensor:
        """Restores the original values, to the bit, where nothing may change."""
        return x if self.mask is None else tf.where(self.mask > 0, x, self.x)


def apart(run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> Any:
    """Calls `run` as a graph of its own, in graph code.

    TensorFlow puts oneDNN's kernel for the gradient of max pooling in place of its own, many times slower one, where it
    meets the pooling before the gradient. The cycle of a `while_loop` has no first operation, so in there one graph in
    two stayed slow. (Per step of 250 digits on a small CNN: 40 ms instead of 24 ms.)
    """
    if tf.executing_eagerly():
        return run(x)
    return tf.function(run, autograph=False, experimental_attributes={"_noinline": True})(x)


def differentiable(gradient: tf.Tensor | None) -> tf.Tensor:
    """Returns a gradient, or raises where the model has none."""
    if gradient is None:
        raise ValueError(
            "The model has no gradient with respect to its input: a layer in it isn't differentiable, or casts the "
            "input to integers. Use an attack that needs decisions or scores only: Square, HopSkipJump or Boundary."
        )
    return gradient
