"""Looks at a page as a browser shows it, without a display; for tests, which are skipped where there is no browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

# Put into the page: tells the frame around it what there is to see.
LOOK = """
<script>
const wrong = [];
addEventListener("error", event => wrong.push(event.message));
addEventListener("load", () => {
  const look = () => [...document.querySelectorAll("table")].map(
    table => [...table.tBodies[0].rows].map(row => row.cells[%(column)d].textContent));
  const before = look();
  for (const table of document.querySelectorAll("table")) table.tHead.rows[0].cells[%(column)d].firstChild.click();
  parent.postMessage(JSON.stringify({
    page: document.documentElement.scrollWidth, screen: innerWidth, wrong: wrong, before: before, sorted: look(),
    images: [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().right]),
    background: getComputedStyle(document.body).backgroundColor,
  }), "*");
});
</script>
"""
# A window can't be made as narrow as a phone; a frame in it can.
FRAME = """
<script>addEventListener("message", event => { document.title = "SEEN" + event.data + "SEEN"; });</script>
<iframe src="%(page)s" style="width: %(width)dpx; height: 2000px; border: 0"></iframe>
"""


def look(page: Path, width: int, column: int = 1, dark: bool = False) -> dict[str, Any]:
    """What a browser `width` pixels wide makes of a page, after a click on a column's heading of every table."""
    return seen(page, LOOK % {"column": column}, width, dark)


def seen(page: Path, script: str, width: int, dark: bool = False) -> dict[str, Any]:
    """What a script, put into the page, posts to the frame around it, which is `width` pixels wide."""
    watched, frame = page.with_name("watched.html"), page.with_name("frame.html")
    text = page.read_text(encoding="utf-8")
    watched.write_text(text.replace("<head>", "<head>" + script, 1), encoding="utf-8")
    frame.write_text(FRAME % {"page": watched.name, "width": width}, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=1400,2000"]
    options += ["--virtual-time-budget=5000", f"--user-data-dir={page.parent / 'profile'}"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    run = subprocess.run([str(BROWSER), *options, frame.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>SEEN(.*?)SEEN</title>", run.stdout, re.DOTALL)
    assert found, run.stdout[-500:] + run.stderr[-500:]
    return json.loads(html.unescape(found[1]))
