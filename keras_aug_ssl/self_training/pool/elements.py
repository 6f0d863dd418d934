"""What the elements of a `tf.data.Dataset` are, examples or batches of them, and whether they come to an end."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from keras_aug_ssl import checks

MANY = 100_000
"""Examples after which a data set of unknown length is asked about."""

LEAST_FREE = 2**30
"""Bytes that a data set of unknown length leaves free on the disk it is written to."""


def are_batches(owner: str, dataset: tf.data.Dataset) -> bool:
    """Whether elements are batches: by how the data set was made, else by their shapes.

    An axis of unknown length, as in (None, None, 3), can be that of a batch or of an image.

    Raises:
        ValueError: when neither can tell.
    """
    made = _made_of_batches(dataset)
    if made is not None:
        return made
    shapes = [spec.shape for spec in keras.tree.flatten(dataset.element_spec)]
    if not all(shape.rank and shape[0] is None for shape in shapes):
        return False
    checks.fail(
        owner, "x", "a data set that shows whether its elements are examples or batches", dataset.element_spec,
        "Their first axis has no fixed length, which both can have: pass dataset.batch(256) if they are examples, "
        "dataset.unbatch() if they are batches.",
    )  # fmt: skip


def _made_of_batches(dataset: tf.data.Dataset) -> bool | None:
    """Follows a data set back to the last step that made batches or took them apart; None where there is none."""
    step = type(dataset).__name__
    if "Unbatch" in step:
        return False
    if "BatchDataset" in step:
        return True
    if any(kind in step for kind in ("FlatMap", "Interleave", "Window")):  # what these yield is made inside a function
        return None
    answers = {_made_of_batches(each) for each in _inputs(dataset)}
    return answers.pop() if len(answers) == 1 else None


def _inputs(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    return getattr(dataset, "_inputs", list)()  # not part of the public interface, so it may be missing one day


def check_ends(owner: str, dataset: tf.data.Dataset) -> None:
    """Raises for a data set that is known to repeat without an end, also below a filter, which hides that."""
    step = dataset
    while "Take" not in type(step).__name__:
        if int(step.cardinality()) == tf.data.INFINITE_CARDINALITY:
            checks.fail(owner, "x", "a finite data set", dataset, "Leave out its repeat().")
        inputs = _inputs(step)
        if len(inputs) != 1:
            return
        step = inputs[0]


class Watch:
    """Looks after the writing of a data set of unknown length, which may be an endless generator.

    Args:
        owner: the class a user called, for errors.
        dataset: what is written.
        directory: where.
    """

    def __init__(self, owner: str, dataset: tf.data.Dataset, directory: Path) -> None:
        self._owner, self._directory, self._told = owner, directory, False
        self._unknown = int(dataset.cardinality()) == tf.data.UNKNOWN_CARDINALITY

    def check(self, examples: int) -> None:
        """Warns once of many examples; raises when the disk is nearly full."""
        if not self._unknown or examples < MANY:
            return
        if not self._told:
            self._told = True
            warnings.warn(
                f"{self._owner}: the data set has given {examples} examples and doesn't say how many there are. If it "
                "has no end, pass dataset.take(n); if it has, say so by "
                "dataset.apply(tf.data.experimental.assert_cardinality(n)).",
                stacklevel=2,
            )
        if shutil.disk_usage(self._directory).free < LEAST_FREE:
            checks.fail(
                self._owner, "x", "a finite data set that fits on the disk", f"{examples} examples, and no end so far",
                f"{self._directory} is nearly full. Pass dataset.take(n), or set TMPDIR to a larger disk.",
            )  # fmt: skip
