"""Show what augmentation makes of your own images: a gallery as a PNG or HTML file.

Each image is shown beside random draws of a mild pipeline for photographs: flip, shift, rotation, zoom, brightness,
contrast. Look before you train: a draw you could not label yourself will not teach a network either.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, layers, pages, plots
from keras_aug_ssl.commands.inputs import BadInput, bad_input, image_files, read_image, shown, writable
from keras_aug_ssl.layers import Pipeline
from keras_aug_ssl.writing import replacing

MOST_IMAGES = 24
MOST_PIXELS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--out", default="gallery.html", help="where to write: .html or .png (default: %(default)s)")
    parser.add_argument("--copies", type=int, default=8, help="draws per image (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other draws (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Writes the gallery."""
    with bad_input():
        checks.optional_package("augment", "matplotlib.figure", "demo")
        out = writable(arguments.out, (".html", ".png"))
        files = image_files(arguments.images)
        images = [_at_most(read_image(file), MOST_PIXELS) for file in files[:MOST_IMAGES]]
    if not 1 <= arguments.copies <= 20:
        raise BadInput(f"--copies must be from 1 to 20; received {arguments.copies}")
    augment = photograph_pipeline(arguments.seed)
    rows = [[image, *np.asarray(augment(np.repeat(image[None], arguments.copies, axis=0)))] for image in images]
    columns = ["original", *(f"draw {number + 1}" for number in range(arguments.copies))]
    names = [shown(file.name) for file in files]
    names = [name if len(name) <= 22 else name[:21] + "…" for name in names]
    figure = plots.image_grid(rows, row_titles=names[: len(rows)], column_titles=columns, cell_inches=1.3)
    _write(out, plots.to_png(figure), augment)
    print(f"{len(rows)} of {len(files)} images shown in {shown(out)}")


def photograph_pipeline(seed: int) -> Pipeline:
    """A mild pipeline for photographs of 0..255."""
    stages = [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomRotation(0.04),
        layers.RandomZoom(0.15),
        layers.RandomBrightness(0.15),
        layers.RandomContrast(0.2),
    ]
    return Pipeline(stages, seed=seed)


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return np.asarray(tf.cast(tf.round(tf.image.resize(image, size, method="area")), tf.uint8))


def _write(out: Path, png: bytes, augment: Pipeline) -> None:
    content = png
    if out.suffix.lower() != ".png":
        sections = [("Gallery", pages.picture(png, "The original at the left; every other column is one random draw."))]
        sections.append(("Pipeline", pages.preformatted(str(augment.plan()))))
        content = pages.page("What augmentation makes of these images", sections).encode()
    with replacing(out) as draft:
        draft.write_bytes(content)
