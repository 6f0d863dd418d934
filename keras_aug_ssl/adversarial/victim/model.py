"""A Keras model as an attack sees it: a pure function from inputs to scores, and the labels it is judged by."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks
from keras_aug_ssl.adversarial.victim.freshness import state_of
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
        self.kind: Any = type(x) if several(x) else None
        names: list[Any] = [None]
        if self.kind is not None:
            names = sorted(x) if isinstance(x, dict) else list(range(len(x)))
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
        return parts if issubclass(self.kind, dict) else self.kind(parts[name] for name in sorted(parts))


def several(x: Any) -> bool:
    """Whether `x` is a dict, list or tuple of inputs, and not one input, be it in nested lists of numbers."""
    if isinstance(x, (list, tuple)):
        return len(x) > 0 and all(np.ndim(part) > 0 and hasattr(part, "__array__") for part in x)
    return isinstance(x, dict)


class Victim:
    """A model, what its outputs mean, and the graphs traced on it so far."""

    def __init__(self, owner: str, model: keras.Model, inputs: Inputs, x: Any, loss: Any, y: Any = None):
        self._model = weakref.ref(model)
        self.inputs = inputs
        self.compiled_loss = getattr(model, "loss", None)
        self.graphs: dict[Any, Callable[..., Any]] = {}
        _check_stateless(owner, model)
        # A few examples, run eagerly: builds a model that isn't yet, and shows what the outputs look like.
        self.route = calling.graph_route(owner, model, x)
        output = calling.first_output(model, x)
        self.head = reading.read(owner, model, output, loss, y, ask=_WAYS_OUT)
        reading.check_probabilities(owner, self.head, output)
        self.by_labels = reading.depends_on_labels(model, output, loss)
        self.state = state_of(model)

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

    def graph(self, key: Any, trace: Callable[[], Any]) -> Any:
        """The graph called `key`: what `trace` returned when it was first asked for."""
        if key not in self.graphs:
            self.graphs[key] = trace()
            self.state = state_of(self.model)  # layers that count or keep their calls changed it themselves
        return self.graphs[key]

    def scores(self, attacked: tf.Tensor, others: list[tf.Tensor]) -> tf.Tensor:
        """Logits (B, K) float32 in inference mode, or the predictions of a regression model."""
        return self.head.scores(self.output(self.inputs.join(attacked, others)))


def _check_stateless(owner: str, model: keras.Model) -> None:
    """Raises for a model whose outputs depend on what it saw before."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            checks.fail(
                owner, "model", "a model that remembers nothing from one call to the next", model.name,
                f"Its layer {layer.name!r} is stateful: build the model with stateful=False and give that one the "
                "weights, by set_weights(model.get_weights()).",
            )  # fmt: skip


def concrete(run: Callable[..., Any], signature: Sequence[Any], jit_compile: bool | None = None) -> Any:
    """Traces `run`. TensorFlow would take functions that are made in one place for one that is traced too often."""
    graph = tf.function(run, input_signature=signature, autograph=False, jit_compile=jit_compile)
    return graph.get_concrete_function()


def victim_of(
    owner: str,
    model: Any,
    x: Any,
    *,
    loss: Any = "auto",
    input_name: str | int | None = None,
    y: Any = None,
    differentiated: bool = True,
) -> Victim:
    """Returns the victim for `model`, the same one as before while the model is as before but for values of weights.

    Args:
        owner: who asks, for errors.
        model: any Keras model.
        x: inputs; one example is enough.
        loss: the attack's loss. Where the model's own doesn't tell what the outputs are, a Keras loss does.
        input_name: which of several inputs is attacked.
        y: labels, as many as there are, or None. Where model and loss leave it open they tell what the outputs are.
        differentiated: False where answers are all that is asked for, which models of any backend give.
    """
    if differentiated:
        advice = "Square, HopSkipJump, Boundary, GaussianNoise and certify ask for answers only, on any backend."
        backend.require_tensorflow(owner, advice=advice)
    if not isinstance(model, keras.Model):
        checks.fail(owner, "model", "a keras.Model", type(model).__name__, error=TypeError)
    inputs = Inputs(owner, x, input_name)
    dtype = getattr(inputs.split(x)[0], "dtype", np.float32)
    if tf.as_dtype(dtype) == tf.string:  # before a layer's own message, which names no argument
        checks.fail(owner, "x", "an array of numbers", dtype, error=TypeError)
    loss = telling(model, loss)
    key = (id(loss) if not isinstance(loss, str) else loss, inputs.key, calling.state(model))
    known = _VICTIMS.setdefault(model, {})
    for each in (key, (*key, labels.form_of(y))):
        if each in known and known[each].state == state_of(model):
            return known[each]
    victim = Victim(owner, model, inputs, x, loss, y)
    known[(*key, labels.form_of(y)) if victim.by_labels else key] = victim
    return victim


def telling(model: keras.Model, loss: Any) -> Any:
    """The loss that tells what the outputs are: the compiled one, or the attack's where only that is a known one."""
    compiled = getattr(model, "loss", None)
    if isinstance(loss, str) or losses.says(loss) is None:
        return compiled
    known = losses.says(losses.resolve(compiled, 0, False)) if compiled is not None else None
    return loss if known is None else compiled
