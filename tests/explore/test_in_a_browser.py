"""The page as a person uses it: a slider moves, the grid changes, the copied code gives the same images.

The picture in the documentation is made by it: `EXPLORER_PICTURE=docs/explorer.png make test-explore`.
"""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from keras_aug_ssl import explore
from keras_aug_ssl.explore import stacks
from tests.browser import BROWSER, needs_browser
from tests.explore.test_stacks import run

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [needs_browser, pytest.mark.filterwarnings("ignore")]  # of Gradio and what it brings

GRID = "document.querySelector('#grid img').src"


@pytest.fixture
def page():
    app = explore.launch(block=False)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1100})
        opened.asked = []
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(app.local_url)
        opened.wait_for_selector("#grid img", timeout=90_000)
        yield opened
        browser.close()
    app.close()


def code_of(page):
    text = page.inner_text("#code .cm-content").replace("\u200b", "")
    return re.sub(r"\n\n+", "\n", text)


def changed(page, act):
    """The code after `act`, which changes the grid."""
    before = page.evaluate(GRID)
    act()
    page.wait_for_function(f"{GRID} !== {before!r}", timeout=90_000)
    return code_of(page)


def test_draws_change_and_copied_code_gives_them_again(page):
    first = code_of(page)
    assert "seed=(0, 0)" in first
    assert "seed=(1, 0)" in changed(page, lambda: page.click("#again"))
    zoomed = changed(page, lambda: page.click("#add"))
    assert "RandomZoom(height_factor=0.2)" in zoomed
    slider = page.locator("#knob-2-height_factor input[type=range]")

    def move():
        slider.focus()
        for _ in range(5):
            slider.press("ArrowRight")
        slider.dispatch_event("pointerup")

    moved = changed(page, move)
    assert "RandomZoom(height_factor=0.25)" in moved
    if "EXPLORER_PICTURE" in os.environ:
        page.screenshot(path=os.environ["EXPLORER_PICTURE"])
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    stack = [("RandomFlip", {}), ("RandomRotation", {"factor": 0.05}), ("RandomZoom", {"height_factor": 0.25})]
    shown = np.asarray(stacks.pipeline(stack)(images, training=True, seed=(1, 0)))
    assert np.array_equal(run(moved, images), shown)
    assert {url.split("/")[2].split(":")[0] for url in page.asked if url.startswith("http")} == {"127.0.0.1"}
