"""NumPy in and NumPy out, one image after the other: a graph for each structure and size, called without a detour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import draws
from keras_aug_ssl.layers.engine.compiling import changes
from keras_aug_ssl.layers.engine.structure import to_tensors

MOST_GRAPHS = 8  # what XLA compiles for a graph is never freed, and takes seconds


class ArrayCalls:
    """Calls a pipeline on arrays.

    Args:
        pipeline: a `Pipeline`.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._graphs: dict[Any, Callable[..., Any]] = {}
        self._changes: tuple[int, ...] = ()

    def __call__(self, inputs: Any, seed: Any) -> Any:
        """As `Pipeline.on_arrays`."""
        inputs, seeds = to_tensors(inputs), () if seed is None else (draws.as_key(seed),)
        leaves = [leaf for leaf in tf.nest.flatten(inputs) if leaf is not None]
        if not all(isinstance(leaf, tf.Tensor) for leaf in leaves):  # ragged boxes
            return self._slowly(inputs, seed)
        described = tf.nest.map_structure(_described, inputs)
        if (changed := changes(self._pipeline)) != self._changes:
            self._changes, self._graphs = changed, {}
        key = (len(seeds), type(inputs), repr(described))
        if key not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                return self._slowly(inputs, seed)
            self._graphs[key] = self._traced(inputs, seeds)
        if any(leaf.dtype.is_floating for leaf in leaves):
            self._pipeline._check_values(inputs)  # by value; whole numbers are looked at in the graph
        return tf.nest.map_structure(_array, self._graphs[key](*seeds, *leaves))

    def _slowly(self, inputs: Any, seed: Any) -> Any:
        return tf.nest.map_structure(_array, self._pipeline(inputs, training=True, seed=seed))

    def _traced(self, inputs: Any, seeds: tuple[Any, ...]) -> Callable[..., Any]:
        """The graph for inputs like these, of the key, if one is given, and their flat list."""
        pipeline, places = self._pipeline, tf.nest.flatten(inputs)
        empty = tf.nest.map_structure(lambda _: 0, inputs)
        given = [tensor for tensor in places if tensor is not None]

        def augment(*tensors: tf.Tensor) -> Any:
            rest = iter(tensors[len(seeds) :])
            parts = tf.nest.pack_sequence_as(empty, [None if place is None else next(rest) for place in places])
            pipeline._check_values(parts)
            batch, layout = pipeline._unpack(parts)
            spec = batch.spec()
            pipeline.observe(spec)
            # A draw is some hundred tiny operations, whose overhead is most of what one image costs. Who is whose
            # partner is found by operations that XLA doesn't have.
            jit = pipeline.independent and pipeline._jit(batch)
            draw = tf.function(lambda key: pipeline.draw(spec, key), autograph=False, jit_compile=jit or None)
            return pipeline._execute(batch, layout, draw(tensors[0] if seeds else pipeline._next_key()))

        specs = [tf.TensorSpec.from_tensor(tensor) for tensor in (*seeds, *given)]
        specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in specs]  # without names, which may not repeat
        return tf.function(augment, autograph=False).get_concrete_function(*specs)


def _described(leaf: tf.Tensor | None) -> Any:
    return None if leaf is None else (leaf.dtype.name, *leaf.shape)


def _array(part: Any) -> Any:
    """A tensor's values; None stays."""
    return part if part is None else np.asarray(part)
