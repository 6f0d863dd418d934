"""What the layout promises: the rooms and which way imports go, files and folders one can hold in the head."""

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
    for folder in ("keras_aug_ssl", "tests", "benchmarks", "notebooks", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".ipynb", ".md", ".json"}
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "setup.cfg", ".ci/run")]

# The map. Each part, lowest first, and those before it that it may import; "Up to" a part means that one and all that
# it may import. What is named nowhere here (study, commands, testing, the pages) is the top, and may import anything.
PARTS = {
    "backend": set(),
    "checks": set(),
    "writing": set(),
    "workers": {"checks"},
    "draws": {"checks"},
    "kernels": {"checks"},
    "plots": {"checks", "kernels"},
    "meaning": {"backend", "checks"},
    "rules": {"checks", "meaning"},
    "teaching": {"backend", "checks", "meaning"},
    "data": {"checks", "draws", "kernels", "writing"},
    "layers": {"backend", "checks", "draws", "kernels", "writing"},
    "losses": {"checks", "draws", "layers"},
    "self_training": {"backend", "checks", "writing", "meaning", "rules", "teaching", "data", "layers"},
    "scale": {"checks", "writing", "workers", "meaning", "rules", "data", "self_training"},
    "consistency": {"checks", "draws", "meaning", "rules", "teaching", "data", "layers"},
    "adversarial": {
        "backend",
        "checks",
        "draws",
        "kernels",
        "writing",
        "workers",
        "plots",
        "meaning",
        "rules",
        "teaching",
        "data",
        "layers",
        "consistency",
    },
}
# Within a part, its rooms from the lowest to the highest: each may import those before it, never one behind. What lies
# in the part's own folder comes last; for `layers` those are the families of operations, for the others the front door.
ROOMS = {
    "layers": ("engine",),
    "self_training": ("pool", "feeding", "books", "labelling"),
    "adversarial": ("threat", "victim", "search", "attacks", "evaluation", "training"),
}
APART = {("adversarial", "training", "evaluation"), ("adversarial", "victim", "threat")}  # know nothing of each other
MOST_FILES = 16
DRAWING = re.compile(r"(tf|np|numpy|keras|tensorflow)\.random\.(?!SeedGenerator\b)")  # that one only hands out keys
PRIVATE = re.compile(r"(from|import)\s+keras\.src\b|import_module\(.keras\.src")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_imports(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """What a module imports of the package, at any depth of its code: ("layers", "engine", "base", "Spec")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.startswith("keras_aug_ssl."))


def floor(part: str, inside: tuple[str, ...]) -> int:
    """The number of the room that `inside`, a path below the part's folder, lies in."""
    rooms = ROOMS.get(part, ())
    return rooms.index(inside[0]) if inside and inside[0] in rooms else len(rooms)


def wrong_ways(path: Path, tree: ast.AST) -> list[str]:
    """The imports of a file that run up."""
    part, inside = part_of(path), path.relative_to(PACKAGE).parts[1:]
    allowed, here, found = PARTS.get(part), floor(part, inside), []
    for name in own_imports(tree):
        if name[0] != part:
            wrong = allowed is not None and name[0] not in allowed
        else:
            wrong = floor(part, name[1:]) > here or (part, *inside[:1], *name[1:2]) in APART
        found += [".".join(name)] * wrong
    return found


def drawing_calls(tree: ast.AST) -> list[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if DRAWING.match(call)]


def modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_imports_go_one_way(path):
    found = wrong_ways(path, ast.parse(path.read_text(encoding="utf-8")))
    assert not found, f"{label(path)} may not import {found}"


def test_parts_are_in_order():
    order = list(PARTS)
    for part, allowed in PARTS.items():
        assert all(order.index(below) < order.index(part) for below in allowed), f"{part} imports what is above it"
    assert "self_training" not in PARTS["consistency"] | PARTS["adversarial"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=label)
def test_folders_are_rooms(folder):
    """Few enough files to see at once, and a sentence that says what the room is for."""
    assert len(modules(folder)) <= MOST_FILES, f"{label(folder)} has {len(modules(folder))} files: make rooms"
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), label(folder)


@pytest.mark.parametrize(
    "part", sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and "_" != path.name[0])
)
def test_a_name_is_one_file(part):
    names = [path.stem for path in (PACKAGE / part).rglob("*.py") if path.name != "__init__.py"]
    assert len(names) == len(set(names)), (
        f"{part} has two files of one name: {sorted({n for n in names if names.count(n) > 1})}"
    )


def test_tests_mirror_the_package():
    """Every folder of the tests is one of the package's, or, for a family with many tests, one of its files."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    strange = [str(f) for f in folders if not (PACKAGE / f).is_dir() and not (PACKAGE / f).with_suffix(".py").is_file()]
    assert not strange


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


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".py"], ids=label)
def test_nothing_private_of_keras_is_imported(path):
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if PRIVATE.match(line.strip())]
    assert not found, f"{label(path)}: {found}"


@pytest.mark.parametrize("path", TEXTS, ids=label)
def test_one_spelling(path):
    """The field's: color, as Keras writes it."""
    if path != Path(__file__).resolve():
        assert not re.search("col" + "our", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_architecture_checks_bite():
    wrong_way = ast.parse("def f():\n    from keras_aug_ssl.adversarial import attacks")
    assert wrong_ways(PACKAGE / "layers" / "tone.py", wrong_way) == ["adversarial.attacks"]
    up = ast.parse("from keras_aug_ssl.adversarial.training.trainer import AdversarialTraining")
    assert wrong_ways(PACKAGE / "adversarial" / "search" / "loop.py", up)
    apart = ast.parse("from keras_aug_ssl.adversarial.evaluation import report")
    assert wrong_ways(PACKAGE / "adversarial" / "training" / "trainer.py", apart) == ["adversarial.evaluation.report"]
    family = ast.parse("from keras_aug_ssl.layers import tone")
    assert wrong_ways(PACKAGE / "layers" / "engine" / "base.py", family) and not wrong_ways(
        PACKAGE / "layers" / "x.py", family
    )
    assert set(own_imports(ast.parse("from keras_aug_ssl import layers, checks"))) == {("layers",), ("checks",)}
    assert drawing_calls(ast.parse("tf.random.stateless_uniform([2], seed=s)")) == ["tf.random.stateless_uniform"]
    assert drawing_calls(ast.parse("np.random.default_rng(0)")) == ["np.random.default_rng"]
    assert PRIVATE.match("from keras.src import layers") and not PRIVATE.match("from keras import layers")
