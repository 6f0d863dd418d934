"""Pseudo-labelling on Ray beside `model.predict` in a loop, and from it what 10^9 images would take.

    python benchmarks/scale.py [--rows 200000] [--runs 3] [--markdown FILE]

`predict` is called on 4,096 rows at a time, in batches of 256, by one process on one core, and by two such processes,
each pinned to its core: what a loop on that many cores gives at best. `kas.scale.pseudo_label` reads the same `.npy`
file with one and with two workers of one thread each, writes its scores, selects and writes the result. Its rate is
that between the first shards and the last, as on a pool that takes hours; what starting takes stands beside it. The
contenders take turns. The estimate is arithmetic on these figures; nothing of that size was run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _training import Table

import keras_aug_ssl as kas

SHARD, IMAGE = 4096, (32, 32, 3)
BILLION = 10**9


def network():
    """A small convolutional network, so that there is something to compute."""
    layers = [keras.layers.Rescaling(1 / 255.0)]
    layers += [keras.layers.Conv2D(width, 3, strides=2, activation="relu") for width in (32, 64)]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, "softmax")]
    return keras.Sequential([keras.Input(IMAGE), *layers])


class Watched(kas.scale.Ray):
    """Notes when each shard was done, and how long a pass over the scores takes."""

    def __init__(self, workers):
        super().__init__(workers)
        self.workers, self.done, self.passes, self.begun = workers, [], [], time.perf_counter()

    def map(self, make, shards):
        for each in super().map(make, shards):
            self.done.append(time.perf_counter())
            yield each

    def light_map(self, function, shards):
        start = time.perf_counter()
        yield from super().light_map(function, shards)
        self.passes.append((time.perf_counter() - start) / len(shards))

    def rate(self):
        """Rows a second from when each worker has done its first shard."""
        return SHARD * (len(self.done) - self.workers) / (self.done[-1] - self.done[self.workers - 1])


def ray(folder, workers):
    """Rows a second, seconds until the first shard was done and a pass's a shard, and bytes a row in the result."""
    engine, out = Watched(workers), folder / f"labels-{time.monotonic_ns()}"
    shards = kas.scale.Shards(folder / "pool.npy", rows=SHARD)
    kas.scale.pseudo_label(folder / "model.keras", shards, out, kas.rules.TopFraction(0.2), engine=engine)
    written = sum(path.stat().st_size for path in out.iterdir()) / shards.total
    return engine.rate(), engine.done[0] - engine.begun, engine.passes[-1], written


def loops(folder, processes):
    """Rows a second of `predict` in a loop, in processes that begin at the same time."""
    command = [sys.executable, __file__, "--predict", str(folder)]
    running = [
        subprocess.Popen([*command, "--core", str(core)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for core in range(processes)
    ]
    for each in running:
        each.stdout.readline()  # has traced
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    return sum(float(each.communicate()[0].splitlines()[-1]) for each in running)


def predict(folder, core):
    """The loop of one process."""
    import tensorflow as tf

    os.sched_setaffinity(0, {core % os.cpu_count()})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, x = keras.saving.load_model(folder / "model.keras"), np.load(folder / "pool.npy", mmap_mode="r")
    model.predict(np.array(x[:SHARD]), batch_size=256, verbose=0)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for first in range(0, len(x), SHARD):
        model.predict(np.array(x[first : first + SHARD]), batch_size=256, verbose=0)
    print(len(x) / (time.perf_counter() - start))


def estimate(rate, light, written):
    """Lines on 10^9 images of the benchmark's kind.

    Args:
        rate: rows a second of a worker.
        light: seconds a shard that a pass over the scores takes on two cores.
        written: bytes a row in the result.
    """
    hours = BILLION / rate / 3600
    cores, shard = 512, 2**16
    shards = BILLION // shard
    size = int(np.prod(IMAGE))
    # A rule by rank: four digits of the score, four of the position at which it ends, at most; and the result.
    passes = 9 * shards * light * (shard / SHARD) / (cores / 2) / 60
    return f"""
## 10^9 images, estimated

Arithmetic on the figures above, for the benchmark's images (32 x 32 x 3, {size:,} bytes) and network; nothing of that
size was run. Multiply by how much slower your model is.

| | |
|---|---|
| scoring | {hours:,.0f} core hours; on {cores} cores of this kind {60 * hours / cores:,.0f} minutes |
| read | {BILLION * size / 1e12:.1f} TB once, by the workers; {rate * cores * size / 1e9:.1f} GB/s together |
| written | about {2 * BILLION * written / 1e9:.0f} GB, scores and result; nothing but counts goes to the driver |
| levels and result | at most 9 passes over the scores, at the cost a row of the shards here: {passes:.0f} minutes |
| lost with a killed worker | at most a shard: {shard / rate:.0f} s of one core |

Where it would break first:

- **A folder of 10^9 files.** The driver lists them: a path of 100 bytes each is 100 GB. Use Parquet files or TFRecords.
- **Records.** Where they begin is found by reading a header of each, in the driver and again by each worker that opens
  a file: files of a hundred thousand records or fewer. Parquet says it in its footer.
- **The disk.** All workers read and write paths, so it must be shared and give the rate above.
- **Shards.** Each is a file and a task of Ray; {shards:,} are fine, a million small ones are not: `Shards(rows=2**16)`.
- **Training.** It is on one machine: what is selected must be streamed to it. Select less, or a part of each class.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--predict", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--markdown", help="also write table and estimate to this file")
    options = parser.parse_args()
    if options.predict:
        predict(Path(options.predict), options.core)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network().save(folder / "model.keras")
        np.save(folder / "pool.npy", np.random.default_rng(0).integers(0, 256, (options.rows, *IMAGE), np.uint8))
        found = {(kind, count): [] for kind in ("predict", "ray") for count in (1, 2)}
        for _ in range(options.runs):
            for kind, count in found:
                found[kind, count].append((loops if kind == "predict" else ray)(folder, count))
    report(found, options)


def report(found, options):
    """Prints and writes the table and the estimate."""
    title = f"{options.rows:,} images of {IMAGE}, medians of {options.runs} interleaved runs (least to greatest)."
    table = Table(title, ["", "rows/s", "of as many loops", "of one worker", "until the first shard, s"])
    rates = {case: [each if case[0] == "predict" else each[0] for each in runs] for case, runs in found.items()}
    for count in (1, 2):
        table.add(
            f"`predict` in {count} process{'es' * (count > 1)}", _spread(rates["predict", count], ",.0f"), "", "", ""
        )
    for count in (1, 2):
        share = [one / loop for one, loop in zip(rates["ray", count], rates["predict", count], strict=True)]
        speedup = [one / alone for one, alone in zip(rates["ray", count], rates["ray", 1], strict=True)]
        start = [each[1] for each in found["ray", count]]
        cells = [_spread(each, ".2f") for each in (share, speedup)]
        table.add(
            f"Ray, {count} worker{'s' * (count > 1)}",
            _spread(rates["ray", count], ",.0f"),
            *cells,
            _spread(start, ".1f"),
        )
    light, written = (statistics.median(each[place] for each in found["ray", 2]) for place in (2, 3))
    table.lines.append(estimate(statistics.median(rates["ray", 2]) / 2, light, written))
    print(table.lines[-1])
    table.write(options.markdown)


def _spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
