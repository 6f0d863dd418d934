"""What is compiled, and who shares it: TensorFlow frees nothing of a graph, nor XLA of what it compiled."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_PACKAGE = __name__.partition(".")[0] + "."


def compiled(function: Callable[..., Any], wanted: bool, **settings: Any) -> Callable[..., Any]:
    """`function` with `settings`, as a unit of its own for XLA when `wanted`. One unit ends where another begins.

    Equal functions with equal settings are one unit, whatever layer asks: what XLA has compiled is never freed, so a
    unit a layer would fill the memory. Hence neither may be made for one call, as a closure is.
    """
    return _unit(function, *sorted(settings.items())) if wanted else functools.partial(function, **settings)


@functools.lru_cache(maxsize=1024)  # bounds what layers of one's own, whose methods are units, are kept alive by
def _unit(function: Callable[..., Any], *settings: tuple[str, Any]) -> Callable[..., Any]:
    keywords = dict(settings)
    return tf.function(lambda *tensors: function(*tensors, **keywords), jit_compile=True, autograph=False)


class Graph:
    """A graph that equal layers share: what it doesn't know yet, it traces of the function that it is called for.

    Of the first caller's function it would go on tracing when that layer has been changed.
    """

    def __init__(self) -> None:
        self._caller = threading.local()
        # A partial, since TensorFlow counts by code: five layers called once would pass for one traced five times.
        traced = functools.partial(lambda *arguments: self._caller.function(*arguments))
        self._graph = tf.function(traced, reduce_retracing=True, autograph=False)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._caller.function = function
        try:
            return self._graph(*arguments)
        finally:
            del self._caller.function


def graphs_of(layer: Any) -> dict[Any, Graph]:
    """The graphs that eager calls of `layer`, as it now is, have made, which layers that do the same share.

    TensorFlow keeps about 1 kB for each operation of every graph there ever was, and tracing and compiling take 0.1 to
    3 seconds: a loop that makes the same layer for each trial pays once.
    """
    alike = _alike(layer)
    if alike is not None:
        return _shared_graphs(alike)
    now = changes(layer)
    if now not in layer.own_graphs:
        layer.own_graphs.clear()  # of what it was before a change
    return layer.own_graphs.setdefault(now, {})


def changes(layer: Any) -> tuple[int, ...]:
    """How often attributes of the layer and of those it holds were set: what was traced before is of another layer."""
    return tuple(getattr(part, "times_changed", 0) for part in layer._flatten_layers())


@functools.lru_cache(maxsize=256)
def _shared_graphs(alike: str) -> dict[Any, Graph]:
    return {}


def _alike(layer: Any) -> str | None:
    """What layers that do the same have in common; None where the configuration doesn't say all that a layer does.

    It does for layers of this library without variables, no method of which was replaced on the object. A stock layer
    draws from a state of its own, and of a layer of the user's nobody knows.
    """
    parts = list(layer._flatten_layers())
    if any(part.weights or _own_methods(part) or not type(part).__module__.startswith(_PACKAGE) for part in parts):
        return None
    settings = [str(part.jit_compile) for part in parts]
    config = _nameless(keras.saving.serialize_keras_object(layer))
    return json.dumps([config, settings], sort_keys=True, default=repr)


def _own_methods(layer: Any) -> set[str]:
    found = {name for name, value in vars(layer).items() if callable(value) and hasattr(type(layer), name)}
    return found - {"build", "quantize"}  # which Keras wraps for each object


def _nameless(config: Any) -> Any:
    """Without what no graph knows: names, and seeds, of which keys are made before the graph is called."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key not in ("name", "seed")}
    return [_nameless(value) for value in config] if isinstance(config, (list, tuple)) else config
