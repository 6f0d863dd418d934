"""Saving the state of a run so that being killed at any moment, also while saving, loses nothing.

A state is a directory named by its epoch: `arrays.npz`, and `facts.json` with the checksums of both. It is written
beside its place, flushed to the disk, and renamed into it, which happens at once or not at all; the state before is
removed only afterwards. If the newest state is damaged all the same, the one before is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from keras_aug_ssl import checks, writing

KEPT = 2
"""States kept: another callback's backup may be one epoch behind, and the newest may be damaged."""

ANEW = "To begin anew, remove its epoch-* folders."
ARRAYS, FACTS = "arrays.npz", "facts.json"
_NAME = re.compile(r"epoch-(\d{6,})")
_held: dict[Path, tuple[int | None, weakref.ref[Backup]]] = {}
"""Directory -> its lock and the backup that has it. Here and not there, since nobody tells a callback that its fit was
interrupted: the fit that goes on in the same process, with another backup, takes the lock over."""


class State(NamedTuple):
    """A saved state.

    Attributes:
        epoch: number of finished epochs.
        facts: what JSON holds.
        arrays: everything else.
        run: the identity of the run that saved it.
    """

    epoch: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    run: dict[str, str]


class Damaged(Exception):
    """A state that isn't as it was saved; the message says what is wrong."""


class Backup:
    """States of one run in one directory. Nothing else there is touched.

    Args:
        directory: made when the run begins; one for each run.
        owner: the class a user called, for errors.
    """

    def __init__(self, directory: str | os.PathLike[str], owner: str = "SelfTraining") -> None:
        self.directory, self._owner = Path(directory), owner
        self._run: dict[str, str] = {}
        self._began = False
        if self.directory.exists() and not self.directory.is_dir():
            self._refuse("a directory, or a place where one can be made", "")

    def begin(self, run: Mapping[str, str]) -> State | None:
        """Locks the directory for the run, and returns the newest whole state there; None when there is none yet.

        Args:
            run: what has to be the same when a run goes on: from a name a user understands to a digest.

        Raises:
            ValueError: another process uses the directory, no state in it is whole, or they are another run's.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock()
        writing.sweep(self.directory)
        self._run, self._began = dict(run), True
        strange = [path.name for path in self._named() if not _is_state(path)]
        if strange:
            self._refuse("a directory for the states of one run", f"{strange[0]!r} in it is no state. Choose another.")
        state = self._newest()
        if state is not None:
            self._check_same(state.run)
        return state

    def save(self, epoch: int, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Saves the state after `epoch` finished epochs, and removes all but it and the last before."""
        if self._began and _holder(self.directory.resolve()) is not self:
            self._refuse("a directory for one run", "Another fit in this process has begun to save its states there.")
        self.directory.mkdir(parents=True, exist_ok=True)
        place = self._place(epoch)
        with writing.drafting(self.directory, directory=True) as draft:
            np.savez(draft / ARRAYS, allow_pickle=False, **arrays)
            content = {
                "facts": facts,
                "run": self._run,
                "dtypes": {name: array.dtype.name for name, array in arrays.items() if array.dtype.kind == "V"},
                "arrays": _file_checksum(draft / ARRAYS),
            }
            text = json.dumps({"content": content, "checksum": _checksum(json.dumps(content).encode())})
            (draft / FACTS).write_text(text, encoding="utf-8")
            for path in (*draft.iterdir(), draft):
                writing.flush(path)
            _discard(place)  # an epoch that is trained again after a resume, with the same result
            os.replace(draft, place)
        writing.flush(self.directory)
        before = [old for old in self.epochs() if old <= epoch]
        for old in set(self.epochs()) - set(before[-KEPT:]):  # later ones are damaged, or will come again
            _discard(self._place(old))

    def epochs(self) -> list[int]:
        """Returns the epochs of all states, rising, be they whole or damaged."""
        return sorted(int(path.name.removeprefix("epoch-")) for path in self._named() if _is_state(path))

    def load(self, epoch: int) -> State:
        """Returns the state after `epoch` finished epochs.

        Raises:
            Damaged: it isn't as it was saved.
        """
        place = self._place(epoch)
        try:
            stored = json.loads((place / FACTS).read_bytes())
            content = stored["content"]
            whole = stored["checksum"] == _checksum(json.dumps(content).encode())
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Damaged(f"{FACTS} can't be read ({type(error).__name__})") from error
        if not whole:
            raise Damaged(f"{FACTS} has been changed")
        try:
            whole = content["arrays"] == _file_checksum(place / ARRAYS)
        except OSError as error:
            raise Damaged(f"{ARRAYS} can't be read ({type(error).__name__})") from error
        if not whole:
            raise Damaged(f"{ARRAYS} has been changed or cut off")
        with np.load(place / ARRAYS) as file:
            arrays = {name: file[name] for name in file.files}
        for name, dtype in content["dtypes"].items():  # NumPy reads bfloat16 and its like as bytes
            arrays[name] = arrays[name].view(getattr(ml_dtypes, dtype))
        return State(epoch, content["facts"], arrays, content["run"])

    def clear(self) -> None:
        """Removes all states, and lets others have the directory."""
        for epoch in self.epochs():
            _discard(self._place(epoch))
        writing.sweep(self.directory)
        _release(self.directory.resolve())

    def _newest(self) -> State | None:
        """The newest whole state; says so when it isn't the newest of all."""
        epochs = self.epochs()
        faults = []
        for epoch in reversed(epochs):
            try:
                state = self.load(epoch)
            except Damaged as error:
                faults.append(f"epoch {epoch}: {error}")
                continue
            if faults:
                warnings.warn(
                    f"{self._owner}: `backup_dir` {str(self.directory)!r} holds a damaged state, {'; '.join(faults)}. "
                    f"The run goes on from epoch {epoch}, whose state is whole, and trains the epochs after it again.",
                    stacklevel=2,
                )
            return state
        if faults:
            self._refuse("a directory with a whole state", f"Damaged: {'; '.join(faults)}. {ANEW}")
        return None

    def _check_same(self, run: Mapping[str, str]) -> None:
        changed = [name for name in {**run, **self._run} if run.get(name) != self._run.get(name)]
        if changed:
            self._refuse(
                "a directory with states of this run", f"Theirs had another {', another '.join(changed)}. Use one "
                f"directory for each run, and go on with what it had. {ANEW}",
            )  # fmt: skip

    def _lock(self) -> None:
        key = self.directory.resolve()
        handle, _ = _held.pop(key, (None, None))
        if handle is not None and not os.path.samestat(os.fstat(handle), os.stat(key)):  # removed and made anew since
            os.close(handle)
            handle = None
        try:
            handle = writing.lock(key) if handle is None else handle
        except BlockingIOError:
            self._refuse("a directory that no other run uses", "Another process trains there: wait, or choose another.")
        _held[key] = handle, weakref.ref(self)
        weakref.finalize(self, _release_if_abandoned, key)

    def _named(self) -> list[Path]:
        return [path for path in self.directory.glob("epoch-*") if _NAME.fullmatch(path.name)]

    def _place(self, epoch: int) -> Path:
        return self.directory / f"epoch-{epoch:06d}"

    def _refuse(self, expected: str, advice: str) -> Any:
        checks.fail(self._owner, "backup_dir", expected, str(self.directory), advice)


def _is_state(path: Path) -> bool:
    """Whether a directory of a state's name is one, whole or not, and not somebody else's."""
    return path.is_dir() and (any((path / name).exists() for name in (ARRAYS, FACTS)) or not any(path.iterdir()))


def _discard(place: Path) -> None:
    """Takes a state away at once; what else lies in its directory stays."""
    if not place.exists():
        return
    if {path.name for path in place.iterdir()} <= {ARRAYS, FACTS}:
        writing.discard(place)
        return
    for name in (FACTS, ARRAYS):
        (place / name).unlink(missing_ok=True)


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _file_checksum(path: Path) -> str:
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            found.update(block)
    return found.hexdigest()


def _holder(key: Path) -> Backup | None:
    return _held[key][1]() if key in _held else None


def _release(key: Path) -> None:
    handle, _ = _held.pop(key, (None, None))
    if handle is not None:
        os.close(handle)


def _release_if_abandoned(key: Path) -> None:
    if key in _held and _holder(key) is None:
        _release(key)


def _forget_all() -> None:
    """In a forked process, such as one that makes batches: the lock ends with the run, not with its last helper."""
    for key in list(_held):
        _release(key)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def numbered(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a list of arrays as a dict of names."""
    return {f"{name}:{index}": array for index, array in enumerate(arrays)}


def unnumbered(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the list that `numbered` made names of, from among others."""
    count = sum(key.startswith(f"{name}:") for key in arrays)
    return [arrays[f"{name}:{index}"] for index in range(count)]
