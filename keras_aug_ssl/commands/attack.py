"""How robust is a saved model: its accuracy under PGD at one or more radii.

The accuracy under attack is an upper bound: a stronger attack may find more. Radii are in the unit of the input. A
folder of images holds one folder a class; classes are numbered in the order of their sorted names, as by
keras.utils.image_dataset_from_directory, and images are resized to the model's input. Where accuracy says that the
model was trained on values in another scale, nothing is attacked.

Examples:
  keras-aug-ssl attack model.keras test.npz --epsilon 0.01 0.03
  keras-aug-ssl attack model.keras photos/ --bounds 0 255 --epsilon 2 4 8 --examples 200
  keras-aug-ssl attack model.keras mnist5k --norm l2 --epsilon 0.5 1 2 --out robustness.json
"""

from __future__ import annotations

import argparse

from keras_aug_ssl.commands import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=options.model_file, help="a .keras file of a classifier")
    parser.add_argument(
        "data", metavar="DATA",
        help="a .npz file with x and y, a folder that holds a folder of images for each class, or a data set's name, "
        "as for study",
    )  # fmt: skip
    parser.add_argument(
        "--epsilon", type=options.number(0), nargs="+",
        help="radii (default: 5, 10 and 20 %% of the width of the bounds)",
    )  # fmt: skip
    parser.add_argument(
        "--norm", choices=("linf", "l2", "l1"), default="linf", help="of the change (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=options.whole(1), default=40, help="gradient steps of the attack (default: %(default)s)"
    )
    parser.add_argument(
        "--examples", type=options.whole(1), default=1000, help="at most so many test examples (default: %(default)s)"
    )
    parser.add_argument(
        "--bounds", type=float, nargs=2, default=[0.0, 1.0], metavar=("LOW", "HIGH"),
        help="range of the model's input; data sets and folders of images are scaled to it (default: 0 1)",
    )  # fmt: skip
    options.add_engine(parser, "attacks, a radius each")
    parser.add_argument("--data-dir", help="where TensorFlow Datasets keeps its files")
    parser.add_argument("--out", type=options.output(".json"), help="also write the result as .json")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Attacks at every radius and prints the table."""
    from keras_aug_ssl.commands import attacking

    return attacking.attack(arguments)
