"""A Keras model as an attack sees it: a pure function from inputs to scores, and the labels it is judged by."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial import heads
from keras_aug_ssl.adversarial.freshness import state_of

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

    def __init__(self, owner: str, model: keras.Model, inputs: Inputs, x: Any, loss: Any):
        self._model = weakref.ref(model)
        self.inputs = inputs
        self.compiled_loss = loss
        self.graphs: dict[Any, Callable[..., Any]] = {}
        _check_stateless(owner, model)
        # One example, run eagerly: builds a model that isn't yet, and shows the shape of the outputs.
        first = tf.nest.map_structure(lambda part: tf.convert_to_tensor(part[:1]), x)
        self.head = heads.read_head(owner, model, loss, model(first, training=False))
        if self.head.kind == heads.CLASSES and self.head.units == 1:
            checks.fail(
                owner, "model", "a model of at least two classes", model.name,
                "A softmax of one unit is always 1; for a yes or no end with Dense(1, \"sigmoid\").",
            )  # fmt: skip
        self.state = state_of(model)

    @property
    def model(self) -> keras.Model:
        """The attacked model."""
        model = self._model()
        if model is None:
            raise ReferenceError("The attacked model no longer exists.")
        return model

    def graph(self, key: Any, trace: Callable[[], Any]) -> Any:
        """The graph called `key`: what `trace` returned when it was first asked for."""
        if key not in self.graphs:
            self.graphs[key] = trace()
            self.state = state_of(self.model)  # layers that count or keep their calls changed it themselves
        return self.graphs[key]

    def scores(self, attacked: tf.Tensor, others: list[tf.Tensor]) -> tf.Tensor:
        """Logits (B, K) float32 in inference mode, or the predictions of a regression model."""
        return self.head.scores(self.model(self.inputs.join(attacked, others), training=False))


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


def victim_of(owner: str, model: Any, x: Any, *, loss: Any = "auto", input_name: str | int | None = None) -> Victim:
    """Returns the victim for `model`, the same one as before while the model is as before but for values of weights.

    Args:
        owner: who asks, for errors.
        model: any Keras model.
        x: inputs; one example is enough.
        loss: the attack's loss. A Keras loss also tells whether outputs are logits or probabilities.
        input_name: which of several inputs is attacked.
    """
    if not isinstance(model, keras.Model):
        checks.fail(owner, "model", "a keras.Model", type(model).__name__, error=TypeError)
    inputs = Inputs(owner, x, input_name)
    dtype = getattr(inputs.split(x)[0], "dtype", np.float32)
    if tf.as_dtype(dtype) == tf.string:  # before a layer's own message, which names no argument
        checks.fail(owner, "x", "an array of numbers", dtype, error=TypeError)
    if not isinstance(loss, keras.losses.Loss):
        loss = getattr(model, "loss", None)
    key = (id(loss) if not isinstance(loss, str) else loss, inputs.key)
    known = _VICTIMS.setdefault(model, {})
    if key not in known or known[key].state != state_of(model):
        known[key] = Victim(owner, model, inputs, x, loss)
    return known[key]


def encode_labels(owner: str, head: heads.Head, y: Any, num_examples: int) -> np.ndarray:
    """Checks labels and brings them into the form objectives want.

    Args:
        owner: who asks, for errors.
        head: what the model puts out.
        y: (N,) or (N, 1) class numbers, (N, K) one-hot or soft labels, or (N, ...) numbers.
        num_examples: N.

    Returns:
        (N,) int32 class numbers; for several labels (N, K) float32 of 0 and 1; for regression (N, ...) float32.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        checks.fail(owner, "y", "an array of numbers", y.dtype, error=TypeError)
    if y.ndim == 0 or len(y) != num_examples:
        checks.fail(owner, "y", f"one label for each of the {num_examples} examples", f"an array of shape {y.shape}")
    if head.kind == heads.NUMBERS:
        return y.astype(np.float32)
    if head.kind == heads.LABELS:
        if y.shape != (num_examples, head.units) or not np.isin(y, (0, 1)).all():
            checks.fail(owner, "y", f"0 or 1 for each of {head.units} labels, shape (N, {head.units})", y)
        return y.astype(np.float32)
    if y.ndim == 2 and y.shape[1] == head.num_classes:
        return np.argmax(y, axis=1).astype(np.int32)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        checks.fail(
            owner, "y", f"class numbers (N,) or one-hot labels (N, {head.num_classes})", f"an array of shape {y.shape}"
        )
    if not np.isfinite(y).all() or (y != np.floor(y)).any() or y.min() < 0 or y.max() >= head.num_classes:
        checks.fail(owner, "y", f"class numbers 0 to {head.num_classes - 1}", y)
    return y.astype(np.int32)


def encode_in_graph(head: heads.Head, y: tf.Tensor) -> tf.Tensor:
    """`encode_labels` without the checks of values, for use inside a training step."""
    y = tf.convert_to_tensor(y)
    if head.kind in (heads.NUMBERS, heads.LABELS):
        return tf.cast(y, tf.float32)
    if y.shape.rank == 2 and y.shape[1] == head.num_classes:
        return tf.argmax(y, axis=1, output_type=tf.int32)
    return tf.cast(tf.reshape(y, [-1]), tf.int32)


def predicted(head: heads.Head, scores: tf.Tensor) -> tf.Tensor:
    """The model's own decisions, in the form of `encode_labels`."""
    if head.kind == heads.NUMBERS:
        return scores
    if head.kind == heads.LABELS:
        return tf.cast(scores > 0, tf.float32)
    return tf.argmax(scores, axis=1, output_type=tf.int32)
