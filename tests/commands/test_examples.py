"""Every command that a help text or a page shows is run, on files of the names it has; long ones are cut short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from pyarrow import parquet

from keras_aug_ssl.__main__ import COMMANDS, main
from keras_aug_ssl.study import BUDGETS
from keras_aug_ssl.workers import InProcess

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
CUT_SHORT = {
    "study": ["--steps", "1", "--seeds", "1"],
    "bench": ["--seconds", "0"],
    "attack": ["--steps", "2", "--examples", "10"],
}
PHOTOS = ("photos", "unlabeled")


def examples() -> list[str]:
    """The commands, without what a shell does with their output; `explore`, which never ends, has tests of its own."""
    texts = [path.read_text(encoding="utf-8") for path in PAGES] + [str(module.__doc__) for module in COMMANDS.values()]
    lines = {line for text in texts for line in re.findall(r"^ *keras-aug-ssl (.*?)(?: *[|>#].*)?$", text, re.M)}
    return sorted(line for line in lines if not line.startswith("explore"))


def images(folder: Path, sides: int = 8) -> None:
    """Two classes of three images each."""
    draw = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            image = draw.integers(0, 256, (sides, sides, 3), np.uint8)
            (folder / name / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())


def model(shape: tuple[int, ...], outputs: int, file: str) -> None:
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(outputs, "softmax")]
    network = keras.Sequential(layers)
    network.compile("sgd", "sparse_categorical_crossentropy")
    network.save(file)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the examples name, in the current folder; the model is that of the data in the example."""
    monkeypatch.chdir(tmp_path)
    for name in PHOTOS:
        images(tmp_path / name)
    for name in ("cat.jpg", "dog.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "photos" / "cats" / "0.jpg").read_bytes())
    x = np.random.default_rng(0).random((12, 4), np.float32)
    for name in ("inputs.npy", "pool.npy"):
        np.save(tmp_path / name, x)
    np.savez(tmp_path / "test.npz", x=x, y=np.arange(12) % 2)
    columns = {"name": [f"row {number}" for number in range(12)], **{f"feature {i}": x[:, i] for i in range(4)}}
    parquet.write_table(pa.table(columns), tmp_path / "table.parquet")
    return tmp_path


@pytest.mark.parametrize("example", examples())
def test_examples_run(example, files, monkeypatch):
    monkeypatch.setattr("keras_aug_ssl.workers.Ray", lambda workers: InProcess())
    monkeypatch.setattr("keras_aug_ssl.study.tasks.TEST_IMAGES", 20)
    for name, budget in BUDGETS.items():
        monkeypatch.setitem(BUDGETS, name, budget._replace(methods=budget.methods[:1]))
    command, *arguments = shlex.split(example)
    shape, outputs = ((28, 28, 1), 10) if "mnist5k" in arguments else ((4,), 2)
    if {*PHOTOS} & {argument.rstrip("/") for argument in arguments}:
        shape = (8, 8, 3)
    for name in ("model.keras", "teacher.keras"):
        model(shape, outputs, name)
    more = CUT_SHORT.get(command, [])
    if command == "study" and "photos" in arguments:
        arguments[arguments.index("--labels") + 1] = "2"  # of six images
    before = set(files.iterdir())
    assert main([command, *arguments, *more]) == 0
    made = {path.name for path in set(files.iterdir()) - before}
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else None
    assert made if out is None and command not in ("attack", "bench") else out is None or out in made
