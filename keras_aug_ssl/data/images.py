"""Image files: which of a folder's files are images, and what is wrong with one that can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
UNREADABLE = (".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl")
"""Of images that TensorFlow's `decode_image` doesn't take in every version that is supported."""

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MADE_BY_MACOS = "._"
"""Begins the names of files that macOS puts beside others on foreign disks; they are named like images and are none."""


def images_in(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """All files in a folder and below that are images by their name, sorted; none of hidden folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not path.name.startswith(MADE_BY_MACOS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])
        and not path.is_dir()
    )


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """(H, W, C) uint8 of the size and channels the file has; of an animation the first picture."""
    return tf.io.decode_image(encoded, expand_animations=False)


def has_16_bits(content: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a channel, which `decode_image` would cut to 8."""
    return content.startswith(PNG) and content[24:25] == b"\x10"


def fault(content: bytes) -> str:
    """Says, in a sentence, what a file is that can't be decoded."""
    kinds = {
        "It is a file of macOS's own, not the image it is named after.": content.startswith(b"\x00\x05\x16\x07"),
        "It is a WebP image.": content[:4] == b"RIFF" and content[8:12] == b"WEBP",
        "It is a TIFF image.": content[:4] in (b"II*\x00", b"MM\x00*"),
        "It is a HEIF or AVIF image.": content[4:8] == b"ftyp",
        "It is an image that is cut off or damaged.": content.startswith((PNG, JPEG, b"GIF8", b"BM")),
    }
    if not content:
        return "The file is empty."
    return next((kind for kind, holds in kinds.items() if holds), "It is no image.")
