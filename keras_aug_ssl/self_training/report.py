"""The audit of a pool: one row of a table for each unlabeled example, to look at, filter and export."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_aug_ssl.meaning.heads import BINARY, CLASSES
from keras_aug_ssl.meaning.labels import class_numbers
from keras_aug_ssl.self_training.books.ledger import NEVER, NO_LABEL, REASONS, Ledger
from keras_aug_ssl.self_training.feeding.labeled import Labeled
from keras_aug_ssl.self_training.labelling.labeller import Labeller
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.teaching.class_mix import ClassMix
from keras_aug_ssl.writing import replacing

ESCAPED = "backslashreplace"  # the name of a file need not be UTF-8, as what is written here has to be


class Table:
    """Columns of one length, by name.

    Attributes:
        columns: names, in order: `id` (position or file), `label` (what it is learned with, or was last: the class, -1
            never; for regression the number or numbers, for several labels all of them, NaN never), `selected` (in
            use), `confidence` and `uncertainty` (when last scored), `weight`, `round_entered` and `round_left` (-1
            never), `reason`.

    Labels are those of `y`: where that came from class names by `names, y = np.unique(y, return_inverse=True)`,
    `names[table["label"]]` are the names of labeled rows. In exports several labels or numbers become columns
    `label_0`, `label_1` and so on.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> table = kas.SelfTraining(np.zeros((3, 2), "float32")).table()
        >>> len(table), table[0]["reason"]
        (3, 'not selected')
        >>> table["label"]
        array([-1, -1, -1], dtype=int32)
    """

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self._values = values
        self.columns = list(values)

    def __len__(self) -> int:
        return len(next(iter(self._values.values())))

    def __getitem__(self, key: str | int) -> Any:
        """Returns a column by name, or a row, as a dict, by position."""
        if isinstance(key, str):
            return self._values[key]
        return {name: column[key].tolist() for name, column in self._values.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        return f"Table of {len(self)} rows: {', '.join(self.columns)}"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes a file with a line of names and a line for each row."""
        with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8", errors=ESCAPED) as stream:
            writer = csv.writer(stream)
            flat = self._flat()
            writer.writerow(flat)
            writer.writerows(zip(*(column.tolist() for column in flat.values()), strict=True))

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Writes a Parquet file.

        Raises:
            ImportError: without pyarrow.
        """
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise ImportError("Table.to_parquet needs pyarrow: pip install pyarrow") from error
        table = pyarrow.table({name: pyarrow.array(_in_utf_8(column)) for name, column in self._flat().items()})
        with replacing(path) as draft:
            parquet.write_table(table, draft)

    def to_pandas(self) -> Any:
        """Returns a `pandas.DataFrame`.

        Raises:
            ImportError: without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError('Table.to_pandas needs pandas: pip install "keras_aug_ssl[notebooks]"') from error
        return pandas.DataFrame(self._flat())

    def _flat(self) -> dict[str, np.ndarray]:
        """Columns of one value a row."""
        flat: dict[str, np.ndarray] = {}
        for name, column in self._values.items():
            parts = {name: column} if column.ndim == 1 else {f"{name}_{i}": part for i, part in enumerate(column.T)}
            flat |= parts
        return flat


def _in_utf_8(column: np.ndarray) -> Any:
    return [text.encode(errors=ESCAPED).decode() for text in column] if column.dtype.kind == "U" else column


def table_of(pool: UnlabeledPool, ledger: Ledger) -> Table:
    """Returns the table of a pool's books as they are."""
    return Table(
        {
            "id": np.array([pool.name(row) for row in range(len(pool))]),
            "label": ledger.label[:, 0].copy() if ledger.label.shape[1:] == (1,) else ledger.label.copy(),
            "selected": ledger.selected,
            "confidence": ledger.confidence.copy(),
            "uncertainty": ledger.uncertainty.copy(),
            "weight": ledger.weight.copy(),
            "round_entered": ledger.entered.copy(),
            "round_left": ledger.left.copy(),
            "reason": np.array(REASONS)[ledger.reason],
        }
    )


class Outcome:
    """What a run reports about its rows, in scikit-learn's names; the labeled rows come first, then the pool's."""

    _labeller: Labeller

    def _labeled(self) -> Labeled:
        """The labeled rows."""
        raise NotImplementedError

    @property
    def n_iter_(self) -> int:
        """Number of selections."""
        return self._labeller.books.round

    @property
    def transduction_(self) -> np.ndarray:
        """(N,) label of every row, -1 for none; (N, K) with NaN for several labels and for regression."""
        y, books = self._labeled().y, self._labeller.books
        self._labeller.check_used()
        if self._labeller.outputs.kind in (CLASSES, BINARY):
            return np.concatenate(
                [
                    class_numbers(y, self._labeller.outputs.signed),
                    np.where(books.ledger.selected, books.ledger.label, NO_LABEL),
                ]
            )
        pseudo = np.full((books.ledger.size, *y.shape[1:]), np.nan, np.float32)
        pseudo[books.selected.rows] = books.selected.targets.reshape(-1, *y.shape[1:])
        return np.concatenate([y.astype(np.float32), pseudo])

    @property
    def labeled_iter_(self) -> np.ndarray:
        """(N,) selection in which each row got its label: 0 for labeled rows, -1 for rows without."""
        ledger = self._labeller.books.ledger
        entered = np.where(ledger.selected, ledger.entered, NEVER)
        return np.concatenate([np.zeros(len(self._labeled()), np.int64), entered])

    @property
    def class_mix_(self) -> ClassMix | None:
        """What is believed of the pool's class mix, and how far; None where it is given, or before the first round."""
        return self._labeller.books.class_mix

    @property
    def termination_condition_(self) -> str:
        """Why selecting ended: `"all_labeled"`, `"no_change"` or `"max_iter"`."""
        books = self._labeller.books
        if books.ledger.selected.all():
            return "all_labeled"
        return "no_change" if books.round and not books.change.anything else "max_iter"

    def table(self) -> Table:
        """Returns one row for each example of the pool: its label, how sure, when it came in or left, and why."""
        return table_of(self._labeller.pool, self._labeller.books.ledger)
