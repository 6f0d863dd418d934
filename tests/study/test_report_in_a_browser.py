"""The report on a desk and on a phone, by day and by night: nothing is missing, broken or wider than the screen."""

from __future__ import annotations

import io

import pytest

from keras_aug_ssl.study import Settings, report, run_study
from keras_aug_ssl.study.progress import Progress
from tests.browser import look, needs_browser

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    needs_browser,
]


@pytest.fixture
def page(images, calls, tmp_path):
    methods = [calls.method(name) for name in "ab"]
    settings = Settings(dataset="a rather long name of a set of images " * 3, labels=6, seeds=2, steps=1)
    results = run_study(
        settings, images, tmp_path, methods=methods, progress=lambda total: Progress(total, io.StringIO())
    )
    return report.write(results, images, tmp_path, methods)


def test_report_fits_every_screen_and_its_tables_sort(page):
    grounds = set()
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        seen = look(page, width, dark=dark)
        assert seen["screen"] == width and seen["page"] <= width and not seen["wrong"]
        assert len(seen["images"]) == 5
        assert all(pixels > 0 and right <= width for pixels, right in seen["images"])
        accuracies = [float(cell.split(" ")[0]) for cell in seen["sorted"][0]]
        assert accuracies == sorted(accuracies) and sorted(seen["before"][0]) == sorted(seen["sorted"][0])
        grounds.add(seen["background"])
    assert len(grounds) == 2, "light and dark"
