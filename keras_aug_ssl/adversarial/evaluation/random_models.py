"""Models that draw random numbers in inference: found out by two passes, judged by the mean of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl.adversarial.attacks.autoattack import AutoAttack
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.victim.model import Victim
from keras_aug_ssl.meaning.labels import decisions, predicted

DRAWS = 100
"""Passes whose mean says how often such a model is wrong."""
_ROWS = 64  # with fewer examples each is looked at several times: a rare draw would be missed on one
_ROUNDING = 1e-4  # relative; parallel sums may differ by this from run to run


def draws_needed(victim: Victim, x: Any) -> int:
    """Passes that tell how often the model is wrong: 1 for one that answers alike when asked twice."""
    size = len(tf.nest.flatten(x)[0])
    index = np.arange(_ROWS) % size
    some = tf.nest.map_structure(lambda part: np.asarray(part)[index], x)
    first, second = (_scores(victim, some) for _ in range(2))
    apart = np.abs(first - second)
    return DRAWS if np.any(apart > _ROUNDING * (1.0 + np.abs(first))) else 1


def errors(owner: str, victim: Victim, x: Any, y: np.ndarray, draws: int) -> np.ndarray:
    """Share of `draws` passes in which the model is wrong, (N,)."""
    labels = decisions(owner, victim.head, y, len(y))
    wrong = np.zeros(len(y))
    for _ in range(draws):
        scores = _scores(victim, x)
        differs = predicted(victim.head, tf.constant(scores)).numpy() != labels
        unanswered = np.isnan(scores).reshape(len(y), -1).any(axis=1)  # of NaN the largest is the first
        wrong += differs.reshape(len(y), -1).any(axis=1) | unanswered
    return wrong / draws


def warning(attacks: Sequence[Attack]) -> str:
    """What a reader of the figures of a random model has to know."""
    text = (
        f"The model draws random numbers in inference. Accuracies are means over {DRAWS} draws, attacks took all their "
        "steps, and masked gradients weren't looked for: one draw says nothing."
    )
    if any(isinstance(attack, AutoAttack) and attack.version == "rand" for attack in attacks):
        return text
    return text + ' Attack it with AutoAttack(version="rand") too, whose gradients are means over draws.'


def _scores(victim: Victim, x: Any) -> np.ndarray:
    attacked, others = victim.inputs.split(tf.nest.map_structure(tf.convert_to_tensor, x))
    return victim.scores(tf.cast(attacked, tf.float32), others).numpy()
