"""Where the rows of a pool come from: something with a length, read in blocks in order, or row by row in any order."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_aug_ssl import checks

READ_WHOLE, SAMPLED = 2**26, 512
"""Of arrays of more bytes, and of pools of files, so many rows, evenly from all, stand for the others in a digest."""

RELEASE_EVERY = 2**24
"""Bytes of a memory map that are read before its pages are given back, which costs as much as reading a few."""


class Blocks(Protocol):
    """Rows that can be read in order. They are structures of arrays: one array, or a dict or tuple of arrays."""

    def __len__(self) -> int:
        """Number of rows."""

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields all rows in order, at most `size` at a time."""


class Source(Blocks, Protocol):
    """What a pool reads from."""

    def take(self, rows: np.ndarray) -> Any:
        """Returns the given rows, in that order."""

    def name(self, row: int) -> Any:
        """Returns what a person knows the row by."""

    def fingerprint(self) -> Any:
        """Returns what tells these rows from others, as JSON takes it."""


class ArraySource:
    """Rows of arrays in memory or memory-mapped, all of one length.

    Pages of a memory map that were read are given back at once; else a pass over a large file would fill the memory.

    Args:
        owner: the class a user called, for errors.
        x: an array, or a dict, tuple or list of arrays; lists become tuples.
        name: the argument it came as.
    """

    def __init__(self, owner: str, x: Any, name: str = "x") -> None:
        self.arrays = keras.tree.map_structure(_as_array, _as_structure(x))
        leaves = keras.tree.flatten(self.arrays)
        if not leaves or any(leaf.ndim < 1 for leaf in leaves):
            checks.fail(owner, name, "an array, or a dict or tuple of arrays, whose first axis is the example", x)
        if any(leaf.dtype.kind in "OSU" for leaf in leaves):
            checks.fail(
                owner, name, "an array of numbers", [str(leaf.dtype) for leaf in leaves],
                "For files pass a list of their paths.", error=TypeError,
            )  # fmt: skip
        if len({len(leaf) for leaf in leaves}) > 1:
            checks.fail(owner, name, "arrays of one length", [leaf.shape for leaf in leaves])
        self._maps = [leaf for leaf in leaves if isinstance(leaf, np.memmap)]
        self._row_bytes = sum(leaf.nbytes for leaf in self._maps) // max(1, len(leaves[0]))

    def __len__(self) -> int:
        return len(keras.tree.flatten(self.arrays)[0])

    def take(self, rows: np.ndarray) -> Any:
        """Copies the given rows out of each array."""
        taken = keras.tree.map_structure(lambda leaf: np.asarray(leaf[rows]), self.arrays)
        self._release()
        return taken

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields views."""
        for start in range(0, len(self), size):
            yield keras.tree.map_structure(lambda leaf: leaf[start : start + size], self.arrays)  # noqa: B023
            read = (start + size) * self._row_bytes
            if read // RELEASE_EVERY > start * self._row_bytes // RELEASE_EVERY:
                self._release()
        self._release()

    def name(self, row: int) -> int:
        """Returns the position."""
        return int(row)

    def fingerprint(self) -> Any:
        """Returns digests of the arrays, in their order."""
        found = [digest_of_array(leaf) for leaf in keras.tree.flatten(self.arrays)]
        self._release()
        return found

    def _release(self) -> None:
        for leaf in self._maps:
            pages = getattr(leaf, "_mmap", None)
            # Not a private map ("c"): there the pages hold the only copy of what was written to them.
            if pages is not None and leaf.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)


def _as_structure(x: Any) -> Any:
    """`x` with tuples for lists of arrays, as several inputs may be passed to Keras and not be yielded to it."""
    if isinstance(x, Mapping):
        return {name: _as_structure(part) for name, part in x.items()}
    if not isinstance(x, (list, tuple)):
        return x
    if all(isinstance(leaf, (int, float, np.number)) for leaf in keras.tree.flatten(x)):
        return np.asarray(x) if len(x) else x  # rows written as lists of numbers
    return tuple(_as_structure(part) for part in x)


def _as_array(leaf: Any) -> np.ndarray:
    return leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)


def digest_of_array(array: np.ndarray) -> list[Any]:
    """Type, shape and content; of a large array, some rows."""
    rows = array if array.nbytes <= READ_WHOLE else array[sampled(len(array))]
    return [str(array.dtype), list(array.shape), digest(rows.tobytes())]


def sampled(size: int) -> np.ndarray:
    """(M,) rows that stand for `size` ones: all, or evenly spaced ones with the first and the last."""
    return np.unique(np.linspace(0, size - 1, min(size, SAMPLED)).astype(np.int64))


def digest(content: bytes) -> str:
    """A short text that other content doesn't have."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def memory_map(owner: str, path: Path) -> np.ndarray:
    """Returns the array of a `.npy` file, read from disk only where it is used.

    Raises:
        ValueError: there is no such file, or it isn't whole, or holds no numbers.
    """
    if path.suffix != ".npy" or not path.is_file():
        checks.fail(owner, "x", "a .npy file that exists", path.as_posix())
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        reason = f"It can't be read: {str(error).rstrip('.')}." if path.stat().st_size else "The file is empty."
        checks.fail(owner, "x", "a whole .npy file of numbers", path.as_posix(), reason)


def describe(x: Any) -> Any:
    """The structure of `x` with (shape without the first axis, dtype) for each array, to compare and to print."""
    if isinstance(x, Mapping):
        return {name: describe(part) for name, part in x.items()}
    if isinstance(x, (tuple, list)):
        return tuple(describe(part) for part in x)
    return tuple(x.shape[1:]), str(x.dtype)


class Subset:
    """Some rows of a source, rising."""

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields the rows in order."""
        for start in range(0, len(self._rows), size):
            yield self._source.take(self._rows[start : start + size])


class Joined:
    """The rows of one source after those of another."""

    def __init__(self, first: Blocks, second: Blocks) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def blocks(self, size: int) -> Iterator[Any]:
        """Yields the blocks of the first, then those of the second."""
        yield from self._first.blocks(size)
        yield from self._second.blocks(size)
