"""Where a run keeps what it has done, so that a run after it goes on, and a result that is whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_aug_ssl import checks
from keras_aug_ssl.data.pseudo_labels import MANIFEST, read_manifest
from keras_aug_ssl.writing import flush, locked, replacing

UNFINISHED = ".unfinished"


class Folder:
    """The folder of a run: scored shards and parts of the result, beside `out`, which appears when all are there.

    Args:
        owner: the function a user called, for errors.
        out: the result; its folder exists.
        identity: what must be the same for a run to go on: from a name a user understands to a digest.
    """

    def __init__(self, owner: str, out: Path, identity: dict[str, str]) -> None:
        self._owner, self.out, self._identity = owner, out, identity
        self.work = out.with_name(out.name + UNFINISHED)

    def finished(self) -> dict[str, Any] | None:
        """Returns the manifest of a result that is there already; None where there is none.

        Raises:
            ValueError: `out` is something else, or the result of another run.
        """
        if not self.out.exists():
            return None
        manifest = read_manifest(self._owner, self.out, "out")
        self._check(manifest["run"], self.out)
        return manifest

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Holds the folder for this run, taking up what one before it left.

        Raises:
            ValueError: another run is at work there, or left another's work.
        """
        for part in (self.scored(0), self.part(0)):
            part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.work):
                mark = self.work / "run.json"
                if mark.exists():
                    self._check(json.loads(mark.read_text()), self.work)
                else:
                    with replacing(mark) as draft:
                        draft.write_text(json.dumps(self._identity))
                yield
        except BlockingIOError:
            checks.fail(self._owner, "out", "a place where no other run is at work", self.out.as_posix())

    def scored(self, number: int) -> Path:
        """What is known of the rows of a shard; there once it is all known."""
        return self.work / "scored" / f"{number:08}.parquet"

    def statistics(self, number: int) -> Path:
        """The rules' statistics of a shard; there before `scored` is."""
        return self.work / "scored" / f"{number:08}.npz"

    def part(self, number: int) -> Path:
        """The rows of a shard in the result."""
        return self.work / "result" / f"part-{number:08}.parquet"

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Puts the result in its place, all at once, and removes the rest."""
        result, manifest = self.part(0).parent, manifest | {"run": self._identity}
        with replacing(result / MANIFEST) as draft:
            draft.write_text(json.dumps(manifest, indent=1))
        flush(result)
        os.replace(result, self.out)
        flush(self.out.parent)
        shutil.rmtree(self.work, ignore_errors=True)
        return manifest

    def _check(self, run: dict[str, str], place: Path) -> None:
        other = [name for name, digest in self._identity.items() if run.get(name) != digest]
        if other:
            checks.fail(
                self._owner, "out", f"a new place, or that of the same run; {place.as_posix()} has another's",
                self.out.as_posix(), f"There, another is the {', the '.join(other)}. Remove it, or choose another.",
            )  # fmt: skip
