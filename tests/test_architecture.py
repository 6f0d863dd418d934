"""What the layout promises: imports go one way, one file draws, files stay short, nothing names somebody's machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "keras_aug_ssl"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("keras_aug_ssl", "tests", "benchmarks", "notebooks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".ipynb", ".md", ".json"}
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "setup.cfg", ".ci/run")]

# Part -> the parts it may import besides itself. A part is a subpackage or a module at the top.
BASE = {"checks", "draws", "kernels", "writing"}
MAY_IMPORT = {
    "backend": set(),
    "checks": set(),
    "draws": {"checks"},
    "kernels": {"checks"},
    "meaning": {"checks"},
    "data": BASE,
    "layers": BASE,
    "self_training": BASE | {"data", "layers", "meaning"},
    "plots": set(),
    "writing": set(),
    "adversarial": BASE | {"data", "layers", "meaning", "plots", "self_training"},
    "consistency": BASE | {"data", "layers", "meaning", "self_training"},
}
DRAWING = re.compile(r"(tf|np|numpy|keras|tensorflow)\.random\.(?!SeedGenerator\b)")  # that one only hands out keys


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_imports(tree: ast.AST) -> Iterator[str]:
    """Parts of the package that a module imports, at any depth of its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("keras_aug_ssl."))


def drawing_calls(tree: ast.AST) -> list[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if DRAWING.match(call)]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_imports_go_one_way(path):
    allowed = MAY_IMPORT.get(part_of(path))
    if allowed is None:  # the top: study, plots, testing, the command line
        return
    found = set(own_imports(ast.parse(path.read_text(encoding="utf-8")))) - {part_of(path)}
    assert found <= allowed, f"{label(path)} may not import {sorted(found - allowed)}"


@pytest.mark.parametrize("path", [p for p in SOURCES if part_of(p) in {"kernels", "layers"}], ids=label)
def test_only_draws_draws(path):
    calls = drawing_calls(ast.parse(path.read_text(encoding="utf-8")))
    assert not calls, f"{label(path)} draws with {calls}; put the draw into draws.py"


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".py"], ids=label)
def test_file_length(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{label(path)} has {lines} lines: split it where a reader would look for two things"


@pytest.mark.parametrize("path", TEXTS, ids=label)
def test_no_machine_is_named(path):
    found = re.findall(r"(?<![\w.])/(?:work|root|home|Users|opt)/[\w.-]+", path.read_text(encoding="utf-8"))
    assert not found, f"{label(path)} names a path of one machine: {found}"


def test_architecture_checks_bite():
    wrong_way = ast.parse("def f():\n    from keras_aug_ssl.adversarial import attacks")
    assert set(own_imports(wrong_way)) == {"adversarial"}
    assert set(own_imports(ast.parse("from keras_aug_ssl import layers, checks"))) == {"layers", "checks"}
    assert drawing_calls(ast.parse("tf.random.stateless_uniform([2], seed=s)")) == ["tf.random.stateless_uniform"]
    assert drawing_calls(ast.parse("np.random.default_rng(0)")) == ["np.random.default_rng"]
