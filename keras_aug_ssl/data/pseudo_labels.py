"""Pseudo-labels that were written to a folder, read back as a training set beside the features they are of."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.data.parquet import ParquetRows, parquet_files

OWNER = "kas.data.pseudo_labelled"
MANIFEST = "manifest.json"
"""Written last: a folder without it is no whole result."""

BLOCK = 2**12
"""Rows whose features are read at once."""


def pseudo_labelled(
    path: Any, x: Any, *, columns: Sequence[str] | None = None, id: str | None = None, seed: int | None = None
) -> tf.data.Dataset:
    """Reads the selected rows of a result of `kas.scale.pseudo_label`, joined by id to their features.

    Labels and features are read part by part, so neither need fit into memory. The rows come in the order of the pool,
    or, with `seed`, in a new order in each pass: blocks of some thousand rows are shuffled, and the rows in each; for a
    finer mix of large pools shuffle the data set further.

    | `x` | joined by |
    |---|---|
    | an array, a memory map, or a dict or tuple of them | the position of the row |
    | a `kas.UnlabeledPool`, or anything with `len`, `take(rows)` and `name(row)` | the name of the row there |
    | a `.parquet` file, a list of them, or a folder of them | position, or the column `id` |

    Args:
        path: the folder of the result.
        x: the features, see above. They may be other ones than were labeled, such as larger images.
        columns: of Parquet files, the features; None takes all but `id`.
        id: of Parquet files, the column whose values the result knows the rows by. Rows are sought in the order of the
            result, so it must be that of the files.
        seed: int >= 0 of the order; None keeps that of the pool.

    Returns:
        A `tf.data.Dataset` of known length of single `(x, label, weight)`, to be batched for `fit` and as the labeled
        part of `kas.data.labeled_unlabeled`; labels are int32 classes, or float32 numbers or several labels.

    Raises:
        ValueError: there is no whole result, no row is selected, or a selected row has no features.

    Example:
        >>> import numpy as np
        >>> import keras
        >>> import keras_aug_ssl as kas
        >>> x = np.random.default_rng(0).random((100, 4)).astype("float32")
        >>> np.save("pool.npy", x)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
        >>> model.save("model.keras")
        >>> result = kas.scale.pseudo_label("model.keras", "pool.npy", "labels", kas.rules.TopK(5, per_class=False),
        ...     engine=kas.scale.InProcess())
        >>> dataset = kas.data.pseudo_labelled("labels", x)
        >>> len(dataset), dataset.element_spec[0].shape
        (5, TensorShape([4]))
    """
    folder = Path(path)
    manifest = read_manifest(OWNER, folder, "path")
    if not manifest["selected"]:
        checks.fail(OWNER, "path", "a result with selected rows", folder.as_posix(), "Select with a lower level.")
    if seed is not None:
        seed = checks.integer(OWNER, "seed", seed, 0)
    read = functools.partial(_blocks, folder, manifest["parts"], _features(x, columns, id))
    first, passes = next(read(None)), itertools.count()

    def blocks() -> Iterator[Any]:
        yield from read(None if seed is None else (seed, next(passes)))

    specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), first)
    dataset = tf.data.Dataset.from_generator(blocks, output_signature=specs).unbatch()
    return dataset.apply(tf.data.experimental.assert_cardinality(manifest["selected"])).prefetch(tf.data.AUTOTUNE)


def read_manifest(owner: str, folder: Path, name: str) -> dict[str, Any]:
    """Reads what a whole result says of itself.

    Args:
        owner: the function a user called, for the error.
        folder: the result.
        name: the argument it came as.

    Raises:
        ValueError: there is none, or a part of it is missing.
    """
    expected = "a folder with the whole result of kas.scale.pseudo_label"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        missing = [part["file"] for part in manifest["parts"] if not (folder / part["file"]).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        checks.fail(owner, name, expected, folder.as_posix(), f"It has no readable {MANIFEST}.")
    if missing:
        checks.fail(owner, name, expected, folder.as_posix(), f"{missing[0]} is missing.")
    return manifest


class _Arrays:
    """Features whose rows are known by their positions."""

    def __init__(self, x: Any) -> None:
        self._arrays = keras.tree.map_structure(np.asanyarray, x)

    def at(self, rows: np.ndarray, ids: np.ndarray) -> Any:
        """Reads rows by their positions when they were labeled, and by their ids."""
        size = min(len(part) for part in keras.tree.flatten(self._arrays))
        if ids.dtype.kind not in "iu" or ids.max() >= size:
            checks.fail(
                OWNER, "x", "features of the rows that were labeled", f"{size} rows, and none with the id {ids[-1]!r}",
                "Where ids are names, pass the kas.UnlabeledPool of the files.",
            )  # fmt: skip
        return keras.tree.map_structure(lambda part: np.asarray(part[ids]), self._arrays)


class _Pool:
    """Features whose rows have names."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def at(self, rows: np.ndarray, ids: np.ndarray) -> Any:
        """As for arrays; where files came or went since, the rows are sought by name."""
        unmoved = rows[-1] < len(self._pool) and all(
            self._pool.name(row) == name for row, name in zip(rows.tolist(), ids.tolist(), strict=True)
        )
        return self._pool.take(rows if unmoved else self._sought(ids))

    def _sought(self, ids: np.ndarray) -> np.ndarray:
        missing = [name for name in ids.tolist() if name not in self._places]
        if missing:
            checks.fail(OWNER, "x", "a pool that has the rows that were labeled", f"none with the id {missing[0]!r}")
        return np.array([self._places[name] for name in ids.tolist()])

    @functools.cached_property
    def _places(self) -> dict[Any, int]:
        return {self._pool.name(row): row for row in range(len(self._pool))}


class _Parquet:
    """Features of Parquet files, in the order they were labeled in."""

    def __init__(self, rows: ParquetRows) -> None:
        self._rows = rows

    def at(self, rows: np.ndarray, ids: np.ndarray) -> Any:
        """As for arrays; the rows between are read too."""
        first, stop = int(rows[0]), int(rows[-1]) + 1
        if stop > len(self._rows) or not np.array_equal(self._rows.ids(first, stop)[rows - first], ids):
            checks.fail(
                OWNER, "id", "the column whose values the result knows the rows by, in the order of the result",
                f"rows {first} to {stop - 1} with other ids than {ids[0]!r} to {ids[-1]!r}",
            )  # fmt: skip
        return np.concatenate(list(self._rows.read(first, stop, BLOCK)))[rows - first]


def _features(x: Any, columns: Sequence[str] | None, id: str | None) -> Any:
    files = parquet_files(x)
    if files is not None:
        return _Parquet(ParquetRows(OWNER, files, columns, id))
    if columns is not None or id is not None:
        checks.fail(OWNER, "id" if columns is None else "columns", "None beside features without columns", x)
    if isinstance(x, (str, Path)):
        checks.fail(OWNER, "x", "arrays, a pool, or Parquet files", x, "Pass kas.UnlabeledPool(path).")
    return _Pool(x) if hasattr(x, "take") and hasattr(x, "name") and not hasattr(x, "dtype") else _Arrays(x)


def _blocks(folder: Path, parts: Sequence[dict[str, Any]], features: Any, order: Any) -> Iterator[Any]:
    """Yields `(x, label, weight)` of at most `BLOCK` selected rows at a time; in an order, or that of the pool."""
    places = [(part, start) for part in parts for start in range(0, part["selected"], BLOCK)]
    random = None if order is None else np.random.default_rng(order)
    if random is not None:
        places = [places[number] for number in random.permutation(len(places))]
    for part, start in places:
        rows, ids, label, weight = (column[start : start + BLOCK] for column in _selected(folder, part))
        x = features.at(rows, ids)
        index = np.arange(len(rows)) if random is None else random.permutation(len(rows))
        yield keras.tree.map_structure(lambda each: each[index], x), label[index], weight[index]  # noqa: B023


def _selected(folder: Path, part: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """(N,) position, id, label and weight of the selected rows of a part."""
    parquet = checks.optional_package(OWNER, "pyarrow.parquet", "ray")
    try:
        table = parquet.read_table(folder / part["file"])
    except (OSError, ValueError) as error:
        checks.fail(OWNER, "path", "a result as it was written", part["file"], f"It can't be read: {error}")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    rows = np.flatnonzero(columns["selected"])
    several = [values for name, values in columns.items() if name.startswith("label_")]
    label = np.stack(several, axis=1) if several else columns["label"]
    return part["first"] + rows, columns["id"][rows], label[rows], columns["weight"][rows]
