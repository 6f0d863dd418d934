"""Files appear whole or not at all, keep what they were, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import writing
from keras_aug_ssl.adversarial.evaluation.report import Curve, RobustnessReport
from keras_aug_ssl.study import Results, Row, Settings


def write(path, text="new"):
    with writing.replacing(path) as draft:
        draft.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")
    file.chmod(0o640)
    with writing.replacing(file) as draft:
        draft.write_text("new")
        assert draft.suffix == ".csv" and file.read_text() == "old"
    assert file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o640 and names(tmp_path) == ["table.csv"]


def test_a_new_file_has_the_mode_that_open_gives(tmp_path):
    write(tmp_path / "ours")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(error), writing.replacing(tmp_path / "table.csv") as draft:
        draft.write_text("half")
        raise error
    assert (tmp_path / "table.csv").read_text() == "old" and names(tmp_path) == ["table.csv"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere" / "table.csv")
    for text in ("first", "second"):  # through a link that leads nowhere yet, too
        write(tmp_path / "link.csv", text)
        assert (tmp_path / "link.csv").is_symlink() and names(tmp_path / "elsewhere") == ["table.csv"]
        assert (tmp_path / "elsewhere" / "table.csv").read_text() == text


def test_what_is_no_file_is_written_to_as_it_is():
    write(os.devnull)
    assert not os.path.isfile(os.devnull)


KILLED = """
import os, signal, sys
from keras_aug_ssl import writing
with writing.replacing(sys.argv[1]) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_what_a_killed_process_left_goes_with_the_next_writer_and_what_is_being_written_stays(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, file], capture_output=True).returncode == -9
    assert file.read_text() == "old" and len(names(tmp_path)) == 2
    with writing.replacing(tmp_path / "other.csv") as other:
        write(file)
        assert names(tmp_path) == sorted([other.name, "table.csv"])
        other.write_text("whole")
    assert names(tmp_path) == ["other.csv", "table.csv"]


def table(path):
    kas.SelfTraining(np.zeros((3, 2), "float32")).table().to_csv(path)


def report(path):
    RobustnessReport("linf", 10, 0.9, {0.1: 0.5}, (Curve("FGSM", {0.1: 0.5}, 0.2),), ()).to_json(path)


def results(path):
    Results(path.parent, Settings(), {}).add(Row("supervised", 0, 0.8, 0.1, 12.0))


@pytest.mark.parametrize(("make", "name"), [(table, "table.csv"), (report, "report.json"), (results, "results.json")])
def test_what_the_library_writes_replaces_what_was_there(tmp_path, make, name, monkeypatch):
    """A full disk is found out at the latest when the content is flushed; the old content must still be there then."""
    make(tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def full(path):
        raise OSError("no space left")

    monkeypatch.setattr(writing, "flush", full)
    with pytest.raises(OSError, match="no space"):
        make(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before and names(tmp_path) == [name]


def test_a_tables_file_is_utf_8_whatever_its_rows_are_called(tmp_path):
    image = kas.plots.to_png(kas.plots.image_grid([[np.zeros((2, 2, 1))]]))
    place = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    with open(place, "wb") as stream:
        stream.write(image)
    kas.SelfTraining(kas.UnlabeledPool(tmp_path)).table().to_csv(tmp_path / "table.csv")
    assert "caf\\udce9.png" in (tmp_path / "table.csv").read_text(encoding="utf-8")
