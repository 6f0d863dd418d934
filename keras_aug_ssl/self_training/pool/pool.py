"""The examples without labels, wherever they are kept."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.data import images
from keras_aug_ssl.self_training.pool.files import DatasetSource, image_source, record_source
from keras_aug_ssl.self_training.pool.sources import ArraySource, Source, describe, memory_map

OWNER = "UnlabeledPool"


class UnlabeledPool:
    """Examples without labels that self-training chooses from. Those on disk are never all in memory.

    | `x` | read from |
    |---|---|
    | an array, or a dict, tuple or list of arrays (several inputs) | memory, or the file of a memory map |
    | a path to a `.npy` file, or a dict of such paths | the file |
    | a folder, a list of image files, or a pattern such as `"photos/*.jpg"` | the files; a folder with its subfolders |
    | a `.tfrecord` file, a list of them or a pattern | the shards, uncompressed |
    | a finite `tf.data.Dataset` of examples or batches | a temporary file it is written to once |

    Rows with NaN or infinity are never labeled.

    Args:
        x: see above.
        decode: from the bytes of an image file or a record, a scalar string tensor, to one example, in TensorFlow
            operations. Needed for TFRecords; for images None gives uint8 of the size they have, unturned by what a
            camera noted in it (EXIF). In a folder it is given images of every kind, without it PNG, JPEG, BMP and GIF.

    Raises:
        ValueError: the pool is empty, or its arrays differ in length, or its examples in shape; a data set has no end,
            or doesn't show whether its elements are examples or batches.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> pool = kas.UnlabeledPool(np.zeros((100, 28, 28, 1), "float32"))
        >>> len(pool)
        100
    """

    def __init__(self, x: Any, decode: Callable[[tf.Tensor], Any] | None = None) -> None:
        self._source = _source(x, decode)
        if not len(self._source):
            checks.fail(OWNER, "x", "at least one example", x, "There is nothing to choose from.")
        self.spec = describe(self._source.take(np.zeros(1, np.int64)))

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"UnlabeledPool of {len(self):,} examples of {_told(self.spec)}"

    def take(self, rows: Any) -> Any:
        """Returns rows by position, as arrays in the structure of `x`."""
        return self._source.take(np.asarray(rows, np.int64))

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields all rows in order, `size` at a time; the last block may be shorter."""
        return self._source.blocks(size)

    def name(self, row: int) -> Any:
        """Returns what a person knows the row by: its position, its file, or its shard and place there."""
        return self._source.name(row)

    def fingerprint(self) -> Any:
        """Returns what tells these examples from others, as JSON takes it; of many or large ones, from a sample."""
        return [len(self), self._source.fingerprint()]


def _source(x: Any, decode: Callable[[tf.Tensor], Any] | None) -> Source:
    if isinstance(x, tf.data.Dataset):
        return DatasetSource(OWNER, x)
    if isinstance(x, Mapping) and all(isinstance(part, (str, Path)) for part in x.values()):
        return ArraySource(OWNER, {name: memory_map(OWNER, Path(part)) for name, part in x.items()})
    if isinstance(x, (list, tuple)) and not x:
        checks.fail(OWNER, "x", "at least one example", x, "There is nothing to choose from.")
    if isinstance(x, (str, Path)) or (isinstance(x, (list, tuple)) and isinstance(x[0], (str, Path))):
        return _file_source(x, decode)
    return ArraySource(OWNER, x)


def _file_source(x: Any, decode: Callable[[tf.Tensor], Any] | None) -> Source:
    files = files_of(x, decode)
    if not files:
        checks.fail(OWNER, "x", f"a path, pattern or folder with files ({', '.join(images.SUFFIXES)}) in it", x)
    if len(files) == 1 and files[0].suffix == ".npy":
        return ArraySource(OWNER, memory_map(OWNER, files[0]))
    if all(".tfrecord" in path.name for path in files):
        return record_source(OWNER, files, decode)
    if decode is not None or all(path.suffix.lower() in images.SUFFIXES for path in files):
        return image_source(OWNER, files, decode)
    checks.fail(
        OWNER, "x", "one .npy file, .tfrecord files, or images", [path.name for path in files[:3]],
        "For other files pass decode=, from a file's bytes to an example.",
    )  # fmt: skip


def files_of(x: Any, decode: Any) -> list[Path]:
    """The files that a path, a pattern, a folder of images or a list of paths names, in the order of the pool."""
    if isinstance(x, (list, tuple)):
        found = [Path(part) for part in x]
    elif Path(x).is_dir():
        found = _images_in(Path(x), decode)
    else:
        found = [Path(x)] if Path(x).exists() else _matching(Path(x))
    for path in found:
        if not path.is_file():
            checks.fail(OWNER, "x", "a list of files that exist", path.as_posix())
    return found


def _images_in(folder: Path, decode: Any) -> list[Path]:
    others = images.images_in(folder, images.UNREADABLE)
    if decode is not None:
        return sorted([*images.images_in(folder), *others])
    found = images.images_in(folder)
    if others and not found:
        checks.fail(
            OWNER, "x", "a folder of PNG, JPEG, BMP or GIF images", others[0].as_posix(),
            "For others pass decode=, from a file's bytes to an image.",
        )  # fmt: skip
    if others:
        warnings.warn(
            f"{OWNER}: {len(others)} of {len(found) + len(others)} images in {folder.as_posix()!r} are left out, such "
            f"as {others[0].name!r}: they are no PNG, JPEG, BMP or GIF. To read them pass decode=.",
            stacklevel=5,
        )
    return found


def _matching(pattern: Path) -> list[Path]:
    """Files that match; a folder of that very name counts first, since brackets in it would be a pattern too."""
    if pattern.parent.is_dir():
        pattern = Path(glob.escape(str(pattern.parent))) / pattern.name
    return sorted(Path(path) for path in glob.glob(str(pattern), recursive=True))


def _told(spec: Any) -> str:
    """What `describe` found, as it is read: "(28, 28, 1) uint8"."""
    if isinstance(spec, Mapping):
        return ", ".join(f"{name!r}: {_told(part)}" for name, part in spec.items())
    shape, dtype = (*spec, None)[:2]
    return f"{shape} {dtype}" if isinstance(dtype, str) else " and ".join(map(_told, spec))
