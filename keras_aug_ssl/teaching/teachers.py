"""Ways to predict with a model other than as it is, and to leave it as it was: averaged weights, noisy passes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks


@contextlib.contextmanager
def unchanged(variables: Iterable[Any]) -> Iterator[None]:
    """Puts variables back afterwards, bit for bit."""
    kept = [(variable, value_of(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def value_of(variable: Any) -> Any:
    """A copy of what a Keras variable holds, as a tensor of the backend."""
    return (tf.identity if backend.IS_TENSORFLOW else keras.ops.copy)(variable.value)


def steps_made(optimizer: Any) -> Any:
    """`optimizer.iterations` as an integer tensor, which it is by itself under gradient accumulation, and one of all
    replicas under a strategy."""
    iterations = optimizer.iterations
    return tf.convert_to_tensor(iterations) if backend.IS_TENSORFLOW else keras.ops.convert_to_tensor(iterations)


def training_state(model: keras.Model) -> list[np.ndarray]:
    """Returns copies of all that training changes: weights, statistics, random state and the optimizer."""
    return [keras.ops.convert_to_numpy(value_of(variable)) for variable in _training_variables(model)]


def set_training_state(model: keras.Model, values: list[np.ndarray]) -> None:
    """Puts back what `training_state` returned."""
    for variable, value in zip(_training_variables(model), values, strict=True):
        variable.assign(value)


def _training_variables(model: keras.Model) -> list[Any]:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    metrics = {id(variable) for variable in model.metrics_variables}
    return [*(variable for variable in model.variables if id(variable) not in metrics), *model.optimizer.variables]


@contextlib.contextmanager
def averaged_weights(owner: str, model: keras.Model) -> Iterator[None]:
    """Puts the optimizer's moving averages in place of the weights for a while.

    Raises:
        ValueError: when the optimizer keeps no averages.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # mixed precision wraps it
    if optimizer.use_ema and not int(steps_made(optimizer)):  # the average of no step is what the weights are
        yield
        return
    averages = getattr(optimizer, "_model_variables_moving_average", None)
    if not averages:
        checks.fail(
            owner, "model", "compiled with an optimizer that keeps averages", type(optimizer).__name__,
            "For teacher='average' use, for example, keras.optimizers.Adam(use_ema=True, ema_momentum=0.99).",
        )  # fmt: skip
    with unchanged(optimizer._trainable_variables):
        for variable, average in zip(optimizer._trainable_variables, averages, strict=True):
            variable.assign(value_of(average))  # a variable of JAX would share what `predict` may give away
        yield


@contextlib.contextmanager
def dropout_only(model: keras.Model) -> Iterator[None]:
    """Lets a model be called with `training=True` for its dropout: BatchNormalization stays in inference mode.

    All state that isn't trained, such as the random state of dropout, is put back afterwards.
    """
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    with unchanged(model.non_trainable_variables):
        try:
            for layer in norms:
                layer.trainable = False  # a frozen one normalizes by its running averages
            yield
        finally:
            for layer in norms:
                layer.trainable = True
