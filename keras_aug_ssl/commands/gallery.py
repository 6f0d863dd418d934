"""The work of `augment`: images and draws of them, class by class, on a page or in a picture."""

from __future__ import annotations

import argparse
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, layers, pages, plots
from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.inputs import Reader, image_files
from keras_aug_ssl.commands.messages import bad_input, note, shown
from keras_aug_ssl.layers import Pipeline
from keras_aug_ssl.writing import replacing

MOST_IMAGES = 120
"""Of all classes together: a page of them has some 50 MB."""
LEAST_PIXELS, MOST_PIXELS = 128, 256

Row = tuple[str, list[np.ndarray]]
"""Name of an image; the image and draws of it, each (H, W, 3) uint8."""


def write(arguments: argparse.Namespace) -> int:
    """Writes the gallery that the arguments of the command ask for; returns the exit code."""
    out = arguments.out
    reader, augment = Reader(), photograph_pipeline(arguments.seed)
    with bad_input():
        if out.suffix.lower() == ".png":
            checks.optional_package("augment", "matplotlib.figure", "demo")
        groups = _groups(arguments.images)
        chosen = _chosen(groups, arguments.per_class)
        rows = {name: _rows(reader, files, augment, arguments.copies) for name, files in chosen.items()}
        reader.check_any()
        options.make_folder(out)
        content = _picture(rows) if out.suffix.lower() == ".png" else _page(rows, groups, augment).encode()
        with replacing(out) as draft:
            draft.write_bytes(content)
    total = sum(map(len, groups.values()))
    print(f"{len(reader.read)} of {total} images, {len(chosen)} of {len(groups)} folders, shown in {shown(out)}")
    return reader.exit_code()


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


def _groups(paths: Sequence[str]) -> dict[str, list[Path]]:
    """Image files by what they are shown under: the class folder that they lie in, or else the folder itself."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        for file in image_files([path]):
            inside = file.relative_to(path).parts if Path(path).is_dir() else ()
            name = inside[0] if len(inside) > 1 else Path(path).resolve().name if inside else "files"
            groups.setdefault(shown(name), []).append(file)
    return groups


def _chosen(groups: Mapping[str, list[Path]], per_class: int) -> dict[str, list[Path]]:
    """A few files of each group, evenly from all of it; of very many groups the first."""
    if len(groups) > MOST_IMAGES:
        note(f"the first {MOST_IMAGES} of {len(groups)} folders are shown")
    each = max(1, min(per_class, MOST_IMAGES // len(groups)))
    places = {name: np.linspace(0, len(files) - 1, min(each, len(files))).astype(int) for name, files in groups.items()}
    return {name: [groups[name][place] for place in found] for name, found in list(places.items())[:MOST_IMAGES]}


def _rows(reader: Reader, files: Sequence[Path], augment: Pipeline, copies: int) -> list[Row]:
    rows = []
    for file, image in reader(files):
        small = _at_most(image, MOST_PIXELS)
        rows.append((shown(file.name), [small, *np.asarray(augment(np.repeat(small[None], copies, axis=0)))]))
    return rows


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return np.asarray(tf.cast(tf.round(tf.image.resize(image, size, method="area")), tf.uint8))


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """A small image enlarged without smoothing: its pixels are what the network gets."""
    times = max(1, -(-side // max(image.shape[:2])))
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _picture(rows: Mapping[str, Sequence[Row]]) -> bytes:
    names, images = zip(
        *((f"{group}: {name}", row) for group, found in rows.items() for name, row in found), strict=True
    )
    columns = ["original", *(f"draw {number}" for number in range(1, len(images[0])))]
    titles = [name if len(name) <= 22 else name[:21] + "…" for name in names]
    return plots.to_png(plots.image_grid(images, row_titles=titles, column_titles=columns, cell_inches=1.6))


def _page(rows: Mapping[str, Sequence[Row]], groups: Mapping[str, Sequence[Path]], augment: Pipeline) -> str:
    sections = [
        (group, f"<p>Shown: {len(found)} of {len(groups[group])}.</p>\n" + "".join(_tiles(*row) for row in found))
        for group, found in rows.items()
        if found
    ]
    about = pages.preformatted(str(augment.plan()))
    return pages.page("What augmentation makes of these images", [*sections, ("Pipeline", about)])


def _tiles(name: str, images: Sequence[np.ndarray]) -> str:
    """An image and its draws side by side, in as many columns as the screen has room for."""
    texts = ["original", *(f"draw {number}" for number in range(1, len(images)))]
    tiles = "".join(
        pages.picture(tf.io.encode_png(_at_least(image, LEAST_PIXELS)).numpy(), text, f"{name}, {text}")
        for image, text in zip(images, texts, strict=True)
    )
    columns = "display:grid;gap:0 .8rem;grid-template-columns:repeat(auto-fill,minmax(min(9.5rem,45%),1fr))"
    return f'<h3>{html.escape(name)}</h3>\n<div style="{columns}">{tiles}</div>\n'
