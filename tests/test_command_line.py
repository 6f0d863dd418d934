"""Every command once, and every kind of bad input: one line on standard error, exit code 2, no traceback."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl
from keras_aug_ssl import writing
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.study import BUDGETS, Results, Settings, versions

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

STUDY = ["study", "--dataset", "digits", "--labels", "20", "--seeds", "1", "--steps", "4"]


@pytest.fixture
def model_file(tmp_path):
    """A softmax model of 4 x 4 grey images in 0..1: class 1 where the left half is the brighter one, else class 0."""
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    kernel = np.zeros((16, 2), np.float32)
    kernel[:, 1] = np.tile([1, 1, -1, -1], 4)
    model.layers[-1].set_weights([kernel, np.zeros(2, np.float32)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def read_csv(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def half_bright(left: bool) -> np.ndarray:
    image = np.zeros((4, 4, 1), np.uint8)
    image[:, slice(0, 2) if left else slice(2, 4)] = 255
    return image


@pytest.fixture
def folder(tmp_path):
    """Two PNG files, one of them in a folder of its own, and a text that is no image."""
    place = tmp_path / "images"
    (place / "more").mkdir(parents=True)
    (place / "left.png").write_bytes(tf.io.encode_png(half_bright(True)).numpy())
    (place / "more" / "right.png").write_bytes(tf.io.encode_png(half_bright(False)).numpy())
    (place / "notes.txt").write_text("no image")
    return str(place)


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
    monkeypatch.setattr("keras_aug_ssl.commands.study.report.write", lambda *_: "the report")
    assert main(arguments) == 0
    assert "from an earlier run" in capsys.readouterr().out
    assert json.loads((tmp_path / "my report" / "results.json").read_text()) == content


def test_interrupted_study_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_aug_ssl.commands.study.run_study", interrupted)
    assert main([*STUDY, "--out", str(tmp_path)]) == 130
    assert "same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["html", "png"])
def test_augment_writes_a_gallery(folder, tmp_path, suffix, capsys):
    out = tmp_path / "new folder" / f"gallery.{suffix}"
    assert main(["augment", folder, "--out", str(out), "--copies", "2"]) == 0
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"RandomRotation" in content
    assert "2 of 2 images" in capsys.readouterr().out


def test_pseudo_label_a_folder(folder, model_file, tmp_path):
    out = tmp_path / "labels.csv"
    assert main(["pseudo-label", model_file, folder, "--unit", "--out", str(out)]) == 0
    rows = read_csv(out)
    assert [(row["id"], row["label"]) for row in rows] == [("left.png", "1"), ("more/right.png", "0")]
    sure = 1 / (1 + np.exp(-8.0))
    assert [float(row["confidence"]) for row in rows] == pytest.approx([sure, 1 - 1 / (1 + np.exp(8.0))], abs=1e-5)


def test_pseudo_label_an_array_above_a_threshold(model_file, tmp_path):
    x = np.zeros((300, 4, 4, 1), np.float32)
    x[7, :, :2] = 1.0
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "labels.csv"
    assert main(["pseudo-label", model_file, str(tmp_path / "x.npy"), "--threshold", "0.6", "--out", str(out)]) == 0
    assert [row["id"] for row in read_csv(out)] == ["7"]


def test_attack_an_array_and_a_data_set(model_file, tmp_path, capsys):
    x = np.stack([half_bright(bool(left)) for left in np.arange(6) % 2]) / 255.0
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(6) % 2)
    out = tmp_path / "robustness.json"
    arguments = ["attack", model_file, str(tmp_path / "data.npz"), "--epsilon", "0.1", "0.6", "--out", str(out)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "0.6" in shown and json.loads(out.read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["paint"], "paint"),
        (["study", "--labels", "few"], "few"),
        (["study", "--labels", "0"], "`labels` must be"),
        (["study", "--labels", "15", "--dataset", "digits"], "multiple of the 10 classes"),
        (["study", "--labels", "100000", "--dataset", "digits"], "at most"),
        (["study", "--seeds", "0"], "`seeds` must be"),
        (["study", "--steps", "-5"], "`steps` must be"),
        (["study", "--epsilon", "nan"], "`epsilon` must be"),
        (["study", "--dataset", "mnist5"], "mnist5k"),
        (["augment", "missing.png"], "no such file or folder: missing.png"),
        (["augment", "{folder}/notes.txt"], "not a readable"),
        (["augment", "{folder}", "--out", "gallery.jpeg"], ".html or .png"),
        (["augment", "{folder}", "--copies", "0"], "--copies must be"),
        (["augment", "{empty}"], "no image"),
        (["pseudo-label", "missing.keras", "{folder}"], "no such model file"),
        (["pseudo-label", "{folder}/notes.txt", "{folder}"], "not a .keras file"),
        (["pseudo-label", "{broken}", "{folder}"], "broken.keras"),
        (["pseudo-label", "{model}", "missing.npy"], "no such file: missing.npy"),
        (["pseudo-label", "{model}", "{folder}", "--threshold", "2"], "--threshold must be"),
        (["pseudo-label", "{model}", "{folder}", "--out", "labels.txt"], ".csv"),
        (["attack", "{model}", "missing.npz"], "no such file"),
        (["attack", "{model}", "{folder}/notes.txt"], "notes.txt"),
        (["attack", "{model}", "digits", "--epsilon", "-1"], "`epsilon` must be"),
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
    monkeypatch.setattr("keras_aug_ssl.commands.study.run_study", None)
    for arguments in (
        [*STUDY, "--out", str(tmp_path / "report")],
        ["augment", folder, "--out", str(tmp_path / "x.html")],
    ):
        assert main(arguments) == 2
        assert "needs the package 'matplotlib'" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_a_file_where_the_report_should_go_is_named_before_anything_is_trained(tmp_path, monkeypatch, capsys, out):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("keras_aug_ssl.commands.study.run_study", None)
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


def test_a_broken_image_leaves_the_older_table(folder, model_file, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 0
    before = out.read_bytes()
    Path(folder, "z.png").write_bytes(b"no image")
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 2
    assert "z.png" in capsys.readouterr().err
    assert out.read_bytes() == before and {path.name for path in tmp_path.iterdir()} >= {"labels.csv", "images"}
    assert not list(tmp_path.glob(".*"))


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
