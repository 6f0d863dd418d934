"""The file of results: what is written is read again, and what does not belong together is not mixed."""

from __future__ import annotations

import json
import math
import statistics

import pytest

from keras_aug_ssl.study import Results, Round, Row, Settings

ROW = Row("a", 0, 0.5, 0.25, 3.0, (Round(10, 0, None), Round(20, 4, 0.75)))


def test_rows_survive_the_file(tmp_path):
    Results(tmp_path, Settings(), {"keras": "3"}).add(ROW)
    assert Results(tmp_path, Settings(), {"keras": "3"}).rows == [ROW]
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_killed_write_leaves_the_old_rows(tmp_path, monkeypatch):
    results = Results(tmp_path, Settings(), {})
    results.add(ROW)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        results.add(Row("b", 0, 0.5, 0.5, 1.0))
    assert Results(tmp_path, Settings(), {}).rows == [ROW]


@pytest.mark.parametrize(
    ("settings", "versions", "named"),
    [
        (Settings(steps=7), {"keras": "3"}, f"steps {Settings().steps} -> 7"),
        (Settings(labels=50), {"keras": "3"}, "labels 100 -> 50"),
        (Settings(dataset="digits"), {"keras": "3"}, "dataset mnist5k -> digits"),
        (Settings(epsilon=0.3), {"keras": "3"}, "epsilon 0.1 -> 0.3"),
        (Settings(), {"keras": "4"}, "keras 3 -> 4"),
    ],
)
def test_rows_made_otherwise_are_refused(tmp_path, settings, versions, named):
    Results(tmp_path, Settings(), {"keras": "3"}).add(ROW)
    with pytest.raises(ValueError, match=named):
        Results(tmp_path, settings, versions)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": {"color": 3}, "versions": {}, "rows": []}'])
def test_a_file_that_is_no_study_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="not the results of a study"):
        Results(tmp_path, Settings(), {})


def test_more_seeds_go_on_and_fewer_look_at_fewer(tmp_path):
    results = Results(tmp_path, Settings(seeds=2), {})
    for seed, clean in enumerate((0.5, 0.7)):
        results.add(Row("a", seed, clean, 0.1, 1.0))
    assert len(Results(tmp_path, Settings(seeds=3), {}).rows) == 2
    fewer = Results(tmp_path, Settings(seeds=1), {})
    assert fewer.summaries()[0].clean_accuracy == (0.5, 0.0)


def test_summary_is_mean_and_sample_deviation(tmp_path):
    values = [0.5, 0.7, 0.9]
    results = Results(tmp_path, Settings(), {})
    for seed, clean in enumerate(values):
        results.add(Row("a", seed, clean, 0.1, 1.0))
    content = json.loads((tmp_path / "results.json").read_text())
    expected = [statistics.fmean(values), statistics.stdev(values)]
    assert content["summary"][0]["clean_accuracy"] == pytest.approx(expected)
    assert content["settings"]["labels"] == 100
    assert [row["seed"] for row in content["rows"]] == [0, 1, 2]


@pytest.mark.parametrize("wrong", [{"labels": 0}, {"seeds": 0}, {"steps": -1}, {"epsilon": 2}, {"epsilon": math.nan}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"study: `{next(iter(wrong))}`"):
        Settings(**wrong)
