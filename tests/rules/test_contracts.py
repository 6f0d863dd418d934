"""Every public rule keeps every law."""

from __future__ import annotations

import inspect

import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import rules
from keras_aug_ssl.testing.rules import RULE_LAWS, RuleSubject, check_rule
from tests.rules.cases import RULE_CASES


@pytest.mark.parametrize("law", RULE_LAWS.values(), ids=RULE_LAWS)
@pytest.mark.parametrize("rule", RULE_CASES, ids=repr)
def test_law(rule, law):
    law(RuleSubject(rule))


def test_every_public_rule_has_a_case():
    public = {value for value in vars(rules).values() if inspect.isclass(value) and issubclass(value, rules.Rule)}
    assert {type(case) for case in RULE_CASES} == public - {rules.Rule}


def test_check_rule_runs_what_is_asked():
    names = ["weights lie in [0, 1]", "graph equals eager"]
    assert check_rule(rules.Threshold(0.9), only=names) == names
    assert check_rule(rules.Threshold(0.9), only=names, skip=names[:1]) == names[1:]
    with pytest.raises(ValueError, match="`only` must be one of"):
        check_rule(rules.Threshold(0.9), only=["no such law"])
    with pytest.raises(TypeError, match="`rule` must be an instance"):
        check_rule(rules.Threshold)
    assert kas.rules is rules
