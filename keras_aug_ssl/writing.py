"""Files and folders that appear whole or not at all, and locks that end with their process.

What is written goes into a draft beside its place and is renamed into it at the end, so a reader finds the old content
or the new and nothing between, also after a kill. A writer holds a lock on its draft: one that nobody holds was left
behind by a killed process, and the next writer removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: drafts are written as everywhere, but what a killed process left stays
    fcntl = None  # type: ignore[assignment]

DRAFT = ".keras_aug_ssl-draft-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path to write to, of the same suffix, that takes the place of `path` if the block succeeds.

    A link stays one, and what it points to is replaced. What is neither there nor a file, such as a pipe, is written to
    as it is.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(file) as draft:
        ...     _ = draft.write_text("label")
        >>> file.read_text(), len(list(file.parent.iterdir()))
        ('label', 1)
    """
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        yield place
        return
    if not place.parent.is_dir():  # named by its own name, not by that of a draft
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with drafting(place.parent, suffix=place.suffix) as draft:
        yield draft
        flush(draft)
        if place.exists():
            shutil.copymode(place, draft)
        os.replace(draft, place)


@contextlib.contextmanager
def drafting(folder: Path, *, suffix: str = "", directory: bool = False) -> Iterator[Path]:
    """Makes a draft, a file or a directory, in `folder`; what hasn't been moved away at the end is removed."""
    sweep(folder)
    path, handle = _create(folder, suffix, directory)
    try:
        yield path
    finally:
        remove(path)
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Removes the drafts of killed processes."""
    for path in folder.glob(f"{DRAFT}*"):
        # Another sweeper was faster, or it is being written.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            handle = lock(path)
            if handle is not None:
                remove(path)
                os.close(handle)


def discard(directory: Path) -> None:
    """Takes a directory away at once; if the process is killed on the way, the rest is swept up later."""
    gone = directory.with_name(f"{DRAFT}{secrets.token_hex(8)}")
    os.replace(directory, gone)
    remove(gone)


def remove(path: Path) -> None:
    """Removes a file or a directory; none there is well too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def lock(path: Path) -> int | None:
    """Locks a file or directory for this process until the returned descriptor is closed, at the latest when it ends.

    Returns:
        The descriptor; None where the system or the file system has no such locks.

    Raises:
        BlockingIOError: somebody else holds the lock.
    """
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # some network file systems
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file or directory for the time of the block; see `lock`."""
    handle = lock(path)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def flush(path: Path) -> None:
    """Waits until a file or a directory is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows flushes no directories
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(folder: Path, suffix: str, directory: bool) -> tuple[Path, int | None]:
    while True:
        path = folder / f"{DRAFT}{secrets.token_hex(8)}{suffix}"
        path.mkdir() if directory else path.touch(exist_ok=False)
        try:
            handle = lock(path)
        except (FileNotFoundError, BlockingIOError):  # swept up before it was locked
            continue
        if path.exists():
            return path, handle
        if handle is not None:
            os.close(handle)
