"""The rules' statistics of many shards: kept beside what was scored, merged in the order of the rows, taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules import Both, Rows, Rule
from keras_aug_ssl.rules.ranked import Ranked
from keras_aug_ssl.writing import replacing

Leaf = tuple[Rule, Any, slice]


def save(path: Path, statistics: Any) -> None:
    """Writes statistics, a nest of dicts of tensors, as the arrays of a `.npz` file."""
    with replacing(path) as draft:
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in _flat(statistics)}
        np.savez_compressed(draft, **arrays)


def load(path: Path) -> Any:
    """Reads what `save` wrote."""
    statistics: dict[str, Any] = {}
    with np.load(path) as arrays:
        for name in arrays:
            *above, last = name.split("/")
            place = statistics
            for part in above:
                place = place.setdefault(part, {})
            place[last] = arrays[name]
    return statistics


def merged(rule: Rule, parts: Iterator[Any]) -> Any:
    """The statistics of all rows, from those of its parts in the order of the rows; no two are kept beside them.

    The order matters where rows are equally sure: the first in the pool wins.
    """
    whole = None
    for part in parts:
        tensors = _with_empty(rule, keras.tree.map_structure(tf.constant, part))
        whole = tensors if whole is None else rule.merge(whole, tensors)
    return keras.tree.map_structure(np.asarray, whole)


def leaves(rule: Rule, statistics: Any, start: int = 0) -> Iterator[Leaf]:
    """Yields the rules that `&` joined, each with its statistics and its columns of the score."""
    if isinstance(rule, Both):
        yield from leaves(rule.first, statistics["first"], start)
        yield from leaves(rule.second, statistics["second"], start + rule.first.width)
    else:
        yield rule, statistics, slice(start, start + rule.width)


def check_in_parts(owner: str, rule: Rule) -> None:
    """Raises for a rule that must see the whole pool at once."""
    if isinstance(rule, Both):
        check_in_parts(owner, rule.first)
        check_in_parts(owner, rule.second)
    elif not (rule.by_row or isinstance(rule, Ranked)):
        checks.fail(
            owner, "select", "a rule that judges a pool in parts: one of kas.rules, or a subclass of Rule with by_row",
            rule, "A function of all probabilities needs them in one memory; SelfTraining takes it.",
        )  # fmt: skip


def standing(rule: Rule, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(N,) group and (N,) how sure, of a rule that goes by ranks, as arrays."""
    assert isinstance(rule, Ranked)  # for the type checker: only those have cuts
    group, sure = rule.standing(Rows(*(tf.constant(column) for column in rows)))
    return group.numpy(), sure.numpy()


def _flat(statistics: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in statistics.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield above + name, value


def _with_empty(rule: Rule, statistics: Any) -> Any:
    """Puts back what has no arrays in it, which no file keeps: the statistics of rules that have none."""
    if not isinstance(rule, Both):
        return statistics
    pairs = (("first", rule.first), ("second", rule.second))
    return {name: _with_empty(part, statistics.get(name, {})) for name, part in pairs}
