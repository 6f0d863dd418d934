"""From few labels to a robust model on real images: one table, one report.

The same small network is trained with the same number of steps on the labeled images alone, with augmentation, with
self-training or FixMatch on the images whose labels are hidden, and with PGD attacks on top of self-training. Each is
tested on clean and on attacked test images, for several seeds. An interrupted run keeps its finished rows: repeat the
command and it goes on.
"""

from __future__ import annotations

import argparse

from keras_aug_ssl import checks
from keras_aug_ssl.commands.inputs import BadInput, bad_input, shown
from keras_aug_ssl.study import METHODS, Images, Results, Settings, report, run_study, versions
from keras_aug_ssl.tables import as_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    default = Settings()
    parser.add_argument(
        "--dataset", default=default.dataset,
        help="mnist5k, digits, or an image classification set of TensorFlow Datasets (default: %(default)s)",
    )  # fmt: skip
    numbers = {"labels": "labeled images in all", "seeds": "repetitions", "steps": "gradient steps per network"}
    for name, meaning in numbers.items():
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} (default: {value})")
    parser.add_argument(
        "--epsilon", type=float, default=default.epsilon,
        help="most a pixel of 0..1 may change under attack (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--data-dir", help="where TensorFlow Datasets keeps its files")
    parser.add_argument("--out", default="report", help="folder for results and report (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Runs what is missing, writes the report and prints the table."""
    with bad_input():
        checks.optional_package("study", "matplotlib.figure", "demo")  # for the report, when all is trained
        settings = Settings(
            arguments.dataset, arguments.labels, arguments.seeds, arguments.steps, arguments.epsilon, arguments.data_dir
        )
        Results(arguments.out, settings, versions())
        images = Images.load(settings.dataset, settings.data_dir)
        for seed in range(settings.seeds):
            images.task(settings.labels, seed)
    try:
        results = run_study(settings, images, arguments.out, methods=METHODS)
    except BlockingIOError as error:
        raise BadInput(f"another study runs in {shown(arguments.out)}; wait, or choose another folder") from error
    except KeyboardInterrupt:
        print(f"\nInterrupted. Finished rows are kept in {shown(arguments.out)}; the same command goes on from there.")
        raise
    file = report.write(results, images, arguments.out, METHODS)
    print(f"\n{as_text(report.table(results, {method.name: method.title for method in METHODS}))}\n\n{shown(file)}")
