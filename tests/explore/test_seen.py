"""What a page shows: draws with what belongs to them, attacks in the model's own scale, tables by doubt."""

from __future__ import annotations

import csv
import sys

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.__main__ import main
from keras_aug_ssl.explore import attacks_seen, doubts, stacks
from keras_aug_ssl.explore.app import _load
from keras_aug_ssl.explore.draws_seen import SIDE, see

IMAGE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
STACK = stacks.add(stacks.add([], "RandomRotation"), "RandomBrightness")


def test_a_grid_is_seen_with_its_parameters_plan_and_cost():
    seen = see([IMAGE], STACK, 0, copies=2)
    assert seen.grid.dtype == np.uint8 and seen.grid.ndim == 3 and seen.grid.std() > 10
    assert [list(part) for part in seen.parameters] == [["RandomRotation"], ["RandomBrightness"]]
    drawn = stacks.pipeline(STACK).sample(np.repeat(IMAGE[None], 2, 0), seed=(0, 0))
    matrix = np.asarray(list(drawn.values())[0]["out_to_in"] if isinstance(drawn, dict) else drawn[0]["out_to_in"])[0]
    assert np.allclose(seen.parameters[0]["RandomRotation"]["out_to_in"], matrix, atol=1e-4)
    assert "RandomRotation" in seen.plan and seen.milliseconds > 0 and "seed=(0, 0)" in seen.code
    assert np.array_equal(see([IMAGE], STACK, 0, copies=2).grid, seen.grid)
    assert not np.array_equal(see([IMAGE], STACK, 1, copies=2).grid, seen.grid)
    assert not np.array_equal(see([IMAGE], STACK, 0, copies=2, annotated=True).grid, seen.grid)


@pytest.mark.parametrize("rescaling", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_attack_is_seen_in_the_models_scale(rescaling, channels):
    keras.utils.set_random_seed(0)
    scaling = [keras.layers.Rescaling(1 / 255)] if rescaling else []
    model = keras.Sequential([keras.Input((8, 8, channels)), *scaling, keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert attacks_seen.value_range_of(model) == (255.0 if rescaling else 1.0)
    found = attacks_seen.attack(model, IMAGE, "PGD", 0.2)
    assert found.image.shape == found.change.shape == found.attacked.shape == (8, 8, 3)
    moved = np.abs(found.attacked.astype(int) - found.image).max()
    assert 0 < moved <= round(0.2 * 255) + 1
    assert found.change.min() == 0 or found.change.max() == 255, "magnified until it is seen in full"
    first = max(found.before, key=found.before.get)
    assert found.after.get(first, 0.0) < found.before[first]


@pytest.mark.parametrize("name", attacks_seen.ATTACKS)
def test_nothing_is_changed_without_an_epsilon(name):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = attacks_seen.attack(model, IMAGE, name, 0.0)
    assert np.array_equal(found.image, found.attacked) and found.before == found.after


def test_the_least_sure_come_first_and_corrections_are_written_beside(tmp_path):
    training = kas.SelfTraining(np.zeros((4, 2), "float32"))
    table = training.table()
    table["label"][:], table["confidence"][:] = [2, 0, -1, 1], [0.9, 0.6, 0.2, 0.7]
    table.to_csv(tmp_path / "run.csv")
    before = (tmp_path / "run.csv").read_bytes()
    names, rows = doubts.read(tmp_path / "run.csv")
    place, label = names.index("id"), names.index("label")
    assert [row[place] for row in rows] == ["1", "3", "0"], "row 2 has no label"
    rows[0][label] = 2  # a page may give a number
    file, count = doubts.save_corrected(tmp_path / "run.csv", names, rows)
    assert count == 1 and file.name == "run-corrected.csv" and (tmp_path / "run.csv").read_bytes() == before
    with file.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["label"] for row in found] == ["2", "2", "-1", "1"]
    assert [row["corrected"] for row in found] == ["", "by hand", "", ""]
    again, count = doubts.save_corrected(tmp_path / "run.csv", names, rows[1:])
    assert (again.name, count) == ("run-corrected-2.csv", 0) and "by hand" in file.read_text(), "nothing is replaced"
    rows[0][label] = "cat"
    with pytest.raises(ValueError, match="`label` must be a class number; received 'cat'"):
        doubts.save_corrected(tmp_path / "run.csv", names, rows)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns id, label, confidence"):
        doubts.read(tmp_path / "other.csv")


def test_rows_without_a_confidence_come_first(tmp_path):
    (tmp_path / "run.csv").write_text("id,label,confidence\na,1,0.2\nb,1,\nc,1,nan\nd,-1,\n")
    _, rows = doubts.read(tmp_path / "run.csv")
    assert [row[0] for row in rows] == ["b", "c", "a"]


def test_code_in_a_model_file_is_not_run(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 2 * x)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Lambda|safe"):
        _load(str(tmp_path / "model.keras"))


def test_a_missing_extra_is_named_before_anything_else(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["explore"]) == 2
    assert "gradio" in capsys.readouterr().err
