"""Signs that a model hides its gradients instead of being robust, after Carlini et al. 2019 (arXiv 1902.06705).

An attack that follows gradients measures nothing where they lead nowhere. Then it behaves in ways in which an attack
that works can't, and a few cheap runs on some examples show that (their section 5 and appendix A).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.adversarial.attacks.fixed_radius import FGSM, PGD, GaussianNoise
from keras_aug_ssl.adversarial.attacks.square import Square
from keras_aug_ssl.adversarial.search.results import AttackResult
from keras_aug_ssl.adversarial.threat import balls
from keras_aug_ssl.adversarial.victim.model import Victim, victim_of

STEPS = 20
"""Gradient steps of the attack that is watched."""
QUERIES = 200
"""Evaluations of the attack without gradients it is compared with."""
SLACK = 0.03
"""Share of examples by which one run may do worse than another by chance."""
VANISHED = 0.5
"""Share of examples without a usable gradient that is too many; long training makes a model too sure of a quarter."""


def symptoms(
    model: keras.Model, x: Any, y: Any, epsilons: list[float], *, norm: str, bounds: Any, **options: Any
) -> list[str]:
    """Runs the checks on a few examples.

    Args:
        model: the model.
        x: inputs that the model gets right, at least one.
        y: their labels.
        epsilons: radii in use, rising, above 0.
        norm: of the attacks.
        bounds: of the attacks.
        **options: `input_name` and `batch_size`, as in `Attack.stream`.

    Returns:
        One text for each failed check, with the figures that speak.
    """

    def run(attack: Any, epsilon: float, **arguments: Any) -> AttackResult:
        return attack(epsilon, norm, bounds=bounds, **arguments)(model, x, y, **options)

    found = [run(PGD, epsilon, steps=STEPS) for epsilon in epsilons]
    # The largest epsilon that leaves half of the examples standing: there better attacks have most to find.
    place = max([0, *(i for i, result in enumerate(found) if result.robust_accuracy >= 0.5)])
    epsilon, watched = epsilons[place], found[place]
    attacked, _ = victim_of(
        "evaluate_robustness", model, x, input_name=options["input_name"], y=y, differentiated=False
    ).inputs.split(x)
    texts = [
        *_falls_with_epsilon(epsilons, found),
        _beaten(watched, run(FGSM, epsilon), epsilon, "FGSM, which takes a single step,"),
        _beaten(watched, run(Square, epsilon, steps=QUERIES, loss="auto"), epsilon, "Square, which sees no gradient,"),
        _beaten(watched, run(GaussianNoise, epsilon), epsilon, "GaussianNoise, which sees nothing,"),
        _survives_everything(run, whole_range(np.shape(attacked)[1:], norm, bounds)),
        _vanishes(watched),
    ]
    return [f"gradient masking? {text}" for text in texts if text]


def without_gradient(
    model: keras.Model, x: Any, y: Any, epsilons: list[float], *, norm: str, bounds: Any, **options: Any
) -> list[str]:
    """The text for a model without any gradient; arguments as for `symptoms`."""
    found = Square(epsilons[-1], norm, bounds=bounds, steps=QUERIES, loss="auto")(model, x, y, **options)
    return [
        "gradient masking? The model has no gradient with respect to its input. "
        f"Square, which sees none, fooled {_count(found)} examples at epsilon {epsilons[-1]:.4g}."
    ]


def has_gradient(victim: Victim, x: Any) -> bool:
    """Whether the scores of the model depend on its attacked input in a way TensorFlow can differentiate."""
    attacked, others = victim.inputs.split(tf.nest.map_structure(lambda part: tf.convert_to_tensor(part[:1]), x))
    attacked = tf.cast(attacked, tf.float32)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(attacked)
        scores = victim.scores(attacked, others)
    return tape.gradient(scores, attacked) is not None


def whole_range(shape: tuple[int, ...], norm: str, bounds: Any) -> float:
    """Size of the change from one corner of the bounds to the opposite one, for examples of this shape.

    At this epsilon nothing is out of reach.
    """
    low, high = bounds
    span = np.broadcast_to(high - low, shape)
    return float(balls.named("whole_range", norm).size(tf.constant(span, tf.float32)[None])[0])


def _falls_with_epsilon(epsilons: list[float], found: list[AttackResult]) -> list[str]:
    return [
        "A larger ball holds the smaller one, yet PGD fooled "
        f"{_count(found[i])} examples at epsilon {epsilons[i]:.4g} and {_count(found[i + 1])} at {epsilons[i + 1]:.4g}."
        for i in range(len(epsilons) - 1)
        if _more(found[i].success, found[i + 1].success)
    ]


def _beaten(watched: AttackResult, other: AttackResult, epsilon: float, name: str) -> str:
    if not _more(other.success, watched.success):
        return ""
    return (
        f"{name} fooled {_count(other)} examples at epsilon {epsilon:.4g}, PGD with {STEPS} steps only "
        f"{_count(watched)}: its gradients don't lead to what is there."
    )


def _survives_everything(run: Callable[..., AttackResult], epsilon: float) -> str:
    if not np.isfinite(epsilon):
        return ""
    result = run(PGD, epsilon, steps=STEPS)
    if not _more(np.ones_like(result.success), result.success):
        return ""
    return (
        f"With epsilon {epsilon:.4g}, the whole range of the inputs, any example can become any other, yet PGD fooled "
        f"only {_count(result)}."
    )


def _vanishes(watched: AttackResult) -> str:
    if np.mean(watched.zero_gradient) <= VANISHED:
        return ""
    return (
        f"On {np.sum(watched.zero_gradient)} of {len(watched.success)} examples the gradient is zero or not finite, or "
        "the model so sure that ordinary cross-entropy rounds it to zero."
    )


def _more(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether `one` holds more successes than chance explains."""
    return int(one.sum()) - int(other.sum()) > max(1.0, SLACK * len(one))


def _count(result: AttackResult) -> str:
    return f"{np.sum(result.success)} of {len(result.success)}"
