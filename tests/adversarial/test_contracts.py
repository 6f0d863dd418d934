"""Every public attack keeps every law that is about it."""

from __future__ import annotations

import functools
import inspect

import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import adversarial
from keras_aug_ssl.testing import ATTACK_LAWS, check_attack
from keras_aug_ssl.testing.attack_subject import AttackSubject
from tests.adversarial.cases import ATTACK_CASES

# In a norm or version that isn't the class's own, what depends on it: the ball, and how well it is used.
FOR_VARIANTS = (
    "exact on a linear model",
    "bounds may be infinite",
    "a masked class saves nobody",
    "every boundary is found",
)


@functools.cache
def subject(name):
    (case,) = (case for case in ATTACK_CASES if case.name == name)
    return AttackSubject(case.make, case.optimality)


LAWS_BY_CASE = [
    pytest.param(case.name, law, id=f"{case.name}-{name}")
    for case in ATTACK_CASES
    for name, law in ATTACK_LAWS.items()
    if law.concerns(subject(case.name)) and (name in FOR_VARIANTS or not case.is_variant)
]


@pytest.mark.parametrize("name, law", LAWS_BY_CASE)
def test_law(name, law):
    law(subject(name))


def test_every_public_attack_has_a_case_and_is_at_the_top():
    public = {value for value in vars(adversarial).values() if inspect.isclass(value)}
    public = {cls for cls in public if issubclass(cls, adversarial.Attack)} - {adversarial.Attack}
    assert {case.cls for case in ATTACK_CASES} == public
    assert all(getattr(kas, cls.__name__) is cls for cls in public)


def test_check_attack_runs_what_is_asked():
    def make():
        return kas.FGSM(0.1)

    names = ["stays in ball and bounds", "exact on a linear model"]
    assert check_attack(make, only=names) == names
    assert check_attack(make, only=names, skip=names[:1]) == names[1:]
    with pytest.raises(ValueError, match="`only` must be one of"):
        check_attack(make, only=["no such law"])
    with pytest.raises(ValueError, match="`optimality` must be"):
        check_attack(make, optimality=2.0)
