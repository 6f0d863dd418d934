"""Every law of an attack catches an attack that breaks it."""

from __future__ import annotations

import dataclasses
import itertools
import re
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.attacks.fixed_radius import BIM
from keras_aug_ssl.adversarial.search.problem import Found
from keras_aug_ssl.testing import ATTACK_LAWS
from keras_aug_ssl.testing.attack_subject import AttackSubject

register = keras.saving.register_keras_serializable(package="broken")
CALLS = itertools.count()
VICTIMS = weakref.WeakKeyDictionary()


@register
class Works(kas.FGSM):
    """An attack that keeps all laws until a subclass changes its result or its search."""

    def attack_batch(self, victim, x, y, mask=None, given=None):
        return self.changed(super().attack_batch(victim, x, y, mask, given), np.asarray(x, np.float32))

    def changed(self, result, x):
        return result


class LeavesTheBall(Works):
    def changed(self, result, x):
        return dataclasses.replace(result, x_adv=np.clip(x + 1.01 * (result.x_adv - x), 0.0, 1.0))


class AlwaysMoves(Works):
    def changed(self, result, x):
        return dataclasses.replace(result, x_adv=np.clip(result.x_adv + 1e-4, 0.0, 1.0))


class GoesHalfWay(Works):
    def search(self, problem):
        return super().search(dataclasses.replace(problem, radius=0.5 * problem.radius))


class LosesItsWay(Works):
    def search(self, problem):
        return super().search(dataclasses.replace(problem, radius=tf.where(problem.radius > 0.15, 0.0, problem.radius)))


class SticksToBounds(Works):
    def search(self, problem):
        found = super().search(problem)
        free = tf.cast((problem.x > problem.limits.low) & (problem.x < problem.limits.high), tf.float32)
        return found._replace(x=problem.x + free * (found.x - problem.x))


class DividesByZero(Works):
    def changed(self, result, x):
        with np.errstate(invalid="ignore"):
            share = result.distance / result.distance
        return dataclasses.replace(result, x_adv=x + share[:, None, None, None] * (result.x_adv - x))


class ClaimsSuccess(Works):
    def changed(self, result, x):
        return dataclasses.replace(result, success=np.ones_like(result.success))


class ForgetsTheTarget(Works):
    def search(self, problem):
        return super().search(dataclasses.replace(problem, targeted=False))


class LooksAtTheBatch(Works):
    def search(self, problem):
        mean = tf.reduce_mean(super().search(problem).x - problem.x, axis=0, keepdims=True)
        return Found.nothing(problem)._replace(x=problem.x + mean)


class DrawsFromAState(kas.RandomFGSM):
    def attack_batch(self, *arguments):
        self.seed = next(CALLS)
        return super().attack_batch(*arguments)


class TrainsTheModel(Works):
    def search(self, problem):
        problem.victim.model(problem.x, training=True)
        return super().search(problem)


class RemembersTheModel(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        return super().attack_batch(VICTIMS.setdefault(victim.model, victim), x, y, mask, given)


class FearsInfinity(Works):
    def search(self, problem):
        finite = tf.math.is_finite(problem.limits.high)
        found = super().search(problem)
        return found._replace(x=tf.where(finite, found.x, problem.x))


class FearsMasks(Works):
    def search(self, problem):
        found = super().search(problem)
        finite = tf.reduce_all(tf.math.is_finite(problem.victim.output(found.x)))
        return found._replace(x=tf.where(finite, found.x, problem.x))


class StopsBeforeTheBoundary(kas.DDN):
    def attack_batch(self, *arguments):
        result = super().attack_batch(*arguments)
        return dataclasses.replace(result, success=result.success & (np.arange(len(result.success)) % 8 != 7))


class WritesIntoItsInput(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        x[0] = 0.0
        return super().attack_batch(victim, x, y, mask, given)


class BuildsEpsilonIn(Works):
    def recipe(self):
        return {**super().recipe(), "epsilon": self.epsilon}


class ForgetsTheMask(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        return super().attack_batch(victim, x, y)


class HalvesBytes(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        return super().attack_batch(victim, x // 2 if x.dtype == "uint8" else x, y)


class FearsProbabilities(Works):
    def search(self, problem):
        return Found.nothing(problem) if not problem.victim.head.logits else super().search(problem)


@register
class ForgetsItsSteps(BIM):
    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name not in ("steps", "step_size")}


class LooksPastThePreparation(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        result = super().attack_batch(victim, x, y, mask, given)
        return dataclasses.replace(result, success=np.argmax(victim.model(result.x_adv), axis=1) != y)


class CutsAtAHalf(Works):
    def attack_batch(self, victim, x, y, mask=None, given=None):
        result = super().attack_batch(victim, x, y, mask, given)
        wrong = (np.asarray(victim.output(result.x_adv)) > 0.5) != np.asarray(y, bool).reshape(len(y), -1)
        return dataclasses.replace(result, success=wrong.any(axis=1))


BROKEN = {
    "stays in ball and bounds": LeavesTheBall,
    "no radius, no change": AlwaysMoves,
    "exact on a linear model": GoesHalfWay,
    "bounds may be infinite": FearsInfinity,
    "a masked class saves nobody": FearsMasks,
    "every boundary is found": lambda: StopsBeforeTheBoundary(steps=20),
    "a larger ball is no harder": LosesItsWay,
    "pixels at a bound can move": SticksToBounds,
    "a zero gradient stays finite": DividesByZero,
    "success is true": ClaimsSuccess,
    "targets are reached": ForgetsTheTarget,
    "a batch equals singles": LooksAtTheBatch,
    "same seed, same result": DrawsFromAState,
    "the model is left alone": TrainsTheModel,
    "the model is seen as it is now": RemembersTheModel,
    "inputs are left alone": WritesIntoItsInput,
    "no retrace on the second call": BuildsEpsilonIn,
    "mask and bounds of each value hold": ForgetsTheMask,
    "every dtype is read alike": HalvesBytes,
    "probabilities are as good as logits": FearsProbabilities,
    "a task's preparation counts": LooksPastThePreparation,
    "labels mean what evaluate makes of them": CutsAtAHalf,
    "config round trip": lambda: ForgetsItsSteps(0.3, steps=1, step_size=0.01),
}


@pytest.mark.parametrize("name", ATTACK_LAWS)
def test_law_catches_who_breaks_it(name):
    with pytest.raises(AssertionError, match=re.escape(f"breaks the law {name!r}")):
        ATTACK_LAWS[name](AttackSubject(BROKEN[name]))


@pytest.mark.parametrize("make", [Works, lambda: kas.DDN(steps=20)])
def test_the_attack_that_was_broken_keeps_all_laws(make):
    subject = AttackSubject(make)
    for law in ATTACK_LAWS.values():
        if law.concerns(subject):
            law(subject)
