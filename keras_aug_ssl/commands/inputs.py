"""Reading what a user names on the command line, with errors a user can act on."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import data
from keras_aug_ssl.commands.messages import note, shown
from keras_aug_ssl.data import images
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.self_training.pool.sources import memory_map


def image_files(paths: Sequence[str]) -> list[Path]:
    """The image files among `paths`; a folder stands for all images under it, sorted.

    Raises:
        ValueError: no image in a folder, or a folder below it can't be listed.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            _check_listed(path)
            found = images.images_in(path)
            if not found:
                raise ValueError(f"no image ({', '.join(images.SUFFIXES)}) in the folder {path}")
            files += found
        else:
            files.append(path)
    return files


def labeled_files(folder: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """The images in the class folders of a folder.

    Returns:
        The N files; (N,) numbers of their classes, by the order of the sorted names; the names.

    Raises:
        ValueError: there are no class folders, no images in them, or a folder can't be listed.
    """
    _check_listed(folder)
    names = sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    found = [images.images_in(folder / name) for name in names]
    if not any(found):
        raise ValueError(f"{folder} must hold a folder of images for each class; in its {len(names)} folders is none")
    return sum(found, []), np.repeat(np.arange(len(names)), list(map(len, found))), names


def _check_listed(folder: Path) -> None:
    """Raises for a folder that can't be listed: its images would be left out without a word."""

    def refuse(error: OSError) -> None:
        raise ValueError(f"the folder {error.filename} can't be read: {error.strerror}") from error

    for _ in os.walk(folder, onerror=refuse):
        pass


class Reader:
    """Reads image files; one that can't be read is named on standard error and left out.

    Args:
        size: (height, width) that images are resized to; None for their own.
        channels: 1 or 3.
    """

    def __init__(self, size: tuple[int, int] | None = None, channels: int = 3) -> None:
        self._size, self._channels = size, channels
        self.read: list[Path] = []
        self.broken: list[Path] = []

    def __call__(self, files: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
        """Yields each file that can be read with its image, (H, W, channels): uint8, or float32 if it is resized."""
        for file in files:
            try:
                image = with_channels(read_image(file), self._channels)
            except (ValueError, OSError) as error:
                self.broken.append(file)
                note(f"left out: {' '.join(str(error).split())}")
                continue
            self.read.append(file)
            yield file, image if self._size is None else resized(image, self._size)

    def check_any(self) -> None:
        """Raises `ValueError` if no image could be read."""
        if not self.read:
            raise ValueError(f"none of the {len(self.broken)} images can be read")

    def exit_code(self) -> int:
        """Says how many files are left out, if any, and returns the exit code that tells of it."""
        if not self.broken:
            return 0
        total = len(self.read) + len(self.broken)
        note(f"{len(self.broken)} of {total} images can't be read and are left out; they are named above")
        return 3


def read_image(file: Path) -> np.ndarray:
    """An image file as (H, W, C) uint8, C as in the file; the first frame of an animation."""
    content = file.read_bytes()
    try:
        return images.decode_image(content).numpy()
    except tf.errors.OpError as error:
        raise ValueError(
            f"{shown(file)} is no readable PNG, JPEG, BMP or GIF image. {images.fault(content)}"
        ) from error


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, C) uint8 -> (H, W, channels): without transparency, grey repeated or colors made grey."""
    opaque = image[..., :-1] if image.shape[-1] in (2, 4) else image
    if opaque.shape[-1] == channels:
        return opaque
    return np.repeat(opaque, 3, axis=-1) if channels == 3 else tf.image.rgb_to_grayscale(opaque).numpy()


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) -> float32 of another size, averaging where it shrinks."""
    return tf.image.resize(image, size, antialias=True).numpy()


def read_model(path: str) -> keras.Model:
    """A saved `.keras` model."""
    file = Path(path)
    if file.suffix == ".keras" and file.is_file() and not zipfile.is_zipfile(file):
        raise ValueError(f"{shown(file)} is no saved Keras model: it is no zip archive, as a whole .keras file is")
    try:
        return keras.saving.load_model(path)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"{shown(file)} is not a Keras model: {error}") from error


def read_array(path: str) -> np.ndarray:
    """A `.npy` array, read from disk only where it is used."""
    return memory_map("pseudo-label", Path(path))


def read_labeled(source: str, data_dir: str | None, value_range: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Labeled examples: a `.npz` file's `x` and `y` as they are, or a data set's test images, scaled."""
    if not source.endswith(".npz"):
        test = data.load(source, data_dir=data_dir).test
        low, high = value_range
        return low + (high - low) / 255.0 * test.x.astype(np.float32), test.y
    if not Path(source).is_file():
        raise FileNotFoundError(f"no such file: {source}")
    try:
        if not zipfile.is_zipfile(source):
            raise ValueError("it is no zip file")
        with open(source, "rb") as stream, np.load(stream) as arrays:
            x, y = arrays["x"], arrays["y"]
    except (LookupError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{source} is not a whole .npz file with arrays x and y: {error}") from error
    if len(x) != len(y):
        raise ValueError(f"{source}: x has {len(x)} rows and y {len(y)}")
    return x, y


def check_fits(model: keras.Model, shape: Sequence[int]) -> None:
    """Raises unless examples of this shape, without the batch axis, can be the model's input, as far as it says."""
    expected = getattr(model, "input_shape", None)
    if expected is None or calling.route_of(model) is not calling.directly:  # it prepares inputs of other shapes
        return
    if not isinstance(expected, tuple):
        raise ValueError(f"the model has several inputs: {expected}")
    fits = len(shape) == len(expected) - 1
    if not fits or any(wanted not in (None, size) for wanted, size in zip(expected[1:], shape, strict=True)):
        raise ValueError(f"the model takes examples of shape {expected[1:]}; these have the shape {tuple(shape)}")


def image_shape(model: keras.Model, instead: str) -> tuple[int, int, int]:
    """(height, width, channels) of a model's input; `instead` says what can be passed where it has no such shape."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise ValueError(
            "a folder of images needs a model whose input is (batch, height, width, 1 or 3) with fixed sizes; this "
            f"one's is {shape}. Pass {instead} instead"
        )
    return shape[1:]
