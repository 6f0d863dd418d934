"""The command line: `python -m keras_aug_ssl COMMAND`, or `keras-aug-ssl COMMAND`.

Exit code 0 means done, 2 that the input was at fault (one line on standard error says how), 130 that Ctrl-C ended it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import keras_aug_ssl
from keras_aug_ssl.commands import attack, augment, pseudo_label, study
from keras_aug_ssl.commands.inputs import BadInput

COMMANDS = {"study": study, "augment": augment, "attack": attack, "pseudo-label": pseudo_label}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (try {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    result = _Parser(prog="keras-aug-ssl", description=keras_aug_ssl.__doc__)
    result.add_argument("--version", action="version", version=keras_aug_ssl.__version__)
    commands = result.add_subparsers(metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").split("\n")[0]
        command = commands.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after the program's name; None for those of this process.

    Returns:
        The exit code.

    Example:
        >>> main(["study", "--labels", "0"])
        2
    """
    try:
        arguments = parser().parse_args(argv)
        arguments.run(arguments)
    except BadInput as error:
        print(f"keras-aug-ssl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
