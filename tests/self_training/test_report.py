"""The audit: every row once, with what happened to it and why."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.self_training.ledger import REASONS, Ledger
from tests.self_training.cases import clusters, run

X, Y, POOL, HIDDEN = clusters()


@pytest.fixture(scope="module")
def trained():
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1)
    run(st)
    return st


def update(ledger, round, label, weight, stay=()):
    stay = None if stay is None else np.isin(np.arange(4), stay)
    return ledger.update(round, np.array(label, np.int32), np.array(weight, np.float32), stay)


def reasons(ledger):
    return [REASONS[code] for code in ledger.reason]


def test_what_happens_to_a_row_is_written_down():
    ledger = Ledger(4)
    change = update(ledger, 1, [0, 1, 2, 3], [1, 1, 1, 0])
    assert (change.added, change.removed, change.relabelled, change.kept) == (3, 0, 0, 0)
    change = update(ledger, 2, [0, 2, 1, 3], [0, 0.5, 0, 1])
    assert (change.added, change.removed, change.relabelled, change.kept) == (1, 2, 1, 1)
    assert change.flip_rate == 1.0
    np.testing.assert_array_equal(ledger.label, [0, 2, 2, 3])
    np.testing.assert_array_equal(ledger.weight, [0, 0.5, 0, 1])
    np.testing.assert_array_equal(ledger.entered, [1, 1, 1, 2])
    np.testing.assert_array_equal(ledger.left, [2, -1, 2, -1])
    assert reasons(ledger) == ["below the rule", "relabelled", "label changed", "selected"]
    assert not update(ledger, 3, [0, 2, 1, 3], [0, 0.5, 0, 1]).anything


def test_rows_stay_only_with_the_label_they_have():
    ledger = Ledger(4)
    update(ledger, 1, [0, 1, 2, 3], [1, 1, 1, 0])
    change = update(ledger, 2, [0, 0, 2, 3], [0, 0, 0, 0], stay=[0, 1, 3])
    np.testing.assert_array_equal(ledger.selected, [True, False, False, False])
    assert change.removed == 2 and reasons(ledger)[1:3] == ["label changed", "below the rule"]


def test_labels_for_good_stay():
    ledger = Ledger(4)
    update(ledger, 1, [0, 1, 2, 3], [1, 0.5, 0, 0], stay=None)
    change = update(ledger, 2, [3, 3, 3, 3], [1, 1, 1, 0], stay=None)
    np.testing.assert_array_equal(ledger.label, [0, 1, 3, -1])
    np.testing.assert_array_equal(ledger.weight, [1, 0.5, 1, 0])
    assert (change.added, change.kept, change.relabelled) == (1, 2, 0)


def test_the_table_agrees_with_the_run(trained):
    table = trained.table()
    assert len(table) == len(POOL) and list(table["id"]) == list(range(len(POOL)))
    labels, rounds = trained.transduction_[len(X) :], trained.labeled_iter_[len(X) :]
    np.testing.assert_array_equal(labels, np.where(table["selected"], table["label"], -1))
    np.testing.assert_array_equal(rounds, np.where(table["selected"], table["round_entered"], -1))
    assert ((table["weight"] > 0) == table["selected"]).all()
    assert (table["round_left"][table["selected"]] == -1).all()
    left = table["round_left"] > 0
    assert (table["label"][left] >= 0).all() and (table["round_left"][left] > table["round_entered"][left]).all()
    assert set(table["reason"]) <= set(REASONS)
    never = table["round_entered"] == -1
    assert (table["label"][never] == -1).all() and (table["reason"][never] == "not selected").all()
    assert np.isfinite(table["confidence"]).all() and ((table["uncertainty"] >= 0) & (table["uncertainty"] <= 1)).all()


def test_rows_and_columns(trained):
    table = trained.table()
    row = table[5]
    assert list(row) == table.columns and row["id"] == 5 and isinstance(row["selected"], bool)
    assert [each["id"] for each in table] == list(range(len(table)))
    assert repr(table).startswith("Table of 120 rows: id, label")
    table["label"][:] = 9  # a copy: the books stay as they are
    assert trained.table()["label"].max() < 3


def test_export(trained, tmp_path):
    table = trained.table()
    table.to_csv(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["label"]) for row in rows] == table["label"].tolist() and rows[0]["reason"] == table["reason"][0]
    parquet = pytest.importorskip("pyarrow.parquet")
    table.to_parquet(tmp_path / "table.parquet")
    assert (
        parquet.read_table(tmp_path / "table.parquet").column("confidence").to_pylist() == table["confidence"].tolist()
    )
    pytest.importorskip("pandas")
    assert list(table.to_pandas().columns) == table.columns
