"""Streams of batches: labeled and unlabeled side by side, and the epoch as a number that `tf.data` can read."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
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
    steps: int | None = None,
    oracle: Any = None,
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

    Arrays are shuffled anew in each epoch, and so are the batches of a `PyDataset`. Datasets come in the order they
    have: shuffle them before, the more so where `steps` ends an epoch before them.

    Args:
        labeled: `(x, y)` arrays, x possibly a dict of arrays; or a `tf.data.Dataset` of single `(x, y)` examples, not
            of batches; or a `keras.utils.PyDataset` of batches. A third part, the sample weight, is passed on.
        unlabeled: array or dict of arrays, a `tf.data.Dataset` of single inputs x, or a `PyDataset` of batches of them.
        batch_size: labeled examples a batch, >= 1.
        ratio: unlabeled examples for each labeled one, >= 1; FixMatch's mu.
        seed: int >= 0 of the shuffling; no global seed is read or changed.
        epoch: an `EpochCounter` that is also among `fit`'s callbacks. With it the order of arrays is a function of
            seed and epoch, so a resumed run continues as if it had not stopped; without it, of seed and of how often
            the dataset was iterated.
        steps: batches an epoch in place of the table's, >= 1; the unlabeled part starts again whenever it ends.
        oracle: the true labels of the unlabeled part, by which `fit` tells how many pseudo-labels are right and learns
            nothing: an array beside arrays; True where `unlabeled` gives `(x, y)`.

    Returns:
        A `tf.data.Dataset` of `((x, y), x_unlabeled)`, or `((x, y), x_unlabeled, y_unlabeled)` with an oracle, with
        static batch sizes, and known length where the table says.

    Raises:
        ValueError: an empty part, a part that can't fill a batch, lengths that differ, sizes below 1, a dataset that is
            batched already, inputs without labels that are no rows like the labeled ones.

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
    if steps is not None:
        steps = checks.integer(owner, "steps", steps, 1)
    _check_labeled(owner, labeled)
    for name, part in {"labeled": labeled, "unlabeled": unlabeled}.items():
        _check_single(owner, name, part)
    unlabeled = _with_oracle(owner, unlabeled, oracle)
    left, _ = _batches(owner, "labeled", labeled, batch_size, (seed, 0), epoch)
    right, length = _batches(owner, "unlabeled", unlabeled, unlabeled_size, (seed, 1), epoch, steps is None)
    _check_alike(owner, left.element_spec[0], right.element_spec if oracle is None else right.element_spec[0])
    if steps is not None:
        right = right.take(steps)
    elif length != tf.data.INFINITE_CARDINALITY and length != tf.data.UNKNOWN_CARDINALITY:
        right = right.take(max(1, length // unlabeled_size))
    pairs = tf.data.Dataset.zip(left, right)
    if oracle is not None:
        pairs = pairs.map(lambda known, pool: (known, *pool))
    return pairs.prefetch(tf.data.AUTOTUNE)


def _element(part: Any) -> Any:
    """What one example or batch of a part is made of."""
    if isinstance(part, keras.utils.PyDataset):
        return part[0] if len(part) else ()
    return part.element_spec if isinstance(part, tf.data.Dataset) else part


def _check_labeled(owner: str, labeled: Any) -> None:
    pair = _element(labeled)
    if not isinstance(pair, tuple) or len(pair) not in (2, 3):
        expected = "(x, y) or (x, y, sample_weight), as arrays, as a tf.data.Dataset or as a PyDataset"
        checks.fail(owner, "labeled", expected, labeled)


def _check_single(owner: str, name: str, part: Any) -> None:
    """Refuses a dataset whose parts all begin with an axis of unknown length, which is the mark of batches."""
    if isinstance(part, tf.data.Dataset):
        shapes = [getattr(spec, "shape", tf.TensorShape(None)) for spec in tf.nest.flatten(part.element_spec)]
        images = any(shape.rank == 4 for shape in shapes)
        batched = all(shape.rank and shape[0] is None for shape in shapes) and (len(shapes) > 1 or images)
        if batched:
            checks.fail(owner, name, "a tf.data.Dataset of single examples", f"batches {part.element_spec}",
                        "Take them before they are batched, or call `.unbatch()`.")  # fmt: skip


def _check_alike(owner: str, known: Any, pool: Any) -> None:
    """Both parts become one batch, so their inputs have one structure and as many axes; Keras adds one to (N,)."""
    ones, others = (tf.nest.flatten(part) for part in (known, pool))
    try:
        tf.nest.assert_same_structure(known, pool)
        ranks = [(one.shape.rank, other.shape.rank) for one, other in zip(ones, others, strict=True)]
        alike = all(None in pair or max(2, pair[0]) == max(2, pair[1]) for pair in ranks)
    except (TypeError, ValueError):
        alike = False
    if not alike:
        checks.fail(owner, "unlabeled", f"inputs like the labeled ones, in batches {known}", f"batches {pool}")


def _with_oracle(owner: str, unlabeled: Any, oracle: Any) -> Any:
    """Checks the unlabeled part; with an oracle it becomes pairs."""
    paired = isinstance(_element(unlabeled), tuple)
    if oracle is None:
        if paired:
            advice = (
                "Leave labels out, of a dataset by `.map(lambda x, y: x)`, or pass oracle=True. Several inputs: a dict."
            )
            checks.fail(owner, "unlabeled", "inputs x alone, as an array or as a tf.data.Dataset", unlabeled, advice)
        return unlabeled
    if oracle is True:
        if not paired or len(_element(unlabeled)) != 2:
            checks.fail(owner, "unlabeled", "(x, y) where oracle=True", unlabeled)
        return unlabeled
    if paired or isinstance(unlabeled, (tf.data.Dataset, keras.utils.PyDataset)):
        expected = "True beside an unlabeled part of (x, y), or an array of labels beside arrays x"
        checks.fail(owner, "oracle", expected, oracle)
    return unlabeled, oracle


def _batches(
    owner: str,
    name: str,
    part: Any,
    size: int,
    seed: tuple[int, int],
    epoch: EpochCounter | None,
    may_end: bool = False,
) -> tuple[tf.data.Dataset, int]:
    """Returns full batches, without end unless `part` is of unknown length and may end, and the number of examples."""
    if isinstance(part, tf.data.Dataset):
        length = int(part.cardinality())
        repeated = part if may_end and length == tf.data.UNKNOWN_CARDINALITY else part.repeat()
        batches = repeated.batch(size, drop_remainder=True)
    elif isinstance(part, keras.utils.PyDataset):
        batches, length = _of_batches(owner, name, part, seed, epoch)
        batches = batches.unbatch().batch(size, drop_remainder=True)
    else:
        sparse = [type(leaf).__name__ for leaf in tf.nest.flatten(part) if hasattr(leaf, "tocsr")]
        if sparse:
            checks.fail(owner, name, "dense arrays", f"a {sparse[0]}", "Pass x.toarray().", TypeError)
        with tf.device("CPU:0"):
            part = tf.nest.map_structure(tf.convert_to_tensor, _of_arrays(part))
        lengths = [array.shape[0] if array.shape.rank else 0 for array in tf.nest.flatten(part)]
        length = min(lengths)
        if length != max(lengths):
            checks.fail(owner, name, "arrays of one length", lengths)
        indices = _shuffled_passes(length, seed, epoch).batch(size, drop_remainder=True)
        batches = indices.map(lambda index: tf.nest.map_structure(lambda array: tf.gather(array, index), part))
    if length == 0:
        checks.fail(owner, name, "at least one example", part)
    return batches, length


def _of_arrays(part: Any) -> Any:
    """A list of numbers, labels say, is one array, not a structure of many."""
    if isinstance(part, tuple):
        return tuple(map(_of_arrays, part))
    if isinstance(part, dict):
        return {name: _of_arrays(each) for name, each in part.items()}
    return np.asarray(part) if isinstance(part, list) else part


def _of_batches(
    owner: str, name: str, part: keras.utils.PyDataset, seed: tuple[int, int], epoch: EpochCounter | None
) -> tuple[tf.data.Dataset, int]:
    """Returns the batches of a `PyDataset` in a new order for each pass, without end, and the number of examples."""
    try:
        number = len(part)
    except (TypeError, ValueError):
        checks.fail(owner, name, "a PyDataset of known length", part)
    if number == 0:
        return tf.data.Dataset.range(0), 0
    first = tf.nest.map_structure(np.asarray, part[0])
    last = tf.nest.map_structure(np.asarray, part[number - 1])
    leaves = tf.nest.flatten(first)

    def read(index: Any) -> list[np.ndarray]:
        found = tf.nest.flatten(part[int(index)])
        return [np.asarray(each, leaf.dtype) for each, leaf in zip(found, leaves, strict=True)]

    @tf.autograph.experimental.do_not_convert
    def load(index: tf.Tensor) -> Any:
        found = tf.numpy_function(read, [index], [leaf.dtype for leaf in leaves])
        for tensor, leaf in zip(found, leaves, strict=True):
            tensor.set_shape([None, *leaf.shape[1:]])
        return tf.nest.pack_sequence_as(first, found)

    length = (number - 1) * len(leaves[0]) + len(tf.nest.flatten(last)[0])
    return _shuffled_passes(number, seed, epoch).map(load), length


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
