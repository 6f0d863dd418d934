"""A pool labeled in shards is labeled as in memory, row for row; what is interrupted goes on; a result is whole."""

from __future__ import annotations

import errno

import keras
import numpy as np
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import rules
from keras_aug_ssl.scale import scoring
from keras_aug_ssl.workers import InProcess
from tests.helpers import clusters
from tests.rules.cases import RULE_CASES
from tests.scale.conftest import ROWS, in_memory

pytestmark = [
    pytest.mark.filterwarnings("ignore:SelfTraining:UserWarning"),
    # Keras reads variables into arrays in a way NumPy 2 warns of.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

PRIOR = [0.5, 0.3, 0.2]


def table_of(folder):
    """All columns of a result, parts in their order."""
    files = sorted(folder.glob("part-*.parquet"))
    return {
        name: np.concatenate([parquet.read_table(file).column(name).to_numpy() for file in files])
        for name in parquet.read_schema(files[0]).names
    }


def assert_equal_tables(found, expected):
    assert list(found) == expected.columns
    for name in expected.columns:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


class Backwards(InProcess):
    """The last shard first, each of them twice."""

    def map(self, make, shards):
        yield from super().map(make, [*reversed(shards), *shards])

    def light_map(self, function, shards):
        yield from super().light_map(function, shards[::-1])


CASES = [case for case in RULE_CASES if not case.spreads and not isinstance(case, rules.Decided)]
CASES += [rules.TopFraction(0.3) & rules.Threshold(0.5) & rules.TopFraction(0.6), rules.TopK(60) & rules.SoftWeight()]


@pytest.mark.parametrize("rule", CASES, ids=repr)
def test_rows_labels_and_weights_are_those_of_the_pool_in_memory(rule, shards, points, trained, tmp_path):
    model, file = trained
    x, y, *_ = clusters(labeled=30)
    options = {"prior": PRIOR, "holdout": (x, y) if rule.needs_holdout else None}
    result = kas.scale.pseudo_label(file, shards, tmp_path / "labels", rule, **options, engine=Backwards())
    found = table_of(tmp_path / "labels")
    assert_equal_tables(found, in_memory(model, points, rule, **options))
    assert result == (str(tmp_path / "labels"), ROWS, int(found["selected"].sum()))
    assert 0 < result.selected < ROWS and found["reason"][555] == "not finite"


def spread_model(tmp_path, outputs, loss, activation=None):
    """A network of fixed weights and its file; no rows to be left out."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs, activation)])
    model.layers[-1].set_weights([np.eye(3, outputs, dtype="float32") - 0.3, np.full(outputs, 0.2, "float32")])
    model.compile("sgd", loss)
    model.save(tmp_path / "model.keras")
    return model, tmp_path / "model.keras"


def noisy(x, seed):
    """A view that is a function of its key."""
    return x + 0.3 * tf.random.stateless_normal(tf.shape(x), seed)


CASES_OF_OTHER_OUTPUTS = [
    (rules.Decided(0.6, 0.45), 4, "binary_crossentropy", "sigmoid", np.eye(4)[np.arange(9) % 4]),
    (rules.LowVariance(0.3, passes=3, view=noisy), 1, "mse", None, np.arange(9.0)),
    (rules.Uncertainty(0.15, passes=3, view=noisy), 2, "mse", None, np.ones((9, 2)) / 3),
]


@pytest.mark.parametrize("case", CASES_OF_OTHER_OUTPUTS, ids=lambda case: repr(case[0])[:12])
def test_several_labels_and_numbers_are_those_of_the_pool_in_memory(case, shards, points, tmp_path):
    rule, outputs, loss, activation, y = case
    model, file = spread_model(tmp_path, outputs, loss, activation)
    result = kas.scale.pseudo_label(file, shards, tmp_path / "labels", rule, engine=InProcess())
    expected = in_memory(model, points, rule, y=y)
    found = table_of(tmp_path / "labels")
    assert 0 < result.selected < ROWS
    label = found["label"] if outputs == 1 else np.stack([found[f"label_{i}"] for i in range(outputs)], axis=1)
    np.testing.assert_array_equal(label, expected["label"])
    for name in ("id", "selected", "confidence", "uncertainty", "weight", "reason"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


class Broken(InProcess):
    """Fails when it has done some shards."""

    def __init__(self, shards, light_shards=0):
        self.left = {"map": shards, "light_map": light_shards}

    def _some(self, name, results):
        for each in results:
            if not self.left[name]:
                raise KeyboardInterrupt
            self.left[name] -= 1
            yield each

    def map(self, make, shards):
        return self._some("map", super().map(make, shards))

    def light_map(self, function, shards):
        return self._some("light_map", super().light_map(function, shards))


@pytest.fixture
def scored(monkeypatch):
    """Numbers of the shards that are scored."""
    numbers, score = [], scoring.ShardScorer.__call__
    monkeypatch.setattr(
        scoring.ShardScorer, "__call__", lambda self, shard: numbers.append(shard.number) or score(self, shard)
    )
    return numbers


@pytest.mark.parametrize("left", [(0, 0), (2, 0), (9, 1), (9, 8)])
def test_an_interrupted_run_leaves_no_result_and_is_taken_up(left, shards, trained, tmp_path, scored):
    rule, out = rules.TopFraction(0.3), tmp_path / "labels"
    with pytest.raises(KeyboardInterrupt):
        kas.scale.pseudo_label(trained[1], shards, out, rule, engine=Broken(*left))
    assert not out.exists()
    result = kas.scale.pseudo_label(trained[1], shards, out, rule, engine=InProcess())
    # The one that was being done when it broke is there too, since it was written.
    assert scored == [0, 1, 2] and result.selected > 100
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]
    whole = kas.scale.pseudo_label(trained[1], shards, tmp_path / "whole", rule, engine=InProcess())
    assert_equal(tmp_path / "labels", tmp_path / "whole")
    assert result.selected == whole.selected


def assert_equal(one, other):
    one, other = table_of(one), table_of(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_result_that_is_there_is_returned_and_never_lost(shards, trained, tmp_path, scored):
    out = tmp_path / "labels"
    result = kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=InProcess())
    before = sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir())
    assert kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=InProcess()) == result
    assert scored == [0, 1, 2]
    with pytest.raises(ValueError, match="another is the rule or option. Remove it, or choose another"):
        kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(4), engine=InProcess())
    assert sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir()) == before
    (out / "part-00000001.parquet").unlink()
    with pytest.raises(ValueError, match="part-00000001.parquet is missing"):
        kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=InProcess())


def test_the_work_of_another_run_is_not_mixed_in(shards, pool_file, trained, tmp_path):
    out = tmp_path / "labels"
    with pytest.raises(KeyboardInterrupt):
        kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=Broken(2))
    other = kas.scale.Shards(pool_file, rows=128)
    with pytest.raises(ValueError, match="labels.unfinished has another's.*another is the pool"):
        kas.scale.pseudo_label(trained[1], other, out, rules.TopK(3), engine=InProcess())


def test_two_runs_do_not_write_to_one_place(shards, trained, tmp_path):
    out = tmp_path / "labels"

    class Meanwhile(InProcess):
        def map(self, make, shards):
            kas.scale.pseudo_label(trained[1], shards_again, out, rules.TopK(3), engine=InProcess())

    shards_again = shards
    with pytest.raises(ValueError, match="a place where no other run is at work"):
        kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=Meanwhile())


def test_a_full_disk_is_told_and_what_was_done_stays(shards, trained, tmp_path, monkeypatch, scored):
    out, written, real = tmp_path / "labels", [], parquet.write_table

    def full(table, path):
        written.append(path)
        if len(written) == 3:
            path.write_bytes(b"PAR1 half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(table, path)

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=InProcess())
    files = sorted(path.name for path in (tmp_path / "labels.unfinished" / "scored").glob("*.parquet"))
    assert not out.exists() and files == ["00000000.parquet", "00000001.parquet"]
    monkeypatch.setattr(parquet, "write_table", real)
    assert kas.scale.pseudo_label(trained[1], shards, out, rules.TopK(3), engine=InProcess()).selected
    assert scored == [0, 1, 2, 2]


def test_what_does_not_fit_is_told_before_anything_is_written(shards, trained, tmp_path):
    def label(model=trained[1], x=shards, rule=None, **options):
        options = {"engine": InProcess(), **options}
        kas.scale.pseudo_label(model, x, tmp_path / "labels", rule or rules.TopK(3), **options)

    regression = spread_model(tmp_path, 1, "mse")[1]
    (tmp_path / "text.keras").write_text("no model")
    np.save(tmp_path / "wide.npy", np.zeros((3, 7), "float32"))
    wrong = [
        (dict(model=tmp_path / "none.keras"), "the path of a .keras file"),
        (dict(model=tmp_path / "text.keras"), "a .keras file of a model"),
        (dict(x=tmp_path / "wide.npy"), "a model that takes the pool's rows"),
        (dict(x=tmp_path / "none.npy"), "with files"),
        (dict(x=tmp_path / "none.parquet"), "No such file"),
        (dict(x=np.zeros((3, 3))), "a path, a pattern"),
        (dict(rule=lambda p: p), "a rule, such as"),
        (dict(rule=rules.TopK(3) & Whole()), "judges a pool in parts"),
        (dict(rule=rules.TargetPrecision()), "`holdout` must be given"),
        (dict(model=regression), "a rule for regression"),
        (dict(engine="ray"), "None or an engine"),
        (dict(prior=[1, 2]), "shares >= 0, one for each class"),
        (dict(rule=rules.TargetPrecision(), holdout=(np.zeros((2, 3)), [0.5, 1])), "class numbers"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in wrong:
        with pytest.raises((ValueError, TypeError, OSError), match=message):
            label(**arguments)
    assert sorted(tmp_path.rglob("*")) == before


class Whole(rules.Rule):
    """A rule that asks for the whole pool."""
