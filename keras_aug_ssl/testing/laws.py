"""What a law is: a name, a sentence, whom it concerns, and a check that raises `AssertionError`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks


class Law:
    """One law.

    Attributes:
        name: short, in lower case, as it stands in tables.
        sentence: what must hold.
        concerns: whether the law is about a given subject.
        graphs: whether it is checked in graphs. Other laws are checked operation by operation: on small inputs, tracing
            takes longer than all the rest.
    """

    def __init__(
        self, name: str, check: Callable[[Any], None], concerns: Callable[[Any], bool], graphs: bool = False
    ) -> None:
        self.name = name
        self.sentence = (check.__doc__ or "").strip()
        self.concerns = concerns
        self.graphs = graphs
        self._check = check

    def __call__(self, subject: Any) -> None:
        """Raises `AssertionError`, saying how, when `subject` breaks the law."""
        try:
            with op_by_op(not self.graphs):
                self._check(subject)
        except AssertionError as how:
            raise AssertionError(f"{subject.name} breaks the law {self.name!r}: {self.sentence} Here, {how}.") from None

    def __repr__(self) -> str:
        return f"Law({self.name!r})"


@contextlib.contextmanager
def op_by_op(wanted: bool = True) -> Iterator[None]:
    """Runs what would be a graph operation by operation, or, not `wanted`, as a graph."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(wanted)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def broken(how: str) -> NoReturn:
    """Ends a check: its law is broken; `how` completes a sentence that begins with "Here"."""
    raise AssertionError(how)


def register(
    laws: list[Law], name: str, concerns: Callable[[Any], bool] = lambda subject: True, graphs: bool = False
) -> Callable[..., Any]:
    """Decorator: makes a `Law` of the check below it and appends it to `laws`."""

    def decorate(check: Callable[[Any], None]) -> Callable[[Any], None]:
        laws.append(Law(name, check, concerns, graphs))
        return check

    return decorate


def held(
    owner: str, laws: dict[str, Law], subject: Callable[[], Any], only: Sequence[str] | None, skip: Sequence[str]
) -> list[str]:
    """Checks the laws that are wanted and concern a subject, and returns their names.

    Args:
        owner: the function a user called, for errors.
        laws: all there are, by name.
        subject: makes what is tested; called once the names are known to be right.
        only: names of the laws to check; None checks all.
        skip: names of laws to leave out.
    """
    for argument, names in (("only", only or ()), ("skip", skip)):
        for name in names:
            checks.one_of(owner, argument, name, laws)
    made = subject()
    wanted = [law for name, law in laws.items() if (only is None or name in only) and name not in skip]
    kept = []
    for law in wanted:
        if law.concerns(made):
            law(made)
            kept.append(law.name)
    return kept


def same(one: Any, other: Any, what: str, tolerance: float = 0.0, share: float = 0.0) -> None:
    """Breaks the law unless two arrays agree.

    Args:
        one, other: arrays or tensors, of any dtype.
        what: names the two, e.g. `"eager and graph"`.
        tolerance: values may differ by this much.
        share: this part of the values may differ by more: where a tone curve jumps, rounding decides the side.
    """
    one, other = (np.asarray(array) for array in (one, other))
    if one.shape != other.shape:
        broken(f"{what} have the shapes {one.shape} and {other.shape}")
    if not one.size:
        return
    if one.dtype.kind in "OSU" or other.dtype.kind in "OSU":
        if not np.array_equal(one, other):
            broken(f"{what} differ")
        return
    distance = np.abs(one.astype("float64") - other.astype("float64"))
    wrong = ~(distance <= tolerance)  # a NaN is wrong too
    if wrong.mean() > share:
        broken(f"{what} differ in {wrong.mean():.1%} of the values, by {np.nanmax(distance, initial=0.0):.4g} at most")
