"""The speed of augmentation, measured by a command."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from keras_aug_ssl import layers
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.commands import timing


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(timing, "SIZES", {8: 4, 6: 2})
    monkeypatch.setattr(timing, "RUNS", 1)
    monkeypatch.setattr(timing, "operations", lambda make: [make.RandomFlip("horizontal"), make.RandomRotation(0.05)])


def test_a_table_for_people(small, capsys):
    assert main(["bench", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["images/s", "--------", "8 x 8", "6 x 6"]
    assert all(line.endswith("x") for line in lines[4:])


def test_json_for_programs(small, capsys):
    assert main(["bench", "--seconds", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["size"] for row in found["rows"]] == [8, 6] and found["runs"] == 1
    for row in found["rows"]:
        assert row["ratio"] == pytest.approx(row["keras_aug_ssl"] / row["keras"], rel=0.01, abs=0.051)


def test_a_keras_without_the_layers_is_not_compared(small, monkeypatch, capsys):
    def operations(make):
        return [make.RandomFlip("horizontal")] if make is layers else [make.NoSuchLayer()]

    monkeypatch.setattr(timing, "operations", operations)
    assert main(["bench", "--seconds", "0"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].split()[-2:] == ["-", "-"]
    assert "can't be compared" in said.err and "NoSuchLayer" in said.err


def test_both_libraries_do_the_same_to_as_many_images():
    names = [type(layer).__name__ for layer in timing.operations(layers)]
    assert len(names) == 7
    if hasattr(keras.layers, "RandomErasing"):
        assert [type(layer).__name__ for layer in timing.operations(keras.layers)] == names
    batch = next(timing.ours(8, 4))
    assert batch.shape == (4, 8, 8, 3) and batch.dtype == np.uint8
