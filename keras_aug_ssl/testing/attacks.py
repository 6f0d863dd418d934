"""The laws of an attack as small named checks, for our own attacks and for a user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.testing import attack_running, attack_values
from keras_aug_ssl.testing.attack_subject import AttackSubject
from keras_aug_ssl.testing.laws import Law, held

ATTACK_LAWS: dict[str, Law] = {law.name: law for module in (attack_values, attack_running) for law in module.LAWS}


def check_attack(
    make: Callable[[], Attack],
    optimality: float = 0.95,
    *,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> list[str]:
    """Checks that an attack keeps the laws every attack has to keep.

    Run it over an attack of your own, in a test. The laws are in `ATTACK_LAWS`: each is a name, a sentence, a condition
    on the attacks it is about, and a check. The laws choose epsilon, bounds and seed, through the attack's config, and
    show it pictures of 5 x 5 x 1 values and a network of three classes.

    Args:
        make: makes a new attack, the same each time: a class, or a function without arguments. Few steps are enough.
        optimality: share, in [0, 1], of what is possible on a linear model that the attack must attain: of the fall of
            the margin within a ball, or the smallest distance over that found. 0, for attacks left to chance, asks only
            that no more than the possible is claimed.
        only: names of the laws to check; None checks all.
        skip: names of laws to leave out.

    Returns:
        The names of the laws checked: those that are about this kind of attack.

    Raises:
        AssertionError: a law is broken; it says which, and how.

    Example:
        >>> import keras_aug_ssl as kas
        >>> make = lambda: kas.PGD(0.1, steps=5)
        >>> kas.testing.check_attack(make, only=["stays in ball and bounds", "exact on a linear model"])
        ['stays in ball and bounds', 'exact on a linear model']
    """
    checks.number("check_attack", "optimality", optimality, 0.0, 1.0)
    return held("check_attack", ATTACK_LAWS, lambda: AttackSubject(make, optimality), only, skip)
