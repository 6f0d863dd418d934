"""What a run is: all that has to be the same when an interrupted one goes on, as short digests with names."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.rules import Rule
from keras_aug_ssl.rules.choice import Choice
from keras_aug_ssl.self_training.feeding.feeder import TrainingSet
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.pool.sources import digest, digest_of_array


def identity_of_model(model: keras.Model) -> dict[str, str]:
    """Returns a digest for each part of a compiled model, as it is before the run begins, by its name.

    The values of weights, statistics and random states are no part of it, since the saved state replaces them.
    """
    return digests(
        {"model": _layers(model), "optimizer": plain(model.optimizer), "loss": plain(model.loss)},
    )


def identity_of_teachers(teachers: Sequence[keras.Model], model: keras.Model, average: bool) -> dict[str, str]:
    """Returns a digest of teachers with their weights, but for what they share with the model in training.

    Args:
        teachers: built models.
        model: what is trained.
        average: the averages that their optimizers keep label.
    """
    own = {id(variable) for variable in [*model.variables, *model.optimizer.variables]}
    found = []
    for each in teachers:
        kept = each.optimizer.variables if average else []
        averages = [variable for variable in kept if id(variable) not in own]
        found.append([*identity_of_weights(each, own), plain(getattr(each, "loss", None)), plain(averages)])
    return digests({"teacher": found})


def identity_of_weights(model: keras.Model, left_out: Collection[int] = ()) -> Any:
    """Returns what tells a trained model from others, as JSON takes it: layers, and weights but those left out.

    Whether layers are trainable doesn't matter: what is asked here is what they answer.

    Args:
        model: any Keras model, built.
        left_out: `id` of variables.
    """
    weights = [variable for variable in model.weights if id(variable) not in left_out]
    return [_layers(model, {"trainable"}), plain(weights)]


def identity_of_run(choice: Choice, pool: UnlabeledPool, feeder: TrainingSet, **options: Any) -> dict[str, str]:
    """Returns a digest for each other part of a run, by a name that a user understands.

    A function is known by its name and the constants in it; more of it can't be told from outside.

    Args:
        choice: how rows are chosen and labeled.
        pool: what is labeled.
        feeder: the training set.
        **options: further numbers and arrays that decide what the run does.
    """
    labeled = feeder.labeled
    parts = {
        "pool": pool.fingerprint(),
        "set of labeled rows": plain([labeled.x, labeled.y, labeled.weight, labeled.class_weight]),
        "rule or option": plain([choice, options]),
        "batch size, length or augmentation": plain(feeder.settings),
        "seed": feeder.seed,
    }
    return digests(parts)


def digests(parts: dict[str, Any]) -> dict[str, str]:
    """Returns a digest for each part, given as JSON takes it."""
    return {name: digest(json.dumps(part, sort_keys=True).encode()) for name, part in parts.items()}


def _layers(model: keras.Model, ignored: Collection[str] = ()) -> Any:
    """Architecture and settings of all layers, but those ignored.

    Names that Keras counts up don't matter: another model took the last.
    """
    layers = [model, *model._flatten_layers(include_self=False)]
    operations = [each for layer in layers for each in getattr(layer, "operations", ())]
    names = {each.name: f"#{number}" for number, each in reversed(list(enumerate([*layers, *operations])))}
    shapes = [[list(variable.shape), variable.dtype] for variable in model.variables]
    return [[plain(layer, names, ignored) for layer in layers], shapes]


def plain(value: Any, names: Mapping[str, str] | None = None, ignored: Collection[str] = ()) -> Any:
    """A value as JSON takes it, the same in every process, but for entries of mappings that are `ignored`.

    Of `names`, their places; without them, nothing that is a name.
    """
    again = functools.partial(plain, names=names, ignored=ignored)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return (names or {}).get(value, value)
    if isinstance(value, (np.ndarray, np.generic, tf.Tensor, tf.Variable, keras.Variable)):
        return digest_of_array(np.asarray(value))
    if isinstance(value, Mapping):
        # Keras counts names up, and numbers shared objects by where they lie in memory. How a wrapped model is compiled
        # is said by the wrapper's optimizer and loss, which are parts of their own.
        left_out = {"shared_object_id", "compile_config", *ignored} | (set() if names else {"name"})
        return {str(key): again(part) for key, part in value.items() if key not in left_out}
    if isinstance(value, (set, frozenset)):
        return sorted(map(again, value), key=repr)
    if isinstance(value, Sequence):
        return [again(part) for part in value]
    if hasattr(value, "get_config"):
        config = _config(value)
        return [type(value).__name__, again(vars(value) if not config and isinstance(value, Rule) else config)]
    if hasattr(value, "__dataclass_fields__"):
        return [type(value).__name__, again(vars(value))]
    return _function(value, again)


def _config(value: Any) -> Any:
    try:
        return value.get_config()
    except Exception:  # of a subclass that never meant to be saved
        return None


def _function(value: Any, again: Any) -> Any:
    if isinstance(value, functools.partial):
        return [again(value.func), again(value.args), again(value.keywords)]
    value = inspect.unwrap(value) if callable(value) else value
    if hasattr(value, "get_config"):
        return again(value)
    code = getattr(value, "__code__", None)
    constants = [part for part in code.co_consts if isinstance(part, (int, float, str))] if code else []
    return [getattr(value, "__qualname__", type(value).__qualname__), constants]
