"""Label images with a saved model: a CSV file of id, label and confidence.

The label is the position of the model's largest output, the confidence its probability. Labels are worth learning from
only where the model is right when it is sure: check that on labeled images first. Before the work a few images are
looked at, and what speaks against the labels is said: colors that the model can't see, sizes far from its own, values
in another scale than it seems to know. Images that can't be read are named and left out.

Examples:
  keras-aug-ssl pseudo-label model.keras photos/ --out labels.csv
  keras-aug-ssl pseudo-label model.keras photos/ --unit --threshold 0.95
  keras-aug-ssl pseudo-label model.keras inputs.npy --json | jq .labeled
"""

from __future__ import annotations

import argparse

from keras_aug_ssl.commands import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=options.model_file, help="a .keras file of a classifier")
    parser.add_argument(
        "data", metavar="DATA", type=options.existing, help="a folder of images, or a .npy array of the model's inputs"
    )
    parser.add_argument(
        "--out", type=options.output(".csv"), default="pseudo_labels.csv", help="where to write (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold", type=options.number(0, 1), default=0.0, help="leave out rows less confident than this"
    )
    parser.add_argument(
        "--unit", action="store_true", help="divide the values by 255, for a model trained on images in 0..1"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the file, one batch of images in memory at a time, and says how many rows it has."""
    from keras_aug_ssl.commands import labelling

    return labelling.label(arguments)
