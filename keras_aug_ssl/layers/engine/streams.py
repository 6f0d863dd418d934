"""Where each element of a data set stands, so that what happens to an image depends on its place and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf


class Place(NamedTuple):
    """Where a batch stands in a pass over the data.

    Attributes:
        epoch: tells this pass from others, int64.
        first: position of the batch's first image, int64.
        rows: images in the batch.
        full: images in the fullest batch so far.
    """

    epoch: tf.Tensor
    first: tf.Tensor
    rows: tf.Tensor
    full: tf.Tensor


def placed(dataset: tf.data.Dataset, epoch: Any, seed: int, batched: bool) -> tf.data.Dataset:
    """Pairs every element, a batch or a single image, with its `Place`; `epoch` as in `Pipeline.map`."""
    epoch = getattr(epoch, "epoch", epoch)
    # The one source that tells the passes of one data set apart by itself; a pass keeps the first number it sees.
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)

    @tf.autograph.experimental.do_not_convert
    def place(state: Place, paired: Any) -> tuple[Place, Any]:
        element, number = paired
        fresh = number if epoch is None else tf.cast(tf.convert_to_tensor(epoch), tf.int64)
        rows = tf.shape(images_of(element), tf.int64)[0] if batched else tf.constant(1, tf.int64)
        now = Place(tf.where(state.full == 0, fresh, state.epoch), state.first, rows, tf.maximum(state.full, rows))
        return now._replace(first=state.first + rows), (now, element)

    start = Place(*(tf.constant(0, tf.int64) for _ in Place._fields))
    return tf.data.Dataset.zip(dataset, numbers).scan(start, place)


def block_size(element_spec: Any) -> int:
    """How many single elements are augmented together: 4 MB of them, 256 at most; 1 where their sizes may differ."""
    leaves = tf.nest.flatten(element_spec)
    if not all(isinstance(leaf, tf.TensorSpec) and leaf.shape.is_fully_defined() for leaf in leaves):
        return 1
    size = sum(leaf.shape.num_elements() * max(1, leaf.dtype.size) for leaf in leaves)
    return min(256, max(1, 2**22 // max(1, size)))


def singly(blocks: tf.data.Dataset, like: tf.data.Dataset) -> tf.data.Dataset:
    """The single elements of `blocks`, made of those of `like`, in their number as far as it is known."""
    elements, count = blocks.unbatch(), tf.get_static_value(like.cardinality())
    if count is None or count == tf.data.UNKNOWN_CARDINALITY:
        return elements
    return elements.apply(tf.data.experimental.assert_cardinality(count))


def at_full_size(function: Callable[[Any], Any], place: Place, element: Any) -> Any:
    """Calls `function` on a batch filled up to the fullest one's size by repeating its last row, and cuts the result.

    Of an empty one the rows are blank: some of what XLA compiles can't be compiled for none.

    One size means one compilation: a smaller last batch costs none of its own.
    """

    def filled() -> Any:
        rows = tf.minimum(tf.range(tf.maximum(place.full, 1)), tf.maximum(place.rows - 1, 0))

        def fill(leaf: tf.Tensor) -> tf.Tensor:
            blank = tf.zeros(tf.concat([[1], tf.shape(leaf)[1:]], 0), leaf.dtype)
            return tf.gather(tf.concat([leaf, blank], 0), rows)

        return _each(fill, element)

    whole = tf.cond((place.rows == place.full) & (place.rows > 0), lambda: element, filled)
    _each(lambda leaf, like: leaf.set_shape([None, *like.shape[1:]]), whole, element)
    return _each(lambda leaf: leaf[: place.rows], function(whole))


def _each(function: Callable[..., Any], *elements: Any) -> Any:
    """`function` of each tensor in a structure, where None stays."""
    return tf.nest.map_structure(lambda leaf, *more: None if leaf is None else function(leaf, *more), *elements)


def images_of(element: Any) -> Any:
    """The images in an element of a data set, tensor, tuple or dict; its first part where none is called so."""
    while isinstance(element, (Mapping, tuple, list)):
        named = element if isinstance(element, Mapping) else {"images": element[0]}
        element = named["images"] if "images" in named else next(iter(named.values()))
    return element
