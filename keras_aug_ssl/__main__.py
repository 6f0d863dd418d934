"""The command line: `python -m keras_aug_ssl COMMAND`, or `keras-aug-ssl COMMAND`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import keras_aug_ssl
from keras_aug_ssl.commands import attack, augment, bench, explore, options, pseudo_label, study
from keras_aug_ssl.commands.messages import BadInput, bad_input, note
from keras_aug_ssl.commands.starting import PROGRAM

COMMANDS = {
    "study": study,
    "augment": augment,
    "attack": attack,
    "pseudo-label": pseudo_label,
    "explore": explore,
    "bench": bench,
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    layout = argparse.RawDescriptionHelpFormatter
    result = options.Parser(
        prog=PROGRAM, description=keras_aug_ssl.__doc__, epilog=options.EXIT_CODES, formatter_class=layout
    )
    result.add_argument("--version", action="version", version=keras_aug_ssl.__version__)
    commands = result.add_subparsers(metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        text = module.__doc__ or ""
        command = commands.add_parser(
            name, help=text.split("\n")[0], description=text, epilog=options.EXIT_CODES, formatter_class=layout
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
        >>> main(["augment", "--copies", "0"])
        2
    """
    try:
        with bad_input():
            arguments = parser().parse_args(argv)
            _import_library()
        return arguments.run(arguments) or 0
    except BadInput as error:
        note(str(error))
        return 2
    except KeyboardInterrupt as interrupt:
        note(f"interrupted; {str(interrupt) or 'nothing was written'}")
        return 130


def _import_library() -> None:
    """Does what `import keras_aug_ssl` does elsewhere, without TensorFlow's remarks about the processor."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    importlib.import_module("keras_aug_ssl.public")


if __name__ == "__main__":
    sys.exit(main())
