"""Saving the state of a run so that being killed at any moment, also while saving, loses nothing.

A state is a directory named by its epoch. It is written beside its place, flushed to the disk, and renamed into it,
which happens at once or not at all; the state before is removed only afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KEPT = 2
"""States kept: another callback's backup may be one epoch behind."""

_NAME = re.compile(r"epoch-(\d+)$")


class State(NamedTuple):
    """A saved state.

    Attributes:
        epoch: number of finished epochs.
        facts: what JSON holds.
        arrays: everything else.
    """

    epoch: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Backup:
    """States of one run in one directory.

    Args:
        directory: made when the first state is saved; one for each run.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def save(self, epoch: int, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Saves the state after `epoch` finished epochs, and removes all but the last ones."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        draft, place = self.directory / f"writing-{epoch:06d}", self._place(epoch)
        draft.mkdir()
        np.savez(draft / "arrays.npz", allow_pickle=False, **arrays)
        (draft / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        for path in (*draft.iterdir(), draft):
            _flush(path)
        if place.exists():  # an epoch that is trained again after a resume, with the same result
            self._discard(place)
        os.replace(draft, place)
        _flush(self.directory)
        for old in self.epochs()[:-KEPT]:
            self._discard(self._place(old))
        self._sweep()

    def epochs(self) -> list[int]:
        """Returns the epochs of all states, rising."""
        found = [_NAME.match(path.name) for path in self.directory.glob("epoch-*")]
        return sorted(int(match.group(1)) for match in found if match)

    def load(self, epoch: int) -> State:
        """Returns the state after `epoch` finished epochs."""
        place = self._place(epoch)
        facts = json.loads((place / "facts.json").read_text(encoding="utf-8"))
        with np.load(place / "arrays.npz") as stored:
            arrays = {name: stored[name] for name in stored.files}
        return State(epoch, facts, arrays)

    def clear(self) -> None:
        """Removes all states."""
        for epoch in self.epochs():
            self._discard(self._place(epoch))
        self._sweep()

    def _discard(self, place: Path) -> None:
        """Takes a state away at once; what is left of it is swept up later."""
        os.replace(place, place.with_name(f"removed-{place.name}"))

    def _sweep(self) -> None:
        for pattern in ("writing-*", "removed-*"):
            for path in self.directory.glob(pattern):
                shutil.rmtree(path)

    def _place(self, epoch: int) -> Path:
        return self.directory / f"epoch-{epoch:06d}"


def numbered(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a list of arrays as a dict of names."""
    return {f"{name}:{index}": array for index, array in enumerate(arrays)}


def unnumbered(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the list that `numbered` made names of, from among others."""
    count = sum(key.startswith(f"{name}:") for key in arrays)
    return [arrays[f"{name}:{index}"] for index in range(count)]


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows flushes no directories
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
