"""Preparing a TensorFlow Datasets set so that a failure leaves nothing behind and takes nothing of others away.

A call prepares in a draft folder of its own, inside the data directory, and moves what it made to its place at the end.
What it throws away when it fails can so be nobody else's, and what a killed one left is swept up by the next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_aug_ssl import writing

WHOLE = "extracted"
"""Of downloads, the folder whose entries belong together: each is an unpacked archive."""


def prepare(make_builder: Callable[[Any], Any], builder: Any, root: Any) -> None:
    """Downloads and prepares a set into `root`, unless it is there.

    Args:
        make_builder: from a data directory to the set's builder for it.
        builder: the builder for `root`.
        root: the data directory; one that is no folder of this machine, such as `gs://...`, is left to TFDS.
    """
    if builder.data_path.exists() or "://" in str(root):
        builder.download_and_prepare()
        return
    with _made(Path(root)), writing.drafting(Path(root), directory=True) as draft:
        import tensorflow_datasets as tfds

        downloads = Path(root) / "downloads"
        _link(downloads, draft / "downloads")
        own = make_builder(draft)
        own.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=downloads / "manual"))
        _move(draft / "downloads", downloads)
        made = Path(own.data_path)
        place = Path(root) / made.relative_to(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(made, place)
        except OSError:
            if not place.is_dir():
                raise
            writing.remove(made)  # another process was faster, with the same result
        name = made.relative_to(draft).parts[0]
        _move(draft / name, Path(root) / name)  # what TFDS notes of all configurations of the set


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes a folder, and if the block fails removes what was made of its path and is empty."""
    new = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):  # not empty: somebody else's
                path.rmdir()
        raise


def _link(source: Path, target: Path) -> None:
    """Shows earlier downloads in another folder, so that they aren't downloaded again."""
    target.mkdir()
    for path in source.iterdir() if source.is_dir() else ():
        if path.is_dir() and source.name != WHOLE:
            _link(path, target / path.name)
        else:
            with contextlib.suppress(OSError):  # no links on this file system: it will be downloaded again
                (target / path.name).symlink_to(path.absolute(), target_is_directory=path.is_dir())


def _move(source: Path, target: Path) -> None:
    """Moves new files to the others."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir() and source.name != WHOLE:
            _move(path, target / path.name)
        else:
            with contextlib.suppress(OSError):  # another process was faster
                os.replace(path, target / path.name)
