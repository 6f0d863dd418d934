"""One case or more for every public attack, and helpers the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.search.attack import Attack

BRIEF = {"APGD": 8, "FAB": 6, "Square": 15}


@keras.saving.register_keras_serializable(package="tests")
class BriefAutoAttack(kas.AutoAttack):
    """The ensemble with few steps and restarts: laws hold for any number of them."""

    def _stages(self) -> list[Attack]:
        stages = super()._stages()
        for stage in stages:
            stage.steps = BRIEF[type(stage).__name__]
            if self.version == "plus" and not isinstance(stage, kas.Square):
                stage.restarts = 2
            if self.version == "rand":
                stage.samples = 2
        return stages


class Case(NamedTuple):
    """An attack with few steps, and the share of what is possible that it must attain on a linear model."""

    name: str
    cls: type[Attack]
    make: Callable[[], Attack]
    optimality: float
    is_variant: bool  # another case of the same class comes first


def case(cls: type[Attack], label: str = "", optimality: float = 0.95, **arguments: Any) -> Case:
    made = BriefAutoAttack if cls is kas.AutoAttack else cls
    name = cls.__name__ + (f"-{label}" if label else "")
    return Case(name, cls, lambda: made(**arguments), optimality, bool(label))


def in_every_norm(cls: type[Attack], optimality: tuple[float, float, float], first: str = "linf", **arguments: Any):
    """Cases in Linf, L2 and L1; the one in the norm `first`, which the class has by default, isn't a variant."""
    cases = [
        case(cls, "" if norm == first else norm, share, norm=norm, **arguments)
        for norm, share in zip(("linf", "l2", "l1"), optimality, strict=True)
    ]
    return sorted(cases, key=lambda one: one.is_variant)


ATTACK_CASES: list[Case] = [
    *in_every_norm(kas.FGSM, (1.0, 1.0, 1.0)),
    *in_every_norm(kas.RandomFGSM, (0.7, 0.7, 0.7)),
    case(kas.RandomFGSM, "from-outside", 0.5, noise=2.0),
    *in_every_norm(kas.BIM, (0.99, 0.99, 0.99), steps=3),
    *in_every_norm(kas.PGD, (0.95, 0.95, 0.95), steps=4, restarts=2),
    *in_every_norm(kas.MomentumFGSM, (0.99, 0.99, 0.99), steps=3),
    *in_every_norm(kas.APGD, (0.95, 0.95, 0.95), steps=8),
    case(kas.APGD, "dlr", loss="dlr", steps=8),
    case(kas.APGD, "targeted", loss="targeted", steps=8),
    *in_every_norm(kas.FAB, (0.98, 0.98, 0.98), steps=4),
    *in_every_norm(kas.Square, (0.25, 0.3, 0.3), steps=20),
    case(kas.AutoAttack, version="fast"),
    case(kas.AutoAttack, "standard", version="standard"),
    case(kas.AutoAttack, "plus", version="plus", norm="l2"),
    case(kas.AutoAttack, "rand", version="rand", norm="l1"),
    *in_every_norm(kas.DeepFool, (0.98, 0.98, 0.98), first="l2", steps=5),
    *in_every_norm(kas.FMN, (0.95, 0.95, 0.9), steps=15),
    case(kas.DDN, steps=15),
    case(kas.CarliniWagner, optimality=0.9, steps=12, searches=3),
    case(kas.Boundary, optimality=0.3, steps=30),
    *in_every_norm(kas.HopSkipJump, (0.3, 0.3, 0.2), first="l2", steps=2, evaluations=15),
    case(kas.SpatialAttack, grid=(3, 3, 3), steps=2),
    *in_every_norm(kas.UniversalPerturbation, (0.95, 0.95, 0.95), epochs=10),
    *in_every_norm(kas.GaussianNoise, (0.0, 0.0, 0.0), repeats=4),
]
