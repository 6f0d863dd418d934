"""The one wording of errors, and the argument limits every part shares.

Each function returns the checked value or raises. An error says who was called, which argument, what was expected,
what came, and what to do about it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


def fail(
    owner: str, name: str, expected: str, received: Any, advice: str = "", error: type[Exception] = ValueError
) -> NoReturn:
    """Raises `error` in the library's one wording.

    Args:
        owner: class or function the user called, e.g. `"RandomRotation"`.
        name: the argument at fault.
        expected: completes the sentence "`name` must be ...".
        received: the value that came; shown by `repr`, shortened.
        advice: what to do instead, a full sentence; empty when `expected` already says it.
        error: `ValueError` for a wrong value, `TypeError` for a wrong kind.
    """
    shown = repr(received)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    raise error(f"{owner}: `{name}` must be {expected}; received {shown}." + (f" {advice}" if advice else ""))


def number(
    owner: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Returns `value` as a float when it lies in the interval from `low` to `high`; either end may be open."""
    expected = "a finite number" + _interval(low, high, low_open, high_open)
    try:
        result = float(value)
    except (TypeError, ValueError):
        fail(owner, name, expected, value, error=TypeError)
    inside = (low < result if low_open else low <= result) and (result < high if high_open else result <= high)
    if not math.isfinite(result) or not inside:
        fail(owner, name, expected, value)
    return result


def integer(owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """Returns `value` as an int when it is whole and lies in [low, high]."""
    expected = "a whole number" + _interval(low, high, False, False)
    if isinstance(value, bool) or not isinstance(value, (int, float)) and not hasattr(value, "__index__"):
        fail(owner, name, expected, value, error=TypeError)
    if isinstance(value, float) and not math.isfinite(value) or value != int(value) or not low <= value <= high:
        fail(owner, name, expected, value)
    return int(value)


def one_of(owner: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Returns `value` when it is one of `choices`."""
    choices = tuple(choices)
    if value not in choices:
        fail(owner, name, "one of " + ", ".join(map(repr, choices)), value)
    return value


def interval(
    owner: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    around: float | None = None,
    start: float | None = None,
    alone: bool = False,
) -> tuple[float, float]:
    """Returns (lower, upper) with `low <= lower <= upper <= high`; a pair may come in either order, as in Keras.

    A single number f stands for `(around - |f|, around + |f|)` when `around` is given, cut off at `low`; for
    `(start, f)` when `start` is; for `(f, f)` when it may stand `alone`.
    """
    expected = f"(lower, upper) with {low:g} <= lower <= upper <= {high:g}"
    advice, pair = "", as_list(value)
    if around is not None or start is not None or alone:
        meaning = "f, f" if alone else f"{start:g}, f" if around is None else f"{around:g} - f, {around:g} + f"
        expected, advice = expected + ", or one number", f"One number f stands for ({meaning})."
    if isinstance(value, (str, bytes)) or pair is not None and len(pair) != 2 or pair is None and not advice:
        fail(owner, name, expected, value, advice)
    if value is None:
        fail(owner, name, expected, value, advice, TypeError)
    if pair is not None:
        lower, upper = sorted(number(owner, name, end) for end in pair)
    elif around is not None:
        spread = abs(number(owner, name, value))
        lower, upper = max(low, around - spread), around + spread
    else:
        upper = number(owner, name, value)
        lower = upper if alone or start is None else start
    if not low <= lower <= upper <= high:
        nearest = max(low, lower), min(high, upper)
        if nearest[0] < nearest[1]:
            advice = f"{advice} Within the limits is ({nearest[0]:g}, {nearest[1]:g}).".strip()
        fail(owner, name, expected, value, advice)
    return lower, upper


def as_list(value: Any) -> list[Any] | None:
    """The values of a sequence or of an array of rank 1; None for one value."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) or getattr(value, "ndim", 0) == 1:
        return list(value)
    return None


def optional_package(owner: str, module: str, extra: str) -> Any:
    """Imports and returns `module`, whose package only the extra named `extra` installs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{owner}: needs the package {module.split('.')[0]!r}, which is not installed. "
            f'Install it with: pip install "keras_aug_ssl[{extra}]"'
        ) from error


def probability(owner: str, name: str, value: Any) -> tuple[float, float]:
    """Returns the range a chance is drawn from: one number p in [0, 1] stands for (p, p)."""
    return interval(owner, name, value, 0.0, 1.0, alone=True)


def value_range(owner: str, value: Any) -> tuple[float, float]:
    """Returns (black, white) with black < white; they may come in either order, as in Keras."""
    low, high = interval(owner, "value_range", value)
    if low == high:
        fail(owner, "value_range", "(black, white) with black < white", value)
    return low, high


def _interval(low: float, high: float, low_open: bool, high_open: bool) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" {'>' if low_open else '>='} {low:g}"
    if low == -math.inf:
        return f" {'<' if high_open else '<='} {high:g}"
    return f" in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
