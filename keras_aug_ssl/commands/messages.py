"""What the command line says, beside results: errors a user can act on, and notes, one line each on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_aug_ssl.commands.starting import PROGRAM


class BadInput(Exception):
    """The user has to change something; the message, one line, says what."""


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turns the errors raised by checks of arguments and files into `BadInput`."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        raise BadInput(" ".join(str(error).split())) from error


def note(text: str) -> None:
    """Says something on standard error, where it mixes with no result."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def shown(path: str | Path) -> str:
    """A path as it can be printed and drawn: what is no character, such as a byte that is no UTF-8, becomes a sign."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(path))
