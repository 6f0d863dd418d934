"""Who labels: the model in training, or teachers, each with its own way of being read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling, reading
from keras_aug_ssl.meaning.heads import NUMBERS, Head
from keras_aug_ssl.rules import Rule
from keras_aug_ssl.self_training.pool.sources import ArraySource, describe
from keras_aug_ssl.teaching.teachers import averaged_weights, unchanged

EXPECTED = "at least one trained Keras model"


class Teacher(NamedTuple):
    """A model that labels, and how to read its outputs."""

    model: keras.Model
    outputs: Head


def checked(owner: str, teachers: Any) -> list[keras.Model] | None:
    """Returns what a user passed as teachers as a list; None stays None."""
    if teachers is None:
        return None
    if not isinstance(teachers, (list, tuple)) or not all(isinstance(each, keras.Model) for each in teachers):
        advice = "A single one is a list too: teachers=[model]."
        checks.fail(owner, "teachers", EXPECTED, teachers, advice, error=TypeError)
    if not teachers:
        checks.fail(owner, "teachers", EXPECTED, teachers, "Without teachers the model in training labels: None.")
    return list(teachers)


def read_teacher(
    owner: str, name: str, model: keras.Model, outputs: Head, x: Any, y: Any, kind: str | None = None
) -> Teacher:
    """Reads a model that is to say the same things as another: by its own loss or, where it has none, its last layer.

    Args:
        owner: the class a user called, for errors.
        name: the argument that the model came in.
        model: what is read.
        outputs: how the model in training is read, which this one has to agree with.
        x: labeled inputs, in the structure of the pool.
        y: their labels.
        kind: "classes", "labels" or "numbers" when the user says it.

    Raises:
        ValueError: it doesn't take the pool's rows, can't be read, or puts out something else.
    """
    try:
        output = calling.first_output(model, x)
    except Exception as error:  # whatever its layers raise
        reason = str(error).strip().split("\n")[0]
        checks.fail(
            owner, name, f"models that take the pool's rows, {describe(x)}", model.name, f"Keras says: {reason}"
        )
    loss = getattr(model, "loss", None)
    found = reading.read(owner, model, output, loss, y, kind=kind, ask='or say kind="classes", "labels" or "numbers".')
    if _says(found) != _says(outputs):
        checks.fail(
            owner, name, f"models that predict what the model in training does, {_words(outputs)}",
            f"{model.name!r}, which predicts {_words(found)}",
        )  # fmt: skip
    return Teacher(model, found)


def _says(outputs: Head) -> tuple[Any, ...]:
    """What the probabilities are of: yes or no by one unit is the same as by a softmax of two."""
    return outputs.single or outputs.kind, outputs.units if outputs.kind == NUMBERS else outputs.num_classes


def _words(outputs: Head) -> str:
    units = outputs.units if outputs.kind == NUMBERS else outputs.num_classes
    return f"{units} {'classes' if outputs.single else outputs.kind}"


@contextlib.contextmanager
def averaged(owner: str, teachers: Sequence[Teacher]) -> Any:
    """Lets each label with the averages that its optimizer keeps, for a while."""
    with contextlib.ExitStack() as stack:
        for model in {id(each.model): each.model for each in teachers}.values():
            if getattr(model, "optimizer", None) is None:
                checks.fail(
                    owner, "teachers", "compiled models for teacher='average', since an optimizer keeps the averages",
                    model.name, "With teacher='current' they label with the weights they have.",
                )  # fmt: skip
            stack.enter_context(averaged_weights(owner, model))
        yield


def normalization(teachers: Sequence[Teacher], rows: ArraySource, classes: np.ndarray, batch_size: int) -> Any:
    """How often the models with BatchNormalization are right on labeled rows, in inference and in training mode.

    Args:
        teachers: who labels.
        rows: M labeled rows.
        classes: (M,) their classes.
        batch_size: rows that the models were trained on at once.

    Returns:
        `(inference, training)` of the one whose modes differ most; None without BatchNormalization.
    """
    found = []
    for teacher in {id(each.model): each for each in teachers}.values():
        route = calling.route_of(teacher.model, rows.arrays)
        layers = [] if route in calling.INFERENCE_ONLY else teacher.model._flatten_layers()
        if any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
            with unchanged(teacher.model.non_trainable_variables):
                predicted = [_classes(teacher, rows, route, mode, batch_size) for mode in (False, True)]
            found.append(tuple(float(np.mean(each == classes)) for each in predicted))
    return max(found, key=lambda pair: pair[1] - pair[0], default=None)


def _classes(teacher: Teacher, rows: ArraySource, route: calling.Route, training: bool, batch_size: int) -> np.ndarray:
    """(N,) classes, in batches as nearly of the training's size as divides the rows evenly."""
    found = []
    for piece in np.array_split(np.arange(len(rows)), -(-len(rows) // batch_size)):
        x = keras.tree.map_structure(tf.convert_to_tensor, rows.take(piece))
        found.append(teacher.outputs.probabilities(route(teacher.model, x, training)).numpy().argmax(axis=1))
    return np.concatenate(found)


def read_all(
    owner: str, name: str, models: Sequence[keras.Model], own: Teacher, x: Any, y: Any, kind: str | None = None
) -> list[Teacher]:
    """Reads several models; `own`, which is trained, is one of them where its model is in the list."""
    return [own if each is own.model else read_teacher(owner, name, each, own.outputs, x, y, kind) for each in models]


def read_members(
    owner: str, rules: Sequence[Rule], own: Teacher, x: Any, y: Any, kind: str | None = None
) -> list[Teacher]:
    """Reads the ensemble that a rule names for its passes; none without."""
    models = next((rule.passes for rule in rules if isinstance(rule.passes, tuple)), ())
    return read_all(owner, "passes", models, own, x, y, kind)


def check_passes(owner: str, name: str, teachers: Sequence[Teacher], rule: Rule | None) -> None:
    """Refuses a rule that asks for several predictions of each of several teachers."""
    if len(teachers) > 1 and rule is not None and (rule.passes is not None or rule.view is not None):
        checks.fail(
            owner, name, "a rule without passes= and view=, since several teachers label", rule,
            "It goes by how far they spread, which costs nothing more: rules.Uncertainty(0.05).",
        )  # fmt: skip
