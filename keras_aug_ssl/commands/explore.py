"""Look at augmentations, attacks and pseudo-labels on a page of your own: move sliders, and copy the code.

Drop images, add layers and see draws of them, what was drawn, what runs together and what it costs; attack an image of
a saved model; go through pseudo-labels by doubt and correct them. The page is on this machine alone, and needs no
network. Ctrl-C ends it.

Examples:
  keras-aug-ssl explore
  keras-aug-ssl explore my/photos --port 7861
"""

from __future__ import annotations

import argparse

from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.messages import bad_input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", type=options.existing, help="image files or folders to begin with"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; there is no password (default: this machine alone)"
    )
    parser.add_argument("--port", type=options.whole(1, 65535), help="port (default: the first free from 7860 on)")


def run(arguments: argparse.Namespace) -> int:
    """Shows the page until it is interrupted."""
    from keras_aug_ssl import checks, explore
    from keras_aug_ssl.commands.inputs import image_files, read_image, with_channels
    from keras_aug_ssl.explore.app import MOST_IMAGES

    with bad_input():
        checks.optional_package("explore", "gradio", "explore")
        files = image_files(arguments.images)[:MOST_IMAGES] if arguments.images else []
        images = [with_channels(read_image(file), 3).astype("uint8") for file in files]
        explore.launch(images, host=arguments.host, port=arguments.port)
    return 0
