"""What it costs to score a pool: a selection of `SelfTraining` beside `model.predict` on the same rows.

    python benchmarks/scoring.py [--rows 200000] [--runs 5] [--disk-rows 2000000] [--markdown FILE]

Time: a pool in memory, (rows, 784) float32; `predict` gets batches of 256 rows, as the selection does, and the runs are
interleaved (A B, A B, ...). The selection scores, selects and keeps the books. Memory: a pool in a `.npy` file, larger
by far than what it may cost; reported is by how much the peak of the process's resident memory rises during the first
selection, the traced function included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _training import Table

import keras_aug_ssl as kas

warnings.simplefilter("ignore")  # of the guards: the models know nothing
COLUMNS = 784
NETWORKS = {
    "dense 784-64-10": lambda: [keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")],
    "convolutions 16-32": lambda: [
        keras.layers.Reshape((28, 28, 1)),
        *(layer for filters in (16, 32) for layer in (keras.layers.Conv2D(filters, 3, strides=2, activation="relu"),)),
        keras.layers.Flatten(),
        keras.layers.Dense(10, "softmax"),
    ],
}


class Timed(kas.SelfTraining):
    """Notes how long the selection before each epoch took, and what it cost in memory."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds, self.megabytes = [], []

    def on_epoch_begin(self, epoch, logs=None):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
        before, start = resident("VmRSS"), time.perf_counter()
        super().on_epoch_begin(epoch, logs)
        self.seconds.append(time.perf_counter() - start)
        self.megabytes.append(resident("VmHWM") - before)


def resident(what):
    """Resident memory of this process in MB: now (VmRSS), or its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def network(name):
    model = keras.Sequential([keras.Input((COLUMNS,)), *NETWORKS[name]()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def selections(model, pool, epochs):
    """A fit that does little but select, once an epoch from the second on."""
    training = Timed(pool, kas.rules.Threshold(0.2), start_epoch=1)
    x, y = np.zeros((20, COLUMNS), "float32"), np.arange(20) % 10
    feeder = training.training_set(x, y, batch_size=2, steps=1)
    model.fit(feeder, epochs=epochs, callbacks=[training], verbose=0)
    return training


def times(name, rows, runs):
    """Seconds of `predict` and of a selection, run by run."""
    x, model = np.random.default_rng(0).random((rows, COLUMNS), np.float32), network(name)
    predicting = []

    class Predict(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            start = time.perf_counter()
            self.model.predict(x, batch_size=256, verbose=0)
            predicting.append(time.perf_counter() - start)

    training = Timed(x, kas.rules.Threshold(0.2), start_epoch=1)
    feeder = training.training_set(x[:20], np.arange(20) % 10, batch_size=2, steps=1)
    model.fit(feeder, epochs=runs + 2, callbacks=[training, Predict()], verbose=0)
    return predicting[2:], training.seconds[2:]  # the first of each traces


def memory(name, rows):
    """MB by which the peak rises in the first selection from a file, in a process of its own: what this one has had in
    memory would hide it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.npy"
        file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, COLUMNS))
        block = np.random.default_rng(0).random((10_000, COLUMNS), np.float32)
        for start in range(0, rows, len(block)):
            file[start : start + len(block)] = block[: rows - start]
        del file
        command = [sys.executable, __file__, "--select-from", str(path), "--network", name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--disk-rows", type=int, default=2_000_000)
    parser.add_argument("--select-from", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    if options.select_from:
        training = selections(network(options.network), kas.UnlabeledPool(options.select_from), epochs=2)
        print(training.megabytes[1])
        return
    gigabytes = options.disk_rows * COLUMNS * 4 / 1e9
    columns = ["network", "predict, s", "selection, s", "selection / predict", f"MB more, {gigabytes:.1f} GB on disk"]
    table = Table(f"{options.rows:,} rows of {COLUMNS} in memory, medians of {options.runs} interleaved runs.", columns)
    for name in NETWORKS:
        more = memory(name, options.disk_rows)
        predicting, selecting = times(name, options.rows, options.runs)
        ratios = [own / other for own, other in zip(selecting, predicting, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        seconds = [f"{statistics.median(part):.2f}" for part in (predicting, selecting)]
        table.add(name, *seconds, spread, f"{more:.0f}")
    table.write(options.markdown)


if __name__ == "__main__":
    main()
