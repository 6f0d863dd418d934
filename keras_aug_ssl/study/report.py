"""The study's table as text and its report as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_aug_ssl import pages, plots, tables
from keras_aug_ssl.study import pictures
from keras_aug_ssl.study.methods import Method, augmentation
from keras_aug_ssl.study.results import Results
from keras_aug_ssl.study.tasks import Images
from keras_aug_ssl.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = "Mean over the seeds; whiskers: standard deviation. Each seed has its own labeled images and initial weights."
PSEUDO_LABELS = "The true labels are hidden from training; they only tell here which pseudo-labels were true."
DRAWS = "Training images and random draws of each."
ATTACKED = "The first test image of each class. Each network is attacked by itself, with the same budget."


def write(results: Results, images: Images, folder: str | Path, methods: Sequence[Method]) -> Path:
    """Writes `index.html` with the table, the pictures and what is needed to repeat the study; returns its path."""
    titles = {method.name: method.title for method in methods}
    found = [
        ("Accuracy", tables.as_html(table(results, titles)) + _picture(pictures.bars(results, titles), SPREAD)),
        ("Augmentation", _picture(pictures.gallery(images, augmentation()), DRAWS)),
    ]
    curves = pictures.curves(results, titles)
    if curves:
        found.append(("Pseudo-labels", "".join(_picture(figure, PSEUDO_LABELS) for figure in curves)))
    grid = pictures.attacked_images(results, images, titles, folder)
    found.append(("Attacked images", _picture(grid, ATTACKED)))
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


def _picture(figure: Figure, caption: str) -> str:
    return pages.picture(plots.to_png(figure), caption)


def _settings(results: Results) -> str:
    asked = dataclasses.asdict(results.settings)
    rows = [[name, str(value)] for name, value in (asked | results.versions).items() if value is not None]
    command = "python -m keras_aug_ssl study " + " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in asked.items() if value is not None
    )
    return tables.as_html([["setting", "value"], *rows]) + "<p>To repeat it:</p>" + pages.preformatted(command)
