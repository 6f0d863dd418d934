"""Every command once, and every kind of bad input: one line on standard error, exit code 2, no traceback."""

from __future__ import annotations

import csv
import json
import os
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl
from keras_aug_ssl import writing
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.study import BUDGETS, Results, Settings, versions
from tests.helpers import half_bright

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

STUDY = ["study", "--dataset", "digits", "--labels", "20", "--seeds", "1", "--steps", "4"]


def read_csv(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.filterwarnings("ignore:SelfTraining, selection 3")  # so few steps make nobody sure
def test_study_end_to_end_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*STUDY, "--out", "my report"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(method.title in shown for method in BUDGETS["quick"].methods)
    content = json.loads((tmp_path / "my report" / "results.json").read_text())
    assert set(content) == {"settings", "versions", "rows", "summary"}
    assert [row["method"] for row in content["rows"]] == [method.name for method in BUDGETS["quick"].methods]
    for row in content["rows"]:
        assert 0 <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1 and row["seconds"] > 0
    page = (tmp_path / "my report" / "index.html").read_text(encoding="utf-8")
    curves = sum(bool(row["pseudo_labels"]) for row in content["rows"])
    assert "http" not in page and page.count("data:image/png;base64,") == 3 + curves > 3
    monkeypatch.setattr("keras_aug_ssl.study.report.write", lambda *_: "the report")
    assert main(arguments) == 0
    assert "from an earlier run" in capsys.readouterr().out
    assert json.loads((tmp_path / "my report" / "results.json").read_text()) == content


def test_interrupted_study_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_aug_ssl.study.run_study", interrupted)
    assert main([*STUDY, "--out", str(tmp_path)]) == 130
    assert "same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["paint"], "paint"),
        (["study", "--labels", "few"], "few"),
        (["study", "--labels", "0"], "--labels: must be a whole number >= 1; received 0"),
        (["study", "--labels", "15", "--dataset", "digits"], "multiple of the 10 classes"),
        (["study", "--labels", "100000", "--dataset", "digits"], "at most"),
        (["study", "--seeds", "0"], "--seeds: must be"),
        (["study", "--steps", "-5"], "--steps: must be"),
        (["study", "--epsilon", "nan"], "--epsilon: must be a number from 0 to 1; received nan"),
        (["study", "--dataset", "mnist5"], "mnist5k"),
        (["augment", "missing.png"], "no such file or folder: missing.png"),
        (["augment", "{folder}", "--out", "gallery.jpeg"], ".html or .png"),
        (["augment", "{folder}", "--copies", "0"], "--copies: must be"),
        (["augment", "{empty}"], "no image"),
        (["pseudo-label", "missing.keras", "{folder}"], "no such model file"),
        (["pseudo-label", "{folder}/notes.txt", "{folder}"], "not a .keras file"),
        (["pseudo-label", "{broken}", "{folder}"], "no saved Keras model"),
        (["pseudo-label", "{model}", "missing.npy"], "no such file or folder: missing.npy"),
        (["pseudo-label", "{model}", "{folder}", "--threshold", "2"], "--threshold: must be"),
        (["pseudo-label", "{model}", "{folder}", "--out", "labels.txt"], ".csv"),
        (["attack", "{model}", "missing.npz"], "no such file"),
        (["attack", "{model}", "{folder}/notes.txt"], "notes.txt"),
        (["attack", "{model}", "digits", "--epsilon", "-1"], "--epsilon"),
        (["attack", "{model}", "digits"], "(4, 4, 1)"),
        (["pseudo-label", "{model}", "{array}"], "(4, 4, 1)"),
        (["attack", "{model}", "digits", "--out", "{directory}"], "one can't write a file there"),
        (["augment", "{folder}", "--out", "{file}/gallery.html"], "file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, folder, model_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.keras").write_bytes(b"no model")
    np.save(tmp_path / "array.npy", np.zeros((3, 5), np.float32))
    (tmp_path / "directory.json").mkdir()
    (tmp_path / "file").touch()
    places = {
        "directory": tmp_path / "directory.json",
        "file": tmp_path / "file",
        "array": tmp_path / "array.npy",
        "folder": folder,
        "model": model_file,
        "empty": tmp_path / "empty",
        "broken": tmp_path / "broken.keras",
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("keras-aug-ssl: ")
    assert error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "report").exists()


def test_a_missing_package_is_named_before_anything_is_trained(tmp_path, monkeypatch, capsys, folder):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("keras_aug_ssl.study.run_study", None)
    for arguments in (
        [*STUDY, "--out", str(tmp_path / "report")],
        ["augment", folder, "--out", str(tmp_path / "x.png")],
    ):
        assert main(arguments) == 2
        assert "needs the package 'matplotlib'" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_a_file_where_the_report_should_go_is_named_before_anything_is_trained(tmp_path, monkeypatch, capsys, out):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("keras_aug_ssl.study.run_study", None)
    assert main([*STUDY, "--out", str(tmp_path / out)]) == 2
    assert "file is no folder one can write in" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_a_second_study_in_one_folder_is_refused(tmp_path, capsys):
    with writing.locked(tmp_path):
        assert main([*STUDY, "--out", str(tmp_path)]) == 2
    assert "another study runs in" in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"$5 and $6.png", b"$x^{$.png", b"caf\xe9.png", b"a\nb.png"])
def test_unusual_file_names_are_drawn_and_written(tmp_path, capsys, model_file, name):
    (tmp_path / "images").mkdir()
    with open(os.path.join(os.fsencode(tmp_path / "images"), name), "wb") as stream:
        stream.write(tf.io.encode_png(half_bright(True)).numpy())
    assert main(["augment", str(tmp_path / "images"), "--copies", "1", "--out", str(tmp_path / "gallery.html")]) == 0
    out = tmp_path / os.fsdecode(b"caf\xe9.csv")
    assert main(["pseudo-label", model_file, str(tmp_path / "images"), "--out", str(out)]) == 0
    (row,) = read_csv(out)
    assert row["id"] == os.fsdecode(name).encode(errors="backslashreplace").decode()
    capsys.readouterr().out.encode()  # what is printed is printable anywhere


def test_a_folder_with_another_study_is_refused(tmp_path, capsys):
    Results(tmp_path, Settings(dataset="digits", steps=5), versions()).add(
        keras_aug_ssl.study.Row("supervised", 0, 0.5, 0.1, 1.0)
    )
    assert main([*STUDY, "--out", str(tmp_path)]) == 2
    assert "steps 5 -> 4" in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments in (["--help"], ["study", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
    assert keras_aug_ssl.__version__ in capsys.readouterr().out
