"""The examples without labels, wherever they are kept."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.self_training.files import IMAGE_SUFFIXES, DatasetSource, image_source, record_source
from keras_aug_ssl.self_training.sources import ArraySource, Source, describe

OWNER = "UnlabeledPool"


class UnlabeledPool:
    """Examples without labels that self-training chooses from. Those on disk are never all in memory.

    | `x` | read from |
    |---|---|
    | an array, or a dict or tuple of arrays (several inputs) | memory, or the file of a memory map |
    | a path to a `.npy` file, or a dict of such paths | the file |
    | a folder, a list of image files, or a pattern such as `"photos/*.jpg"` | the files; a folder with its subfolders |
    | a `.tfrecord` file, a list of them or a pattern | the shards, uncompressed |
    | a `tf.data.Dataset` of single examples | a temporary file it is written to once |

    Args:
        x: see above.
        decode: from the bytes of an image file or a record, a scalar string tensor, to one example, in TensorFlow
            operations. Needed for TFRecords; for images None gives uint8 of the size they have.

    Raises:
        ValueError: the pool is empty, or its arrays differ in length, or its examples in shape.

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
        return ArraySource(OWNER, {name: _memory_map(Path(part)) for name, part in x.items()})
    if isinstance(x, (str, Path)) or (isinstance(x, (list, tuple)) and x and isinstance(x[0], (str, Path))):
        return _file_source(x, decode)
    return ArraySource(OWNER, x)


def _file_source(x: Any, decode: Callable[[tf.Tensor], Any] | None) -> Source:
    files = _files(x)
    if not files:
        checks.fail(OWNER, "x", "a path, pattern or folder with files in it", x)
    if len(files) == 1 and files[0].suffix == ".npy":
        return ArraySource(OWNER, _memory_map(files[0]))
    if all(".tfrecord" in path.name for path in files):
        return record_source(OWNER, files, decode)
    if decode is not None or all(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return image_source(OWNER, files, decode)
    checks.fail(
        OWNER, "x", "one .npy file, .tfrecord files, or images", [path.name for path in files[:3]],
        "For other files pass decode=, from a file's bytes to an example.",
    )  # fmt: skip


def _files(x: Any) -> list[Path]:
    if isinstance(x, (list, tuple)):
        found = [Path(part) for part in x]
    elif Path(x).is_dir():
        found = sorted(path for path in Path(x).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    else:
        found = [Path(x)] if Path(x).exists() else sorted(Path(path) for path in glob.glob(str(x), recursive=True))
    for path in found:
        if not path.is_file():
            checks.fail(OWNER, "x", "a list of files that exist", path.as_posix())
    return found


def _memory_map(path: Path) -> np.ndarray:
    if path.suffix != ".npy" or not path.is_file():
        checks.fail(OWNER, "x", "a .npy file that exists", path.as_posix())
    return np.load(path, mmap_mode="r")
