"""Whether this process is the command line itself, which imports TensorFlow only when there is work for it."""

from __future__ import annotations

import os
import sys

PACKAGE, PROGRAM = "keras_aug_ssl", "keras-aug-ssl"


def is_command_line() -> bool:
    """Whether the package is being imported by `python -m keras_aug_ssl` or by the console script.

    To find a module that `-m` names, Python imports its package, and `sys.argv[0]` is "-m" until it is found; which
    module that is stands in `sys.orig_argv` only, at the place that `sys.argv[0]` has in `sys.argv`.
    """
    arguments = getattr(sys, "argv", None) or [""]  # an interpreter inside another program may have none
    if arguments[0] == "-m":
        return sys.orig_argv[-len(arguments)].removeprefix("-m") == PACKAGE
    return os.path.splitext(os.path.basename(arguments[0]))[0] == PROGRAM
