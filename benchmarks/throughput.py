"""Images per second of augmentation in `tf.data`: ours, stock Keras and Albumentations, side by side.

    python benchmarks/throughput.py [--cases pipeline rotation ...] [--runs 5] [--seconds 4] [--markdown FILE]

Every contender is a process of its own that is warmed up once and then waits; the runs are interleaved (A B C, A B C,
...), so that a drift of the machine's speed meets all of them, and only one works at a time. Reported are the median
and the range of images/s, the median of the ratios run by run, the time to the first batch (tracing and compiling) and
the peak memory of the process. Albumentations runs per image through `tf.numpy_function` in a parallel map.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZES = {224: 32, 32: 256}  # side: batch size
CONTENDERS = ("ours", "keras", "albumentations")


def _seven(make, **erasing):
    return [
        make.RandomFlip("horizontal"),
        make.RandomTranslation(0.1, 0.1),
        make.RandomRotation(0.05),
        make.RandomZoom(0.1),
        make.RandomShear(0.1, 0.1),
        make.RandomColorJitter((0, 255), 0.1, 0.2, (0.4, 0.6), 0.1),
        make.RandomErasing(scale=(0.05, 0.1), **erasing),
    ]


# The same names and arguments in both libraries: `make` is `keras_aug_ssl.layers` or `keras.layers`.
CASES = {
    "pipeline": lambda make: _seven(make, fill_value=128.0),
    "pipeline, noise": _seven,  # what RandomErasing paints by default
    "flip": lambda make: [make.RandomFlip("horizontal")],
    "rotation": lambda make: [make.RandomRotation(0.05)],
    "perspective": lambda make: [make.RandomPerspective(scale=0.3)],
    "elastic": lambda make: [make.RandomElasticTransform(scale=(1.0, 1.0))],
    "jitter": lambda make: [make.RandomColorJitter((0, 255), 0.1, 0.2, (0.4, 0.6), 0.1)],
    "equalize": lambda make: [make.Equalization()],
    "blur": lambda make: [make.RandomGaussianBlur(kernel_size=5)],
    "erase": lambda make: [make.RandomErasing(fill_value=128.0)],
    "mixup": lambda make: [make.MixUp(0.2)],
    "cutmix": lambda make: [make.CutMix()],
    "randaugment": lambda make: [make.RandAugment(num_ops=2, factor=0.5)],
    "augmix": lambda make: [make.AugMix()],
}


def ours(case, side):
    import keras_aug_ssl as kas

    augment = kas.Pipeline(CASES[case](kas.layers), seed=7)
    return stream(augment.map, side)


def keras(case, side):
    import keras
    import tensorflow as tf

    layers = CASES[case](keras.layers)

    def augment(images):
        images = tf.cast(images, tf.float32)
        for layer in layers:
            images = layer(images, training=True)
        return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)

    return stream(lambda dataset: dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE), side)


def albumentations(case, side):
    import albumentations as A
    import cv2
    import tensorflow as tf

    cv2.setNumThreads(0)  # the map is parallel already
    reflect = {"border_mode": cv2.BORDER_REFLECT, "p": 1.0}

    def seven(fill):
        return [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                rotate=(-18, 18),
                scale=(0.9, 1.1),
                shear={"x": (-5.7, 5.7), "y": (-5.7, 5.7)},
                **reflect,
            ),
            A.ColorJitter(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.05, p=1.0),
            A.CoarseDropout(
                num_holes_range=(1, 1), hole_height_range=(0.22, 0.32), hole_width_range=(0.22, 0.32), fill=fill, p=1.0
            ),
        ]

    layers = {
        "pipeline": lambda: seven(128),
        "pipeline, noise": lambda: seven("random"),
        "flip": lambda: [A.HorizontalFlip(p=0.5)],
        "rotation": lambda: [A.Rotate(limit=(-18, 18), **reflect)],
        "perspective": lambda: [A.Perspective(scale=(0.0, 0.06), p=1.0)],
        "elastic": lambda: [A.ElasticTransform(alpha=34, sigma=4, p=1.0)],
        "jitter": lambda: [A.ColorJitter(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.05, p=1.0)],
        "equalize": lambda: [A.Equalize(p=1.0)],
        "blur": lambda: [A.GaussianBlur(blur_limit=(5, 5), sigma_limit=(0.01, 1.0), p=1.0)],
        "erase": lambda: [A.Erasing(scale=(0.02, 0.33), fill=128, p=1.0)],
    }[case]()
    compose = A.Compose(layers, seed=7)

    def augment(image):
        result = tf.numpy_function(lambda pixels: compose(image=pixels)["image"], [image], tf.uint8)
        return tf.ensure_shape(result, [side, side, 3])

    def apply(dataset):
        mapped = dataset.unbatch().map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        return mapped.batch(SIZES[side], drop_remainder=True)

    return stream(apply, side)


def kornia(case, side):
    """Batches on torch's own threads, without `tf.data`; runs in an environment of its own, see `--kornia`."""
    import kornia.augmentation as K
    import numpy as np
    import torch

    affine = {"padding_mode": "reflection", "p": 1.0}
    layers = {
        "pipeline": lambda: [
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(18.0, (0.1, 0.1), (0.9, 1.1), (-5.7, 5.7, -5.7, 5.7), **affine),
            K.ColorJitter(0.1, 0.2, 0.3, 0.05, p=1.0),
            K.RandomErasing((0.05, 0.1), value=0.5, p=1.0),
        ],
        "flip": lambda: [K.RandomHorizontalFlip(p=0.5)],
        "rotation": lambda: [K.RandomAffine(18.0, **affine)],
        "elastic": lambda: [K.RandomElasticTransform((25, 25), (4.0, 4.0), (34.0, 34.0), p=1.0)],
        "equalize": lambda: [K.RandomEqualize(p=1.0)],
        "blur": lambda: [K.RandomGaussianBlur((5, 5), (0.01, 1.0), p=1.0)],
    }[case]()
    augment = K.AugmentationSequential(*layers, data_keys=["input"])
    images = torch.from_numpy(pictures(np, side)).permute(0, 3, 1, 2).contiguous()
    while True:
        for batch in images.split(SIZES[side]):
            yield (augment(batch.float() / 255.0) * 255.0).round().clamp(0, 255).to(torch.uint8)


def pictures(np, side):
    return np.random.default_rng(0).integers(0, 256, (4 * SIZES[side], side, side, 3), dtype=np.uint8)


def stream(apply, side):
    """Augmented batches without end, from `tf.data`."""
    import numpy as np
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(pictures(np, side)).repeat()
    return iter(apply(dataset.batch(SIZES[side], drop_remainder=True)).prefetch(2))


def work(contender, case, side):
    """A contender's process: warms up, then runs for a time whenever a line with seconds comes."""
    batches = globals()[contender](case, side)
    start = time.perf_counter()
    next(batches)
    first = time.perf_counter() - start
    for _ in range(3):
        next(batches)
    print(json.dumps({"first": first}), flush=True)
    for line in sys.stdin:
        for _ in range(4):  # what was prefetched while waiting must not count
            next(batches)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < float(line):
            count += next(batches).shape[0]
        rate = count / (time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rate": rate, "peak": peak}), flush=True)


def compare(case, side, options):
    """Interleaved runs of all contenders on one case; returns their figures by name."""
    workers = {}
    for name in options.contenders + ["kornia"] * bool(options.kornia):
        python = options.kornia if name == "kornia" else sys.executable
        command = [python, __file__, "--worker", name, case, str(side)]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # One after the other: nobody warms up while another is timed.
        line = workers[name].stdout.readline()
        workers[name].first = json.loads(line)["first"] if line else None
    figures = {name: {"first": worker.first, "rates": [], "peak": 0.0} for name, worker in workers.items()}
    for _ in range(options.runs):
        for name, worker in workers.items():
            if worker.first is None:
                continue
            print(options.seconds, file=worker.stdin, flush=True)
            result = json.loads(worker.stdout.readline())
            figures[name]["rates"].append(result["rate"])
            figures[name]["peak"] = result["peak"]
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {name: figure for name, figure in figures.items() if figure["rates"]}


def rows(case, side, figures):
    """The lines of the table for one case."""
    for name, figure in figures.items():
        rates = figure["rates"]
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        ratio = ""
        if name != "ours":
            ratio = f"{statistics.median(a / b for a, b in zip(figures['ours']['rates'], rates, strict=True)):.1f}x"
        yield (
            f"| {case} | {side} | {name} | {statistics.median(rates):,.0f} | {spread} | {ratio} "
            f"| {figure['first']:.1f} | {figure['peak']:,.0f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["pipeline", "pipeline, noise", "rotation", "elastic"])
    parser.add_argument("--sides", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--kornia", help="Python of an environment with kornia and torch, to measure that too")
    parser.add_argument("--markdown", help="also write the table to this file")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], options.worker[1], int(options.worker[2]))
        return
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"{options.runs} interleaved runs of {options.seconds:g} s; batches of "
        + ", ".join(f"{SIZES[side]} at {side}x{side}x3" for side in options.sides)
        + ", uint8",
        "",
        "| case | side | contender | images/s, median | range | ours is faster by | first batch, s | peak memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for case in options.cases:
        for side in options.sides:
            figures = compare(case, side, options)
            for row in rows(case, side, figures):
                lines.append(row)
                print(row, flush=True)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
