"""Help and errors need no TensorFlow; the package does, wherever else it is imported."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_aug_ssl.__main__ import COMMANDS, main
from keras_aug_ssl.commands.starting import is_command_line
from keras_aug_ssl.losses import AugMixLoss

SLOW = ("tensorflow", "keras", "numpy")


def imported(*command: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """What a process imports, and what it says."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, done


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([name, "--help"], 0) for name in COMMANDS]
    + [(["--help"], 0), (["--version"], 0), (["paint"], 2), (["augment", "missing.png"], 2)]
    + [(["study", "--labels", "0"], 2), (["pseudo-label", "missing.keras", "."], 2)],
)
def test_help_and_errors_import_nothing_slow(arguments, code):
    names, done = imported("-m", "keras_aug_ssl", *arguments)
    assert done.returncode == code
    assert "keras_aug_ssl.commands.options" in names and not names.intersection(SLOW)
    others = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(others) == (code == 2)


def test_the_console_script_imports_nothing_slow(tmp_path):
    script = tmp_path / "keras-aug-ssl"
    script.write_text("import sys\nfrom keras_aug_ssl.__main__ import main\nsys.exit(main())\n")
    names, done = imported(str(script), "attack", "--help")
    assert done.returncode == 0 and "Exit codes:" in done.stdout and not names.intersection(SLOW)


def test_with_work_to_do_it_knows_the_classes_of_saved_models(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Softmax()])
    model.compile("sgd", AugMixLoss())
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4, 1), np.float32))
    files = [f"{tmp_path}/{name}" for name in ("model.keras", "x.npy", "labels.csv")]
    _, done = imported("-m", "keras_aug_ssl", "pseudo-label", *files[:2], "--out", files[2])
    assert done.stdout.startswith("2 of 2 examples"), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["-m", "study"], ["python", "-X", "dev", "-m", "keras_aug_ssl", "study"], True),
        (["-m", "study"], ["python", "-mkeras_aug_ssl", "study"], True),
        (["-m"], ["python", "-m", "keras_aug_ssl"], True),
        (["-m"], ["python", "-m", "keras_aug_ssl.study"], False),
        (["-m", "keras_aug_ssl"], ["python", "-m", "pytest", "keras_aug_ssl"], False),
        (["bin/keras-aug-ssl", "study"], ["python", "bin/keras-aug-ssl", "study"], True),
        (["Scripts/keras-aug-ssl.exe"], ["python", "keras-aug-ssl.exe"], True),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
        (["-c", "-m", "keras_aug_ssl"], ["python", "-c", "import keras_aug_ssl", "-m", "keras_aug_ssl"], False),
        ([], ["python"], False),
    ],
)
def test_the_command_line_is_recognized(argv, original, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert is_command_line() is expected


def test_a_missing_tensorflow_is_one_line(monkeypatch, capsys, folder):
    def missing(name):
        raise ImportError(f"{name}: TensorFlow is not installed.")

    monkeypatch.setattr("importlib.import_module", missing)
    assert main(["augment", folder]) == 2
    assert capsys.readouterr().err == "keras-aug-ssl: keras_aug_ssl.public: TensorFlow is not installed.\n"


def test_interrupted_without_a_result_it_says_so(monkeypatch, capsys, folder):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert main(["augment", folder]) == 130
    assert capsys.readouterr().err == "keras-aug-ssl: interrupted; nothing was written\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_exit_codes(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert f"  keras-aug-ssl {name}" in text and "Exit codes:" in text
