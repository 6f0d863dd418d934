"""Keras's own tests of its image layers, run on ours: whatever fails is known, by name and with its reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_aug_ssl import layers
from tests.layers.keras_differences import DOCUMENTED, INTERNALS

FOLDER = Path(keras.__file__).parent / "src/layers/preprocessing/image_preprocessing"
FILES = [
    path
    for path in sorted(FOLDER.glob("*_test.py"))
    if "".join(part.title() for part in path.stem.removesuffix("_test").split("_")) in layers.__all__
]
# All of them take minutes: KERAS_OWN_TESTS=all runs them. These are quick, and about arguments above all.
QUICK = ["random_brightness_test.py", "random_crop_test.py", "random_erasing_test.py", "random_rotation_test.py"]
SWAP = """
import sys
import keras
from keras_aug_ssl import layers
stock = sys.modules["keras.src.layers"]  # where those tests find theirs
for name in layers.__all__:
    if hasattr(stock, name) and name != "Pipeline":
        setattr(stock, name, getattr(layers, name))
        setattr(keras.layers, name, getattr(layers, name))
"""


@pytest.mark.skipif(not FILES, reason="Keras came without its tests")
def test_what_fails_of_keras_own_tests_is_known(tmp_path):
    wanted = [path for path in FILES if path.name in QUICK or os.environ.get("KERAS_OWN_TESTS") == "all"]
    for path in wanted:
        shutil.copy(path, tmp_path)
    (tmp_path / "conftest.py").write_text(SWAP)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "-rf", "."]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout[-2000:] + run.stderr[-2000:]
    failed = set(re.findall(r"^FAILED (\S+?)::\w+::(\w+)", run.stdout, re.MULTILINE))
    known = {(file, name) for file, names in INTERNALS.items() for name in names} | set(DOCUMENTED)
    known = {(file, name) for file, name in known if file in {path.name for path in wanted}}
    assert failed - known == set(), run.stdout[-2000:]
    assert known - failed == set(), "pass by now: take them off the list"


@pytest.mark.parametrize("test", DOCUMENTED, ids=" ".join)
def test_what_differs_on_purpose_is_said_where_it_is_read(test):
    name, phrase = DOCUMENTED[test]
    said = (cls.__doc__ or "" for cls in getattr(layers, name).__mro__)
    assert any(phrase in " ".join(text.split()) for text in said)
