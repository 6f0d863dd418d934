"""Data of any kind as batches of (x, y) in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.victim.model import several


def batches(owner: str, model: keras.Model, x: Any, y: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yields (x, y) with at most `batch_size` rows at a time; y is None where the data have no labels.

    Args:
        owner: who asks, for errors.
        model: the model the data are for; its input tells single examples from batches.
        x: arrays or tensors (N, ...), a dict, list or tuple of them, a `tf.data.Dataset` of x or (x, y) or of TFDS's
            dicts with "image" and "label", batched or not, or a `keras.utils.PyDataset`.
        y: labels (N, ...) or None; None when `x` brings them.
        batch_size: rows of a batch; batched data keep theirs.
    """
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        if y is not None:
            checks.fail(owner, "y", "None when the data set brings the labels", y)
        yield from _from_dataset(owner, model, x, batch_size)
        return
    arrays = tf.nest.map_structure(np.asarray, x) if several(x) else _array(owner, x)
    sizes = {len(part) if part.ndim else -1 for part in tf.nest.flatten(arrays)}
    if len(sizes) != 1 or min(sizes) < 1:
        checks.fail(owner, "x", "inputs with the same number of examples, at least one", sorted(sizes))
    y = None if y is None else np.asarray(y)
    if y is not None and (y.ndim == 0 or {len(y)} != sizes):
        checks.fail(owner, "y", f"one label for each of the {sizes.pop()} examples", f"an array of shape {y.shape}")
    for start in range(0, sizes.pop(), batch_size):
        stop = start + batch_size
        yield _slice(arrays, start, stop), None if y is None else y[start:stop]


def _from_dataset(owner: str, model: keras.Model, data: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, tf.data.Dataset):
        spec, _ = _pair(data.element_spec)
        shape = model.input_shape if isinstance(getattr(model, "input_shape", None), tuple) else None
        if shape and isinstance(spec, tf.TensorSpec) and spec.shape.rank == len(shape) - 1:
            data = data.batch(batch_size)
        elements: Any = data.as_numpy_iterator()
    else:
        elements = (data[i] for i in range(len(data)))
    empty = True
    for element in elements:
        empty = False
        yield _pair(element)
    if empty:
        checks.fail(owner, "x", "a data set with at least one example", "an empty one")


def _pair(element: Any) -> tuple[Any, Any]:
    if isinstance(element, dict) and {"image", "label"} <= set(element):
        return element["image"], element["label"]
    if isinstance(element, (tuple, list)):
        return element[0], element[1] if len(element) > 1 else None
    return element, None


def _slice(arrays: Any, start: int, stop: int) -> Any:
    return tf.nest.map_structure(lambda part: part[start:stop], arrays)


def _array(owner: str, x: Any) -> np.ndarray:
    try:
        return np.asarray(x)
    except ValueError:
        checks.fail(owner, "x", "an array, or nested lists of numbers of one shape", x)
