"""Reading what a user names on the command line, with errors a user can act on."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import data
from keras_aug_ssl.data import images
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.self_training.pool.sources import memory_map


class BadInput(Exception):
    """The user has to change something; the message, one line, says what."""


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turns the errors raised by checks of arguments and files into `BadInput`."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        raise BadInput(" ".join(str(error).split())) from error


def shown(path: str | Path) -> str:
    """A path as it can be printed and drawn: what is no character, such as a byte that is no UTF-8, becomes a sign."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(path))


def image_files(paths: Sequence[str]) -> list[Path]:
    """The image files among `paths`; a folder stands for all images under it, sorted."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = images.images_in(path)
            if not found:
                raise ValueError(f"no image ({', '.join(images.SUFFIXES)}) in the folder {path}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    return files


def read_image(file: Path, channels: int = 3) -> np.ndarray:
    """An image file as (H, W, channels) uint8; the first frame of an animation."""
    content = file.read_bytes()
    try:
        return tf.io.decode_image(content, channels=channels, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise ValueError(f"{file} is not a readable PNG, JPEG, BMP or GIF image. {images.fault(content)}") from error


def read_model(path: str) -> keras.Model:
    """A saved `.keras` model."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such model file: {path}")
    if Path(path).suffix != ".keras":
        raise ValueError(f"{path} is not a .keras file; save the model with model.save('name.keras')")
    try:
        return keras.saving.load_model(path)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is not a Keras model: {error}") from error


def read_array(path: str) -> np.ndarray:
    """A `.npy` array, read from disk only where it is used."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
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


def writable(path: str, suffixes: Sequence[str]) -> Path:
    """A path to write to: its suffix is known, one can write there, and its folder is made if need be."""
    file = Path(path)
    if file.suffix.lower() not in suffixes:
        raise ValueError(f"--out {path}: the name must end in {' or '.join(suffixes)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir() or not os.access(file.parent, os.W_OK | os.X_OK):
        raise ValueError(f"--out {path}: one can't write a file there")
    return file
