"""Scoring one shard: what the model says of its rows, kept until the levels of the whole pool are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling, reading
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS, Head
from keras_aug_ssl.rules import Rule
from keras_aug_ssl.scale import statistics
from keras_aug_ssl.scale.folder import Folder
from keras_aug_ssl.scale.shards import Shard, Shards
from keras_aug_ssl.self_training.labelling.ensemble import Teacher, read_members
from keras_aug_ssl.self_training.labelling.scoring import Scorer
from keras_aug_ssl.self_training.pool.sources import ArraySource, Subset
from keras_aug_ssl.writing import replacing

OWNER = "kas.scale.pseudo_label"
TARGET, SCORE = "target_", "score_"


@dataclasses.dataclass(frozen=True)
class Job:
    """All a worker has to know.

    Attributes:
        model: path of a `.keras` file.
        shards: the pool.
        rule: what will select.
        folder: where the run is kept.
        batch_size: rows predicted at once.
    """

    model: str
    shards: Shards
    rule: Rule
    folder: Folder
    batch_size: int


class ShardScorer:
    """A model that scores shards, one after the other; each is then in the folder of the run.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._teacher = job, read_teacher(job)
        members = read_members(OWNER, [job.rule], self._teacher, first_rows(job), None)
        self.scorer = Scorer(OWNER, [self._teacher], [job.rule], job.batch_size, members)

    @property
    def head(self) -> Head:
        """How the model's outputs are read."""
        return self._teacher.outputs

    def __call__(self, shard: Shard) -> int:
        """Scores a shard and returns how many of its rows have finite features."""
        job, rows = self._job, self._job.shards.open(shard)
        columns, (found,) = self.scorer.survey(rows, first=shard.first)
        label, confidence, uncertainty, score = columns.arrays
        kept = {"known": columns.known, "label": label, "confidence": confidence, "uncertainty": uncertainty}
        kept |= {f"{SCORE}{place}": part for place, part in enumerate(score.T)}
        if not self.head.single:
            kept |= {f"{TARGET}{place}": part for place, part in enumerate(self._targets(rows, columns.known).T)}
        statistics.save(job.folder.statistics(shard.number), found)
        write(job.folder.scored(shard.number), {"id": rows.ids(), **kept})
        return int(columns.known.sum())

    def _targets(self, rows: Any, known: np.ndarray) -> np.ndarray:
        """(N, D) float32 numbers, or several labels made hard by the rule; NaN where features aren't finite."""
        targets = np.full((len(rows), self.head.units), np.nan, np.float32)
        if known.any():
            predicted = self.scorer.predict(rows if known.all() else Subset(rows, np.flatnonzero(known)))
            targets[known] = self._job.rule.harden(predicted) if self.head.kind == LABELS else predicted
        return targets


def first_rows(job: Job) -> Any:
    """A few rows of the pool, as arrays."""
    return next(job.shards.open(job.shards[0]).blocks(calling.FEW))


def read_teacher(job: Job) -> Teacher:
    """Loads the model, in Keras's safe mode, and reads what it puts out.

    Raises:
        ValueError: it can't be loaded or read, doesn't take the rows, or the rule can't judge what it puts out.
    """
    try:
        model = keras.saving.load_model(job.model)
    except (OSError, ValueError, TypeError, KeyError) as error:
        checks.fail(OWNER, "model", "a .keras file of a model", job.model, f"Keras says: {_line(error)}")
    try:
        output = calling.first_output(model, first_rows(job))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        checks.fail(OWNER, "model", "a model that takes the pool's rows", job.model, f"Keras says: {_line(error)}")
    head = reading.read(OWNER, model, output, getattr(model, "loss", None), ask="and save it again.")
    if head.kind == NUMBERS and not job.rule.reads_numbers:
        checks.fail(
            OWNER, "select", "a rule for regression, since by its loss the model predicts numbers", job.rule,
            "rules.LowVariance() and rules.Uncertainty() go by how far several predictions spread.",
        )  # fmt: skip
    if job.rule.needs_holdout and not head.single:
        expected = f"one that needs no `holdout`, since the model predicts {head.kind}, not one class a row"
        checks.fail(OWNER, "select", expected, job.rule)
    return Teacher(model, head)


def held_out(scorer: ShardScorer, holdout: Any) -> tuple[np.ndarray, np.ndarray]:
    """(M, K) predictions of held-out rows `(x, y)`, and their (M,) classes."""
    if not isinstance(holdout, (tuple, list)) or len(holdout) != 2:
        checks.fail(OWNER, "holdout", "(x, y): rows that the model wasn't trained on, and the class of each", holdout)
    rows, labels = ArraySource(OWNER, holdout[0], "holdout"), np.asarray(holdout[1])
    if labels.shape != (len(rows),) or labels.dtype.kind not in "iu" or not len(labels):
        checks.fail(OWNER, "holdout", f"(x, y) with {len(rows)} class numbers as y", labels)
    return scorer.scorer.predict(rows), labels


def write(path: Any, columns: dict[str, np.ndarray]) -> None:
    """Writes a Parquet file that is whole or not there; names need not be UTF-8, as texts in it have to be."""
    pyarrow = checks.optional_package(OWNER, "pyarrow", "ray")
    parquet = checks.optional_package(OWNER, "pyarrow.parquet", "ray")
    texts = {name: column for name, column in columns.items() if column.dtype.kind in "UO"}
    plain = {name: [_utf_8(cell) for cell in column] for name, column in texts.items()}
    with replacing(path) as draft:
        parquet.write_table(pyarrow.table(columns | plain), draft)


def _utf_8(cell: Any) -> Any:
    return cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
