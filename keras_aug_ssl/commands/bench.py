"""How fast is augmentation on this machine: images per second in tf.data, beside stock Keras.

Flip, translation, rotation, zoom, shear, color jitter and erasing of uint8 images, with the same arguments in both
libraries, at 224 x 224 and 32 x 32. Runs take turns, so that a machine that slows down meets both; medians are shown.
Nothing else should run beside it.

Examples:
  keras-aug-ssl bench
  keras-aug-ssl bench --seconds 10 --json > bench.json
"""

from __future__ import annotations

import argparse

from keras_aug_ssl.commands import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "--seconds", type=options.number(0), default=2.0, help="of each of the runs (default: %(default)s)"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints the table."""
    from keras_aug_ssl.commands import timing

    return timing.measure(arguments)
