"""Going back to before the last accepted selection: the pool's books, the weights and the optimizer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_aug_ssl.self_training.books.backup import numbered, unnumbered
from keras_aug_ssl.self_training.books.books import Books
from keras_aug_ssl.self_training.books.ledger import ROLLED_BACK
from keras_aug_ssl.teaching.teachers import set_training_state, training_state


class Rewinder:
    """Holds the point to go back to: how things were when the last accepted selection began."""

    def __init__(self) -> None:
        self._books: Books | None = None
        self._values: list[np.ndarray] = []
        self._staged: tuple[Books, list[np.ndarray]] | None = None

    def stage(self, books: Books, model: keras.Model) -> None:
        """Notes how things are before a selection that may or may not be accepted."""
        self._staged = books.copy(), training_state(model)

    def commit(self) -> None:
        """Makes the noted state the point to go back to: the selection was accepted."""
        if self._staged is not None:
            (self._books, self._values), self._staged = self._staged, None

    def rewind(self, model: keras.Model, books: Books) -> Books:
        """Puts model and optimizer back and returns the books of that time; without a point all stays as it is.

        Args:
            model: what is trained.
            books: as they are now, to note which rows are rolled back.
        """
        self._staged = None
        if self._books is None:
            return books
        set_training_state(model, self._values)
        earlier = self._books.copy()
        lost = books.ledger.selected & ~earlier.ledger.selected
        earlier.ledger.label[lost] = books.ledger.label[lost]
        earlier.ledger.entered[lost] = books.ledger.entered[lost]
        earlier.ledger.left[lost], earlier.ledger.reason[lost] = books.round + 1, ROLLED_BACK
        return earlier

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the large part, to be saved."""
        if self._books is None:
            return {}
        return self._books.arrays() | numbered("model", self._values)

    def numbers(self) -> dict[str, Any] | None:
        """Returns the small part, as JSON takes it."""
        return None if self._books is None else self._books.numbers()

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], numbers: dict[str, Any] | None) -> Rewinder:
        """Makes a rewinder of what was saved, its arrays under `rewind/`."""
        rewinder = cls()
        if numbers is not None:
            own = {name.removeprefix("rewind/"): value for name, value in arrays.items() if name.startswith("rewind/")}
            rewinder._books = Books.restored(own, numbers)
            rewinder._values = unnumbered("model", own)
        return rewinder
