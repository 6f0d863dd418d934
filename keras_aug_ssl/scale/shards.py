"""A large pool cut into shards: each is read, scored and written by whoever takes it, and nobody holds all rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.data.parquet import ParquetRows, parquet_files
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool, files_of
from keras_aug_ssl.self_training.pool.sources import digest

OWNER = "kas.scale.Shards"

BLOCK = 2**12
"""Rows read at once where some are picked out."""

Files = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Shard:
    """Some rows in a sequence.

    Attributes:
        number: its place among the shards, from 0.
        first: position of its first row in the whole pool.
        rows: how many it has.
        files: what it is read from.
        start: position of its first row in these.
    """

    number: int
    first: int
    rows: int
    files: Files
    start: int


class Shards:
    """Rows on disk, to be labeled in parts.

    | `x` | shards |
    |---|---|
    | a `.parquet` file, a list of them, or a folder of them | whole row groups, until there are `rows` |
    | a `.tfrecord` file, a list of them, or a pattern | parts of a file |
    | a folder, list or pattern of images | so many files |
    | a `.npy` file | parts of it |

    Files are read where a shard is scored, so every machine must find them under the same path.

    Args:
        x: see above.
        decode: from the bytes of an image, of a record, or of a cell, to one example, as for `UnlabeledPool`.
        columns: names of the features in Parquet files; None takes all but `id`. Columns of numbers become one array
            (N, D) float32; a column of lists, of tensors or of bytes stands alone.
        id: name of the Parquet column that tells rows apart; None for their positions.
        rows: of a shard, about; >= 1. A killed worker loses no more than that.

    Raises:
        ValueError: there is nothing there, or a file isn't whole.
    """

    def __init__(
        self,
        x: Any,
        decode: Callable[[tf.Tensor], Any] | None = None,
        *,
        columns: Sequence[str] | None = None,
        id: str | None = None,
        rows: int = 2**14,
    ) -> None:
        self._open: tuple[Files, Any] | None = None
        self._decode, self._rows = decode, checks.integer(OWNER, "rows", rows, 1)
        found = parquet_files(x)
        self._parquet = None if found is None else functools.partial(_parquet, columns=columns, id_column=id)
        if self._parquet is None and (columns is not None or id is not None):
            checks.fail(OWNER, "columns" if columns is not None else "id", "None beside files without columns", x)
        if found is None and not _names_files(x):
            checks.fail(OWNER, "x", "a path, a pattern, or a list of paths", x, error=TypeError)
        files = [path.as_posix() for path in files_of(x, decode)] if found is None else found
        self.files: Files = tuple(files)
        if not files:
            checks.fail(OWNER, "x", "a path, pattern or folder with files in it", x)
        self._shards = list(self._cut())
        if not self._shards:
            checks.fail(OWNER, "x", "at least one example", x)

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)

    def __getitem__(self, number: int) -> Shard:
        return self._shards[number]

    @property
    def total(self) -> int:
        """Rows of all shards."""
        return self._shards[-1].first + self._shards[-1].rows

    def fingerprint(self) -> list[Any]:
        """Returns what tells these rows from others, by the names and sizes of the files, and how they are cut."""
        files = "".join(f"{file}\0{Path(file).stat().st_size}\0" for file in self.files)
        columns = None if self._parquet is None else self._parquet.keywords
        return [digest(files.encode(errors="surrogateescape")), self._rows, columns, self._decode]

    def open(self, shard: Shard) -> ShardRows:
        """Returns the rows of a shard."""
        return ShardRows(shard, self._source(shard.files))

    def _cut(self) -> Iterator[Shard]:
        if self._parquet is not None:
            yield from self._by_groups()
            return
        first = number = 0
        for files, rows in self._sources():
            for start in range(0, rows, self._rows):
                count = min(self._rows, rows - start)
                yield Shard(number, first, count, files, start)
                number, first = number + 1, first + count

    def _by_groups(self) -> Iterator[Shard]:
        """Whole row groups, since each is read, and unpacked, as a whole."""
        first = number = gathered = 0
        assert self._parquet is not None  # for the type checker: `_cut` saw to it
        groups = self._parquet(self.files, self._decode).groups
        for place, group in enumerate(groups):
            gathered += group.rows
            if gathered and (gathered >= self._rows or place == len(groups) - 1):
                yield Shard(number, first, gathered, self.files, first)
                number, first, gathered = number + 1, first + gathered, 0

    def _source(self, files: Files) -> Any:
        """A source, kept open for the next shard, since finding where records begin reads all of a file."""
        if self._open is None or self._open[0] != files:
            if self._parquet is not None:
                self._open = files, self._parquet(files, self._decode)
            else:
                self._open = files, UnlabeledPool(files[0] if files[0].endswith(".npy") else list(files), self._decode)
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out open files, for workers to open their own."""
        return vars(self) | {"_open": None}

    def _sources(self) -> Iterator[tuple[Files, int]]:
        """What an `UnlabeledPool` of its own is made of, and its rows."""
        if ".tfrecord" in Path(self.files[0]).name or self.files[0].endswith(".npy"):
            for file in self.files:
                if Path(file).stat().st_size:
                    yield (file,), len(self._source((file,)))
        else:
            for start in range(0, len(self.files), self._rows):
                files = self.files[start : start + self._rows]
                yield files, len(files)


class ShardRows:
    """The rows of one shard, as a pool has them."""

    def __init__(self, shard: Shard, source: Any) -> None:
        self._source, self._rows = source, range(shard.start, shard.start + shard.rows)

    def __len__(self) -> int:
        return len(self._rows)

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields the rows in order, at most `size` at a time."""
        if isinstance(self._source, ParquetRows):
            yield from self._source.read(self._rows.start, self._rows.stop, size)
            return
        for start in self._rows[::size]:
            yield self._source.take(np.arange(start, min(start + size, self._rows.stop)))

    def take(self, rows: np.ndarray) -> Any:
        """Returns rows, rising, by their positions in the shard; those before them are read too."""
        found, first = [], 0
        for x in self.blocks(BLOCK):
            here = rows[(rows >= first) & (rows < first + BLOCK)] - first
            found.append(keras.tree.map_structure(lambda part: part[here], x))  # noqa: B023
            first += BLOCK
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)

    def ids(self) -> np.ndarray:
        """Returns (N,) what each row is known by: position, file, place in a file, or value of a column."""
        if isinstance(self._source, ParquetRows):
            return self._source.ids(self._rows.start, self._rows.stop)
        return np.array([self._source.name(row) for row in self._rows])


def _parquet(files: Files, decode: Any, columns: Any, id_column: str | None) -> ParquetRows:
    return ParquetRows(OWNER, files, columns, id_column, decode)


def _names_files(x: Any) -> bool:
    parts = x if isinstance(x, (list, tuple)) else [x]
    return bool(parts) and all(isinstance(part, (str, Path)) for part in parts)
