"""A folder of images in class folders, as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_aug_ssl.data import images

OWNER = "kas.data.load"


def read(folder: Path, image_size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The images of a folder, with the number of the class folder that each lies in, directly or deeper.

    Args:
        folder: holds one folder a class; classes are numbered in the order of their sorted names, as by
            `keras.utils.image_dataset_from_directory`.
        image_size: (height, width) that images are resized to, averaging where they shrink; None for images of one
            size, which stay as they are.

    Returns:
        (N, H, W, C) uint8 images, one channel where all files have one, else three; (N,) int64 labels; class names.

    Raises:
        ValueError: fewer than two class folders, one without images, an unreadable image, or images of several sizes.
    """
    names = sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    files = {name: images.images_in(folder / name) for name in names}
    empty = [name for name, found in files.items() if not found]
    if len(names) < 2 or empty:
        which = f"{empty[0]!r} holds none ({', '.join(images.SUFFIXES)})" if empty else f"it has {len(names)}"
        raise ValueError(f"{OWNER}: {str(folder)!r} must hold two or more folders of images, one a class; {which}.")
    x = [_read(file, image_size) for found in files.values() for file in found]
    y = np.repeat(np.arange(len(names)), [len(found) for found in files.values()])
    if {image.shape[-1] for image in x} != {1}:
        x = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in x]
    _check_sizes(x, [file for found in files.values() for file in found])
    return np.stack(x), y.astype(np.int64), tuple(names)


def _read(file: Path, image_size: tuple[int, int] | None) -> np.ndarray:
    content = file.read_bytes()
    if images.has_16_bits(content):
        raise ValueError(
            f"{OWNER}: {str(file)!r} has 16 bits a channel, of which 8 would be lost. Save the images with 8, or read "
            "them by tf.io.decode_png(file, dtype=tf.uint16)."
        )
    try:
        image = images.decode_image(content)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{OWNER}: {str(file)!r} can't be read. {images.fault(content)}") from error
    if image.shape[-1] in (2, 4):  # the last channel is transparency
        image = image[..., :-1]
    if image_size is not None and tuple(image.shape[:2]) != tuple(image_size):
        image = tf.cast(tf.round(tf.image.resize(image, image_size, antialias=True)), tf.uint8)
    return image.numpy()


def _check_sizes(x: list[np.ndarray], files: list[Path]) -> None:
    for image, file in zip(x, files, strict=True):
        if image.shape != x[0].shape:
            sizes = " and ".join(f"{shape[0]} x {shape[1]}" for shape in (x[0].shape, image.shape))
            raise ValueError(
                f"{OWNER}: images must have one size to be one array; {str(files[0])!r} and {str(file)!r} have "
                f"{sizes}. Pass `image_size=(height, width)` to resize them."
            )
