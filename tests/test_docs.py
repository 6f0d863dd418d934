"""Every example in the documentation runs: the docstrings of the package and the Python blocks of README and guides."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl

# Keras reads variables into arrays, to save a model, in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[1]
# What every example may use without importing it.
NAMES = {"kas": keras_aug_ssl, "keras": keras, "np": np, "tf": tf}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def package_modules() -> list[str]:
    """Names of all modules of the package but `__main__`, which runs the command line."""
    found = pkgutil.walk_packages(keras_aug_ssl.__path__, prefix="keras_aug_ssl.")
    return ["keras_aug_ssl", *(m.name for m in found if not m.name.endswith("__main__"))]


@pytest.mark.parametrize("name", package_modules())
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), extraglobs=NAMES):
        runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2 saves so
@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    namespace: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{page}, Python block {number}", "exec"), namespace)
