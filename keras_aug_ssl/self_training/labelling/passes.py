"""Several predictions of the same rows by one teacher: by dropout, by views of the inputs, or by an ensemble."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.calling import Answers
from keras_aug_ssl.rules import Rule
from keras_aug_ssl.self_training.feeding.augmenting import key_of, keyed
from keras_aug_ssl.self_training.labelling.ensemble import Teacher
from keras_aug_ssl.teaching.teachers import dropout_only

PASSES = 10
"""Predictions of a rule that doesn't say how many."""


class Passes(contextlib.AbstractContextManager["Passes"]):
    """How a rule wants rows to be predicted. Entered while it is used, it leaves the model's state as it was.

    Args:
        owner: the class a user called, for errors.
        teacher: what labels.
        rule: says how many passes, by which models, and of which views.
        batch_size: rows predicted at once.
        members: the models of the rule, read; empty for passes of the teacher.
    """

    def __init__(
        self, owner: str, teacher: Teacher, rule: Rule, batch_size: int, members: Sequence[Teacher] = ()
    ) -> None:
        self._owner, self._model, self._view = owner, teacher.model, keyed(owner, "view", rule.view)
        self._dropout = not members and self._view is None
        asked = members or [teacher] * (PASSES if rule.passes is None else rule.passes)
        traced = {id(each.model): Answers(owner, each.model, batch_size, training=self._dropout) for each in asked}
        self._calls = [(each, traced[id(each.model)]) for each in asked]

    def of(self, x: Any, first: int) -> Iterator[tuple[Teacher, Any, Any]]:
        """Yields, for each pass over a block that begins at row `first`, who, a function, and what to call it on."""
        for number, (teacher, call) in enumerate(self._calls):
            yield teacher, call, x if self._view is None else self._view(x, key_of(first, number))

    def check(self, uncertainty: np.ndarray) -> None:
        """Raises when dropout made no difference at all."""
        if self._dropout and uncertainty.max() < 1e-6:  # rounding alone makes it differ from 0
            checks.fail(
                self._owner, "passes", "used with a model that has Dropout, or with a view", self._model.name,
                "All passes agree: add Dropout layers, or pass view=, an augmentation, or an ensemble of models.",
            )  # fmt: skip

    def __enter__(self) -> Passes:
        self._state = contextlib.ExitStack()
        if self._dropout:
            self._state.enter_context(dropout_only(self._model))
        return self

    def __exit__(self, *error: object) -> None:
        self._state.close()
