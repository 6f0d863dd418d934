"""A Keras model as an attack sees it: a pure function from inputs to scores, and the labels it is judged by."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling, labels, losses, reading

_WAYS_OUT = "or give such a loss to the attack: loss=...."

# Graphs live as long as the model they attack. A victim holds its model weakly, or it would keep its own key alive.
_VICTIMS: weakref.WeakKeyDictionary[keras.Model, dict[Any, Victim]] = weakref.WeakKeyDictionary()


class Inputs:
    """Which part of a model's input is attacked: takes the input apart and puts it together again.

    Args:
        owner: who asks, for errors.
        x: an array (N, ...), or a dict, list or tuple of them for a model with several inputs.
        name: key or index of the attacked input; needed when there are several.
    """

    def __init__(self, owner: str, x: Any, name: str | int | None):
        self.kind: type | None = None
        names: list[Any] = [None]
        if isinstance(x, (list, tuple)) and not (x and np.ndim(x[0]) == 0):
            self.kind, names = type(x), list(range(len(x)))
        elif isinstance(x, dict):
            self.kind, names = dict, sorted(x)
        if len(names) == 1 and name is None:
            name = names[0]
        self.name = checks.one_of(owner, "input_name", name, names)
        self.others = [other for other in names if other != self.name]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal structures."""
        return (self.kind, self.name, *self.others)

    def split(self, x: Any) -> tuple[Any, list[Any]]:
        """Returns the attacked input and the list of the others."""
        return (x, []) if self.kind is None else (x[self.name], [x[other] for other in self.others])

    def join(self, attacked: Any, others: list[Any]) -> Any:
        """Undoes `split`."""
        if self.kind is None:
            return attacked
        parts = {self.name: attacked, **dict(zip(self.others, others, strict=True))}
        return parts if self.kind is dict else self.kind(parts[name] for name in sorted(parts))


class Victim:
    """A model, what its outputs mean, and the graphs traced on it so far."""

    def __init__(self, owner: str, model: keras.Model, inputs: Inputs, x: Any, loss: Any, y: Any = None):
        self._model = weakref.ref(model)
        self.inputs = inputs
        self.compiled_loss = getattr(model, "loss", None)
        self.graphs: dict[Any, Callable[..., Any]] = {}
        # A few examples, run eagerly: builds a model that isn't yet, and shows what the outputs look like.
        self.route = calling.graph_route(owner, model, x)
        output = calling.first_output(model, x)
        self.head = reading.read(owner, model, output, loss, y, ask=_WAYS_OUT)
        reading.check_probabilities(owner, self.head, output)
        self.by_labels = reading.depends_on_labels(model, output, loss)

    @property
    def model(self) -> keras.Model:
        """The attacked model."""
        model = self._model()
        if model is None:
            raise ReferenceError("The attacked model no longer exists.")
        return model

    def output(self, x: Any) -> Any:
        """What the model puts out for inputs as its `predict` takes them, in inference mode."""
        return self.route(self.model, x, False)

    def scores(self, attacked: tf.Tensor, others: list[tf.Tensor]) -> tf.Tensor:
        """Logits (B, K) float32 in inference mode, or the predictions of a regression model."""
        return self.head.scores(self.output(self.inputs.join(attacked, others)))


def victim_of(
    owner: str, model: Any, x: Any, *, loss: Any = "auto", input_name: str | int | None = None, y: Any = None
) -> Victim:
    """Returns the victim for `model`, the same one as before while the model is compiled and built as before.

    Args:
        owner: who asks, for errors.
        model: any Keras model.
        x: inputs; one example is enough.
        loss: the attack's loss. Where the model's own doesn't tell what the outputs are, a Keras loss does.
        input_name: which of several inputs is attacked.
        y: labels, as many as there are, or None. Where model and loss leave it open they tell what the outputs are.
    """
    if not isinstance(model, keras.Model):
        checks.fail(owner, "model", "a keras.Model", type(model).__name__, error=TypeError)
    inputs = Inputs(owner, x, input_name)
    dtype = getattr(inputs.split(x)[0], "dtype", np.float32)
    if tf.as_dtype(dtype) == tf.string:  # before a layer's own message, which names no argument
        checks.fail(owner, "x", "an array of numbers", dtype, error=TypeError)
    loss = telling(model, loss)
    # Sequential.add and a new compile change the answers; a fit does not.
    key = (id(loss) if not isinstance(loss, str) else loss, len(model.weights), inputs.key, calling.state(model))
    known = _VICTIMS.setdefault(model, {})
    if key in known:
        return known[key]
    form = labels.form_of(y)
    if (*key, form) not in known:
        victim = Victim(owner, model, inputs, x, loss, y)
        known[(*key, form) if victim.by_labels else key] = victim
        return victim
    return known[(*key, form)]


def telling(model: keras.Model, loss: Any) -> Any:
    """The loss that tells what the outputs are: the compiled one, or the attack's where only that is a known one."""
    compiled = getattr(model, "loss", None)
    if isinstance(loss, str) or losses.says(loss) is None:
        return compiled
    known = losses.says(losses.resolve(compiled, 0, False)) if compiled is not None else None
    return loss if known is None else compiled
