"""AutoAttack: several attacks with nothing to tune, each on what the ones before left standing."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.apgd import APGD
from keras_aug_ssl.adversarial.attacks.fab import FAB
from keras_aug_ssl.adversarial.attacks.square import Square
from keras_aug_ssl.adversarial.search.attack import Attack, search_where
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.victim.objectives import Objective
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, Head

VERSIONS = ("standard", "fast", "plus", "rand")


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class AutoAttack(Attack):
    """An ensemble without parameters to choose, the common yardstick of robustness (Croce & Hein 2020, section 6).

    Versions: "standard" is APGD on cross-entropy, targeted APGD, targeted FAB and Square, as published. "fast" is the
    first two, which on digits found all that the four did in a fifth of the time. "plus" adds restarts and APGD on the
    difference of logits ratio; "rand" is for models that draw random numbers in inference: APGD on both losses with
    gradients averaged over 20 evaluations.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        version: which attacks.
        **common: `bounds`, `seed`, `jit_compile`, as in `Attack`. Each attack has its own loss, and all are untargeted.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.AutoAttack(0.2, version="fast")(model, np.array([[0.75, 0.5], [0.9, 0.1]]), [0, 0]).success
        array([ True, False])
    """

    def __init__(self, epsilon: float = 8 / 255, norm: str = "linf", *, version: str = "standard", **common: Any):
        super().__init__(epsilon, norm, **common)
        self.version = checks.one_of("AutoAttack", "version", version, VERSIONS)
        if self.targeted or self.loss != "auto":
            checks.fail("AutoAttack", "loss", "left alone, as is `targeted`: the ensemble is fixed", self.loss)
        self.stages = self._stages()

    def objective(self, head: Head, compiled: Any) -> Objective:
        if head.kind not in (CLASSES, BINARY):
            advice = "Of several labels take APGD(loss='margin', restarts=5)."
            checks.fail("AutoAttack", "model", "a model of classes", head.kind, advice)
        return super().objective(head, compiled)

    def search(self, problem: Problem) -> Found:
        found, standing = Found.nothing(problem), tf.ones([problem.size], tf.bool)
        for number, stage in enumerate(self.stages):
            posed = dataclasses.replace(
                problem.with_rows(keys=noise.fold(problem.rows["keys"], number)),
                objective=stage.objective(problem.victim.head, problem.victim.compiled_loss),
            )
            after = search_where(posed, standing, stage.search, found)
            x = problem.contain(after.x)
            fooled = problem.fooled(problem.scores(x))
            # The first attack's examples are kept where all fail: those with the highest cross-entropy.
            found = Found(
                x if number == 0 else tf.where(spread(fooled & standing, x), x, found.x),
                tf.where(standing, found.queries + after.queries + 1, found.queries),
                found.dead | after.dead,
            )
            standing &= ~fooled
        return found

    def _stages(self) -> list[Attack]:
        common: dict[str, Any] = {"norm": self.norm, "bounds": self.bounds, "jit_compile": self.jit_compile}

        def make(attack: type[Attack], **arguments: Any) -> Attack:
            return attack(self.epsilon, **common, **arguments)

        if self.version == "rand":
            return [make(APGD, loss=loss, samples=20) for loss in ("crossentropy", "dlr")]
        restarts = 5 if self.version == "plus" else 1
        first, targeted = make(APGD, loss="crossentropy", restarts=restarts), make(APGD, loss="targeted")
        if self.version == "fast":
            return [first, targeted]
        rest = [make(FAB, restarts=restarts), make(Square)]
        if self.version == "plus":
            return [first, make(APGD, loss="dlr", restarts=restarts), targeted, *rest]
        return [first, targeted, *rest]

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "version": self.version}
