"""A stream in which every class comes equally often, rare ones filled up with new examples on the fly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.data.streams import EpochCounter, endless_keys

OWNER = "kas.data.balanced"


def balanced(
    dataset: tf.data.Dataset,
    num_classes: int | None = None,
    *,
    neighbours: int = 5,
    reservoir: int = 64,
    seed: int = 0,
    epoch: EpochCounter | None = None,
) -> tf.data.Dataset:
    """Turns an unbalanced stream into one with as many examples of each class, new ones between neighbours included.

    `synthesize` for data larger than memory. One pass over the stream keeps a few recent examples of every class. Of
    each window of the stream as many examples go out as came in, in equal shares of the classes seen so far: first the
    new arrivals, unchanged; where a class has fewer than its share, the rest are `x + u (x' - x)` with u uniform in
    [0, 1) and x' one of the nearest kept examples of the class. So every example of a rare class goes out once
    unchanged, and of a frequent class a random part.

    Args:
        dataset: single examples `(x, y)`, not batches. x: one tensor of static shape, floats or integers (new uint8
            images are rounded). y: integer label in 0 .. num_classes - 1, scalar or (1,), or one-hot (num_classes,).
            Shuffle a stream that is sorted by class before: a class can't come out before it came in.
        num_classes: how many classes there are; needed for integer labels.
        neighbours: x' is drawn among this many nearest, >= 0. 0 repeats examples as they are: better where augmentation
            follows, since what lies between two of a few images is a ghost of both.
        reservoir: examples kept of every class, >= 2. At most 2 * num_classes * reservoir examples are in memory: the
            kept ones and a window of as many.
        seed: int >= 0; no global seed is read or changed.
        epoch: an `EpochCounter` that is also among `fit`'s callbacks; the draws are then a function of seed and epoch,
            so a resumed run continues as if it had not stopped. Without it, of seed and of how often the stream was
            iterated.

    Returns:
        A dataset of single examples with the element spec, and where it is known the length, of the given one.

    Raises:
        ValueError: examples of another form, limits not met.
        tf.errors.InvalidArgumentError: while reading, a label outside 0 .. num_classes - 1.

    Example:
        >>> import numpy as np
        >>> import tensorflow as tf
        >>> import keras_aug_ssl as kas
        >>> x, y = np.random.default_rng(0).normal(size=(90, 3)), np.array([0] * 80 + [1] * 10)
        >>> stream = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(90, seed=0)
        >>> np.bincount([int(label) for _, label in kas.data.balanced(stream, num_classes=2)])
        array([45, 45])

    Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique", section 4.2, over a
    sliding part of the set.
    """
    num_classes = _check_examples(dataset, num_classes)
    neighbours = checks.integer(OWNER, "neighbours", neighbours, 0)
    reservoir = checks.integer(OWNER, "reservoir", reservoir, 2)
    keys = endless_keys((checks.integer(OWNER, "seed", seed, 0), 2), epoch)
    x_spec, y_spec = dataset.element_spec

    def step(kept: tuple[tf.Tensor, tf.Tensor], window: Any) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        (x, y), key = window
        pool = _merge(kept, (x, _to_classes(y, num_classes)), num_classes, draws.fold_in(key, 0))
        positions, partners, weights = _choose(pool, tf.shape(y)[0], reservoir, neighbours, draws.fold_in(key, 1))
        bases = tf.gather(pool.order, positions)
        labels = _from_classes(tf.gather(pool.classes, bases), y_spec)
        return pool.first(reservoir), (_between(pool.x, bases, tf.gather(pool.order, partners), weights), labels)

    nothing = (tf.zeros([0, *x_spec.shape], x_spec.dtype), tf.zeros([0], tf.int32))
    windows = tf.data.Dataset.zip(dataset.batch(num_classes * reservoir), keys)
    stream = windows.scan(nothing, step).unbatch()
    length = dataset.cardinality()
    if length == tf.data.UNKNOWN_CARDINALITY:
        return stream
    return stream.apply(tf.data.experimental.assert_cardinality(length))


class _Pool(NamedTuple):
    """The kept examples and a window of new ones, and an order of them: by class, new ones first, else random.

    `counts` and `new` are how many examples of each class there are and how many of those are new; `starts` is where
    the class begins in `order`.
    """

    x: tf.Tensor
    classes: tf.Tensor
    order: tf.Tensor
    counts: tf.Tensor
    new: tf.Tensor
    starts: tf.Tensor

    def first(self, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns x and classes of the first `count` examples of each class."""
        rank = tf.range(tf.size(self.order)) - tf.gather(self.starts, tf.gather(self.classes, self.order))
        chosen = tf.boolean_mask(self.order, rank < count)
        return tf.gather(self.x, chosen), tf.gather(self.classes, chosen)


def _merge(
    kept: tuple[tf.Tensor, tf.Tensor], window: tuple[tf.Tensor, tf.Tensor], num_classes: int, key: tf.Tensor
) -> _Pool:
    if window[0].dtype.is_floating:
        window = (tf.debugging.check_numerics(window[0], f"{OWNER}: x must be finite"), window[1])
    x, classes = (tf.concat(parts, 0) for parts in zip(kept, window, strict=True))
    is_kept = tf.cast(tf.range(tf.size(classes)) < tf.size(kept[1]), tf.int32)
    shuffled = draws.permutation(key, tf.size(classes))
    order = tf.gather(shuffled, tf.argsort(tf.gather(2 * classes + is_kept, shuffled), stable=True))
    counts = tf.math.bincount(classes, minlength=num_classes)
    new = tf.math.bincount(window[1], minlength=num_classes)
    return _Pool(x, classes, order, counts, new, tf.cumsum(counts, exclusive=True))


def _choose(
    pool: _Pool, size: tf.Tensor, reservoir: int, neighbours: int, key: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Chooses `size` pairs: places in `pool.order` of x and x', and the weight of x', 0 where x goes out unchanged.

    The classes present take turns. In its turn number r a class gives its example r; past its last one it begins
    again.
    """
    present = tf.cast(tf.where(pool.counts > 0)[:, 0], tf.int32)
    present = tf.gather(present, draws.permutation(draws.fold_in(key, 0), tf.size(present)))  # who gets the odd turns
    turns = -(-size // tf.size(present))
    units = draws.uniforms(draws.fold_in(key, 1), turns * tf.size(present), 2)
    pick = tf.reshape(units[0], [-1, turns])
    partners = tf.map_fn(
        lambda row: _near(pool, row[0], row[1], reservoir, neighbours), (present, pick), fn_output_signature=tf.int32
    )
    out = draws.permutation(draws.fold_in(key, 2), size)
    column, turn = out % tf.size(present), out // tf.size(present)
    classes = tf.gather(present, column)
    start = tf.gather(pool.starts, classes)
    unchanged = (turn < tf.gather(pool.new, classes)) | (neighbours == 0)
    weights = tf.where(unchanged, 0.0, units[1][:size])
    return (
        start + turn % tf.gather(pool.counts, classes),
        start + tf.gather_nd(partners, tf.stack([column, turn], 1)),
        weights,
    )


def _near(pool: _Pool, label: tf.Tensor, pick: tf.Tensor, reservoir: int, neighbours: int) -> tf.Tensor:
    """Returns for each turn of a class which example of it is x', by the uniform numbers `pick`; x if it is alone."""
    count = pool.counts[label]
    candidates = tf.range(tf.minimum(count, reservoir))
    bases = tf.range(tf.size(pick)) % count
    flat = tf.reshape(pool.x, [tf.shape(pool.x)[0], -1])
    theirs, ours = (
        tf.cast(tf.gather(flat, tf.gather(pool.order, pool.starts[label] + places)), tf.float32)
        for places in (candidates, bases)
    )
    largest = tf.maximum(tf.reduce_max(tf.abs(theirs)), tf.reduce_max(tf.abs(ours)))
    theirs, ours = (tf.math.divide_no_nan(rows, largest) for rows in (theirs, ours))  # squares may be infinite
    centre = tf.reduce_mean(theirs, 0)  # products of centred numbers lose less to rounding
    theirs, ours = theirs - centre, ours - centre
    closeness = 2.0 * tf.matmul(ours, theirs, transpose_b=True) - tf.reduce_sum(tf.square(theirs), 1)
    closeness = tf.where(bases[:, None] == candidates, -np.inf, closeness)
    usable = tf.clip_by_value(tf.size(candidates) - 1, 1, max(1, neighbours))
    near = tf.math.top_k(closeness, usable).indices
    return tf.gather(near, draws.below(pick, usable), batch_dims=1)


def _between(x: tf.Tensor, bases: tf.Tensor, partners: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    accurate = tf.float64 if x.dtype in (tf.float64, tf.int32, tf.uint32, tf.int64, tf.uint64) else tf.float32
    base, partner = (0.5 * tf.cast(tf.gather(x, rows), accurate) for rows in (bases, partners))
    weights = tf.reshape(tf.cast(weights, accurate), [-1, *[1] * (len(x.shape) - 1)])
    mixed = 2.0 * (base + weights * (partner - base))  # halves: a difference of two floats may be none
    if not x.dtype.is_floating:  # the largest of 64 bits is no float: one more is none of them
        mixed = tf.minimum(tf.round(mixed), np.nextafter(float(x.dtype.max), 0.0) if x.dtype.size == 8 else np.inf)
    return tf.where(weights == 0.0, tf.gather(x, bases), tf.cast(mixed, x.dtype))  # what stays has all its digits


def _check_examples(dataset: tf.data.Dataset, num_classes: int | None) -> int:
    """Checks the form of the examples and returns the number of classes."""
    spec: Any = dataset.element_spec if isinstance(dataset, tf.data.Dataset) else None
    pair = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)
    if not pair or not spec[0].shape.is_fully_defined() or spec[0].dtype in (tf.string, tf.bool):
        expected = "a tf.data.Dataset of single examples (x, y), x one tensor of numbers with a static shape"
        checks.fail(OWNER, "dataset", expected, spec or dataset)
    label = spec[1]
    one_hot = label.shape.rank == 1 and label.shape[0] not in (1, None)
    if one_hot and num_classes in (None, label.shape[0]):
        return label.shape[0]
    if one_hot or label.shape.rank is None or label.shape.num_elements() != 1 or not label.dtype.is_integer:
        expected = "integer labels of shape () or (1,), or one-hot of shape (num_classes,)"
        checks.fail(OWNER, "dataset", expected, label, f"`num_classes` is {num_classes}.")
    return checks.integer(OWNER, "num_classes", num_classes, 1)


def _to_classes(y: tf.Tensor, num_classes: int) -> tf.Tensor:
    if y.shape.rank == 2 and y.shape[1] > 1:
        classes = tf.argmax(y, 1, output_type=tf.int32)
        valid = tf.reduce_all(tf.one_hot(classes, num_classes, dtype=tf.float32) == tf.cast(y, tf.float32))
        message = "one-hot: soft targets have no single class"
    else:
        classes = tf.reshape(tf.cast(y, tf.int32), [-1])
        valid = tf.reduce_all((classes >= 0) & (classes < num_classes))
        message = f"in 0 .. {num_classes - 1}"
    problem = tf.debugging.Assert(valid, [f"{OWNER}: `y` must be {message}; received", y], summarize=20)
    with tf.control_dependencies([problem]):
        return tf.identity(classes)


def _from_classes(classes: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    if spec.shape.rank == 1 and spec.shape[0] > 1:
        return tf.one_hot(classes, spec.shape[0], dtype=spec.dtype)
    return tf.reshape(tf.cast(classes, spec.dtype), [-1, *spec.shape])
