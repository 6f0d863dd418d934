"""Rows of Parquet files, read in order, a row group at a time, so that files may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks

SUFFIX = ".parquet"


class Group(NamedTuple):
    """A row group: its file, its number there, the position of its first row among all, and how many it has."""

    file: str
    number: int
    first: int
    rows: int


class ParquetRows:
    """Features kept in Parquet files, and what each row is known by.

    Columns of numbers become (N, D) float32, in their order; one column of lists, or of tensors of a fixed shape, an
    array of its own type; one column of bytes is decoded.

    Args:
        owner: the class or function a user called, for errors.
        files: their paths; the rows are those of the first file, then those of the second, and so on.
        columns: names of the features; None takes all but `id_column`.
        id_column: name of the column that tells rows apart; None for their positions.
        decode: from the bytes of a cell, a scalar string tensor, to one example, in TensorFlow operations.
    """

    def __init__(
        self,
        owner: str,
        files: Sequence[str],
        columns: Sequence[str] | None = None,
        id_column: str | None = None,
        decode: Callable[[tf.Tensor], Any] | None = None,
    ) -> None:
        self._owner, self._decode, self._id_column = owner, decode, id_column
        self._parquet = checks.optional_package(owner, "pyarrow.parquet", "ray")
        self.groups: list[Group] = []
        names: list[str] | None = None
        for file in files:
            found = self._opened(file)
            names = found.schema_arrow.names if names is None else names
            for number in range(found.num_row_groups):
                first = self.groups[-1].first + self.groups[-1].rows if self.groups else 0
                self.groups.append(Group(file, number, first, found.metadata.row_group(number).num_rows))
        known = [name for name in names or [] if name != id_column]
        self._columns = known if columns is None else list(columns)
        missing = {*self._columns, *([id_column] if id_column else [])} - set(names or [])
        if missing or not self._columns:
            checks.fail(owner, "columns", f"columns of the files, {names}", sorted(missing))

    def __len__(self) -> int:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def read(self, first: int, stop: int, size: int) -> Iterator[np.ndarray]:
        """Yields the features of the rows from `first` to before `stop`, `size` at a time; the last may be fewer."""
        yield from _refilled(
            (self._converted(batch) for batch in self._batches(first, stop, size, self._columns)), size
        )

    def ids(self, first: int, stop: int) -> np.ndarray:
        """Returns (N,) what the rows are known by: their positions, or the values of their column."""
        if self._id_column is None:
            return np.arange(first, stop)
        batches = self._batches(first, stop, max(1, stop - first), [self._id_column])
        return np.concatenate([batch.column(0).to_numpy(zero_copy_only=False) for batch in batches])

    def _batches(self, first: int, stop: int, size: int, columns: list[str]) -> Iterator[Any]:
        for group in self.groups:
            place = group.first
            if place >= stop or place + group.rows <= first:
                continue
            batches = self._opened(group.file).iter_batches(size, row_groups=[group.number], columns=columns)
            for batch in self._named(group.file, batches):
                low, high = max(first - place, 0), min(stop - place, batch.num_rows)
                if low < high:
                    yield batch.slice(low, high - low)
                place += batch.num_rows

    def _opened(self, file: str) -> Any:
        return next(self._named(file, (self._parquet.ParquetFile(each) for each in [file])))

    def _named(self, file: str, reading: Iterator[Any]) -> Iterator[Any]:
        """What is read, with errors that say of which file."""
        try:
            yield from reading
        except (OSError, ValueError) as error:  # what pyarrow raises is one of them
            if isinstance(error, FileNotFoundError):
                raise
            checks.fail(self._owner, "x", "whole Parquet files", file, f"It can't be read: {error}")

    def _converted(self, batch: Any) -> np.ndarray:
        columns = [batch.column(name) for name in self._columns]
        if len(columns) == 1 and (special := self._special(columns[0])) is not None:
            return special
        try:
            found = [column.to_numpy(zero_copy_only=False).astype(np.float32) for column in columns]
        except (TypeError, ValueError):
            kinds = {name: str(column.type) for name, column in zip(self._columns, columns, strict=True)}
            checks.fail(
                self._owner, "columns", "columns of numbers, or one column of lists, tensors or bytes", kinds,
                "Name the features by columns=, and what tells rows apart by id=.",
            )  # fmt: skip
        return np.stack(found, axis=1)

    def _special(self, column: Any) -> np.ndarray | None:
        """(N, ...) features of a column whose cells are more than a number; None for numbers."""
        kind = str(column.type)
        if hasattr(column, "to_numpy_ndarray"):
            return column.to_numpy_ndarray()
        if kind.startswith(("list", "fixed_size_list", "large_list")):
            rows = column.to_numpy(zero_copy_only=False)
            if len({len(row) for row in rows}) > 1:
                checks.fail(self._owner, "columns", "a column of lists of one length", sorted({*map(len, rows)}))
            return np.stack(rows)
        if self._decode is None or "binary" not in kind:
            return None
        return np.stack([self._decode(tf.constant(cell)).numpy() for cell in column.to_pylist()])


def _refilled(batches: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in blocks of `size`, since those of a file end with each of its pages and groups."""
    kept: list[np.ndarray] = []
    for batch in batches:
        kept.append(batch)
        while sum(map(len, kept)) >= size:
            joined = np.concatenate(kept) if len(kept) > 1 else kept[0]
            yield joined[:size]
            kept = [joined[size:]]
    rest = [part for part in kept if len(part)]
    if rest:
        yield np.concatenate(rest)


def parquet_files(x: Any) -> list[str] | None:
    """The Parquet files that `x` names, a path, a folder or a list of paths; None where it names something else."""
    if isinstance(x, (str, os.PathLike)):
        path = Path(x)
        found = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    elif isinstance(x, (list, tuple)) and all(isinstance(part, (str, os.PathLike)) for part in x):
        found = [Path(part) for part in x]
    else:
        return None
    return [path.as_posix() for path in found] if found and all(path.suffix == SUFFIX for path in found) else None
