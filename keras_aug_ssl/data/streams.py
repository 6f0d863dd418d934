"""Streams of batches: labeled and unlabeled side by side, and the epoch as a number that `tf.data` can read."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws


class EpochCounter(keras.callbacks.Callback):
    """The running epoch as a variable, so that a `tf.data` pipeline can make it part of its keys.

    `fit` starts a new iterator each epoch and tells it nothing. Given to both the pipeline and `fit`, this callback
    gives every epoch new draws, and gives epoch 7 of a resumed run (`initial_epoch=7`) the draws it would have had.

    Attributes:
        epoch: scalar int64 `tf.Variable`, the epoch `fit` is in, counted from 0.

    A stream that lives through several epochs (an infinite one, with `steps_per_epoch`) may have prepared a few
    batches before the epoch changed: there, key by position instead.

    Example:
        >>> import tensorflow as tf
        >>> import keras_aug_ssl as kas
        >>> counter = kas.data.EpochCounter()
        >>> dataset = tf.data.Dataset.range(2).map(lambda i: i + 10 * counter.epoch)
        >>> counter.on_epoch_begin(3)
        >>> [int(i) for i in dataset]
        [30, 31]
    """

    def __init__(self) -> None:
        super().__init__()
        with tf.device("CPU:0"):  # tf.data runs there and can't capture a variable that lives on a GPU
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.assign(epoch)


def labeled_unlabeled(
    labeled: Any,
    unlabeled: Any,
    batch_size: int = 64,
    ratio: int = 7,
    *,
    seed: int = 0,
    epoch: EpochCounter | None = None,
) -> tf.data.Dataset:
    """Pairs labeled with unlabeled examples into batches `((x, y), x_unlabeled)` for the consistency methods.

    Every batch is full: `batch_size` labeled examples and `batch_size * ratio` unlabeled ones, because each new size
    of a last batch is a new compilation. The labeled part starts again whenever it ends. One epoch is one pass over
    the unlabeled part, whose remainder below a full batch is left out; it differs from epoch to epoch.

    | unlabeled part | batches an epoch |
    |---|---|
    | N examples, N >= batch_size * ratio | N // (batch_size * ratio) |
    | fewer | 1, with repeated examples |
    | an infinite dataset | no end: pass `steps_per_epoch` to `fit` |
    | a dataset of unknown length | as many full batches as come |

    Arrays are shuffled anew in each epoch. Datasets come in the order they have: shuffle them before.

    Args:
        labeled: `(x, y)` arrays, x possibly a dict of arrays, or a `tf.data.Dataset` of single `(x, y)` examples, not
            of batches. A third part, the sample weight, is passed on.
        unlabeled: array or dict of arrays, or a `tf.data.Dataset` of single inputs x.
        batch_size: labeled examples a batch, >= 1.
        ratio: unlabeled examples for each labeled one, >= 1; FixMatch's mu.
        seed: int >= 0 of the shuffling; no global seed is read or changed.
        epoch: an `EpochCounter` that is also among `fit`'s callbacks. With it the order of arrays is a function of
            seed and epoch, so a resumed run continues as if it had not stopped; without it, of seed and of how often
            the dataset was iterated.

    Returns:
        A `tf.data.Dataset` of `((x, y), x_unlabeled)` with static batch sizes, and known length where the table says.

    Raises:
        ValueError: an empty part, a part that can't fill a batch, lengths that differ, sizes below 1.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> x, y = np.zeros((10, 4), "float32"), np.arange(10)
        >>> batches = kas.data.labeled_unlabeled((x, y), np.ones((90, 4), "float32"), batch_size=4, ratio=3)
        >>> len(batches)
        7
        >>> (x_batch, y_batch), x_unlabeled = next(iter(batches))
        >>> x_batch.shape, y_batch.shape, x_unlabeled.shape
        (TensorShape([4, 4]), TensorShape([4]), TensorShape([12, 4]))
    """
    owner = "kas.data.labeled_unlabeled"
    batch_size = checks.integer(owner, "batch_size", batch_size, 1)
    unlabeled_size = batch_size * checks.integer(owner, "ratio", ratio, 1)
    seed = checks.integer(owner, "seed", seed, 0)
    _check_parts(owner, labeled, unlabeled)
    left, _ = _batches(owner, "labeled", labeled, batch_size, (seed, 0), epoch)
    right, length = _batches(owner, "unlabeled", unlabeled, unlabeled_size, (seed, 1), epoch)
    if length != tf.data.INFINITE_CARDINALITY and length != tf.data.UNKNOWN_CARDINALITY:
        right = right.take(max(1, length // unlabeled_size))
    return tf.data.Dataset.zip(left, right).prefetch(tf.data.AUTOTUNE)


def _check_parts(owner: str, labeled: Any, unlabeled: Any) -> None:
    pair = labeled.element_spec if isinstance(labeled, tf.data.Dataset) else labeled
    if not isinstance(pair, tuple) or len(pair) not in (2, 3):
        checks.fail(owner, "labeled", "(x, y) or (x, y, sample_weight), as arrays or as a tf.data.Dataset", labeled)
    inputs = unlabeled.element_spec if isinstance(unlabeled, tf.data.Dataset) else unlabeled
    if isinstance(inputs, tuple):
        advice = "Leave labels out: of a dataset by `.map(lambda x, y: x)`."
        checks.fail(owner, "unlabeled", "inputs x alone, as an array or as a tf.data.Dataset", unlabeled, advice)


def _batches(
    owner: str, name: str, part: Any, size: int, seed: tuple[int, int], epoch: EpochCounter | None
) -> tuple[tf.data.Dataset, int]:
    """Returns full batches, without end unless `part` is of unknown length, and the number of examples."""
    if isinstance(part, tf.data.Dataset):
        length = int(part.cardinality())
        repeated = part if name == "unlabeled" and length == tf.data.UNKNOWN_CARDINALITY else part.repeat()
        batches = repeated.batch(size, drop_remainder=True)
    else:
        with tf.device("CPU:0"):
            part = tf.nest.map_structure(tf.convert_to_tensor, part)
        lengths = [array.shape[0] if array.shape.rank else 0 for array in tf.nest.flatten(part)]
        length = min(lengths)
        if length != max(lengths):
            checks.fail(owner, name, "arrays of one length", lengths)
        indices = _shuffled_passes(length, seed, epoch).batch(size, drop_remainder=True)
        batches = indices.map(lambda index: tf.nest.map_structure(lambda array: tf.gather(array, index), part))
    if length == 0:
        checks.fail(owner, name, "at least one example", part)
    return batches, length


def _shuffled_passes(length: int, seed: tuple[int, int], epoch: EpochCounter | None) -> tf.data.Dataset:
    """Returns the positions 0 .. length - 1 in a new order for each pass, pass after pass without end."""
    passes = endless_keys(seed, epoch).flat_map(
        lambda key: tf.data.Dataset.from_tensor_slices(draws.permutation(key, length))
    )
    return passes.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))  # unknown to flat_map


def endless_keys(seed: tuple[int, int], epoch: EpochCounter | None) -> tf.data.Dataset:
    """Returns (2,) keys without end, a function of seed, epoch and position.

    Without a counter, how often the dataset was iterated stands for the epoch.
    """
    if epoch is None:
        numbers = tf.data.Dataset.random(seed=seed[0], rerandomize_each_iteration=True)
        return numbers.map(lambda number: draws.fold_in(draws.as_key(seed), number))
    numbers = tf.data.Dataset.counter()
    return numbers.map(lambda number: draws.fold_in(draws.fold_in(draws.as_key(seed), epoch.epoch), number))
