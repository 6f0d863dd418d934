"""Laws of `balanced`: equal shares, rare originals unchanged, new ones between two of a class, same with any batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import data

RNG = np.random.default_rng(0)
Y = RNG.permutation(np.repeat([0, 1, 2], [540, 40, 20]))
X = (RNG.normal(size=(600, 3)) + 100 * Y[:, None]).astype("float32")


def source(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y))


def collect(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(x), np.stack(y)


def rows(x):
    return {row.tobytes() for row in x}


def test_classes_come_equally_often_and_the_length_stays():
    stream = data.balanced(source(), num_classes=3)
    assert len(stream) == 600 and stream.element_spec == source().element_spec
    _, y = collect(stream)
    counts = np.bincount(y, minlength=3)
    assert counts.sum() == 600 and counts.max() - counts.min() <= 4  # one a window


def test_rare_examples_go_out_once_unchanged_and_frequent_ones_never_more_often():
    x, y = collect(data.balanced(source(), num_classes=3))
    for label in (1, 2):
        sent = [row.tobytes() for row in x[y == label]]
        assert all(sent.count(row) == 1 for row in rows(X[label == Y]))
    sent = [row.tobytes() for row in x[y == 0]]
    assert rows(x[y == 0]) <= rows(X[Y == 0]) and len(sent) == len(set(sent)) == 200


def test_new_examples_lie_between_two_of_their_class():
    x, y = collect(data.balanced(source(), num_classes=3))
    for label in (1, 2):
        own = X[label == Y].astype("float64")
        between = np.linalg.norm(own[:, None] - own, axis=2)
        for point in x[(y == label)][:150]:
            away = np.linalg.norm(own - point, axis=1)
            assert (away[:, None] + away - between).min() < 1e-3


@pytest.mark.parametrize("neighbours", [0, 3])
def test_what_stays_keeps_all_its_digits(neighbours):
    for dtype in ("int64", "uint64"):
        values = np.array([2**60 + 1, np.iinfo(dtype).max, 5, 7], dtype)
        dataset = tf.data.Dataset.from_tensor_slices((values, [0, 0, 1, 1]))
        found = [x.numpy() for x, _ in data.balanced(dataset, num_classes=2, neighbours=neighbours)]
        assert sorted(found) == sorted(values)


def test_without_neighbours_rare_examples_are_repeated():
    x, y = collect(data.balanced(source(), num_classes=3, neighbours=0))
    for label in (1, 2):
        assert rows(x[y == label]) == rows(X[label == Y]) and np.sum(y == label) > np.sum(label == Y)


def test_partners_are_the_nearest_kept():
    line = np.array([0.0, 1.0, 2.1, 100.0, 101.0, 102.1] + [500.0] * 44, "float32")[:, None]
    x, y = collect(data.balanced(source(line, np.array([1] * 6 + [0] * 44)), 2, neighbours=2, reservoir=25))
    new = x[y == 1, 0]
    assert len(new) == 25 and len(set(new)) == 25
    assert (((new >= 0) & (new <= 2.1)) | ((new >= 100) & (new <= 102.1))).all()


def test_rare_class_is_remembered_across_windows():
    y = np.array([1] * 3 + [0] * 197)
    x = np.where(y == 1, np.arange(200.0), -1.0)[:, None]
    _, labels = collect(data.balanced(source(x, y), num_classes=2, reservoir=10))
    for start in range(0, 200, 20):
        assert np.bincount(labels[start : start + 20]).tolist() == [10, 10]


def test_iterations_differ_seeds_repeat_and_epochs_decide():
    first, second = (data.balanced(source(), 3, seed=5) for _ in range(2))
    passes = [collect(first)[0] for _ in range(2)]
    assert not np.array_equal(*passes)
    assert all(np.array_equal(sent, collect(second)[0]) for sent in passes)

    counter = data.EpochCounter()
    keyed = data.balanced(source(), 3, seed=5, epoch=counter)
    zero = collect(keyed)[0]
    counter.on_epoch_begin(1)
    assert not np.array_equal(zero, collect(keyed)[0])
    counter.on_epoch_begin(0)
    assert np.array_equal(zero, collect(keyed)[0])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32", "float64"])
def test_images_of_any_dtype_stay_in_their_range(dtype):
    images = RNG.integers(0, 256, (60, 4, 4, 1)).astype(dtype)
    y = np.array([0] * 50 + [1] * 10)[RNG.permutation(60)]
    x, labels = collect(data.balanced(source(images, y), num_classes=2, neighbours=3))
    assert x.dtype == dtype and x.shape == (60, 4, 4, 1) and x.min() >= 0 and x.max() <= 255
    assert np.bincount(labels).tolist() == [30, 30] and len(rows(x[labels == 1])) > 20


@pytest.mark.parametrize("form", ["column", "one_hot", "uint8"])
def test_labels_keep_their_form(form):
    y = {"column": Y[:, None], "one_hot": np.eye(3, dtype="float32")[Y], "uint8": Y.astype("uint8")}[form]
    stream = data.balanced(source(X, y), num_classes=None if form == "one_hot" else 3)
    x, labels = collect(stream)
    expected_x, expected = collect(data.balanced(source(), num_classes=3))
    assert stream.element_spec == source(X, y).element_spec and np.array_equal(x, expected_x)
    assert np.array_equal(labels.argmax(1) if form == "one_hot" else labels.ravel(), expected)


def test_class_of_one_is_repeated_and_a_lone_class_passes_through():
    x, y = collect(data.balanced(source(X[:9], np.array([0] * 8 + [1])), num_classes=2))
    assert rows(x[y == 1]) == rows(X[8:9]) and (y == 1).sum() in (4, 5)
    x, _ = collect(data.balanced(source(X[:9], np.zeros(9, int)), num_classes=4))
    assert rows(x) == rows(X[:9])


def test_streams_of_unknown_length_end_when_they_do():
    _, y = collect(data.balanced(source().filter(lambda x, y: y < 2), num_classes=3))
    assert np.bincount(y).tolist() == [290, 290]


def test_endless_streams_stay_endless():
    stream = data.balanced(source().repeat(), num_classes=3)
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
    counts = np.bincount(collect(stream.take(1920))[1])
    assert counts.max() - counts.min() <= 10


@pytest.mark.parametrize(
    "dataset, options, message",
    [
        (X, {}, "`dataset` must be a tf.data.Dataset"),
        (tf.data.Dataset.from_tensor_slices(X), {}, r"single examples \(x, y\)"),
        (tf.data.Dataset.from_tensor_slices((X, Y, Y)), {}, r"single examples \(x, y\)"),
        (source().batch(4), {}, "with a static shape"),
        (source().batch(4, drop_remainder=True), {}, "integer labels of shape"),
        (source(X, Y.astype("float32")), {}, "integer labels of shape"),
        (source(X, np.eye(3)[Y]), {"num_classes": 4}, "`num_classes` is 4"),
        (source(), {"num_classes": 0}, "`num_classes`"),
        (source(), {"neighbours": -1}, "`neighbours`"),
        (source(), {"reservoir": 1}, "`reservoir`"),
        (source(), {"seed": -1}, "`seed`"),
    ],
)
def test_bad_input_gets_one_clear_error(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        data.balanced(dataset, **{"num_classes": 3 if "one-hot" not in message else None, **options})


def test_number_of_classes_is_needed_for_integers():
    with pytest.raises(TypeError, match="`num_classes` must be a whole number"):
        data.balanced(source())


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X, Y + 1, r"`y` must be in 0 .. 2; received"),
        (X, Y - 1, r"`y` must be in 0 .. 2"),
        (X, np.full((600, 3), 1 / 3), "soft targets have no single class"),
        (np.where(X > 201, np.nan, X), Y, "x must be finite"),
    ],
)
def test_bad_values_are_named_while_reading(x, y, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        collect(data.balanced(source(x, y), num_classes=3))
