"""What each public layer costs: processor time an image, beside stock Keras and Albumentations, worst ratio first.

    python benchmarks/layer_costs.py [--quick] [--layers RandomFlip ...] [--sides 224 32] [--markdown FILE]

Each layer with its default arguments, or the fewest it takes, and five of them in a row, on 8-bit images, in batches
that are there already, and image by image (mapped before they are batched), all in `tf.data`. All contenders of a row
take turns in one process; reported is the median time of all its threads. Stock layers get and return 8-bit images, as
ours do; the one that draws a crop for the whole batch is mapped image by image, as it must be to do the same.
Albumentations, where it is installed, runs in a plain Python loop, and per image through `tf.numpy_function` in a
parallel map. Where something else runs beside, give it a core of its own (`taskset -c 0`): threads that wait for one in
vain cost time as well.
AlbumentationsX (AGPL) and torchvision need `--elsewhere`: an environment of their own, in which each runs in a loop
over images. `--quick` takes about 15 minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _loops import ALBUMENTATIONS, composed
from throughput import SIZES, pictures

import keras_aug_ssl as kas

# `make` is `keras_aug_ssl.layers` or `keras.layers`; what stands here only is called without arguments.
NEEDED = {
    "RandomTranslation": lambda make, side: make.RandomTranslation(0.1, 0.1),
    "RandomRotation": lambda make, side: make.RandomRotation(0.1),
    "RandomZoom": lambda make, side: make.RandomZoom(0.2),
    "RandomShear": lambda make, side: make.RandomShear(0.2, 0.2),
    "RandomElasticTransform": lambda make, side: make.RandomElasticTransform(scale=(1.0, 1.0)),
    "RandomAffine": lambda make, side: make.RandomAffine(0.1, 0.1, zoom_factor=0.1, shear_factor=0.1),
    "RandomCrop": lambda make, side: make.RandomCrop(side * 7 // 8, side * 7 // 8),
    "RandomResizedCrop": lambda make, side: make.RandomResizedCrop(side * 7 // 8, side * 7 // 8),
    "RandomBrightness": lambda make, side: make.RandomBrightness(0.3),
    "RandomContrast": lambda make, side: make.RandomContrast(0.4),
    "RandomSaturation": lambda make, side: make.RandomSaturation(0.8),
    "RandomHue": lambda make, side: make.RandomHue(0.5),
    "RandomColorJitter": lambda make, side: make.RandomColorJitter((0, 255), 0.1, 0.2, (0.4, 0.6), 0.1),
    "RandomPosterization": lambda make, side: make.RandomPosterization(4),
    "Solarization": lambda make, side: make.Solarization(0.3, 0.8),
    "RandomSharpness": lambda make, side: make.RandomSharpness(1.0),
}
DEFAULT = (
    "RandomFlip RandomPerspective RandomGrayscale RandomInvert Equalization AutoContrast RandomGaussianBlur "
    "RandomErasing MixUp CutMix RandAugment AugMix RandomThinPlateSpline RandomGamma RandomNoise TrivialAugment"
).split()
STACK = "flip, translate, rotate, zoom, contrast"
STACKED = ("RandomFlip", "RandomTranslation", "RandomRotation", "RandomZoom", "RandomContrast")
CASES = {**NEEDED, **{name: lambda make, side, name=name: getattr(make, name)() for name in DEFAULT}}
MIXING = ("MixUp", "CutMix")  # batches only
# Stock layers that draw when they are traced, once for all batches: what one costs is luck, so many take turns.
DRAWN_ONCE = {"AugMix": 12}
FORMS = ("batched", "image by image")
ELSEWHERE = {"AlbumentationsX, loop": "albumentationsx", "torchvision v2, loop": "torchvision"}


def images(side, form):
    """A source that costs next to nothing: the same batch over and over, or images one by one."""
    pixels = pictures(np, side)
    if form == "batched":
        return tf.data.Dataset.from_tensors(pixels[: SIZES[side]]).repeat()
    return tf.data.Dataset.from_tensor_slices(pixels).repeat()


def batches(dataset, side, form):
    dataset = dataset if form == "batched" else dataset.batch(SIZES[side], drop_remainder=True)
    return iter(dataset.prefetch(2))


def made(name, make, side):
    """The layers of a case."""
    return [CASES[each](make, side) for each in (STACKED if name == STACK else (name,))]


def ours(name, side, form):
    augment = kas.Pipeline(made(name, kas.layers, side), seed=7)
    return batches(augment.map(images(side, form)), side, form)


def stock(name, side, form):
    turns = [_stock(name, side, form) for _ in range(DRAWN_ONCE.get(name, 1))]
    return (next(stream) for stream in itertools.cycle(turns))


def _stock(name, side, form):
    layers = made(name, keras.layers, side)

    def augment(pixels):
        result = tf.cast(pixels, tf.float32)
        for layer in layers:
            result = layer(result, training=True)
        return tf.cast(tf.clip_by_value(tf.round(result), 0, 255), tf.uint8)

    form = "image by image" if name == "RandomCrop" else form  # one place for the whole batch otherwise
    return batches(images(side, form).map(augment, num_parallel_calls=tf.data.AUTOTUNE), side, form)


def albumentations(name, side, form):
    """One image at a time, however they come."""
    compose, form = composed("albumentations", name, side), "image by image"

    def augment(image):
        return tf.numpy_function(compose, [image], tf.uint8)

    return batches(images(side, form).map(augment, num_parallel_calls=tf.data.AUTOTUNE), side, form)


def plain_loop(name, side, form):
    augment, pixels = composed("albumentations", name, side), pictures(np, side)
    while True:
        for start in range(0, len(pixels), SIZES[side]):
            yield np.stack([augment(image) for image in pixels[start : start + SIZES[side]]])


def contenders(name, others):
    """The functions that make the contenders of a row, by the heads of their columns."""
    found = {"ours": ours}
    if name == STACK or hasattr(keras.layers, name):
        found["Keras"] = stock
    if others and name in ALBUMENTATIONS:
        found |= {"Albumentations, loop": plain_loop, "Albumentations, tf.data": albumentations}
    return found


def settled():
    """The processor time when all buffers are full again, so that each contender pays for what it was asked for."""
    while True:
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.0005:
            return time.process_time()


def measure(name, side, form, options):
    """Median processor milliseconds an image of each contender, in turns."""
    makers = contenders(name, importlib.util.find_spec("albumentations") is not None)
    running = {head: make(name, side, form) for head, make in makers.items()}
    for stream in running.values():
        for _ in range(4 * DRAWN_ONCE.get(name, 1)):  # all that take turns have begun
            next(stream)
    times = {head: [] for head in running}
    for _ in range(options.runs):
        for head, stream in running.items():
            start, begun, count = settled(), time.perf_counter(), 0
            while time.perf_counter() - begun < options.seconds:
                next(stream)
                count += SIZES[side]
            times[head].append((settled() - start) / count * 1e3)
    return {head: statistics.median(values) for head, values in times.items()}


def elsewhere(options):
    """Milliseconds of the loops that need an environment of their own, by head, layer and side."""
    found = {}
    for head, library in ELSEWHERE.items() if options.elsewhere else ():
        command = [options.elsewhere, os.path.join(os.path.dirname(__file__), "_loops.py"), library, *options.layers]
        command += ["--sides", *map(str, options.sides)]
        command += ["--runs", str(options.runs), "--seconds", str(options.seconds)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[head] = json.loads(told.splitlines()[-1])
    return found


HEADS = ("ours", "Keras", "Albumentations, loop", "Albumentations, tf.data", *ELSEWHERE)


def row(name, side, form, figures):
    cells = [f"{figures[head]:.3g}" if head in figures else "–" for head in HEADS]
    ratios = [f"{figures[head] / figures['ours']:.2f}x" if head in figures else "–" for head in HEADS[1:3]]
    return f"| {name} | {side} | {form} | {' | '.join(cells + ratios)} |"


def worst(figures):
    """How many times as fast as the fastest other: the order of the table."""
    return min((figures[head] / figures["ours"] for head in HEADS[1:] if head in figures), default=float("inf"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=[STACK, *CASES], choices=[STACK, *CASES], metavar="LAYER")
    parser.add_argument("--sides", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--quick", action="store_true", help="3 runs of 0.15 seconds")
    parser.add_argument("--elsewhere", metavar="PYTHON", help="of an environment with albumentationsx and torchvision")
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.seconds = 3, 0.15
    measured, loops = [], elsewhere(options)
    for name in options.layers:
        for side in options.sides:
            for form in FORMS[: 1 if name in MIXING else 2]:
                others = {head: costs.get(f"{name} {side}") for head, costs in loops.items()}
                figures = {head: cost for head, cost in others.items() if cost is not None}
                measured.append((name, side, form, measure(name, side, form, options) | figures))
                print(row(*measured[-1]), flush=True)
    measured.sort(key=lambda one: worst(one[3]))
    lines = [
        f"Processor milliseconds an image, cores: {len(os.sched_getaffinity(0))}, {platform.machine()}, Python "
        f"{platform.python_version()}; medians of {options.runs} runs of {options.seconds:g} s in turns; batches of "
        + ", ".join(f"{SIZES[side]} at {side}x{side}x3" for side in options.sides)
        + ", uint8. The worst ratio first; below 1 the other is faster.",
        "",
        f"| layer | side | form | {' | '.join(HEADS)} | Keras / ours | Albumentations, loop / ours |",
        "|---" * (5 + len(HEADS)) + "|",
        *(row(*one) for one in measured),
    ]
    print("\n".join(lines))
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
