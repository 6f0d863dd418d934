"""Label images with a saved model: a CSV file of id, label and confidence.

The label is the position of the model's largest output, the confidence its probability. Labels are worth learning from
only where the model is right when it is sure: check that on labeled images first.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.commands.inputs import (
    BadInput,
    bad_input,
    check_fits,
    image_files,
    read_array,
    read_image,
    read_model,
    shown,
    writable,
)
from keras_aug_ssl.meaning import reading
from keras_aug_ssl.meaning.calling import Answers
from keras_aug_ssl.writing import replacing

BATCH = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("model", metavar="MODEL", help="a .keras file of a classifier")
    parser.add_argument("data", metavar="DATA", help="a folder of images, or a .npy array of the model's inputs")
    parser.add_argument("--out", default="pseudo_labels.csv", help="where to write (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.0, help="leave out rows less confident than this")
    parser.add_argument(
        "--unit", action="store_true", help="divide the values by 255, for a model trained on images in 0..1"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the file, one batch of images in memory at a time."""
    if not 0 <= arguments.threshold <= 1:
        raise BadInput(f"--threshold must be from 0 to 1; received {arguments.threshold}")
    with bad_input():
        out = writable(arguments.out, (".csv",))
        model = read_model(arguments.model)
        total, batches = (
            _array(arguments.data, model) if arguments.data.endswith(".npy") else _folder(arguments.data, model)
        )
        kept = _write(out, model, batches, arguments)
    print(f"{kept} of {total} examples labeled in {shown(out)}")


def _array(path: str, model: keras.Model) -> tuple[int, Iterator[tuple[list[str], np.ndarray]]]:
    values = read_array(path)
    check_fits(model, values.shape[1:])
    starts = range(0, len(values), BATCH)
    return len(values), (
        ([str(row) for row in range(start, min(start + BATCH, len(values)))], np.asarray(values[start : start + BATCH]))
        for start in starts
    )


def _folder(path: str, model: keras.Model) -> tuple[int, Iterator[tuple[list[str], np.ndarray]]]:
    files = image_files([path])
    height, width, channels = _image_shape(model)
    root = Path(path) if Path(path).is_dir() else Path(path).parent

    def batches() -> Iterator[tuple[list[str], np.ndarray]]:
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            images = [tf.image.resize(read_image(file, channels), (height, width), antialias=True) for file in chosen]
            yield [file.relative_to(root).as_posix() for file in chosen], np.stack(images)

    return len(files), batches()


def _image_shape(model: keras.Model) -> tuple[int, int, int]:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise ValueError(
            "a folder of images needs a model whose input is (batch, height, width, 1 or 3) with fixed sizes; this "
            f"one's is {shape}. Pass a .npy array of its inputs instead"
        )
    return shape[1:]


def _write(
    out: Path, model: keras.Model, batches: Iterator[tuple[list[str], np.ndarray]], arguments: argparse.Namespace
) -> int:
    kept, answers = 0, Answers("pseudo-label", model)
    # A name need not be UTF-8, as the file has to be.
    with replacing(out) as draft, draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "label", "confidence"])
        for names, values in batches:
            scale = 255.0 if arguments.unit else 1.0
            raw = answers(values.astype(np.float32) / scale)
            for name, row in zip(names, _probabilities(model, raw), strict=True):
                label = int(np.argmax(row))
                if row[label] >= arguments.threshold:
                    writer.writerow([name, label, f"{row[label]:.6f}"])
                    kept += 1
    return kept


def _probabilities(model: keras.Model, raw: tf.Tensor) -> np.ndarray:
    """(N, K) probabilities from outputs; two columns for a model with one output of yes or no."""
    head = reading.read("pseudo-label", model, raw, getattr(model, "loss", None))
    if not head.single:
        raise ValueError(f"the model does not give each example one class: its outputs are {head.kind}")
    return head.probabilities(raw).numpy()
