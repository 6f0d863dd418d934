"""How far long work has come, on standard error: a moving bar in a terminal, else now and then a line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from keras_aug_ssl.commands.messages import note

EVERY = 10.0
"""Seconds between two lines."""

Advance = Callable[[int], None]
"""Says that so many more are done."""


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """Shows how many of `total` are done, and how long the rest will take.

    Example:
        >>> with progress("images", 2) as advance:
        ...     advance(1)
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _lines(label, total)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(label, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda count: bars.advance(task, count)


def _lines(label: str, total: int) -> Advance:
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= EVERY and done < total:
            last = now
            left = (now - started) / done * (total - done) if done else 0.0
            note(f"{done} of {total} {label}, about {left:.0f} s left")

    return advance
