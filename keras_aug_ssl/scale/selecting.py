"""From what was scored to the result: levels of the whole pool, weights of each shard, and the rows as written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules import Context, Rows, Rule
from keras_aug_ssl.rules.ranked import Ranked
from keras_aug_ssl.scale import statistics
from keras_aug_ssl.scale.folder import Folder
from keras_aug_ssl.scale.ranks import Cut
from keras_aug_ssl.scale.scoring import OWNER, SCORE, TARGET, write
from keras_aug_ssl.scale.shards import Shard
from keras_aug_ssl.self_training.books.ledger import NEVER, NO_LABEL, NOT_FINITE, NOT_SELECTED, REASONS, SELECTED
from keras_aug_ssl.self_training.labelling.scoring import weigh


@dataclasses.dataclass(frozen=True)
class Counting:
    """Counts, in a shard, the next digit of the last rows that rules by rank take.

    Attributes:
        folder: where the run is kept.
        leaves: each rule by rank, with its statistics and its columns of the score.
        cuts: what is known of each.
    """

    folder: Folder
    leaves: Sequence[statistics.Leaf]
    cuts: Sequence[Cut]

    def __call__(self, shard: Shard) -> list[np.ndarray]:
        """Returns (G, 256) counts for each rule."""
        scored = _Scored(self.folder.scored(shard.number), shard)
        return [
            cut.counts(*scored.standing(leaf), scored.rows.row)
            for leaf, cut in zip(self.leaves, self.cuts, strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class Selecting:
    """Weighs the rows of a shard and writes its part of the result.

    Attributes:
        folder: where the run is kept.
        leaves: the rules that `&` joined, each with its statistics and its columns of the score.
        cuts: of the rules by rank, by their places among the leaves.
        context: what the rules may know besides.
    """

    folder: Folder
    leaves: Sequence[statistics.Leaf]
    cuts: dict[int, Cut]
    context: Context

    def __call__(self, shard: Shard) -> tuple[int, dict[str, Any]]:
        """Returns the shard's number and what the manifest says of its part."""
        path = self.folder.part(shard.number)
        if not path.exists():
            scored = _Scored(self.folder.scored(shard.number), shard)
            weight = np.zeros(shard.rows, np.float32)
            weight[scored.known] = self._weights(scored)
            write(path, _columns(scored, weight))
        selected = int(np.count_nonzero(_read(path, ["selected"])["selected"]))
        return shard.number, {"file": path.name, "first": shard.first, "rows": shard.rows, "selected": selected}

    def _weights(self, scored: _Scored) -> np.ndarray:
        weights = np.ones(len(scored.rows.row), np.float32)
        for place, leaf in enumerate(self.leaves):
            rule, found, columns = leaf
            if place in self.cuts:
                weights *= self.cuts[place].taken(*scored.standing(leaf), scored.rows.row)
            else:
                rows = scored.rows._replace(score=scored.rows.score[:, columns])
                weights *= weigh(OWNER, rule, rows, keras.tree.map_structure(tf.constant, found), self.context)
        return weights


def first_cuts(leaves: Sequence[statistics.Leaf], context: Context, rows: int) -> dict[int, Cut]:
    """The cuts of the rules by rank, of which nothing is known but how many rows they take."""
    return {
        place: Cut.of(np.asarray(rule.quota(keras.tree.map_structure(tf.constant, found), context)), rows)
        for place, (rule, found, _) in enumerate(leaves)
        if isinstance(rule, Ranked)
    }


def narrowed(cuts: dict[int, Cut], counts: Iterable[list[np.ndarray]]) -> dict[int, Cut]:
    """The cuts with one more digit each; `counts` are those of all shards, in any order, for the cuts not found yet."""
    open_places = [place for place, cut in cuts.items() if not cut.found]
    whole: list[Any] = [0] * len(open_places)
    for part in counts:
        whole = [one + other for one, other in zip(whole, part, strict=True)]
    return cuts | {place: cuts[place].narrowed(one) for place, one in zip(open_places, whole, strict=True)}


class _Scored:
    """What was kept of the rows of a shard.

    Attributes:
        columns: as they were written.
        known: (N,) bool rows of finite features.
        rows: these, as rules judge them.
    """

    def __init__(self, path: Path, shard: Shard) -> None:
        self.columns = _read(path)
        self.known = self.columns["known"]
        found = [values for name, values in self.columns.items() if name.startswith(SCORE)]
        score = np.stack(found, axis=1) if found else np.empty((shard.rows, 0), np.float32)
        row = shard.first + np.flatnonzero(self.known)
        self.rows = Rows(row, self.columns["label"][self.known], score[self.known])

    def standing(self, leaf: statistics.Leaf) -> tuple[np.ndarray, np.ndarray]:
        rule, _, columns = leaf
        return statistics.standing(rule, self.rows._replace(score=self.rows.score[:, columns]))


def _columns(scored: _Scored, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `SelfTraining.table()` after one selection."""
    selected, columns = weight > 0, scored.columns
    targets = {name: values for name, values in columns.items() if name.startswith(TARGET)}
    labels = {"label": np.where(selected, columns["label"], np.int32(NO_LABEL))}
    if targets:
        one = len(targets) == 1
        labels = {
            "label" if one else name.replace(TARGET, "label_"): np.where(selected, values, np.float32(np.nan))
            for name, values in targets.items()
        }
    reason = np.where(selected, SELECTED, np.where(scored.known, NOT_SELECTED, NOT_FINITE))
    return {
        "id": columns["id"],
        **labels,
        "selected": selected,
        "confidence": columns["confidence"],
        "uncertainty": columns["uncertainty"],
        "weight": weight,
        "round_entered": np.where(selected, 1, NEVER).astype(np.int16),
        "round_left": np.full(len(selected), NEVER, np.int16),
        "reason": np.array(REASONS)[reason],
    }


def _read(path: Path, columns: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The columns of a Parquet file, as arrays."""
    table = checks.optional_package(OWNER, "pyarrow.parquet", "ray").read_table(path, columns=columns)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def check_rule(rule: Any) -> Rule:
    """Returns a rule that can judge a pool in parts."""
    if not isinstance(rule, Rule):
        checks.fail(OWNER, "select", "a rule, such as kas.rules.Threshold(0.95)", rule, error=TypeError)
    statistics.check_in_parts(OWNER, rule)
    return rule
