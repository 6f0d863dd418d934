"""The documentation fits the screen it is read on. `make docs` builds it and runs this; before, nothing is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.browser import needs_browser, seen

BUILT = Path(__file__).resolve().parents[1] / "build" / "docs"
PAGES = ["README", "docs/guides/migrate", "docs/measurements", "build/gallery/index", "docs/reference/layers",
         "build/reference/keras_aug_ssl.SelfTraining", "notebooks/1_augmentation"]  # fmt: skip
LOOK = """
<script>
const wrong = [];
addEventListener("error", event => wrong.push(event.message));
addEventListener("load", () => parent.postMessage(JSON.stringify({
  page: document.documentElement.scrollWidth, screen: innerWidth, wrong: wrong,
  broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
  text: document.body.innerText.length, background: getComputedStyle(document.body).backgroundColor,
}), "*"));
</script>
"""


@needs_browser
@pytest.mark.skipif(not (BUILT / "README.html").exists(), reason="not built: make docs")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_the_screen(page, width, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(BUILT, site, ignore=shutil.ignore_patterns("*.ipynb", "_sources"))
    light, dark = (seen(site / f"{page}.html", LOOK, width, dark) for dark in (False, True))
    assert light["screen"] == width and light["page"] <= width
    assert not light["wrong"] and not light["broken"] and light["text"] > 500
    assert light["background"] != dark["background"]
