"""Pseudo-labels for a pool that no machine's memory holds."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

from keras_aug_ssl import checks
from keras_aug_ssl.rules import Context, Rule
from keras_aug_ssl.rules.base import check_prior
from keras_aug_ssl.scale import statistics
from keras_aug_ssl.scale.folder import Folder
from keras_aug_ssl.scale.scoring import OWNER, Job, ShardScorer, held_out
from keras_aug_ssl.scale.selecting import Counting, Selecting, check_rule, first_cuts, narrowed
from keras_aug_ssl.scale.shards import Shards
from keras_aug_ssl.self_training.books.identity import digests, plain
from keras_aug_ssl.self_training.pool.sources import digest
from keras_aug_ssl.workers import Engine, Ray, checked


class Result(NamedTuple):
    """What came out.

    Attributes:
        path: the folder.
        rows: of the pool.
        selected: rows that have a label.
    """

    path: str
    rows: int
    selected: int


def pseudo_label(
    model: Any,
    x: Any,
    out: Any,
    select: Rule,
    *,
    prior: Any = None,
    holdout: Any = None,
    batch_size: int = 256,
    engine: Engine | None = None,
) -> Result:
    """Labels a pool with a saved model, shard by shard, and writes a folder of Parquet files.

    The rows, their labels and their weights are those that a selection of `SelfTraining` with the same model, rule and
    `prior` enters into its table. First each shard is scored by whoever is free; then the rule's statistics of all
    shards are merged, in the memory of classes and not of rows; then each shard is weighed and written. Rules by rank,
    `TopK`, `TopFraction` and `LowVariance`, find the last row that each class takes by counting, in a few more passes
    over the scores. A model that is asked for passes with dropout draws anew in each worker; views are functions of
    the row, in shards of whole blocks of 256 rows.
    To take as many of each class, join a rule with a number: `Threshold(0.3) & TopK(100_000)`.

    A run that was interrupted is taken up by the next with the same arguments, which does the missing shards only; its
    work lies in `out` + ".unfinished". `out` appears when all is done, so it is whole or not there.

    Args:
        model: path of a `.keras` file, loaded in safe mode.
        x: `Shards`, or what they are made of.
        out: folder to be made; all workers must see it under the same path.
        select: a rule of `kas.rules`, or one of your own that judges rows by themselves (`by_row`).
        prior: (K,) share of each class in the pool, for rules that go by it; None where it is unknown.
        holdout: `(x, y)` rows that the model wasn't trained on and their class numbers, for `TargetPrecision`.
        batch_size: rows predicted at once, >= 1.
        engine: `Ray()`, which None stands for, or `InProcess()`.

    Returns:
        Where it is, how many rows there are and how many have a label. The columns are those of
        `SelfTraining.table()`, `manifest.json` tells what was done, and `kas.data.pseudo_labelled` reads it for `fit`.

    Raises:
        ValueError: a file can't be read, the model or the rule doesn't fit, or `out` is something else.
        OSError: the disk is full, or can't be written to. What was done stays.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> np.save("pool.npy", np.random.default_rng(0).random((100, 4)).astype("float32"))
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
        >>> model.save("model.keras")
        >>> rule = kas.rules.TopFraction(0.2)
        >>> result = kas.scale.pseudo_label("model.keras", "pool.npy", "labels", rule, engine=kas.scale.InProcess())
        >>> result.rows
        100
    """
    shards = x if isinstance(x, Shards) else Shards(x)
    rule, batch_size = check_rule(select), checks.integer(OWNER, "batch_size", batch_size, 1)
    engine = checked(OWNER, engine)
    file, place = Path(model), Path(out)
    if not file.is_file():
        checks.fail(OWNER, "model", "the path of a .keras file", str(model))
    place.parent.mkdir(parents=True, exist_ok=True)
    parts = {
        "model": digest(file.read_bytes()),
        "pool": plain(shards.fingerprint()),
        "rule or option": plain([rule, prior, holdout, batch_size]),
    }
    folder = Folder(OWNER, place.resolve(), digests(parts))
    manifest = folder.finished()
    if manifest is None:
        job = Job(str(file.resolve()), shards, rule, folder, batch_size)
        manifest = _run(job, Ray() if engine is None else engine, prior, holdout)
    return Result(place.as_posix(), manifest["rows"], manifest["selected"])


def _run(job: Job, engine: Engine, prior: Any, holdout: Any) -> dict[str, Any]:
    """Scores, finds the levels, selects, and finishes."""
    make = functools.partial(ShardScorer, job)
    here = make()  # also so that what doesn't fit is told before anything starts
    prior = check_prior(OWNER, prior, here.head.num_classes) if here.head.single else None
    context = Context(prior, 1, None if holdout is None else held_out(here, holdout))
    if job.rule.needs_holdout and holdout is None:
        checks.fail(OWNER, "holdout", "given, since the level depends on held-out labels", None)
    with job.folder.opened(), engine.running():
        missing = [shard for shard in job.shards if not job.folder.scored(shard.number).exists()]
        for _ in engine.map(make, missing):
            pass
        found = (statistics.load(job.folder.statistics(shard.number)) for shard in job.shards)
        leaves = list(statistics.leaves(job.rule, statistics.merged(job.rule, found)))
        cuts = first_cuts(leaves, context, job.shards.total)
        while unknown := {place: cut for place, cut in cuts.items() if not cut.found}:
            counting = Counting(job.folder, [leaves[place] for place in unknown], list(unknown.values()))
            cuts = narrowed(cuts, engine.light_map(counting, list(job.shards)))
        selecting = Selecting(job.folder, leaves, cuts, context)
        parts = dict(engine.light_map(selecting, list(job.shards)))
        return job.folder.finish(_manifest(job, parts))


def _manifest(job: Job, parts: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What the result says of itself."""
    return {
        "rows": job.shards.total,
        "selected": sum(part["selected"] for part in parts.values()),
        "rule": repr(job.rule),
        "model": job.model,
        "parts": [parts[number] for number in sorted(parts)],
    }
