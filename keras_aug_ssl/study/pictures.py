"""The pictures of a study's report, drawn from its results and its images, each with its caption and what is seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_aug_ssl import pages, plots
from keras_aug_ssl.study import views, wording
from keras_aug_ssl.study.results import Results
from keras_aug_ssl.study.run import shown
from keras_aug_ssl.study.tasks import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GALLERY_IMAGES, GALLERY_COPIES = 5, 9


class Picture(NamedTuple):
    """A figure, what is said under it, and what is seen in it."""

    figure: Figure
    caption: str
    alt: str

    def html(self) -> str:
        """The picture for a page."""
        return pages.picture(plots.to_png(self.figure), self.caption, self.alt)


def bars(results: Results, titles: dict[str, str]) -> Picture:
    """Clean and attacked accuracy of every method, mean and standard deviation over seeds."""
    summaries = results.summaries()
    accuracies = {
        "clean images": [summary.clean_accuracy for summary in summaries],
        attack_title(results): [summary.robust_accuracy for summary in summaries],
    }
    figure = plots.accuracy_bars([titles[one.method] for one in summaries], accuracies, title="Test accuracy")
    return Picture(figure, "Mean over the seeds; whiskers: standard deviation.", wording.of_bars(results, titles))


def attack_title(results: Results) -> str:
    """The attack's name with its radius, as a column heading."""
    return f"PGD, epsilon = {results.settings.epsilon:g}"


def gallery(images: Images) -> Picture:
    """Training images, each beside what the augmentation makes of it."""
    positions = shown(images.y_train)[:GALLERY_IMAGES]
    chosen, augment = images.x_train[positions], views.strong(images.x_train)
    rows = [[image, *np.asarray(augment(np.repeat(image[None], GALLERY_COPIES, axis=0)))] for image in chosen]
    columns = ["original", *(f"draw {n + 1}" for n in range(GALLERY_COPIES))]
    figure = plots.image_grid(rows, title="Augmentation: what the networks train on", column_titles=columns)
    caption = "Could you still tell the class of each? Then so can a network, and it has seen something new."
    return Picture(figure, caption, wording.of_gallery(images, positions, GALLERY_COPIES))


def curves(results: Results, titles: dict[str, str]) -> list[Picture]:
    """For each method with pseudo-labels: how many there were at each step and how many of them were true."""
    pictures = []
    for method, title in titles.items():
        rows = [row for row in results.asked() if row.method == method and row.pseudo_labels]
        seeds = {
            f"seed {row.seed}": {
                field: [getattr(entry, field) for entry in row.pseudo_labels] for field in ("step", "count", "accuracy")
            }
            for row in rows
        }
        if seeds:
            figure = plots.pseudo_label_curves(seeds, title=f"Pseudo-labels: {title}")
            pictures.append(Picture(figure, f"\u201c{title}\u201d, a line a seed.", wording.of_curves(title, rows)))
    return pictures


def attacked_images(results: Results, images: Images, titles: dict[str, str], folder: str | Path) -> Picture:
    """One test image per class as it is, and as the attack on each network of seed 0 changed it, with what it read."""
    chosen = shown(images.y_test)
    truth = images.y_test[chosen]
    rows, names, captions = (
        [images.x_test[chosen]],
        ["clean image"],
        [[(f"is {images.name(label)}"[:16], False) for label in truth]],
    )
    for method in dict.fromkeys(row.method for row in results.asked()):
        with np.load(Path(folder) / "attacked" / f"{method}-0.npz") as attacked:
            rows.append(attacked["x"])
            read = zip(attacked["read_as"], truth, strict=True)
            captions.append([(f"reads {images.name(seen)}"[:16], bool(seen != label)) for seen, label in read])
        names.append(f"{titles[method]},\nattacked")
    title = f"What each network reads under {attack_title(results)} (bold: fooled)"
    figure = plots.image_grid(rows, title=title, row_titles=names, captions=captions, cell_inches=1.1)
    caption = "The first test image of each class, changed against the network of each row, of seed 0."
    return Picture(figure, caption, wording.of_attacked(captions, names))
