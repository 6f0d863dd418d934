"""What an evaluation of robustness is asked: attacks that can be compared, radii, and data with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.apgd import APGD
from keras_aug_ssl.adversarial.attacks.autoattack import AutoAttack
from keras_aug_ssl.adversarial.attacks.fixed_radius import FGSM, PGD, GaussianNoise
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.threat.limits import check_bounds
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.meaning.heads import LABELS

OWNER = "evaluate_robustness"
_SHARES = (2 / 255, 4 / 255, 8 / 255, 16 / 255)


def usual(kind: str) -> list[Attack]:
    """The attacks on who names none: on a model of classes or of several labels."""
    return [
        FGSM(),
        PGD(),
        APGD(loss="margin", restarts=2) if kind == LABELS else AutoAttack(version="fast"),
        GaussianNoise(),
    ]


def comparable(attacks: Any, bounds: tuple[Any, Any] | None) -> list[Attack]:
    """Returns the attacks, with their bounds set, when an epsilon means the same to all of them.

    Args:
        attacks: a list of attacks.
        bounds: for all of them; None for their own.
    """
    if not isinstance(attacks, (list, tuple)) or not attacks or not all(isinstance(a, Attack) for a in attacks):
        checks.fail(OWNER, "attacks", "a list of attacks, such as [PGD(), FMN()]", attacks)
    for attack in attacks:
        if attack.targeted or not (attack.minimal or attack.needs_epsilon):
            checks.fail(
                OWNER, "attacks", "untargeted attacks that measure their perturbation by an epsilon",
                type(attack).__name__, "Call this one by itself.",
            )  # fmt: skip
    if bounds is not None:
        low, high = check_bounds(OWNER, bounds)
        attacks = [remade(attack, bounds=[low.tolist(), high.tolist()]) for attack in attacks]
    for name in ("norm", "bounds"):
        values = [attack.get_config()[name] for attack in attacks]
        if any(value != values[0] for value in values):
            checks.fail(OWNER, "attacks", f"attacks with the same {name}, or epsilons can't be compared", values)
    return list(attacks)


def radii(epsilons: Any, attacks: list[Attack], given: bool) -> list[float]:
    """Returns the epsilons, rising, each once.

    Args:
        epsilons: numbers >= 0, or None.
        attacks: whose own epsilons are taken where there is no list.
        given: the attacks are the caller's, not the default ones.
    """
    if epsilons is None and given:
        epsilons = [attack.epsilon for attack in attacks if attack.epsilon is not None]
    elif epsilons is None:
        low, high = attacks[0].bounds
        if not np.isfinite(np.max(high - low)):
            checks.fail(
                OWNER, "epsilons", "given where the bounds are infinite: their width sets the default ones", None,
                "Pass the sizes of change to withstand, in the unit of the inputs: epsilons=[...].",
            )  # fmt: skip
        epsilons = [share * float(np.max(high - low)) for share in _SHARES]
    if isinstance(epsilons, str) or np.ndim(epsilons) != 1 or not len(epsilons):
        checks.fail(OWNER, "epsilons", "a list of numbers >= 0, at least one", epsilons)
    return sorted({checks.number(OWNER, "epsilons", epsilon, 0.0) for epsilon in epsilons})


def labeled(model: keras.Model, data: Any, batch_size: int) -> tuple[Any, np.ndarray]:
    """Returns inputs and labels as arrays.

    Args:
        model: the model they are for.
        data: `(x, y)`, or a data set that brings the labels.
        batch_size: rows read at a time.
    """
    x, y = data if isinstance(data, (tuple, list)) and len(data) == 2 else (data, None)
    parts = list(batches(OWNER, model, x, y, batch_size))
    if any(part is None for _, part in parts):
        advice = "Without labels there is no accuracy."
        checks.fail(OWNER, "data", "(x, y), or a data set of such batches", type(data).__name__, advice)
    return tf.nest.map_structure(lambda *rows: np.concatenate(rows), *parts)


def remade(attack: Attack, **changes: Any) -> Attack:
    """The same attack with some arguments changed."""
    return type(attack).from_config({**attack.get_config(), **changes})


def named(attacks: Sequence[Attack]) -> dict[str, Attack]:
    """The attacks by name: the class, with the arguments that tell it from others of its class.

    Attacks that differ in epsilon only are one, since each is made anew for every epsilon.
    """

    def name(attack: Attack) -> str:
        own = attack.get_config()
        alike = [other.get_config() for other in attacks if type(other) is type(attack)]
        telling = [key for key in own if key != "epsilon" and any(config[key] != own[key] for config in alike)]
        return type(attack).__name__ + (f"({', '.join(f'{key}={own[key]!r}' for key in telling)})" if telling else "")

    return {name(attack): attack for attack in attacks}
