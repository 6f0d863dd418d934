"""The examples without labels, wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.self_training.sources import ArraySource, Source, describe


class UnlabeledPool:
    """Examples without labels that self-training chooses from.

    Args:
        x: (N, ...) array, or a dict or tuple of such arrays for a model with several inputs.

    Raises:
        ValueError: the pool is empty, or its arrays differ in length.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> pool = kas.UnlabeledPool(np.zeros((100, 28, 28, 1), "float32"))
        >>> len(pool)
        100
    """

    def __init__(self, x: Any) -> None:
        self._source: Source = ArraySource("UnlabeledPool", x)
        if not len(self._source):
            checks.fail("UnlabeledPool", "x", "at least one example", x, "There is nothing to choose from.")
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
        """Returns what a person knows the row by: its position, or its file."""
        return self._source.name(row)
