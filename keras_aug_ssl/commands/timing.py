"""The work of `bench`: the same augmentation by both libraries, in turns."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import layers
from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.messages import note
from keras_aug_ssl.commands.progress import progress
from keras_aug_ssl.layers import Pipeline
from keras_aug_ssl.tables import as_text

SIZES = {224: 32, 32: 256}
"""Edges of the images in pixels, and how many are in a batch."""
RUNS = 3
AHEAD = 4
"""Batches that may be ready before a run begins; they were made in the time of another."""


def measure(arguments: argparse.Namespace) -> int:
    """Measures both libraries at every size and prints the table; returns the exit code."""
    rows = []
    with progress("runs", 2 * RUNS * len(SIZES)) as advance:
        for side, batch in SIZES.items():
            made = {"keras_aug_ssl": ours(side, batch), "keras": stock(side, batch)}
            streams = {name: stream for name, stream in made.items() if stream is not None}
            rates: dict[str, list[float]] = {name: [] for name in streams}
            for _ in range(RUNS):
                for name, stream in streams.items():
                    rates[name].append(_rate(stream, arguments.seconds))
                    advance(1)
            rows.append({"size": side, "batch": batch} | _figures(**rates))
    summary = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "python": platform.python_version()},
        "runs": RUNS,
        "seconds": arguments.seconds,
        "unit": "images/s",
        "rows": rows,
    }
    options.print_result(summary, _text(summary), as_json=arguments.json)
    return 0


def operations(make: Any) -> list[Any]:
    """The augmentation, by the layers of a module."""
    return [
        make.RandomFlip("horizontal"),
        make.RandomTranslation(0.1, 0.1),
        make.RandomRotation(0.05),
        make.RandomZoom(0.1),
        make.RandomShear(0.1, 0.1),
        make.RandomColorJitter((0, 255), 0.1, 0.2, (0.4, 0.6), 0.1),
        make.RandomErasing(scale=(0.05, 0.1), fill_value=128.0),
    ]


def ours(side: int, batch: int) -> Iterator[tf.Tensor]:
    """Augmented uint8 batches without end, by one pipeline."""
    return _stream(Pipeline(operations(layers), seed=7).map, side, batch)


def stock(side: int, batch: int) -> Iterator[tf.Tensor] | None:
    """The same by the layers of Keras, one after the other; None where this Keras lacks one of them."""
    try:
        stages = operations(keras.layers)
    except AttributeError as error:
        note(f"this Keras, {keras.__version__}, can't be compared: {error}")
        return None

    def augment(images: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        for layer in stages:
            images = layer(images, training=True)
        return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)

    return _stream(lambda dataset: dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE), side, batch)


def _stream(apply: Callable[[tf.data.Dataset], tf.data.Dataset], side: int, batch: int) -> Iterator[tf.Tensor]:
    pictures = np.random.default_rng(0).integers(0, 256, (4 * batch, side, side, 3), dtype=np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices(pictures).repeat().batch(batch, drop_remainder=True)
    return iter(apply(dataset).prefetch(2))


def _rate(stream: Iterator[tf.Tensor], seconds: float) -> float:
    """Images per second over at least so many seconds; the first run's tracing is not in it."""
    for _ in range(AHEAD):
        next(stream)
    started, count = time.perf_counter(), 0
    while not count or time.perf_counter() - started < seconds:
        count += len(next(stream))
    return count / (time.perf_counter() - started)


def _figures(keras_aug_ssl: list[float], keras: list[float] | None = None) -> dict[str, float | None]:
    if keras is None:
        return {"keras_aug_ssl": round(statistics.median(keras_aug_ssl)), "keras": None, "ratio": None}
    ratio = statistics.median(one / other for one, other in zip(keras_aug_ssl, keras, strict=True))
    return {
        "keras_aug_ssl": round(statistics.median(keras_aug_ssl)),
        "keras": round(statistics.median(keras)),
        "ratio": round(ratio, 1),
    }


def _text(summary: dict[str, Any]) -> str:
    heading = ["images/s", "keras_aug_ssl", "stock Keras", "faster by"]
    cells = [
        [f"{row['size']} x {row['size']}", f"{row['keras_aug_ssl']:,}"]
        + (["-", "-"] if row["keras"] is None else [f"{row['keras']:,}", f"{row['ratio']:g}x"])
        for row in summary["rows"]
    ]
    title = f"{summary['cores']} cores, {RUNS} runs of {summary['seconds']:g} s, medians; Keras {keras.__version__}"
    return f"{title}\n\n{as_text([heading, *cells])}"
