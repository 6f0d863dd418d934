"""The report: complete in one file, and true to the results."""

from __future__ import annotations

import base64
import io
import re

import pytest

from keras_aug_ssl.study import Results, Round, Row, Settings, report, run_study, wording
from keras_aug_ssl.study.progress import Progress

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SETTINGS = Settings(dataset="tiny <&>", labels=6, seeds=2, steps=2)


def test_page_is_complete_in_itself(images, calls, tmp_path):
    methods = [calls.method("a"), calls.method("b")]
    results = run_study(
        SETTINGS, images, tmp_path, methods=methods, progress=lambda total: Progress(total, io.StringIO())
    )
    page = report.write(results, images, tmp_path, methods).read_text(encoding="utf-8")
    assert page.count("<h1>") == 1 and page.rstrip().endswith("</html>")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 5, "bars, gallery, curves of both methods, attacked images"
    for source in sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert "title of a" in page and "tiny &lt;&amp;&gt;" in page and "tiny <&>" not in page
    assert "what a does" in page and "what b does" in page
    links = re.findall(r'href="([^"]*)"', page)
    assert [link for link in links if not link.startswith("#")] == ["data:,"], "nothing is fetched"
    assert {f'id="{link[1:]}"' in page for link in links if link.startswith("#")} == {True}
    captions, alts = re.findall(r"<figcaption>(.*?)</figcaption>", page), re.findall(r'alt="(.*?)"', page)
    assert len(set(captions)) == len(captions) == 5 and len(set(alts)) == 5
    assert all(alts) and not set(alts) & set(captions), "who can't see a picture is told what is seen"
    for row in report.table(results, {"a": "title of a", "b": "title of b"}):
        assert all(f">{cell}<" in page for cell in row)


def test_table_shows_mean_and_spread(tmp_path):
    results = Results(tmp_path, Settings(), {})
    for seed, clean in enumerate((0.6, 0.7, 0.8)):
        results.add(Row("a", seed, clean, 0.25, 10.0 + seed))
    heading, row = report.table(results, {"a": "A"})
    assert row == ["A", "70.0 ± 10.0", "25.0 ± 0.0", "11 ± 1", "3"]
    assert heading[2] == "under PGD, epsilon = 0.1 (%)"


def test_one_seed_has_no_spread(tmp_path):
    results = Results(tmp_path, Settings(seeds=1), {})
    results.add(Row("a", 0, 0.5, 0.25, 3.4))
    assert report.table(results, {"a": "A"})[1] == ["A", "50.0", "25.0", "3", "1"]


def test_what_is_found_is_said_in_words(images, tmp_path):
    results = Results(tmp_path, Settings(labels=30, epsilon=0.2, seeds=1), {})
    results.add(Row("a", 0, 0.5, 0.25, 3.0, (Round(10, 0, None), Round(20, 40, 0.9), Round(30, 80, 0.95))))
    results.add(Row("b", 0, 0.75, 0.125, 3.0))
    first, second, _ = wording.in_short(results, {"a": "A", "b": "B"})
    assert "30 labeled" in first and "50.0 %" in first and "25.0 %" in first and "0.2" in first
    assert "B”, 75.0 %" in second and "A”, 25.0 %" in second
    said = wording.of_curves("A", results.rows[:1])
    assert "40 pseudo-labels at step 20, 90.0% of them true" in said and "80 at step 30, 95.0% true" in said
