"""How a model has to be called so that it answers as its `predict` does.

As a rule that is `model(x)`. A task that prepares its inputs in `fit`, `predict` and `evaluate`, as those of KerasHub,
means something else by `model(x)`: the network behind the preparation. Its *route*, a function of (model, x, training),
leads from what its `predict` takes to what its `call` puts out. Where Keras runs on another backend than TensorFlow,
the one route is `on_host`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks

Route = Callable[[keras.Model, Any, bool | None], Any]

ROWS = 32
"""Rows on which a route is compared with `predict`, at full and at half their values."""

FEW = 4
"""Rows that show what outputs look like: no more than the smallest batches, for which a model may have memory."""

_KNOWN: weakref.WeakKeyDictionary[keras.Model, tuple[Any, Route]] = weakref.WeakKeyDictionary()


def directly(model: keras.Model, x: Any, training: bool | None) -> Any:
    """As it is."""
    return model(x, training=training)


def by_samples(model: keras.Model, x: Any, training: bool | None) -> Any:
    """Through `preprocess_samples`, which KerasHub's tasks have."""
    prepared, _, _ = keras.utils.unpack_x_y_sample_weight(model.preprocess_samples(x))
    return model(prepared, training=training)


def by_preprocessor(model: keras.Model, x: Any, training: bool | None) -> Any:
    """Through `preprocessor`, a layer or function."""
    return model(model.preprocessor(x), training=training)


def by_step(model: keras.Model, x: Any, training: bool | None) -> Any:
    """Through `predict_step`, which knows inference only."""
    return model.predict_step(keras.utils.pack_x_y_sample_weight(x))  # as predict packs it


def by_predict(model: keras.Model, x: Any, training: bool | None) -> Any:
    """Through `predict` itself, which knows inference only, and neither graphs nor gradients."""
    quiet = {"verbose": 0}
    accepts = inspect.signature(model.predict).parameters.values()
    if not any(each.name == "verbose" or each.kind is each.VAR_KEYWORD for each in accepts):
        quiet = {}
    return tf.nest.map_structure(tf.convert_to_tensor, model.predict(tf.nest.map_structure(np.asarray, x), **quiet))


def on_host(model: keras.Model, x: Any, training: bool | None) -> Any:
    """Through the model's own backend, as one operation of TensorFlow that has no gradient, eager or in a graph."""
    if _concrete(x):
        return tf.nest.map_structure(
            tf.convert_to_tensor, _answer(model, tf.nest.map_structure(np.asarray, x), training)
        )
    leaves = tf.nest.flatten(x)
    symbolic = [keras.KerasTensor((None, *leaf.shape[1:]), leaf.dtype.name) for leaf in leaves]
    output = model.compute_output_spec(tf.nest.pack_sequence_as(x, symbolic))
    specs = tf.nest.flatten(output)

    def answer(*arrays: np.ndarray) -> list[np.ndarray]:
        answers = tf.nest.flatten(_answer(model, tf.nest.pack_sequence_as(x, arrays), training))
        return [part.astype(spec.dtype, copy=False) for part, spec in zip(answers, specs, strict=True)]

    found = tf.numpy_function(answer, leaves, [tf.as_dtype(spec.dtype) for spec in specs])
    known = [tf.ensure_shape(part, spec.shape) for part, spec in zip(found, specs, strict=True)]
    return tf.nest.pack_sequence_as(output, known)


def _answer(model: keras.Model, x: Any, training: bool | None) -> Any:
    """A model's outputs for arrays as arrays, on whatever backend it runs."""
    if not training and _has_own(model, "predict"):
        return model.predict(x, verbose=0)
    x = tf.nest.map_structure(keras.ops.convert_to_tensor, x)
    if not training:
        return model.predict_on_batch(x)
    return tf.nest.map_structure(keras.ops.convert_to_numpy, model(x, training=True))


INFERENCE_ONLY = (by_step, by_predict)


def route_of(model: keras.Model, x: Any = None) -> Route:
    """Returns the route of a model, compared with its `predict` where that is its own; a plain one costs nothing.

    Args:
        model: any Keras model.
        x: inputs as `predict` takes them, (N, ...) or a structure. Without them, and in a graph, where `predict` can't
            run, the comparison made before holds, or else what the model's attributes say.
    """
    if not backend.IS_TENSORFLOW:
        return on_host
    if not _has_own(model, "predict", "predict_step", "make_predict_function"):
        return directly
    known, route = _KNOWN.get(model, (None, None))
    if route is not None and known == state(model):
        return route
    if x is None or not _concrete(x):
        in_steps = not _has_own(model, "predict", "make_predict_function")
        return [*_suggested(model), by_step if in_steps else by_predict][0]
    route = _compared(model, tf.nest.map_structure(_some, x))
    _KNOWN[model] = (state(model), route)
    return route


def state(model: keras.Model) -> Any:
    """What a route depends on: a task whose preprocessor is taken away is called in another way."""
    return id(getattr(model, "preprocessor", None))


def graph_route(owner: str, model: keras.Model, x: Any = None, *, training: bool = False) -> Route:
    """`route_of` for those who need a graph and gradients.

    Args:
        owner: who asks, for the error.
        model: any Keras model.
        x: inputs as `predict` takes them, or None.
        training: the model is to be called in training mode too.

    Raises:
        ValueError: where only `predict` itself knows how the inputs are prepared.
    """
    route = route_of(model, x)
    if route is by_predict or training and route in INFERENCE_ONLY:
        checks.fail(
            owner, "model", "a model whose predict can be followed: one that calls the model on its inputs, or on what "
            "its `preprocess_samples` or `preprocessor` makes of them in TensorFlow", model.name,
            "Its own predict answers otherwise than model(x), or can't be compared with it here. Build one plain model "
            "with the preprocessing inside: inputs = keras.Input(shape); plain = keras.Model(inputs, "
            "model(preprocessing(inputs))); compile it with the same loss, and use it instead.",
        )  # fmt: skip
    return route


def first_output(model: keras.Model, x: Any) -> Any:
    """What a model puts out for the first few of some inputs; shows what outputs look like, and builds it."""
    first = tf.nest.map_structure(lambda part: tf.convert_to_tensor(part[:FEW]), x)
    return route_of(model, x)(model, first, False)


class Answers:
    """A model as a function of blocks of inputs, traced where its route can be; decided on the first block.

    Args:
        owner: who asks, for errors.
        model: any Keras model.
        batch_size: rows at once, of which a block holds a multiple; None takes a block at once.
        training: call it in training mode, as dropout needs.
    """

    def __init__(
        self, owner: str, model: keras.Model, batch_size: int | None = None, *, training: bool = False
    ) -> None:
        self._owner, self._model, self._batch_size, self._training = owner, model, batch_size, training
        self._call: Callable[[Any], Any] | None = None

    def __call__(self, x: Any) -> Any:
        """The outputs for a block of arrays or tensors."""
        if self._call is None:
            self._call = self._made(x)
        return self._call(x)

    def _made(self, x: Any) -> Callable[[Any], Any]:
        model, training = self._model, self._training
        route = graph_route(self._owner, model, x, training=True) if training else route_of(model, x)
        if route is by_predict:
            return lambda block: by_predict(model, block, False)
        if self._batch_size is None:
            return _graph(route, model, training)
        follow = functools.partial(_follow, route, model, training)
        return tf.function(functools.partial(in_batches, follow, self._batch_size), autograph=False)


def in_batches(call: Callable[[Any], Any], batch_size: int, x: Any) -> tf.Tensor:
    """Calls a model on a block of rows, in one graph but a batch after the other, so that it needs a batch's memory.

    Args:
        call: from a batch to its outputs.
        batch_size: rows at once.
        x: (N, ...) tensors, N a multiple of `batch_size`.

    Returns:
        (N, ...) float32 outputs.
    """
    leading = [keras.tree.flatten(x)[0].shape[0] // batch_size, batch_size]
    if leading[0] == 1:
        return tf.cast(call(x), tf.float32)
    parts = keras.tree.map_structure(lambda part: tf.reshape(part, leading + part.shape[1:]), x)
    found = tf.map_fn(
        lambda part: tf.cast(call(part), tf.float32), parts, parallel_iterations=1, fn_output_signature=tf.float32
    )
    return tf.reshape(found, [-1, *found.shape[2:]])


def _graph(route: Route, model: keras.Model, training: bool | None) -> Any:
    """A route traced. A partial, since TensorFlow counts by code: five of them would pass for one traced five times."""
    return tf.function(functools.partial(_follow, route, model, training), autograph=False, reduce_retracing=True)


def _follow(route: Route, model: keras.Model, training: bool | None, x: Any) -> Any:
    return route(model, x, training)


def fits_itself(model: keras.Model) -> bool:
    """Whether a model has a `fit` of its own, in which it may prepare its inputs."""
    return _has_own(model, "fit")


def _some(part: Any) -> np.ndarray:
    """Rows from all over an array, as they are and at half their values: one row, or rows of one class, may be answered
    alike whatever is done to them."""
    part = np.asarray(part)
    part = part[np.unique(np.linspace(0, len(part) - 1, ROWS).astype(np.int64))]
    return np.concatenate([part, (part * 0.5).astype(part.dtype) if part.dtype.kind in "fu" else part])


def _concrete(x: Any) -> bool:
    """Whether inputs have values, which they lack in a graph and while a model is put together."""
    return tf.executing_eagerly() and not any(map(keras.backend.is_keras_tensor, tf.nest.flatten(x)))


def _has_own(model: keras.Model, *names: str) -> bool:
    """Whether a model does one of these in a way of its own."""
    return any(name in vars(model) or getattr(type(model), name) is not getattr(keras.Model, name) for name in names)


def _suggested(model: keras.Model) -> list[Route]:
    """The routes that the attributes of a model suggest."""
    named = {"preprocess_samples": by_samples, "preprocessor": by_preprocessor}
    return [route for name, route in named.items() if callable(getattr(model, name, None))]


def _compared(model: keras.Model, x: Any) -> Route:
    """The first route that agrees with `predict`, those first that know training mode; `predict` itself at last."""
    answer = by_predict(model, x, False)
    for route in [*_suggested(model), directly, *([by_step] if _has_own(model, "predict_step") else [])]:
        output = _traced(route, model, x)
        # An untrained head may answer alike whatever comes in: agreeing then says nothing about the inputs.
        if output is not None and _agree(answer, output, model) and (route is not directly or _differ(output, model)):
            return route
    return by_predict


def _traced(route: Route, model: keras.Model, x: Any) -> Any:
    """What a route puts out in a graph; None where it can't become one, as with preparation in NumPy."""
    with contextlib.suppress(Exception):
        return _graph(route, model, False)(tf.nest.map_structure(tf.convert_to_tensor, x))
    return None


def _agree(answer: Any, output: Any, model: keras.Model) -> bool:
    """Whether an answer is the output, or what an activation or a decision makes of it."""
    answers, outputs = tf.nest.flatten(answer), tf.nest.flatten(output)
    return len(answers) == len(outputs) and all(
        any(_close(one, reading(tf.cast(other, tf.float32)), model) for reading in _READINGS)
        for one, other in zip(answers, outputs, strict=True)
    )


_READINGS: tuple[Callable[[tf.Tensor], tf.Tensor], ...] = (
    tf.identity, tf.nn.softmax, tf.sigmoid, lambda output: tf.argmax(output, -1),
)  # fmt: skip


def _close(answer: tf.Tensor, output: tf.Tensor, model: keras.Model) -> bool:
    one, other = np.asarray(answer, np.float64), np.asarray(output, np.float64)
    if one.shape != other.shape:
        return False
    slack = 0.01 * _spread(other) + _noise(other, model) if output.dtype.is_floating else 0.0
    return bool(np.all((np.abs(one - other) <= slack) | (np.isnan(one) & np.isnan(other)) | (one == other)))


def _differ(output: Any, model: keras.Model) -> bool:
    """Whether outputs depend on what comes in, as far as several rows can show it."""
    parts = [np.asarray(part, np.float64) for part in tf.nest.flatten(output)]
    return all(len(part) < 2 or _spread(part) > _noise(part, model) for part in parts)


def _spread(output: np.ndarray) -> float:
    """The largest distance of two rows in any unit."""
    return float(np.nanmax(np.ptp(output, axis=0), initial=0.0))


def _noise(output: np.ndarray, model: keras.Model) -> float:
    """What rounding may do to outputs."""
    half = "16" in str(model.compute_dtype)
    return (1e-2 if half else 1e-5) * float(np.nanmax(np.abs(output), initial=0.0))
