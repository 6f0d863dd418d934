"""The audit: every row once, with what happened to it and why."""

from __future__ import annotations

import csv
import pickle

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.self_training.books.ledger import REASONS, Ledger
from tests.helpers import clusters, run

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


class Sway(keras.callbacks.Callback):
    """Two sure labels whose order alternates from epoch to epoch; in epoch 3 the second becomes surely absent."""

    def on_epoch_begin(self, epoch, logs=None):
        biases = [4.0 + 0.1 * (epoch % 2), 4.1 - 0.1 * (epoch % 2)]
        self.model.layers[-1].set_weights([np.zeros((3, 2)), np.array([biases[0], -4.0 if epoch == 3 else biases[1]])])


@pytest.mark.parametrize("relabel", [True, kas.rules.Decided(0.8, 0.2), False])
def test_labels_of_several_flip_when_one_of_them_does(relabel, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    st = kas.SelfTraining(POOL, start_epoch=0, relabel=relabel)
    made = st.training_set(X, np.ones((len(X), 2), "float32"), batch_size=8, steps=1)
    history = model.fit(made, epochs=4, callbacks=[Sway(), st], verbose=0).history
    flipped = 0.0 if relabel is False else 1.0
    assert history["pseudo_flip_rate"] == [0.0, 0.0, 0.0, flipped] and not st.alarms_
    table = st.table()
    np.testing.assert_array_equal(table["label"], [[1.0, 1.0 - flipped]] * len(POOL))
    np.testing.assert_array_equal(table["label"], st.transduction_[len(X) :])
    assert table[3]["label"] == [1.0, 1.0 - flipped]
    table.to_csv(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8") as stream:
        assert next(csv.DictReader(stream))["label_1"] == str(1.0 - flipped)


@pytest.mark.parametrize("relabel", [True, False])
def test_the_label_of_a_number_is_the_number(relabel):
    layers = [keras.Input((3,)), keras.layers.Dropout(0.3, seed=1), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    st = kas.SelfTraining(POOL, kas.rules.LowVariance(0.3, passes=3), start_epoch=1, relabel=relabel)
    run(st, model, task=(X, 10 * X[:, 0]), epochs=4)
    table, given = st.table(), st.transduction_[len(X) :]
    chosen = table["selected"]
    np.testing.assert_array_equal(table["label"][chosen], given[chosen])
    assert len(np.unique(given[chosen])) > 10 and np.isnan(given[~chosen]).all()
    never = table["round_entered"] == -1
    assert np.isnan(table["label"][never]).all() and np.isfinite(table["label"][~never]).all()
    assert isinstance(table[0]["label"], float)


def test_rows_that_are_not_finite_are_never_labels():
    pool = {"a": POOL.copy(), "b": np.arange(len(POOL))}
    pool["a"][5, 1], pool["a"][7, 0] = np.nan, np.inf
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((), name="b")}
    hidden = keras.layers.ReLU()(-1e9 * keras.ops.abs(inputs["a"]))  # hides NaN in part: ReLU of NaN is 0 on a CPU
    joined = keras.layers.Concatenate()([hidden, keras.ops.expand_dims(0.0 * inputs["b"], 1)])
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(joined))
    model.compile("sgd", "sparse_categorical_crossentropy")
    st = kas.SelfTraining(pool, kas.rules.Threshold(0.0) & kas.rules.FreeThreshold(), start_epoch=0)
    with pytest.warns(UserWarning, match="2 of the pool's 120 rows have NaN or infinity") as caught:
        run(st, model, task=({"a": X, "b": np.arange(len(X))}, Y % 2), epochs=3)
    table = st.table()
    assert len(caught) == 1 and not table["selected"][[5, 7]].any() and table["selected"].sum() == len(POOL) - 2
    assert (
        list(table["reason"][[5, 7]]) == ["not finite"] * 2 and np.isfinite(table["confidence"]).sum() == len(POOL) - 2
    )
    with pytest.raises(ValueError, match="`pool` must be rows of finite features"):
        run(kas.SelfTraining(np.full_like(POOL, np.nan), start_epoch=0), epochs=1)


def test_a_run_can_be_pickled_and_what_it_reports_is_kept(trained):
    again = pickle.loads(pickle.dumps(trained))
    assert again.n_iter_ == trained.n_iter_ and list(again.table()) == list(trained.table())
    np.testing.assert_array_equal(again.transduction_, trained.transduction_)
    run(again, epochs=2)
    assert again.n_iter_ == 1


def test_labels_are_known_after_fit():
    st = kas.SelfTraining(POOL)
    st.training_set(X, Y)
    with pytest.raises(AttributeError, match="`transduction_` must be read after fit"):
        st.transduction_  # noqa: B018
