"""The study's table as text and its report as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from keras_aug_ssl import pages, tables
from keras_aug_ssl.study import pictures, wording
from keras_aug_ssl.study.methods import Method
from keras_aug_ssl.study.results import Results
from keras_aug_ssl.study.tasks import Images
from keras_aug_ssl.writing import replacing

PSEUDO_LABELS = (
    "Unlabeled images in use over the training, and how many of their pseudo-labels are true. The true labels are "
    "hidden from the training; they are only compared here. More labels help as long as nearly all of them are true."
)
ATTACKED = (
    "Each network is attacked by itself, with the same budget. Under an image stands what the network reads in it. "
    "A person reads the attacked images as easily as the clean ones; a network that was not trained for it does not."
)


def write(results: Results, images: Images, folder: str | Path, methods: Sequence[Method]) -> Path:
    """Writes `index.html`: what was found, in words, a table and pictures, and how to repeat it; returns its path.

    It shows the rows of `methods` and those an earlier run in the folder has left.
    """
    titles = {method.name: method.title for method in methods}
    present = {row.method for row in results.asked()}
    rows = [method for method in methods if method.name in present]
    found = [
        ("In short", pages.paragraphs(*wording.in_short(results, titles))),
        ("Accuracy", tables.as_html(table(results, titles)) + pictures.bars(results, titles).html()),
        ("The methods", pages.definitions(wording.methods(rows))),
        ("Augmentation", pictures.gallery(images).html()),
    ]
    curves = pictures.curves(results, titles)
    if curves:
        found.append(("Pseudo-labels", pages.paragraphs(PSEUDO_LABELS) + "".join(curve.html() for curve in curves)))
    grid = pictures.attacked_images(results, images, titles, folder)
    found.append(("Attacked images", pages.paragraphs(ATTACKED) + grid.html()))
    found.append(("Words", pages.definitions(wording.WORDS)))
    found.append(("Settings and versions", _settings(results)))
    file = Path(folder) / "index.html"
    with replacing(file) as draft:
        draft.write_text(pages.page("From few labels to a robust model", found), encoding="utf-8")
    return file


def table(results: Results, titles: dict[str, str]) -> list[list[str]]:
    """The table's cells, heading first: mean and standard deviation over seeds, in per cent and seconds."""
    heading = ["method", "clean accuracy (%)", f"under {pictures.attack_title(results)} (%)", "seconds", "seeds"]
    rows = [heading]
    for summary in results.summaries():
        cells = [(summary.clean_accuracy, 100, 1), (summary.robust_accuracy, 100, 1), (summary.seconds, 1, 0)]
        spread = summary.seeds > 1
        rows.append([titles[summary.method], *(_cell(*cell, spread) for cell in cells), str(summary.seeds)])
    return rows


def _cell(mean_and_spread: tuple[float, float], factor: float, digits: int, spread: bool) -> str:
    mean, deviation = (factor * value for value in mean_and_spread)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}" if spread else f"{mean:.{digits}f}"


def _settings(results: Results) -> str:
    asked = dataclasses.asdict(results.settings)
    rows = [[name, str(value)] for name, value in (asked | results.versions).items() if value is not None]
    command = "python -m keras_aug_ssl study " + " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in asked.items() if value is not None
    )
    repeat = pages.paragraphs("To repeat it:") + pages.preformatted(command)
    return repeat + tables.as_html([["setting", "value"], *rows])
