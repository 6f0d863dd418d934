"""One perturbation for all examples, and points that come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.search.results import AttackResult
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import Victim, victim_of


class Given(Attack):
    """Points from elsewhere, such as those made against another model: put inside the limits, and measured."""

    early_stop = False
    differentiates = False

    def search(self, problem: Problem) -> Found:
        return Found.nothing(problem)._replace(x=problem.rows["given"])


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class UniversalPerturbation(Given):
    """One perturbation that fools the model on as many examples as it can (Moosavi-Dezfooli et al. 2017).

    It is found by projected gradient steps on the examples not yet fooled (after Shafahi et al. 2020, algorithm 1), in
    several passes over the data. Unlike other attacks' results an example's depends on the others: they share the
    perturbation, which stays in `perturbation_`.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        epochs: passes over the data.
        step_size: length of a step, one a batch, in the unit of the input; None for epsilon / 10.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> attack = kas.UniversalPerturbation(epsilon=0.2)
        >>> attack(model, np.array([[0.75, 0.5], [0.6, 0.3]]), [0, 0]).success
        array([ True,  True])
        >>> attack.perturbation_.round(1)
        array([-0.2,  0.2], dtype=float32)
    """

    differentiates = True

    def __init__(
        self,
        epsilon: float = 8 / 255,
        norm: str = "linf",
        *,
        epochs: int = 10,
        step_size: float | None = None,
        **common: Any,
    ):
        super().__init__(epsilon, norm, **common)
        owner = "UniversalPerturbation"
        self.epochs = checks.integer(owner, "epochs", epochs, 1)
        self.step_size = None if step_size is None else checks.number(owner, "step_size", step_size, 0.0, low_open=True)
        self.perturbation_ = np.zeros((), np.float32)

    def stream(self, model: keras.Model, x: Any, y: Any = None, **options: Any) -> Iterator[AttackResult]:
        """Finds the perturbation in several passes over the data, then yields each batch with it."""
        given = {name: options.get(name) for name in ("mask", "input_name")}
        self._fit(model, x, y, options.get("batch_size", 250), **given)
        yield from super().stream(model, x, y, **options)

    def attack_batch(self, victim: Victim, x: Any, y: Any, mask: Any = None, given: Any = None) -> AttackResult:
        attacked, _ = victim.inputs.split(x)
        return super().attack_batch(victim, x, y, mask, np.asarray(attacked, np.float32) + self.perturbation_)

    def _fit(self, model: keras.Model, x: Any, y: Any, batch_size: int, mask: Any, input_name: Any) -> None:
        owner = type(self).__name__
        if mask is not None and np.ndim(mask) == len(np.shape(tf.nest.flatten(x)[0])) and len(mask) > 1:
            checks.fail(owner, "mask", "of the shape of one example, since all share the perturbation", np.shape(mask))
        mask = None if mask is None else np.asarray(mask, np.float32)
        length = self._radius() / 10.0 if self.step_size is None else tf.constant(self.step_size, tf.float32)
        delta: tf.Tensor | None = None
        for _ in range(self.epochs):
            for x_batch, y_batch in batches(owner, model, x, y, batch_size):
                victim = victim_of(owner, model, x_batch, loss=self.loss, input_name=input_name,
                                   y=y_batch if y is None else y)  # fmt: skip
                rows, limits = self._arguments(victim, x_batch, y_batch, mask, None)
                delta = tf.zeros(rows["x"].shape[1:]) if delta is None else delta
                delta = self._step_graph(victim)(rows, limits, self._radius(), delta, length)
        self.perturbation_ = np.asarray(delta)

    def _step_graph(self, victim: Victim) -> Any:
        def step(rows: Any, limits: Any, radius: tf.Tensor, delta: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
            problem = self._pose(victim, rows, limits, radius, tf.constant(0, tf.int64))
            point = problem.evaluate(problem.clip(problem.x + delta))
            weight = tf.cast(~point.fooled, tf.float32)
            size = tf.maximum(tf.norm(tf.reshape(point.gradient, [problem.size, -1]), axis=1), 1e-30)
            total = tf.reduce_sum(point.gradient * spread(weight / size, point.gradient), axis=0, keepdims=True)
            return self.ball.project(delta[None] + length * self.ball.steepest(total), radius)[0]

        key = ("universal", tuple(sorted(self.recipe().items())))
        return victim.graph(key, lambda: tf.function(step, autograph=False, reduce_retracing=True))

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "epochs": self.epochs, "step_size": self.step_size}
