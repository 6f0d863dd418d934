"""Where the time of a layer goes, how far it is from a copy of the images, and what XLA makes of its loops.

    python benchmarks/layer_profile.py [--layers RandomRotation ...] [--batches 20] [--markdown FILE]

For the layers that people compare with OpenCV, at 224x224x3, uint8, in batches of 32: processor milliseconds an image,
beside a copy of the batch into new memory; the operations and XLA loops that took most of it, by TensorFlow's profiler;
and of each loop the machine instructions, as `objdump` reads them from what XLA writes with `--xla_dump_to`: on how
many numbers the floating-point ones work (packed in registers of 512, 256 or 128 bits, or one by one), and how many
gather. Each layer is a process of its own. Give it a core (`taskset -c 0`): a thread that waits counts as busy.
"""

from __future__ import annotations

import argparse
import collections
import glob
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIDE, BATCH = 224, 32
LAYERS = ("RandomRotation", "RandomColorJitter", "RandomGaussianBlur", "Equalization", "RandomElasticTransform")
SHOWN = 0.02  # of the time: less is left out
HARNESS = ("Iterator", "Executor", "TFE_", "Instantiated", "CpuExecutable", "Eager", "$", "Thread")


def work(name: str, batches: int, folder: str) -> None:
    """A layer's process: prints lines of `kind, name, milliseconds an image`."""
    import numpy as np
    import tensorflow as tf
    from layer_costs import CASES

    import keras_aug_ssl as kas

    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    source = tf.data.Dataset.from_tensors(images).repeat()
    made = iter(kas.Pipeline([CASES[name](kas.layers, SIDE)], seed=7).map(source))
    copies = iter(source.map(lambda batch: tf.raw_ops.DeepCopy(x=batch), num_parallel_calls=2))
    for kind, stream in (("copy", copies), ("layer", made)):
        for _ in range(5):
            next(stream)
        begun = time.process_time()
        for _ in range(batches):
            next(stream)
        print(kind, name, 1e3 * (time.process_time() - begun) / batches / BATCH, sep="\t")
    tf.profiler.experimental.start(folder)
    for _ in range(batches):
        next(made)
    tf.profiler.experimental.stop()
    for operation, picoseconds in own_times(folder).items():
        print("part", operation, picoseconds / 1e9 / batches / BATCH, sep="\t")


def own_times(folder: str) -> dict[str, int]:
    """Picoseconds of each operation and loop in a profile, without what ran inside it."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space, total = xplane_pb2.XSpace(), collections.Counter()
    (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
    with open(path, "rb") as file:
        space.ParseFromString(file.read())
    for plane in space.planes:
        names = plane.event_metadata
        for line in plane.lines:
            events = [(event.offset_ps, event.duration_ps, names[event.metadata_id].name) for event in line.events]
            running: list[tuple[int, str]] = []  # the events that the next one may lie in: their ends and names
            for start, length, name in sorted(events, key=lambda event: (event[0], -event[1])):
                while running and running[-1][0] <= start:
                    running.pop()
                if running:
                    total[running[-1][1]] -= length
                total[name] += length
                running.append((start + length, name))
    return {name: time for name, time in total.items() if not name.startswith(HARNESS)}


def instructions(folder: str) -> dict[str, str]:
    """In words, what the machine code of each loop that XLA compiled is made of."""
    found = {}
    for path in sorted(glob.glob(f"{folder}/*.obj-file.*_kernel_module.o")):
        loop = re.search(r"obj-file\.(.*)_kernel_module\.o$", path)[1]
        code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True).stdout
        counts = collections.Counter(filter(None, map(_kind, code.splitlines())))
        found[loop] = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return found


def _kind(line: str) -> str | None:
    """What a line of disassembly does with floating-point numbers."""
    part = re.match(r"\s*[0-9a-f]+:\s+(\S+)\s*(.*)", line)
    if not part:
        return None
    name, operands = part.groups()
    if "gather" in name:
        return "gathers"
    if not re.fullmatch(r"v(f?n?m?(add|sub)\w*|mul|div|max|min|round|rndscale)([ps]s)", name):
        return None
    if name.endswith("ss"):
        return "on one number"
    return f"on {16 if 'zmm' in operands else 8 if 'ymm' in operands else 4}"


def profile(name: str, batches: int) -> list[str]:
    """The lines of the table for one layer."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--xla_dump_to={folder} {os.environ.get('XLA_FLAGS', '')}"
        command = [sys.executable, __file__, "--worker", name, folder, "--batches", str(batches)]
        told = subprocess.run(
            command, env={**os.environ, "XLA_FLAGS": flags}, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        loops = instructions(folder)
    rows = [line.split("\t") for line in told.splitlines()]
    times = {kind: float(value) for kind, _, value in rows if kind != "part"}
    parts = sorted(((part, float(value)) for kind, part, value in rows if kind == "part"), key=lambda one: -one[1])
    lines = [f"| {name} | | {times['layer']:.3f} | {times['layer'] / times['copy']:.1f} | |"]
    for part, value in parts:
        if value >= SHOWN * times["layer"]:
            code = loops.get(part) or loops.get(re.sub(r"\.\d+$", "", part), "")
            lines.append(f"| | {part} | {value:.3f} | {value / times['copy']:.1f} | {code} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS))
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--markdown", help="also write the table to this file")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], options.batches, options.worker[1])
        return
    lines = [
        f"Processor milliseconds an image, {SIDE}x{SIDE}x3, uint8, batches of {BATCH}; {platform.machine()}, cores: "
        f"{len(os.sched_getaffinity(0))}. Of each loop that XLA compiled, its floating-point instructions by the "
        "numbers they work on at once.",
        "",
        "| layer | operation or loop | ms | times a copy | machine code |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.layers:
        found = profile(name, options.batches)
        print("\n".join(found), flush=True)
        lines += found
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
