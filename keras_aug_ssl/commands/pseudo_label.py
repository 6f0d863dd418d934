"""Label images with a saved model: a CSV file of id, label and confidence, or with Ray a folder of Parquet files.

The label is the position of the model's largest output, the confidence its probability. Labels are worth learning from
only where the model is right when it is sure: check that on labeled images first. Before the work a few images are
looked at, and what speaks against the labels is said: colors that the model can't see, sizes far from its own, values
in another scale than it seems to know. Images that can't be read are named and left out.

With --engine ray several processes label, the folder has a row for each example, labeled or not, and an image that
can't be read ends the run; the same command then goes on where it ended. kas.data.pseudo_labelled reads the folder.

Examples:
  keras-aug-ssl pseudo-label model.keras photos/ --out labels.csv
  keras-aug-ssl pseudo-label model.keras photos/ --unit --threshold 0.95
  keras-aug-ssl pseudo-label model.keras inputs.npy --json | jq .labeled
  keras-aug-ssl pseudo-label model.keras table.parquet --id name --engine ray --per-class 1000 --out labels
"""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.messages import BadInput, bad_input

ON_RAY = ("per_class", "id")
"""Options that need Ray."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=options.model_file, help="a .keras file of a classifier")
    parser.add_argument(
        "data",
        metavar="DATA",
        type=options.existing,
        help="a folder of images, or a .npy array of the model's inputs; with Ray also Parquet",
    )
    parser.add_argument(
        "--out", type=_place, help="where to write (default: pseudo_labels.csv, with Ray the folder pseudo_labels)"
    )
    parser.add_argument(
        "--threshold", type=options.number(0, 1), default=0.0, help="leave out rows less confident than this"
    )
    parser.add_argument(
        "--unit", action="store_true", help="divide the values by 255, for a model trained on images in 0..1"
    )
    options.add_engine(parser, "labels")
    ray = parser.add_argument_group("with --engine ray")
    ray.add_argument(
        "--per-class", type=options.whole(1), metavar="K", help="label the K most confident rows of each class only"
    )
    ray.add_argument("--id", metavar="COLUMN", help="column of Parquet files that tells rows apart")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the file, one batch of images in memory at a time, or the folder; and says how many are labeled."""
    from keras_aug_ssl.commands import labelling

    ray = arguments.engine == "ray"
    for name in ON_RAY:
        if getattr(arguments, name) is not None and not ray:
            raise BadInput(f"--{name.replace('_', '-')} needs --engine ray")
    with bad_input():
        engine = options.engine(arguments)
    arguments.out = arguments.out or Path("pseudo_labels" if ray else "pseudo_labels.csv")
    if (arguments.out.suffix == ".csv") == ray:
        raise BadInput(f"--out {arguments.out}: the name must end in .csv, and with --engine ray be that of a folder")
    return labelling.label_on_ray(arguments, engine) if ray else labelling.label(arguments)


def _place(text: str) -> Path:
    """The path of a CSV file that can be written, or of a folder."""
    return options.output(".csv")(text) if Path(text).suffix else Path(text)
