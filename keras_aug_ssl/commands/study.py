"""From few labels to a robust model on real images: one table, one report.

The same small network is trained with the same number of steps on the labeled images alone, with augmentation, with
self-training or FixMatch on the images whose labels are hidden, and with PGD attacks on top of self-training. Each is
tested on clean and on attacked test images, for several seeds. An interrupted run keeps its finished rows: repeat the
command and it goes on.

Examples:
  keras-aug-ssl study
  keras-aug-ssl study --budget full --out evening
  keras-aug-ssl study --engine ray --workers 2
  keras-aug-ssl study --dataset photos --image-size 64 --labels 40
"""

from __future__ import annotations

import argparse

from keras_aug_ssl import checks
from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.messages import BadInput, bad_input, shown
from keras_aug_ssl.tables import as_text

DATASET, LABELS, EPSILON = "mnist5k", 100, 0.1
QUICK, FULL = "5 methods, 600 steps, 3 seeds: minutes", "16 methods, 4000 steps, 5 seeds: an evening or more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "--dataset", default=DATASET,
        help="mnist5k, digits, an image classification set of TensorFlow Datasets, or a folder that holds a folder of "
        "images for each class (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--budget", choices=("quick", "full"), default="quick",
        help=f"quick: {QUICK}; full: {FULL} (default: %(default)s)",
    )  # fmt: skip
    several = options.whole(1)
    parser.add_argument("--labels", type=several, default=LABELS, help="labeled images in all (default: %(default)s)")
    parser.add_argument("--seeds", type=several, help="repetitions (default: the budget's)")
    parser.add_argument("--steps", type=several, help="gradient steps per network (default: the budget's)")
    parser.add_argument(
        "--epsilon", type=options.number(0, 1), default=EPSILON,
        help="most a pixel of 0..1 may change under attack (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--image-size", type=options.whole(4), metavar="PIXELS", help="edge that a folder's images are resized to"
    )
    parser.add_argument("--data-dir", help="where TensorFlow Datasets keeps its files")
    options.add_engine(parser, "trains the networks")
    parser.add_argument("--out", default="report", help="folder for results and report (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Runs what is missing, writes the report and prints the table."""
    from keras_aug_ssl import backend
    from keras_aug_ssl.study import BUDGETS, Images, Results, Settings, report, run_study, versions

    budget = BUDGETS[arguments.budget]
    with bad_input():
        backend.require_tensorflow("study")  # every row is attacked
        checks.optional_package("study", "matplotlib.figure", "demo")  # for the report, when all is trained
        engine = options.engine(arguments)
        settings = Settings(
            dataset=arguments.dataset,
            labels=arguments.labels,
            seeds=budget.seeds if arguments.seeds is None else arguments.seeds,
            steps=budget.steps if arguments.steps is None else arguments.steps,
            epsilon=arguments.epsilon,
            data_dir=arguments.data_dir,
            image_size=arguments.image_size,
            budget=arguments.budget,
        )
        Results(arguments.out, settings, versions())
        images = Images.load(settings.dataset, settings.data_dir, settings.image_size)
        for seed in range(settings.seeds):
            images.task(settings.labels, seed)
    try:
        results = run_study(settings, images, arguments.out, methods=budget.methods, engine=engine)
        file = report.write(results, images, arguments.out, BUDGETS["full"].methods)
    except BlockingIOError as error:
        raise BadInput(f"another study runs in {shown(arguments.out)}; wait, or choose another folder") from error
    except KeyboardInterrupt:
        kept = f"finished rows are kept in {shown(arguments.out)}; the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    titles = {method.name: method.title for each in BUDGETS.values() for method in each.methods}
    print(f"\n{as_text(report.table(results, titles))}\n\n{shown(file)}")
