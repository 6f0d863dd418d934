"""Where the memory of an augmenting process goes, step by step: ours and stock Keras, with and without XLA.

    python benchmarks/memory.py [--case pipeline] [--sides 224 32] [--markdown FILE]

Every contender is a process of its own that notes its peak memory after each step: imports, a first compiled function
of one multiplication (the XLA compiler itself; stock Keras does without), the data set and its copies inside `tf.data`,
the first batch (tracing, compiling, the buffers of one call) and a hundred more. Cases are those of `throughput.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import throughput
from _training import Table

CONTENDERS = ("ours", "keras")
STEPS = ("TensorFlow and Keras", "the package", "XLA: one multiplication", "the data set", "first batch", "100 batches")
BATCHES = 100


def work(contender, case, side):
    """A contender's process: prints its peak memory in MB after each of `STEPS`."""
    peaks = []

    def note():
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    import keras  # noqa: F401
    import tensorflow as tf

    note()
    if contender == "ours":
        import keras_aug_ssl  # noqa: F401
    note()
    tf.function(lambda x: 2.0 * x, jit_compile=contender == "ours", autograph=False)(tf.ones([4]))
    note()
    batches = getattr(throughput, contender)(case, side)
    note()
    next(batches)
    note()
    for _ in range(BATCHES):
        next(batches)
    note()
    print(json.dumps(peaks))


def measured(contender, case, side):
    command = [sys.executable, __file__, "--worker", contender, case, str(side)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="pipeline", choices=list(throughput.CASES))
    parser.add_argument("--sides", nargs="+", type=int, default=list(throughput.SIZES))
    parser.add_argument("--markdown", help="also write the table to this file")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], options.worker[1], int(options.worker[2]))
        return
    table = Table(
        f"Peak memory in MB after each step of `{options.case}`, and what the step added in brackets.",
        ["side", "contender", *STEPS],
    )
    for side in options.sides:
        for contender in CONTENDERS:
            peaks = measured(contender, options.case, side)
            added = [f"{peak:,.0f} (+{peak - before:,.0f})" for before, peak in zip(peaks, peaks[1:], strict=False)]
            table.add(str(side), contender, f"{peaks[0]:,.0f}", *added)
    table.write(options.markdown)


if __name__ == "__main__":
    main()
