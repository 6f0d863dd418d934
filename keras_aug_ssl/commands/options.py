"""Values on the command line, checked while it is read: before TensorFlow is imported and before any work."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from keras_aug_ssl.commands.messages import BadInput, shown

EXIT_CODES = """Exit codes:
  0    done
  2    the input is at fault: one line on standard error says how, and nothing was written
  3    done, but without images that can't be read: standard error names them
  130  ended by Ctrl-C: standard error says what is kept"""


Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (try {self.prog} --help)")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number in [low, high]."""
    return _number(int, f"a whole number {_limits(low, high)}", low, high)


def number(low: float, high: float | None = None) -> Callable[[str], float]:
    """A finite number in [low, high]."""
    return _number(float, f"a number {_limits(low, high)}", low, high)


def model_file(text: str) -> str:
    """The path of a `.keras` file."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such model file: {shown(text)}")
    if Path(text).suffix != ".keras":
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a .keras file; save the model with model.save('name.keras')"
        )
    return text


def existing(text: str) -> str:
    """The path of a file that can be read, or of a folder that can be listed."""
    place = Path(text)
    if not place.exists():
        raise argparse.ArgumentTypeError(f"no such file or folder: {shown(text)}")
    try:
        if place.is_dir():
            next(place.iterdir(), None)
        else:
            place.open("rb").close()
    except OSError as error:
        kind = "folder" if place.is_dir() else "file"
        raise argparse.ArgumentTypeError(f"the {kind} {shown(text)} can't be read: {error.strerror}") from error
    return text


def output(*suffixes: str) -> Callable[[str], Path]:
    """The path of a file that can be written; `make_folder` makes its folder, if need be, when there is work."""

    def checked(text: str) -> Path:
        file = Path(text)
        if file.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{shown(text)}: the name must end in {' or '.join(suffixes)}")
        place = next(folder for folder in file.absolute().parents if folder.exists())
        if file.is_dir() or not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise argparse.ArgumentTypeError(f"{shown(text)}: one can't write a file there")
        return file

    return checked


def make_folder(file: Path) -> None:
    """Makes the folder of an output file."""
    file.parent.mkdir(parents=True, exist_ok=True)


def described(documentation: str | None) -> tuple[str, str]:
    """The first line of a module's docstring, for the list of commands, and all of it, for the command's own help."""
    text = documentation or ""
    return text.split("\n")[0], text


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declares `--json`, for commands whose result other programs read; see `print_result`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")


def add_engine(parser: argparse.ArgumentParser, work: str) -> None:
    """Declares who does the `work`, this process or the workers of Ray; see `engine`."""
    parser.add_argument(
        "--engine", choices=["process", "ray"], default="process", help=f"who {work} (default: %(default)s)"
    )
    parser.add_argument("--workers", type=whole(1), help="with --engine ray: how many do at the same time (default: 2)")


def engine(arguments: argparse.Namespace) -> Any:
    """The workers that `add_engine`'s options ask for; None for this process."""
    if arguments.engine == "process":
        if arguments.workers is not None:
            raise BadInput("--workers needs --engine ray")
        return None
    from keras_aug_ssl.workers import Ray

    return Ray(arguments.workers or 2)


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Prints the result of a command, for other programs or for people."""
    print(json.dumps(result, indent=1) if as_json else text)


def _number(kind: type[Number], expected: str, low: Number, high: Number | None) -> Callable[[str], Number]:
    def checked(text: str) -> Number:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if low <= value <= (sys.float_info.max if high is None else high):  # false for NaN
                return value
        raise argparse.ArgumentTypeError(f"must be {expected}; received {shown(text)}")

    return checked


def _limits(low: float, high: float | None) -> str:
    return f">= {low:g}" if high is None else f"from {low:g} to {high:g}"
