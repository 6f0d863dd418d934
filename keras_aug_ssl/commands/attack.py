"""How robust is a saved model: its accuracy under PGD at one or more radii.

The accuracy under attack is an upper bound: a stronger attack may find more. Radii are in the unit of the input.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from keras_aug_ssl.adversarial import PGD
from keras_aug_ssl.commands.inputs import bad_input, check_fits, read_labeled, read_model, writable
from keras_aug_ssl.tables import as_text
from keras_aug_ssl.writing import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("model", metavar="MODEL", help="a .keras file of a classifier")
    parser.add_argument("data", metavar="DATA", help="a .npz file with x and y, or a data set's name, as for study")
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=[0.05, 0.1, 0.2], help="radii (default: 0.05 0.1 0.2)"
    )
    parser.add_argument("--norm", default="linf", help="linf, l2 or l1 (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="gradient steps of the attack (default: %(default)s)")
    parser.add_argument(
        "--examples", type=int, default=1000, help="at most so many test examples (default: %(default)s)"
    )
    parser.add_argument(
        "--bounds", type=float, nargs=2, default=[0.0, 1.0], metavar=("LOW", "HIGH"),
        help="range of the model's input; data sets of images are scaled to it (default: 0 1)",
    )  # fmt: skip
    parser.add_argument("--data-dir", help="where TensorFlow Datasets keeps its files")
    parser.add_argument("--out", help="also write the table as .json")


def run(arguments: argparse.Namespace) -> None:
    """Attacks at every radius and prints the table."""
    with bad_input():
        out = writable(arguments.out, (".json",)) if arguments.out else None
        model = read_model(arguments.model)
        bounds = tuple(arguments.bounds)
        epsilons = [0.0, *arguments.epsilon]
        attacks = [PGD(epsilon, arguments.norm, steps=arguments.steps, bounds=bounds) for epsilon in epsilons]
        x, y = read_labeled(arguments.data, arguments.data_dir, bounds)
        check_fits(model, x.shape[1:])
        chosen = np.random.default_rng(0).permutation(len(x))[: arguments.examples]
        found = [attack(model, x[chosen], y[chosen]) for attack in attacks]
    rows = [
        {"epsilon": epsilon, "accuracy": result.robust_accuracy, "zero_gradient": int(np.sum(result.zero_gradient))}
        for epsilon, result in zip(epsilons, found, strict=True)
    ]
    cells = [[f"{row['epsilon']:g}", f"{100 * row['accuracy']:.1f}", f"{row['zero_gradient']}"] for row in rows]
    print(f"{len(chosen)} examples, PGD with {arguments.steps} steps, {arguments.norm}\n")
    print(as_text([["epsilon", "accuracy (%)", "met a zero gradient"], *cells]))
    if out:
        with replacing(out) as draft:
            draft.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
