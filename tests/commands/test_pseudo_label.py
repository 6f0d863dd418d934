"""A saved model's labels as a table, and what is said about them before they are believed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.commands import labelling
from tests.helpers import half_bright

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "labels.csv"


def rows(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def with_rescaling(model_file: str) -> str:
    """Saves the model of the tests with a layer that brings 0..255 to 0..1."""
    model = keras.saving.load_model(model_file)
    inputs = keras.Input((4, 4, 1))
    whole = keras.Model(inputs, model(keras.layers.Rescaling(1 / 255)(inputs)))
    whole.compile("sgd", "sparse_categorical_crossentropy")
    place = model_file.replace("model", "whole")
    whole.save(place)
    return place


def test_a_folder(folder, model_file, out, capsys):
    assert main(["pseudo-label", model_file, folder, "--unit", "--out", str(out)]) == 0
    assert [(row["id"], row["label"]) for row in rows(out)] == [("left.png", "1"), ("more/right.png", "0")]
    sure = 1 / (1 + np.exp(-8.0))
    assert [float(row["confidence"]) for row in rows(out)] == pytest.approx([sure, 1 - 1 / (1 + np.exp(8.0))], abs=1e-5)
    said = capsys.readouterr()
    assert said.out.startswith("2 of 2 examples labeled in") and not said.err


@pytest.fixture
def without_ray(monkeypatch):
    """In place of Ray's workers this process, so that it also runs where Ray isn't installed."""
    monkeypatch.setattr("keras_aug_ssl.workers.Ray", lambda workers: kas.scale.InProcess())


def test_on_ray_the_labels_are_those_of_the_process(folder, model_file, tmp_path, without_ray, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["pseudo-label", model_file, folder, "--unit"]
    on_ray = [*command, "--engine", "ray", "--json"]
    assert main(command) == 0 and main([*on_ray, "--threshold", "0.9"]) == 0
    summary = json.loads(capsys.readouterr().out.partition("csv")[2])
    assert (summary["labeled"], summary["examples"], summary["out"]) == (2, 2, "pseudo_labels")
    (part,) = (tmp_path / "pseudo_labels").glob("part-*")
    found, expected = parquet.read_table(part).to_pylist(), rows(tmp_path / "pseudo_labels.csv")
    assert [row["id"] for row in found] == [Path(folder, row["id"]).as_posix() for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert (str(one["label"]), f"{one['confidence']:.6f}") == (other["label"], other["confidence"])
    assert main([*on_ray, "--per-class", "1"]) == 2  # never in the place of another result
    assert "another is the rule or option" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--workers", "3"], "--workers needs --engine ray"),
        (["--out", "labels"], "--out labels: the name must end in .csv"),
        (["--engine", "ray", "--out", "labels.csv"], "with --engine ray be that of a folder"),
        (["--engine", "ray", "--unit"], "--unit with --engine ray is for folders of images"),
        (["--engine", "ray", "--workers", "0"], "a whole number >= 1"),
        (["--engine", "ray", "--id", "name"], "`id` must be None beside files without columns"),
    ],
)
def test_options_that_do_not_go_together(arguments, said, model_file, tmp_path, without_ray, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((3, 4, 4, 1), np.float32))
    assert main(["pseudo-label", model_file, "x.npy", *arguments]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.glob("*label*"))


def test_an_array_above_a_threshold(model_file, tmp_path, out):
    x = np.zeros((300, 4, 4, 1), np.float32)
    x[7, :, :2] = 1.0
    np.save(tmp_path / "x.npy", x)
    assert main(["pseudo-label", model_file, str(tmp_path / "x.npy"), "--threshold", "0.6", "--out", str(out)]) == 0
    assert [row["id"] for row in rows(out)] == ["7"]


def test_a_broken_image_is_named_and_left_out(folder, model_file, out, capsys):
    Path(folder, "broken.png").write_bytes(b"no image")
    assert main(["pseudo-label", model_file, folder, "--unit", "--json", "--out", str(out)]) == 3
    said = capsys.readouterr()
    assert [row["id"] for row in rows(out)] == ["left.png", "more/right.png"]
    assert "broken.png is no readable" in said.err and "1 of 3 images can't be read" in said.err
    summary = json.loads(said.out)
    assert summary["labeled"] == 2 and summary["examples"] == 3
    assert [Path(path).name for path in summary["unreadable"]] == ["broken.png"]


def test_without_a_readable_image_the_older_table_stays(folder, model_file, out, capsys):
    out.write_text("older")
    for file in Path(folder).rglob("*.png"):
        file.write_bytes(b"no image")
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 2
    assert "none of the 2 images can be read" in capsys.readouterr().err
    assert out.read_text() == "older" and not list(out.parent.glob(".*"))


@pytest.mark.parametrize("older", [False, True])
def test_interrupted_it_says_what_is_kept(folder, model_file, out, monkeypatch, capsys, older):
    def interrupted(*_):
        raise KeyboardInterrupt

    if older:
        out.write_text("older")
    monkeypatch.setattr(labelling, "_rows", interrupted)
    assert main(["pseudo-label", model_file, folder, "--unit", "--out", str(out)]) == 130
    assert f"interrupted; {out} {'is as it was' if older else 'was not written'}" in capsys.readouterr().err
    assert out.exists() is older and not list(out.parent.glob(".*"))


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_place_where_one_cannot_write_is_found_before_the_work(
    folder, model_file, tmp_path, monkeypatch, what, capsys
):
    monkeypatch.setattr(labelling, "read_model", None)
    out = tmp_path / "a.csv" if what == "folder" else tmp_path / "a.csv" / "labels.csv"
    tmp_path.joinpath("a.csv").mkdir() if what == "folder" else tmp_path.joinpath("a.csv").touch()
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 2
    assert "one can't write a file there" in capsys.readouterr().err


def test_an_unreadable_folder_is_called_so(folder, model_file, out, monkeypatch, capsys):
    real = labelling.image_files.__globals__["os"].scandir

    def scandir(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 2
    assert "more can't be read: Permission denied" in capsys.readouterr().err


def test_values_of_another_scale_are_noticed(folder, model_file, tmp_path, out, capsys):
    assert main(["pseudo-label", model_file, folder, "--out", str(out)]) == 0
    assert "the model seems to want values in 0..1; pass --unit" in capsys.readouterr().err
    assert main(["pseudo-label", with_rescaling(model_file), folder, "--unit", "--out", str(out)]) == 2
    assert "seems to want values in 0..255: leave out --unit" in capsys.readouterr().err
    np.save(tmp_path / "x.npy", np.stack([half_bright(left) for left in (True, False) * 4]))
    assert main(["pseudo-label", model_file, str(tmp_path / "x.npy"), "--out", str(out)]) == 0
    assert "pass --unit" in capsys.readouterr().err


def test_answers_that_are_all_alike_are_noticed(model_file, tmp_path, out, capsys):
    model = keras.saving.load_model(model_file)
    model.layers[-1].set_weights([weight / 255 for weight in model.layers[-1].get_weights()])
    model.save(tmp_path / "bytes.keras")
    x = np.stack([half_bright(left) for left in (True, False) * 4]) / np.float32(255)
    np.save(tmp_path / "x.npy", x)
    assert main(["pseudo-label", str(tmp_path / "bytes.keras"), str(tmp_path / "x.npy"), "--out", str(out)]) == 0
    assert "it seems to want values in 0..255: multiply the array by 255" in capsys.readouterr().err


def test_lost_colors_and_other_sizes_are_said(model_file, tmp_path, out, capsys):
    place = tmp_path / "photos"
    place.mkdir()
    red = np.zeros((64, 40, 3), np.uint8)
    red[..., 0] = 200
    (place / "red.png").write_bytes(tf.io.encode_png(red).numpy())
    (place / "grey.png").write_bytes(tf.io.encode_png(np.repeat(half_bright(True), 3, -1)).numpy())
    assert main(["pseudo-label", model_file, str(place), "--unit", "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "1 of 2 images looked at have colors" in said
    assert "1 of 2 images looked at are far from the model's size of 4 x 4" in said and "red.png of 64 x 40" in said
