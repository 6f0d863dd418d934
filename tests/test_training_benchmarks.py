"""The benchmarks of training give every method the same rows and steps, keep what is done, and count it right."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Imports a script as when it is run: the modules beside it are found by their bare names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def robust_task(script, task):
    arguments = argparse.Namespace(rows=None, attacked=5, epochs=2, epsilon=0.1)
    return script("robust_training").load("digits", task, 0, arguments)


@pytest.mark.parametrize("moved", [False, True])
def test_few_labels_make_as_many_updates_as_all(script, moved):
    everything, few = robust_task(script, "all"), robust_task(script, "2")
    assert len(few.x) == 20 and len(few.x) + len(few.pool) == len(everything.x)
    for task in (everything, few):
        seen = list(task.batches(moved))
        assert len(seen) == task.steps == everything.steps
        counts = np.unique(np.concatenate([y for _, y in seen]), return_counts=True)[1]
        assert counts.sum() >= len(everything.x) and counts.min() > 0
    epochs = few.batches(moved)
    assert not np.array_equal(*(next(iter(epochs))[0] for _ in range(2))), "another order each epoch"


def test_methods_that_need_a_pool_are_known(script):
    robust = script("robust_training")
    without = set(robust.METHODS) - set(robust.NEED_A_POOL)
    assert all(
        name.startswith(("plain", "standard", "trades", "ikl", "mart", "free", "fast", "n-fgsm", "virtual"))
        for name in without
    )
    assert "virtual, with the pool" in robust.NEED_A_POOL and len(robust.NEED_A_POOL) == 6


def test_what_is_done_is_kept_and_not_done_again(script, tmp_path):
    robust, calls = script("robust_training"), []
    task = robust_task(script, "all")

    def train():
        calls.append(1)
        model = robust.network(task)
        model.compile(robust.optimizer(task), robust.LOSS)
        return model, 1.5

    row = {"data": "digits", "task": "all", "method": "plain, as they are", "draw": 0, "epochs": 2, "epsilon": 0.1}
    for _ in range(2):
        robust.keep(tmp_path / "rows.csv", {**row, "attacked": 5}, train, task)
    assert len(calls) == 1
    (kept,) = script("_rows").read(tmp_path / "rows.csv")
    assert float(kept["autoattack"]) <= float(kept["pgd40"]) <= float(kept["clean"]) and kept["epoch_seconds"] == "1.5"
    assert "| 1.5 | 1.0 |" in robust.table([kept])


def test_the_report_of_consistency_has_a_line_a_method_and_its_spread(script):
    rows = script("_rows").read(FOLDER / "results" / "consistency.csv")
    consistency = script("consistency")
    text = consistency.table(rows)
    assert {row["method"] for row in rows} <= set(consistency.METHODS)
    some = [
        float(row["errors"])
        for row in rows
        if (row["method"], row["labels"], row["steps"]) == ("FreeMatch", "4", "4000")
    ]
    assert f"{100 * np.mean(some):.1f} ± {100 * np.std(some, ddof=1):.1f}" in text
    assert len(consistency.figure(rows).axes) % 2 == 0


def test_harm_is_counted_on_rows_that_nothing_trains_on(script):
    harm, selves = script("harm"), script("self_training")
    task = selves.load("digits", 1, 0)
    smaller, (x, y) = harm.keep_back(task)
    assert len(y) == harm.HELD and len(smaller.pool) + len(y) == len(task.pool)
    assert not (smaller.pool[:, None] == x[None, :5]).all(axis=(2, 3, 4)).any(), "digits are all different"
    rows = [
        dict(zip(harm.FIELDS, ("cifar10", "10", str(n), "0.6", "0.7", "0.4", alarm), strict=True))
        for n, alarm in enumerate(["1", ""])
    ]
    assert "| cifar10, 10 | 2 | 60.0 ± 0.0 | 70.0 ± 0.0 | 40.0 ± 0.0 | 1 of 2 | 1 |" in harm.table(rows)
