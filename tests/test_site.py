"""The documentation forgets nothing: public names, layers, pages and links. `make docs` builds it, strictly."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import keras_aug_ssl as kas

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
BUILT = "build/"  # what the site makes by itself


@pytest.fixture(scope="module")
def site() -> dict[str, dict[str, object]]:
    """The site's files that need no Sphinx, by name."""
    before, path = dict(sys.modules), list(sys.path)
    try:
        names = ("names", "gallery")
        return {"conf": runpy.run_path(str(ROOT / "docs" / "conf.py"))} | {
            name: runpy.run_path(str(SITE / f"{name}.py")) for name in names
        }
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - set(before):
            if not name.startswith(("sklearn", "scipy", "joblib", "threadpoolctl")):
                sys.modules.pop(name)


def public_names() -> set[str]:
    """Every public name, as `test_public_names` lists them, and the figures."""
    from tests.test_public_names import AT_THE_TOP, NAMES, public

    listed = {f"{module}.{name}" for module, text in NAMES.items() for name in text.split()}
    figures = {f"plots.{name}" for name in public(kas.plots) if not name.isupper()}
    return listed | figures | set(AT_THE_TOP.split())


def test_every_public_name_is_in_the_reference(site):
    found, listed = site["names"]["found"], site["names"]["listed"]()
    assert len(set(listed)) == len(listed)
    described = {id(found(name)) for name in listed}
    missing = sorted(name for name in public_names() if id(found(name)) not in described)
    assert not missing, f"list them in docs/reference: {missing}"


def test_every_public_module_has_a_page_to_link_to():
    from tests.test_public_names import NAMES

    text = (SITE / "linking.py").read_text(encoding="utf-8")
    modules = {
        name: ast.literal_eval(found) for name, found in re.findall(r"^(MODULES) = (\{.*?\})", text, re.M | re.S)
    }
    shown = {name for name in NAMES if hasattr(kas, name)} - {"self_training"}  # whose names are all at the top
    assert shown <= set(modules["MODULES"])
    for page in modules["MODULES"].values():
        assert (ROOT / "docs" / "reference" / f"{page}.md").is_file()


def test_every_listed_name_is_public_and_described(site):
    for name in site["names"]["listed"]():
        thing = site["names"]["found"](name)
        assert isinstance(thing, dict) or (thing.__doc__ or "").strip(), name


def test_every_layer_is_in_the_gallery(site):
    gallery = site["gallery"]
    calls = [call for section in gallery["CALLS"] for call in gallery["calls"](section)]
    shown = [call.partition("(")[0].removeprefix("kas.layers.") for call in calls]
    bases = {"AugmentationLayer", "MixingLayer"}
    layers = {name for name in kas.layers.__all__ if name[0].isupper()} - bases - {"Spec"}
    assert sorted(shown) == sorted(layers)


def test_a_row_of_the_gallery_shows_the_image_and_draws_of_it(site):
    gallery = site["gallery"]
    images = np.random.default_rng(0).integers(0, 256, (6, gallery["SIZE"], gallery["SIZE"], 3), np.uint8)
    for call in ("kas.layers.RandomFlip()", "kas.layers.CutMix(num_classes=2)", "kas.layers.RandomCrop(64, 72)"):
        row = gallery["row_of"](call, images)
        assert row.dtype == np.uint8
        np.testing.assert_array_equal(row[:, : gallery["SIZE"]], images[0])
        assert (row[:, gallery["SIZE"] :] != 255).any()


def test_every_page_is_in_the_contents(site):
    contents = [page for children in site["conf"]["contents"].values() for page in children]
    assert len(contents) == len(set(contents))
    pages = {path.relative_to(ROOT).with_suffix("").as_posix() for path in PAGES} - {"README"}
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {page for page in contents if not page.startswith(BUILT)} == pages | notebooks


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        target, _, anchor = unquote(link).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.is_relative_to(ROOT / "build"):
            assert there.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in anchors(there), f"{path.name}: {link}"


def anchors(path: Path) -> set[str]:
    """The names of a page's headings, as code hosts and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
