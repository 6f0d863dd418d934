"""Making the training set of a run from what a user passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from keras_aug_ssl import checks
from keras_aug_ssl.rules.choice import Choice
from keras_aug_ssl.self_training.feeding.augmenting import harder, keyed
from keras_aug_ssl.self_training.feeding.feeder import Board, TrainingSet
from keras_aug_ssl.self_training.feeding.labeled import labeled_rows
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool


def make_training_set(
    owner: str,
    choice: Choice,
    pool: UnlabeledPool,
    board: Board,
    x: Any,
    y: Any,
    batch_size: int = 64,
    augment: Callable[..., Any] | None = None,
    *,
    augment_pseudo: Callable[..., Any] | None = None,
    labeled_fraction: float = 0.5,
    steps: int | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    seed: int = 0,
) -> TrainingSet:
    """Returns the training set of a run, which reads from `board`; the arguments behind it are `training_set`'s."""
    labeled = labeled_rows(
        owner, x, y, pool.spec,
        soft=choice.soft, weighted=choice.weighted, sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    batch_size = checks.integer(owner, "batch_size", batch_size, 2)
    share = checks.number(owner, "labeled_fraction", labeled_fraction, 0.0, 1.0, low_open=True, high_open=True)
    first = keyed(owner, "augment", augment)
    if augment_pseudo is None:
        second = harder(first, labeled.x)
    else:
        second = first if augment_pseudo is augment else keyed(owner, "augment_pseudo", augment_pseudo)
    if steps is None:
        steps = math.ceil((len(labeled) + len(pool)) / batch_size)
    return TrainingSet(
        labeled,
        pool,
        board,
        batch_size=batch_size,
        steps=checks.integer(owner, "steps", steps, 1),
        labeled_fraction=share,
        augment=first,
        augment_pseudo=second,
        seed=checks.integer(owner, "seed", seed, 0),
    )
