"""Model, loss and labels in, `Head` out: read where they say it, asked where they don't."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import labels, losses
from keras_aug_ssl.meaning.activations import ending
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS, Head
from keras_aug_ssl.meaning.losses import EITHER, UNREADABLE, YES_NO, Says

_WAYS_OUT = (
    "Compile with a Keras loss or one derived from it, such as keras.losses.MeanSquaredError() for numbers or "
    "keras.losses.SparseCategoricalCrossentropy(from_logits=True) for classes, "
)


@dataclasses.dataclass(frozen=True)
class _Evidence:
    """All there is to go by."""

    owner: str
    name: str
    says: Says | None
    compiled: bool
    activation: str | None
    units: int
    form: str | None
    output: tf.Tensor
    asked: str


def read(
    owner: str, model: keras.Model, output: Any, loss: Any, y: Any = None, *, kind: str | None = None, ask: str = ""
) -> Head:
    """Finds out what `model` puts out, and how its loss and its labels take it.

    The loss decides as far as it can, the last activation next, the labels where both leave it open: a sigmoid unit
    under mean squared error is a probability when all labels are 0 or 1, and a number when they aren't.

    Args:
        owner: who asks, for errors.
        model: any Keras model with one output.
        output: what it puts out for a few examples.
        loss: the loss it was compiled with, or is judged by; None without.
        y: labels, whose form is looked at; None without.
        kind: "classes", "labels" or "numbers" when the user says it.
        ask: how a user can say it, for the error where it can't be known.

    Raises:
        ValueError: for several outputs, for outputs and loss that contradict each other, and where nothing tells.
    """
    _check_shape(owner, output)
    units = int(output.shape[-1]) if output.shape.rank == 2 else 1
    shape = tuple(y.shape if tf.is_tensor(y) else np.shape(y))
    form = None if len(shape) == 2 and shape[1] not in (1, units) else labels.form_of(y)
    if form == labels.UNSEEN and units > 1 and (len(shape) == 1 or shape[-1] == 1):
        form = labels.CLASS_NUMBERS  # one number a row can be nothing else beside several outputs
    resolved = losses.resolve(loss, units, form in (labels.CLASS_NUMBERS, labels.ZERO_ONE))
    said = losses.says(resolved)
    found = _Evidence(
        owner, model.name, said, resolved is not None, ending(model, output), units, form, output, _WAYS_OUT + ask
    )
    return _head(found, _kind_asked(found, kind) if kind is not None else _kind(found))


def _check_shape(owner: str, output: Any) -> None:
    if not tf.is_tensor(output):
        shown = sorted(output) if isinstance(output, dict) else type(output).__name__
        advice = "Make a keras.Model that has just one of them: keras.Model(model.inputs, model.outputs[0])."
        checks.fail(owner, "model", "a model with one output of shape (batch, units)", shown, advice)
    if output.shape.rank not in (1, 2):
        advice = "Pool or flatten them in a keras.Model around it."
        checks.fail(owner, "model", "a model with outputs of shape (batch, units)", tuple(output.shape), advice)


def depends_on_labels(model: keras.Model, output: tf.Tensor, loss: Any) -> bool:
    """Whether labels of another form could make another head of the same model and loss."""
    units = int(output.shape[-1]) if output.shape.rank == 2 else 1
    said = losses.says(losses.resolve(loss, units, False))
    if said is None:
        return True
    return said.scores or said.kind == NUMBERS and ending(model, output) == "sigmoid"


def _kind_asked(found: _Evidence, kind: str) -> str:
    kind = checks.one_of(found.owner, "kind", kind, (CLASSES, LABELS, NUMBERS))
    return BINARY if kind == CLASSES and found.units == 1 else kind


def _kind(found: _Evidence) -> str:
    if found.activation == "softmax" and found.units == 1:
        checks.fail(
            found.owner, "model", "a model of at least two classes under its softmax", "1 unit, which is always 1",
            "Yes or no takes one unit with a sigmoid.",
        )  # fmt: skip
    if found.says is None:
        return _kind_by_labels(found)
    kind, by_itself = found.says.kind, BINARY if found.units == 1 else LABELS
    if kind == UNREADABLE:
        checks.fail(
            found.owner, "model", "compiled with a loss of classes, labels or numbers", found.says.name,
            "Its outputs are no predictions of them.",
        )  # fmt: skip
    if kind == CLASSES and found.units == 1:
        checks.fail(
            found.owner, "model", f"a model with two or more units for {found.says.name}", "1 unit, which is always 1",
            'Yes or no takes one unit with a sigmoid and "binary_crossentropy".',
        )  # fmt: skip
    if kind in (YES_NO, EITHER):
        return CLASSES if found.activation == "softmax" else by_itself
    if kind == NUMBERS and found.activation == "softmax":
        return CLASSES
    if kind == NUMBERS and found.activation == "sigmoid":
        if found.form is None:
            _ask(found, "probabilities or numbers: its loss takes a sigmoid for either, and labels would tell")
        return by_itself if found.form in (labels.ZERO_ONE, labels.ONE_HOT, labels.SEVERAL) else NUMBERS
    return kind


def _kind_by_labels(found: _Evidence) -> str:
    """The kind where no known loss tells."""
    form, by_itself = found.form, BINARY if found.units == 1 else LABELS
    if found.activation == "softmax":
        return CLASSES
    if found.activation == "sigmoid":
        return NUMBERS if form in (labels.REAL, labels.REAL_ROWS, labels.SHARES) else by_itself
    if found.units == 1:
        if form in (None, labels.UNSEEN, labels.ZERO_ONE, labels.SIGNED):
            _ask(found, "logits or probabilities, or numbers: nothing tells of its one unit")
        return NUMBERS
    if form == labels.REAL_ROWS:
        return NUMBERS
    if form in (labels.SEVERAL, labels.SIGNED_ROWS):
        return LABELS
    if form in (None, labels.UNSEEN) and (found.compiled or found.activation != "linear"):
        _ask(found, "logits or probabilities, or numbers: its last layer and its loss don't tell")
    return CLASSES  # by such labels, or a linear layer of several units that was never compiled


def _ask(found: _Evidence, expected: str) -> None:
    checks.fail(found.owner, "model", f"a model whose outputs are known to be {expected}", found.name, found.asked)


def _head(found: _Evidence, kind: str) -> Head:
    sparse = found.says is not None and found.says.sparse
    if found.says is None:
        sparse = kind == CLASSES and found.form in (labels.CLASS_NUMBERS, labels.ZERO_ONE)
    if kind == NUMBERS:
        return Head(kind, False, found.units)
    head = Head(kind, _are_logits(found, kind), found.units, sparse=sparse, signed=_signed(found))
    return head if head.logits else dataclasses.replace(head, activation=_ending(found, kind))


def _ending(found: _Evidence, kind: str) -> str | None:
    """The activation whose logits Keras's own losses see: left on the output, or found in the graph."""
    # A loss of classes looks for a softmax in the graph, and normalizes what sigmoids put out.
    unseen = kind == CLASSES and found.activation == "sigmoid" and not hasattr(found.output, "_keras_logits")
    return found.activation if found.activation in ("softmax", "sigmoid") and not unseen else None


def _are_logits(found: _Evidence, kind: str) -> bool:
    if found.activation in ("softmax", "sigmoid"):
        return False
    if found.says is not None and found.says.kind != NUMBERS:
        if found.activation == "linear":
            check_logits(found.owner, "model", "compiled with", "its last layer is linear", found.says)
        return found.says.from_logits or found.says.scores
    if found.activation == "linear":
        return True
    if not hasattr(found.output, "numpy"):
        _ask(found, "logits or probabilities: its last layer and its loss don't tell")
    output = np.asarray(found.output, np.float32)  # hidden: numbers that can't be probabilities are logits
    between = (output > -1e-3).all() and (output < 1 + 1e-3).all()
    return not (between and (kind != CLASSES or np.allclose(output.sum(axis=-1), 1.0, atol=2e-2)))


def check_logits(owner: str, name: str, how: str, why: str, says: Says | None) -> None:
    """Raises where a loss of probabilities would read logits."""
    if says is not None and says.wants_probabilities:
        checks.fail(
            owner, name, f"{how} from_logits=True, since {why}", says.name,
            "Its outputs are logits, which this loss reads as probabilities; write, for example, "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True).",
        )  # fmt: skip


def check_probabilities(owner: str, head: Head, output: tf.Tensor) -> None:
    """Raises where outputs can't be the probabilities that the loss reads; inside a graph no value is known."""
    if head.logits or head.kind == NUMBERS or not hasattr(output, "numpy"):
        return
    values = np.asarray(output, np.float32)
    if values.min() < -1e-3 or head.kind != CLASSES and values.max() > 1.001:
        checks.fail(
            owner, "model", "a model that puts out probabilities, as its loss says",
            f"outputs from {values.min():.3g} to {values.max():.3g}",
            "If they are logits, compile with a loss that has from_logits=True; else end with a softmax or a sigmoid.",
        )  # fmt: skip


def _signed(found: _Evidence) -> bool:
    takes = found.says is None or found.says.scores
    return takes and found.form in (labels.SIGNED, labels.SIGNED_ROWS)
