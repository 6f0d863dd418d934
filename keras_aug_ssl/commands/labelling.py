"""The work of `pseudo-label`: batches of inputs to rows of a CSV file; on Ray, shards to a folder of Parquet files."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import rules, scale
from keras_aug_ssl.commands import looking, options
from keras_aug_ssl.commands.inputs import Reader, check_fits, image_files, image_shape, read_array, read_model
from keras_aug_ssl.commands.messages import bad_input, shown
from keras_aug_ssl.commands.progress import progress
from keras_aug_ssl.data.parquet import parquet_files
from keras_aug_ssl.meaning import reading
from keras_aug_ssl.meaning.calling import Answers
from keras_aug_ssl.writing import replacing

BATCH = 128

Batch = tuple[list[str], np.ndarray]
"""Names of rows, and their (N, ...) values."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What is to be labeled.

    Attributes:
        total: rows in all.
        batches: reads them in order, with how many rows each batch stands for, those left out included.
        sample: some rows from all over, (N, ...).
        reader: knows which images could not be read; None for an array.
    """

    total: int
    batches: Callable[[], Iterator[tuple[int, Batch]]]
    sample: np.ndarray
    reader: Reader | None = None


def label(arguments: argparse.Namespace) -> int:
    """Labels what the arguments of the command name; returns the exit code."""
    try:
        with bad_input():
            model = read_model(arguments.model)
            source = (_array if arguments.data.endswith(".npy") else _folder)(arguments.data, model)
            probabilities = _predictor(model, 255.0 if arguments.unit else 1.0)
            looking.at_scale(model, source.sample, probabilities, unit=arguments.unit)
            options.make_folder(arguments.out)
            kept = _write(arguments.out, source, probabilities, arguments.threshold)
    except KeyboardInterrupt:
        kept_file = "is as it was" if arguments.out.exists() else "was not written"
        raise KeyboardInterrupt(f"{shown(arguments.out)} {kept_file}") from None
    summary = {
        "labeled": kept,
        "examples": source.total,
        "unreadable": [shown(file) for file in source.reader.broken] if source.reader else [],
        "threshold": arguments.threshold,
        "out": shown(arguments.out),
    }
    text = f"{kept} of {source.total} examples labeled in {shown(arguments.out)}"
    options.print_result(summary, text, as_json=arguments.json)
    return source.reader.exit_code() if source.reader else 0


def _array(path: str, model: keras.Model) -> Source:
    values = read_array(path)
    check_fits(model, values.shape[1:])

    def batches() -> Iterator[tuple[int, Batch]]:
        for start in range(0, len(values), BATCH):
            rows = range(start, min(start + BATCH, len(values)))
            yield len(rows), ([str(row) for row in rows], np.asarray(values[rows.start : rows.stop]))

    return Source(len(values), batches, np.asarray(values[looking.some(len(values))]))


def _folder(path: str, model: keras.Model) -> Source:
    files = image_files([path])
    height, width, channels = image_shape(model, "a .npy array of its inputs")
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    reader = Reader((height, width), channels)
    sample = looking.at_images([files[row] for row in looking.some(len(files))], (height, width), channels)

    def batches() -> Iterator[tuple[int, Batch]]:
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            found = list(reader(chosen))
            if found:
                names = [file.relative_to(root).as_posix() for file, _ in found]
                yield len(chosen), (names, np.stack([image for _, image in found]))
        reader.check_any()

    return Source(len(files), batches, sample, reader)


def _predictor(model: keras.Model, divisor: float) -> Callable[[np.ndarray], np.ndarray]:
    """A function from inputs to (N, K) probabilities; two columns for a model with one output of yes or no."""
    answers = Answers("pseudo-label", model)

    def probabilities(values: np.ndarray) -> np.ndarray:
        raw = answers(values.astype(np.float32) / divisor)
        head = reading.read("pseudo-label", model, raw, getattr(model, "loss", None))
        if not head.single:
            raise ValueError(f"the model does not give each example one class: its outputs are {head.kind}")
        return head.probabilities(raw).numpy()

    return probabilities


def _write(out: Path, source: Source, probabilities: Callable[[np.ndarray], np.ndarray], threshold: float) -> int:
    kept = 0
    # A name need not be UTF-8, as the file has to be.
    with (
        progress("examples", source.total) as advance,
        replacing(out) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["id", "label", "confidence"])
        for count, (names, values) in source.batches():
            rows = list(_rows(names, probabilities(values), threshold))
            writer.writerows(rows)
            kept += len(rows)
            advance(count)
    return kept


def _rows(names: Sequence[str], probabilities: np.ndarray, threshold: float) -> Iterator[tuple[str, int, str]]:
    for name, row in zip(names, probabilities, strict=True):
        best = int(np.argmax(row))
        if row[best] >= threshold:
            yield name, best, f"{row[best]:.6f}"


def label_on_ray(arguments: argparse.Namespace, engine: scale.Ray) -> int:
    """Labels what the arguments of the command name, by the workers of Ray; returns the exit code."""
    out = arguments.out
    try:
        with bad_input():
            rule: rules.Rule = rules.Threshold(arguments.threshold)
            if arguments.per_class is not None:
                rule = rule & rules.TopK(arguments.per_class)
            result = scale.pseudo_label(arguments.model, _shards(arguments), out, rule, engine=engine)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on; {shown(out)} was not written") from None
    summary = {"labeled": result.selected, "examples": result.rows, "rule": repr(rule), "out": shown(out)}
    text = f"{result.selected} of {result.rows} examples labeled in {shown(out)}"
    options.print_result(summary, text, as_json=arguments.json)
    return 0


def _shards(arguments: argparse.Namespace) -> scale.Shards:
    rows = parquet_files(arguments.data) or arguments.data.endswith(".npy")
    if rows and arguments.unit:
        raise ValueError("--unit with --engine ray is for folders of images; divide the array by 255, or in the model")
    if parquet_files(arguments.data):
        return scale.Shards(arguments.data, id=arguments.id)
    if arguments.data.endswith(".npy"):
        return scale.Shards(arguments.data, id=arguments.id)
    model = read_model(arguments.model)
    height, width, channels = image_shape(model, "a .npy array or a .parquet file of its inputs")
    decode = functools.partial(
        _image, size=(height, width), channels=channels, divisor=255.0 if arguments.unit else 1.0
    )
    return scale.Shards(image_files([arguments.data]), decode)


def _image(content: tf.Tensor, size: tuple[int, int], channels: int, divisor: float) -> tf.Tensor:
    """An image file's content in the size, the colors and the scale of the model."""
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = image if channels == 3 else tf.image.rgb_to_grayscale(image)
    return tf.ensure_shape(tf.image.resize(image, size, antialias=True), [*size, channels]) / divisor
