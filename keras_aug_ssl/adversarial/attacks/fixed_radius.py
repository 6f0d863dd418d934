"""Attacks that raise a loss inside a ball of fixed radius, and the noise they must beat."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.loop import Best, ascend, iterate, restart
from keras_aug_ssl.adversarial.search.problem import Evaluation, Found, Problem
from keras_aug_ssl.adversarial.search.results import join
from keras_aug_ssl.adversarial.search.steps import Momentum, Plain, Step, steepest
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import victim_of

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class FGSM(Attack):
    """One step of length epsilon along the gradient of the loss, for every example.

    Fast enough for training and for a first look; weak as a measure of robustness, where it can even do worse with a
    larger epsilon.

        x_adv = clip(x + epsilon * sign(d loss / d x))        (Goodfellow et al. 2015, section 4; here for Linf)

    In L2 the gradient is divided by its length; in L1 the step goes to the 1 % of values with the largest gradients.

    Args:
        epsilon: length of the step in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.FGSM(0.25)(model, np.array([[0.75, 0.5]]), [0]).x_adv
        array([[0.5 , 0.75]], dtype=float32)
    """

    early_stop = False
    one_step = True

    def __init__(self, epsilon: float = 8 / 255, norm: str = "linf", **common: Any):
        super().__init__(epsilon, norm, **common)

    def search(self, problem: Problem) -> Found:
        point = problem.evaluate(problem.x)
        return _judged(problem, problem.reached(steepest(problem, problem.x, point.gradient)), point)

    def inside(self, problem: Problem, found: Found) -> tf.Tensor:
        return found.x  # a step of the radius ends there

    def inputs(
        self,
        model: keras.Model,
        x: Any,
        y: Any = None,
        *,
        input_name: str | int | None = None,
        batch_size: int = 250,
    ) -> Any:
        """What a call returns as `x_adv`, without the forward pass that tells which of them fool the model.

        Args:
            model: any Keras model.
            x: the data, as for a call.
            y: the labels, as for a call.
            input_name: key or index of the attacked input of a model with several.
            batch_size: examples attacked at a time; bounds the memory.

        Returns:
            (N, ...) adversarial inputs, float32, in the structure of `x`.

        Raises:
            ValueError: as a call does.
        """
        owner = type(self).__name__
        found, victim = [], None
        for x_batch, y_batch in batches(owner, model, x, y, checks.integer(owner, "batch_size", batch_size, 1)):
            if victim is None:
                known = y_batch if y is None else y
                victim = victim_of(owner, model, x_batch, loss=self.loss, input_name=input_name, y=known)
            (x_adv,) = self.found(victim, self._arguments(victim, x_batch, y_batch, None, None), self.unjudged)
            found.append(x_adv)
        return join(found)


@register
class RandomFGSM(Attack):
    """One step from a random point of the ball, as in "fast" adversarial training (Wong et al. 2020, section 4).

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        step_size: length of the step in the unit of the input; None for the paper's 1.25 epsilon, or 1 epsilon from a
            start that may lie outside the ball.
        noise: size of the ball that the start is drawn from, in epsilons, >= 0. 2 is that of N-FGSM (de Jorge et al.
            2022, arXiv 2202.01181, algorithm 1), where the start may lie outside the ball; there the result may, too,
            which here it never does.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.RandomFGSM(0.2)(model, np.array([[0.75, 0.5]]), [0]).success
        array([ True])
    """

    early_stop = False
    one_step = True

    def __init__(
        self,
        epsilon: float = 8 / 255,
        norm: str = "linf",
        *,
        step_size: float | None = None,
        noise: float = 1.0,
        **common: Any,
    ):
        super().__init__(epsilon, norm, **common)
        self.step_size = _check_step_size(self, step_size)
        self.noise = checks.number(type(self).__name__, "noise", noise, 0.0)

    def search(self, problem: Problem) -> Found:
        usual = 1.25 if self.noise <= 1.0 else 1.0
        length = usual * problem.span if self.step_size is None else tf.constant(self.step_size)
        start = _random_start(problem, tf.constant(0), self.noise)
        point = problem.evaluate(start)
        return _judged(problem, start + length * steepest(problem, start, point.gradient), point)

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "step_size": self.step_size, "noise": self.noise}


class IterativeAttack(Attack):
    """Base of attacks that take many gradient steps inside a ball.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        steps: gradient steps, >= 1.
        early_stop: examples leave at their first success, which is several times faster; `distance` is then that of the
            first success. Off, every example takes all steps.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.
    """

    def __init__(self, epsilon: float, norm: str, *, steps: int, early_stop: bool = True, **common: Any):
        super().__init__(epsilon, norm, **common)
        self.steps = checks.integer(type(self).__name__, "steps", steps, 1)
        self.early_stop = bool(early_stop)

    def ascend(self, problem: Problem, start: tf.Tensor, rule: Step, best: Best | None = None) -> Best:
        """One ascent by a step rule."""
        return ascend(problem, start, step=rule, steps=self.steps, early_stop=self.early_stop, best=best)

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "steps": self.steps, "early_stop": self.early_stop}


@register
class PGD(IterativeAttack):
    """Projected gradient ascent from random points of the ball.

    The standard attack, and the standard partner of adversarial training (Madry et al. 2018, section 2.1):

        x <- project(x + step_size * steepest(d loss / d x))

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        steps: gradient steps of one start.
        step_size: length of a step in the unit of the input; None for 2.5 epsilon / steps.
        restarts: random starts; an example that is fooled takes no further one.
        **common: `early_stop`, `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> x, y = np.array([[0.75, 0.5], [0.9, 0.1]]), [0, 0]
        >>> kas.PGD(epsilon=0.2, steps=10)(model, x, y).success
        array([ True, False])
    """

    def __init__(
        self,
        epsilon: float = 8 / 255,
        norm: str = "linf",
        *,
        steps: int = 40,
        step_size: float | None = None,
        restarts: int = 1,
        **common: Any,
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.step_size = _check_step_size(self, step_size)
        self.restarts = checks.integer("PGD", "restarts", restarts, 1)

    def search(self, problem: Problem) -> Found:
        rule = Plain(self.step_size, 2.5 / self.steps)

        def climb(problem: Problem, i: tf.Tensor, best: Best) -> Best:
            return self.ascend(problem, _random_start(problem, i), rule, best)

        return restart(problem, climb, self.restarts, early_stop=self.early_stop).found()

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "step_size": self.step_size, "restarts": self.restarts}


@register
class BIM(IterativeAttack):
    """The basic iterative method: projected gradient ascent from the example itself (Kurakin et al. 2017, eq. 2).

    The same as `PGD` without the random start, so without randomness.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        steps: gradient steps.
        step_size: length of a step in the unit of the input; None for 2.5 epsilon / steps.
        **common: `early_stop`, `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.BIM(epsilon=0.2, steps=4, early_stop=False)(model, np.array([[0.75, 0.5]]), [0]).x_adv.round(2)
        array([[0.55, 0.7 ]], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float = 8 / 255,
        norm: str = "linf",
        *,
        steps: int = 40,
        step_size: float | None = None,
        **common: Any,
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.step_size = _check_step_size(self, step_size)

    def search(self, problem: Problem) -> Found:
        rule = Plain(self.step_size, 2.5 / self.steps)
        return self.ascend(problem, problem.x, rule).found()

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "step_size": self.step_size}


@register
class MomentumFGSM(IterativeAttack):
    """Gradient ascent with momentum, whose examples carry over better to other models (Dong et al. 2018, algorithm 1).

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        steps: gradient steps, each of length epsilon / steps.
        decay: share of the earlier gradients that is kept, >= 0; 1 in the paper, 0 gives `BIM`.
        **common: `early_stop`, `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.MomentumFGSM(epsilon=0.2)(model, np.array([[0.75, 0.5]]), [0]).success
        array([ True])
    """

    def __init__(
        self, epsilon: float = 8 / 255, norm: str = "linf", *, steps: int = 10, decay: float = 1.0, **common: Any
    ):
        super().__init__(epsilon, norm, steps=steps, **common)
        self.decay = checks.number("MomentumFGSM", "decay", decay, 0.0)

    def search(self, problem: Problem) -> Found:
        rule = Momentum(self.decay, share=1.0 / self.steps)
        return self.ascend(problem, problem.x, rule).found()

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "decay": self.decay}


@register
class GaussianNoise(Attack):
    """Gaussian noise, which a real attack must beat: as a check of other attacks, and of a model's manners.

    Noise of standard deviation epsilon is pulled into the ball, so in Linf a third of the values change by all of
    epsilon.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        repeats: draws for each example; the first that fools the model is kept.
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.GaussianNoise(epsilon=0.1)(model, np.array([[0.75, 0.5]]), [0]).success
        array([False])
    """

    differentiates = False

    def __init__(self, epsilon: float = 8 / 255, norm: str = "linf", *, repeats: int = 10, **common: Any):
        super().__init__(epsilon, norm, **common)
        self.repeats = checks.integer("GaussianNoise", "repeats", repeats, 1)

    def search(self, problem: Problem) -> Found:
        def body(problem: Problem, state: dict[str, Any], i: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
            draw = noise.normal(noise.fold(problem.rows["keys"], i), tf.shape(problem.x)[1:])
            if self.norm == "l1":  # the nearest point of the L1 ball would leave most values as they were
                draw /= spread(problem.ball.size(draw), draw)
            x = problem.project(problem.x + problem.span * draw)
            scores = problem.scores(x)
            fooled = problem.fooled(scores)
            best = state["best"].meet(x, problem.value(scores), fooled, tf.zeros_like(fooled))
            return {"best": best}, fooled

        return iterate(problem, body, {"best": Best.none(problem)}, self.repeats)["best"].found()

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "repeats": self.repeats}


def _judged(problem: Problem, x: tf.Tensor, start: Evaluation) -> Found:
    """Where the only step led, and how it went at its start."""
    return Found(x, tf.ones([problem.size], tf.int32), start.dead | problem.saturated(start.scores))


def _random_start(problem: Problem, number: tf.Tensor, share: float = 1.0) -> tf.Tensor:
    """A point of the ball `share` times as large, inside the bounds."""
    keys = noise.fold(problem.rows["keys"], number)
    change = problem.ball.random(keys, problem.x, share * problem.radius)
    return problem.project(problem.x + change) if share <= 1.0 else problem.clip(problem.x + problem.masked(change))


def _check_step_size(attack: Attack, step_size: float | None) -> float | None:
    if step_size is None:
        return None
    return checks.number(type(attack).__name__, "step_size", step_size, 0.0, low_open=True)
