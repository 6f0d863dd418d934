"""A saved model's accuracy under attack, on arrays, folders and data sets."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl.__main__ import main
from keras_aug_ssl.commands import attacking
from keras_aug_ssl.workers import InProcess
from tests.helpers import half_bright

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.usefixtures("without_graphs"),
]

SIDES = np.arange(6) % 2
IMAGES = np.stack([half_bright(bool(side)) for side in SIDES])


@pytest.fixture
def arrays(tmp_path):
    np.savez(tmp_path / "data.npz", x=IMAGES / 255.0, y=SIDES)
    return str(tmp_path / "data.npz")


@pytest.fixture
def classes(tmp_path):
    """A folder with a folder of images for each of the model's classes, named against the order of their making."""
    for name, images in (("1 left", IMAGES[SIDES == 1]), ("0 right", IMAGES[SIDES == 0])):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for number, image in enumerate(images):
            content = tf.io.encode_png(np.kron(image, np.ones((2, 2, 1), np.uint8))).numpy()
            (tmp_path / "classes" / name / f"{number}.png").write_bytes(content)
    return str(tmp_path / "classes")


def accuracies(rows):
    return [(row["epsilon"], row["accuracy"]) for row in rows]


def test_arrays(model_file, arrays, tmp_path, capsys):
    out = tmp_path / "new" / "robustness.json"
    arguments = ["attack", model_file, arrays, "--epsilon", "0.1", "0.6", "--steps", "3", "--out", str(out)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[4].split() == ["0", "100.0", "0"]
    assert accuracies(json.loads(out.read_text())["rows"]) == [(0.0, 1.0), (0.1, 1.0), (0.6, 0.0)]


class Backwards(InProcess):
    """A worker in place of Ray's, whose results come in another order."""

    def __init__(self, workers):
        self.workers = workers

    def map(self, make, items):
        yield from super().map(make, items[::-1])


def test_workers_of_ray_find_the_same(model_file, arrays, monkeypatch, capsys):
    monkeypatch.setattr("keras_aug_ssl.workers.Ray", Backwards)
    arguments = ["attack", model_file, arrays, "--epsilon", "0.6", "0.1", "--steps", "3", "--json"]
    found = []
    for more in ([], ["--engine", "ray", "--workers", "3"]):
        assert main([*arguments, *more]) == 0
        found.append(accuracies(json.loads(capsys.readouterr().out)["rows"]))
    assert found == [[(0.0, 1.0), (0.6, 0.0), (0.1, 1.0)]] * 2
    assert main([*arguments, "--workers", "3"]) == 2
    assert "--workers needs --engine ray" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Even though the .tf.config.experimental_run_functions_eagerly")  # Keras's reading
def test_a_folder_is_read_as_keras_reads_it(model_file, classes, capsys):
    Path(classes, "0 right", "broken.png").write_bytes(b"no image")
    assert main(["attack", model_file, classes, "--steps", "3", "--json"]) == 3
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["examples"] == 6 and accuracies(found["rows"]) == [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0), (0.2, 1.0)]
    assert "broken.png" in said.err and "1 of 7 images can't be read" in said.err
    assert keras.utils.image_dataset_from_directory(classes).class_names == ["0 right", "1 left"]
    assert "outputs" not in said.err


def test_other_numbers_of_classes_and_outputs_are_said(model_file, classes, capsys):
    Path(classes, "2 both").mkdir()
    assert main(["attack", model_file, classes, "--steps", "1", "--epsilon", "0.1"]) == 0
    said = "the model has 2 outputs and the folder 3 classes, numbered from 0, 0 right, to 2, 2 both"
    assert said in capsys.readouterr().err


def test_a_folder_without_classes_is_told_what_is_missing(model_file, folder, capsys):
    Path(folder, "more", "right.png").unlink()
    assert main(["attack", model_file, folder]) == 2
    assert "must hold a folder of images for each class" in capsys.readouterr().err


def test_numbers_are_rounded(model_file, tmp_path, capsys):
    np.savez(tmp_path / "thirds.npz", x=IMAGES[:3] / 255.0, y=[0, 1, 1])
    assert main(["attack", model_file, str(tmp_path / "thirds.npz"), "--epsilon", "0.1", "--steps", "1", "--json"]) == 0
    assert '"accuracy": 0.6667,' in capsys.readouterr().out


def scaled(model_file: str, scale: float) -> str:
    """Saves the model of the tests for values that are larger by a factor, without biases that would tell it."""
    model = keras.saving.load_model(model_file)
    kernel, _ = model.layers[-1].get_weights()
    # Sure of class 0 unless there is more light than images of the other scale can have.
    model.layers[-1].set_weights([kernel / scale, np.array([1.0, 0.0], np.float32)])
    model.save(model_file)
    return model_file


def test_values_of_another_scale_are_refused(model_file, arrays, classes, capsys):
    scaled(model_file, 255.0)
    assert main(["attack", model_file, arrays, "--steps", "2"]) == 2
    said = capsys.readouterr()
    assert "the model seems to want values in 0..255" in said.err and "pass --bounds 0 255" in said.err
    assert not said.out
    assert main(["attack", model_file, classes, "--steps", "2"]) == 2
    assert "accuracy is 50% on these values in 0..1 and 100% in 0..255; pass" in capsys.readouterr().err
    assert main(["attack", model_file, classes, "--bounds", "0", "255", "--steps", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[5].split()[0] == "12.75"


def test_interrupted_it_prints_the_finished_radii(model_file, arrays, tmp_path, monkeypatch, capsys):
    real = attacking._row

    def interrupted(attack, *arguments):
        if attack.epsilon > 0.1:
            raise KeyboardInterrupt
        return real(attack, *arguments)

    monkeypatch.setattr(attacking, "_row", interrupted)
    out = tmp_path / "robustness.json"
    assert main(["attack", model_file, arrays, "--steps", "2", "--json", "--out", str(out)]) == 130
    said = capsys.readouterr()
    assert accuracies(json.loads(said.out)["rows"]) == [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0)]
    assert "interrupted; 3 of 4 radii are done and printed; no file was written" in said.err and not out.exists()


def test_an_existing_folder_is_found_before_the_work(model_file, arrays, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attacking, "read_model", None)
    (tmp_path / "table.json").mkdir()
    assert main(["attack", model_file, arrays, "--out", str(tmp_path / "table.json")]) == 2
    assert "one can't write a file there" in capsys.readouterr().err
