"""Show what augmentation makes of your own images: a gallery as an HTML or PNG file.

Each image is shown beside random draws of a mild pipeline for photographs: flip, shift, rotation, zoom, brightness,
contrast. Look before you train: a draw you could not label yourself will not teach a network either. Of a folder that
holds a folder for each class, every class is shown. Images that can't be read are named and left out.

Examples:
  keras-aug-ssl augment photos/
  keras-aug-ssl augment cat.jpg dog.jpg --copies 12 --out gallery.png
"""

from __future__ import annotations

import argparse

from keras_aug_ssl.commands import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", type=options.existing, help="image files, or folders of them"
    )
    parser.add_argument(
        "--out", type=options.output(".html", ".png"), default="gallery.html",
        help="where to write: .html or .png (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--copies", type=options.whole(1, 20), default=8, help="draws per image (default: %(default)s)")
    parser.add_argument(
        "--per-class", type=options.whole(1), default=3, metavar="N",
        help="most images of a folder that are shown (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=options.whole(0), default=0, help="other seeds give other draws (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the gallery and says what it shows."""
    from keras_aug_ssl.commands import gallery

    return gallery.write(arguments)
