"""The parts of a batch, on their way through the network and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.consistency.labelling import Guess
from keras_aug_ssl.teaching.finite import finite_rows, with_finite_rows

_FAR = 1_000_003  # between the seeds of two passes: few models have as many layers


class Batch(NamedTuple):
    """What a step gets.

    Attributes:
        x: labeled inputs, as the model takes them.
        y: their labels.
        weight: (B,) of the labeled rows, or None.
        unlabeled: inputs without labels.
        oracle: their true labels, for metrics only; None without.
    """

    x: Any
    y: Any
    weight: Any
    unlabeled: Any
    oracle: Any = None


class Seen(NamedTuple):
    """What the network made of one part of a batch: its outputs as the loss takes them, and logits (B, K) float32."""

    output: tf.Tensor
    scores: tf.Tensor


class Found(NamedTuple):
    """What a step comes to.

    Attributes:
        supervised: the loss on labeled rows.
        predictions: on labeled rows, for the metrics.
        guess: the labels of the unlabeled rows.
        student: (M, K) logits that learn.
        lesson: the M labels they are held to; None where they are the guess.
    """

    supervised: tf.Tensor
    predictions: tf.Tensor
    guess: Guess
    student: tf.Tensor
    lesson: Guess | None = None


def as_batch(data: Any) -> Batch:
    """Reads what `fit` hands to a step, tensors or their specifications.

    Raises:
        ValueError: for data of another form.
    """
    well_formed = (
        isinstance(data, (tuple, list))
        and len(data) in (2, 3)
        and isinstance(data[0], (tuple, list))
        and len(data[0]) in (2, 3)
    )
    if not well_formed:
        shown = tf.nest.map_structure(lambda part: getattr(part, "shape", type(part).__name__), data)
        checks.fail(
            "ConsistencyModel.fit", "x", "a stream of ((x, y), x_unlabeled)", shown,
            "Such as kas.data.labeled_unlabeled((x, y), x_unlabeled, batch_size=64, ratio=7).",
        )  # fmt: skip
    x, y, *weight = data[0]
    return Batch(x, y, weight[0] if weight else None, *data[1:])


def without_spoiled(batch: Batch) -> tuple[Batch, tf.Tensor | None]:
    """The batch with another unlabeled row in the place of each that has NaN or infinity, and (N,) which had none."""
    finite = finite_rows(batch.unlabeled)
    oracle = None if batch.oracle is None else with_finite_rows(batch.oracle, finite)
    return batch._replace(unlabeled=with_finite_rows(batch.unlabeled, finite), oracle=oracle), finite


def concatenated(parts: list[Any]) -> Any:
    """One batch of several; where a view has turned whole numbers into floats, all become floats."""
    return tf.nest.map_structure(lambda *leaves: tf.concat(_of_one_dtype(leaves), axis=0), *parts)


def split(joined: tf.Tensor, parts: list[Any]) -> list[tf.Tensor]:
    """Takes apart what the network made of `concatenated(parts)`."""
    return tf.split(joined, [rows_of(part) for part in parts])


def rows_of(part: Any) -> Any:
    """The number of rows, an int where it is known."""
    leaf = tf.nest.flatten(part)[0]
    return tf.shape(leaf)[0] if leaf.shape[0] is None else leaf.shape[0]


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of dropout and its like, which Keras neither saves nor restores."""
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]


def shifted_seeds(model: keras.Model, number: int) -> list[tuple[keras.Variable, tf.Tensor]]:
    """Keras's random states (seed, counter), each with a value for pass `number` of a step, unlike the state itself."""
    # Layers of this library keep states of three numbers, which they advance in one operation of the variable itself.
    states = [state for state in random_states(model) if tuple(state.shape) == (2,)]
    return [(state, state.value + tf.constant([_FAR * number, 0], state.value.dtype)) for state in states]


def _of_one_dtype(leaves: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    dtypes = {leaf.dtype for leaf in leaves}
    if len(dtypes) == 1:
        return leaves
    floats = [dtype for dtype in dtypes if dtype.is_floating]
    if not floats:
        checks.fail("consistency", "views", "such that all have one dtype", [dtype.name for dtype in dtypes])
    widest = max(floats, key=lambda dtype: dtype.size)
    return tuple(tf.cast(leaf, widest) for leaf in leaves)
