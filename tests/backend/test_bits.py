"""The same bits on every backend, from every public layer, in a data set and called eagerly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras

from tests.backend import bits

ROOT = Path(__file__).resolve().parents[2]


def test_bits_are_those_of_tensorflow():
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "tests.backend.bits"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    expected, found = json.loads(ran.stdout), bits.hashes()
    different = sorted(name for name in expected if expected[name] != found[name])
    assert found.keys() == expected.keys() and not different, f"on {keras.backend.backend()}: {different}"
    assert len(set(expected.values())) > len(expected) // 2  # the hashes tell layers apart
