"""The loop: every method for every seed, once; interrupted and resumed equals uninterrupted."""

from __future__ import annotations

import dataclasses
import io

import keras
import numpy as np
import pytest

from keras_aug_ssl import writing
from keras_aug_ssl.study import Images, Results, Row, Settings, run_study, versions
from keras_aug_ssl.study.progress import LiveProgress, Progress
from keras_aug_ssl.study.run import classes
from keras_aug_ssl.workers import InProcess

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SETTINGS = Settings(dataset="tiny", labels=6, seeds=2, steps=3)


def run(images, folder, methods):
    """The study without output; returns its rows without their times, which differ from run to run."""
    results = run_study(SETTINGS, images, folder, methods=methods, progress=lambda n: Progress(n, io.StringIO()))
    return [dataclasses.replace(row, seconds=0.0) for row in results.rows]


def test_every_method_runs_once_per_seed_and_no_second_time(images, calls, tmp_path):
    methods = [calls.method("a"), calls.method("b")]
    rows = run(images, tmp_path, methods)
    assert calls.trained == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [(row.method, row.seed) for row in rows] == calls.trained
    assert all(0 <= row.robust_accuracy <= row.clean_accuracy <= 1 for row in rows)
    for row in rows:
        model = keras.saving.load_model(tmp_path / "models" / f"{row.method}-{row.seed}.keras")
        assert np.mean(classes(model, images.x_test) == images.y_test) == row.clean_accuracy
    calls.trained.clear()
    assert run(images, tmp_path, methods) == rows
    assert not calls.trained


def test_interrupted_and_resumed_equals_uninterrupted(images, calls, tmp_path):
    whole = run(images, tmp_path / "whole", [calls.method("a")])
    calls.trained.clear()
    calls.break_at = ("a", 1)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "parts", [calls.method("a")])
    assert [row.seed for row in Results(tmp_path / "parts", SETTINGS, versions()).rows] == [0]
    calls.break_at = None
    assert run(images, tmp_path / "parts", [calls.method("a")]) == whole
    assert calls.trained == [("a", 0), ("a", 1)]


class Elsewhere(InProcess):
    """A worker of its own, which begins with the last row."""

    def map(self, make, items):
        yield from super().map(make, items[::-1])


def test_workers_elsewhere_load_the_data_and_make_the_same_rows(images, calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Images, "load", lambda name, data_dir, image_size: images)
    methods = [calls.method("a"), calls.method("b")]
    run_study(SETTINGS, images, tmp_path / "here", methods=methods)
    trained, calls.break_at = sorted(calls.trained), ("a", 0)
    capsys.readouterr()
    there = {"methods": methods, "engine": Elsewhere()}
    with pytest.raises(KeyboardInterrupt):
        run_study(SETTINGS, images, tmp_path / "there", **there)
    shown = capsys.readouterr().out.splitlines()
    assert [line[:8] for line in shown] == ["[1/4] se", "[2/4] se", "[3/4] se"] and "seed 1  title of b" in shown[0]
    calls.break_at = None
    run_study(SETTINGS, None, tmp_path / "there", **there)
    here, there = (Results(tmp_path / name, SETTINGS, versions()) for name in ("here", "there"))
    for method, seed in trained:
        one, other = here.find(method, seed), there.find(method, seed)
        assert dataclasses.replace(one, seconds=0.0) == dataclasses.replace(other, seconds=0.0)
    assert sorted(calls.trained) == sorted(2 * trained)


def test_a_row_whose_pictures_are_gone_is_made_again(images, calls, tmp_path):
    rows = run(images, tmp_path, [calls.method("a")])
    (tmp_path / "attacked" / "a-0.npz").unlink()
    cut_off = tmp_path / "attacked" / "a-1.npz"
    cut_off.write_bytes(cut_off.read_bytes()[:200])
    assert run(images, tmp_path, [calls.method("a")]) == rows
    assert calls.trained == [("a", 0), ("a", 1)] * 2


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_a_folder_is_one_studys_at_a_time(images, calls, tmp_path):
    tmp_path.mkdir(exist_ok=True)
    with writing.locked(tmp_path), pytest.raises(BlockingIOError):
        run(images, tmp_path, [calls.method("a")])
    assert not calls.trained
    assert run(images, tmp_path, [calls.method("a")])


def test_seeds_have_their_own_labels_and_share_the_test(images):
    first, second = images.task(6, 0), images.task(6, 1)
    assert not np.array_equal(first.x_labeled, second.x_labeled)
    assert np.array_equal(first.x_test, second.x_test)
    for task in (first, second):
        assert np.bincount(task.y_labeled).tolist() == [2, 2, 2]
        assert len(task.x_labeled) + len(task.x_unlabeled) == len(images.x_train)


@pytest.mark.parametrize(
    ("labels", "said"), [(7, "nearest is 6"), (1, "nearest is 3"), (36, "36 images"), (60, "only")]
)
def test_labels_must_be_equally_many_of_each_class_and_leave_some_unlabelled(images, labels, said):
    with pytest.raises(ValueError, match=said):
        images.task(labels, 0)


def test_plain_progress_says_what_was_found_and_where_from():
    stream = io.StringIO()
    display = Progress(2, stream, every=0)
    for kept in (False, True):
        display.row_started("title", 0, 100)
        display.trained(50, 100, "loss 0.5")
        display.row_finished(Row("a", 0, 0.5, 0.25, 7.0), "title", kept)
    assert stream.getvalue().splitlines() == [
        f"[0/2] {'seed 0  title':<28} step 50/100  loss 0.5",
        f"[1/2] {'seed 0  title':<28} clean  50.0 %  attacked  25.0 %  7 s",
        f"[1/2] {'seed 0  title':<28} step 50/100  loss 0.5",
        f"[2/2] {'seed 0  title':<28} clean  50.0 %  attacked  25.0 %  from an earlier run",
    ]


def test_live_progress_shows_the_same_lines(capsys):
    with LiveProgress(1) as display:
        display.row_started("title", 0, 100)
        display.trained(50, 100, "loss 0.5")
        display.attacking()
        display.row_finished(Row("a", 0, 0.5, 0.25, 7.0), "title")
    shown = capsys.readouterr().out
    assert "clean  50.0 %  attacked  25.0 %  7 s" in shown
    assert "networks" in shown and "1/1" in shown
