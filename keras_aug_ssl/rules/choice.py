"""How rows are chosen and labeled: the options that the callback and the trainer share, checked in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS
from keras_aug_ssl.rules import Rule
from keras_aug_ssl.rules.base import Custom

CALIBRATED = "calibrated"
LABELED = "labeled"


@dataclasses.dataclass(frozen=True)
class Choice:
    """Checked options.

    Attributes:
        select: the rule for coming in.
        stay: the rule for staying; None when rows stay for good.
        soft: targets are the probabilities rather than the class.
        weight: multiplies the rule's weights; a number, or a function of the round.
        temperature: divides the logits before rule and soft labels; `"calibrated"` finds it on held-out rows.
        average: the optimizer's averaged weights label, not the current ones.
        prior: share of each class in the pool; `"labeled"` takes the labeled rows', None estimates it.
        kind: what the outputs are, where the user says it; None reads it from model, loss and labels.
        defaults: the rule for each kind of outputs, when the user named none; `select` is then one of them.
    """

    select: Rule
    stay: Rule | None
    soft: bool = False
    weight: float | Callable[[int], float] = 1.0
    temperature: float | str = 1.0
    average: bool = False
    prior: Any = None
    kind: str | None = None
    defaults: Mapping[str, Rule] = dataclasses.field(default_factory=dict)

    @property
    def rules(self) -> list[Rule]:
        """The rules to judge by: for coming in and, where it is another, for staying."""
        return [self.select] if self.stay in (None, self.select) else [self.select, self.stay]

    def for_outputs(self, kind: str) -> Choice:
        """Returns these options with the default rule for a kind of outputs; as they are when the user named a rule."""
        rule = self.defaults.get(CLASSES if kind == BINARY else kind, self.select)
        return dataclasses.replace(self, select=rule, stay=rule if self.stay is self.select else self.stay)

    @property
    def needs_holdout(self) -> bool:
        """Whether held-out labels are required."""
        return self.temperature == CALIBRATED or any(rule.needs_holdout for rule in self.rules)

    @property
    def weighted(self) -> bool:
        """Whether a selected row can have another weight than 1."""
        return self.select.graded or self.weight != 1.0


def as_choice(
    owner: str,
    select: Any,
    defaults: Mapping[str, Rule],
    *,
    labels: str = "hard",
    relabel: Any = True,
    weight: Any = 1.0,
    temperature: Any = None,
    teacher: str = "current",
    prior: Any = None,
    kind: str | None = None,
) -> Choice:
    """Checks what a user passed; the arguments are `SelfTraining`'s, and the rules for a `select` of None."""
    if not isinstance(relabel, (bool, Rule)):
        checks.fail(owner, "relabel", "True, False, or the rule by which rows stay", relabel, error=TypeError)
    rule = defaults[CLASSES] if select is None else as_rule(owner, select)
    stay = (rule if relabel else None) if isinstance(relabel, bool) else relabel
    if not callable(weight):
        weight = checks.number(owner, "weight", weight, 0.0, low_open=True)
    if temperature != CALIBRATED:
        temperature = (
            1.0 if temperature is None else checks.number(owner, "temperature", temperature, 0.0, low_open=True)
        )
    return Choice(
        rule,
        stay,
        checks.one_of(owner, "labels", labels, ("hard", "soft")) == "soft",
        weight,
        temperature,
        checks.one_of(owner, "teacher", teacher, ("current", "average")) == "average",
        prior,
        None if kind is None else checks.one_of(owner, "kind", kind, (CLASSES, LABELS, NUMBERS)),
        defaults if select is None else {},
    )


def as_rule(owner: str, select: Any) -> Rule:
    """Returns a rule as it is, and a function of probabilities as a rule."""
    if isinstance(select, Rule):
        return select
    if isinstance(select, type) or not callable(select):
        advice = "For example rules.Threshold(0.95)."
        checks.fail(owner, "select", "a rule or a function of probabilities", select, advice, error=TypeError)
    return Custom(select)
