"""Laws of `split_labels`: every class gets its share, nothing is lost, seeds nest, labels keep their form."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
import scipy.sparse

from keras_aug_ssl import data

RNG = np.random.default_rng(0)
Y = RNG.permutation(np.repeat([0, 1, 2, 3], [5, 9, 20, 30]))
X = np.arange(len(Y), dtype="float32")[:, None]


@pytest.mark.parametrize("per_class", [1, 3, 5])
def test_each_class_gets_its_share_and_nothing_is_lost(per_class):
    split = data.split_labels(X, Y, per_class=per_class)
    assert np.bincount(split.y_labeled).tolist() == [per_class] * 4
    index = np.concatenate([split.labeled_index, split.unlabeled_index])
    assert np.array_equal(np.sort(index), np.arange(len(Y)))
    assert np.array_equal(split.x_labeled[:, 0], split.labeled_index)
    assert np.array_equal(split.x_unlabeled[:, 0], split.unlabeled_index)
    assert np.array_equal(split.y_labeled, Y[split.labeled_index])
    assert np.array_equal(split.y_unlabeled, Y[split.unlabeled_index])


def test_more_labels_contain_fewer():
    few, more = (set(data.split_labels(X, Y, per_class=k, seed=4).labeled_index) for k in (2, 4))
    assert few < more


def test_seed_decides_and_global_state_does_not():
    first = data.split_labels(X, Y, 2, seed=1).labeled_index
    keras.utils.set_random_seed(99)
    assert np.array_equal(first, data.split_labels(X, Y, 2, seed=1).labeled_index)
    assert not np.array_equal(first, data.split_labels(X, Y, 2, seed=2).labeled_index)


@pytest.mark.parametrize("form", [np.uint8, np.float32, "column", "one_hot", "one_hot_bool", "tensor"])
def test_every_form_of_labels_gives_the_same_split_and_keeps_its_form(form):
    y = {
        "column": Y[:, None],
        "one_hot": np.eye(4, dtype="float32")[Y],
        "one_hot_bool": np.eye(4, dtype=bool)[Y],
        "tensor": keras.ops.convert_to_tensor(Y),
    }.get(form if isinstance(form, str) else "")
    y = Y.astype(form) if y is None else y
    split = data.split_labels(X, y, 3)
    assert np.array_equal(split.labeled_index, data.split_labels(X, Y, 3).labeled_index)
    assert split.y_labeled.dtype == np.asarray(y).dtype and split.y_labeled.shape[1:] == tuple(y.shape[1:])


def test_dict_inputs_and_class_numbers_with_gaps():
    y = np.array([7, 7, 2, 2, 7])
    x = {"a": np.arange(5), "b": np.zeros((5, 2, 2))}
    x_labeled, y_labeled, x_unlabeled, y_hidden = data.split_labels(x, y, 1)
    assert sorted(y_labeled) == [2, 7] and sorted(y_hidden) == [2, 7, 7]
    assert x_labeled["b"].shape == (2, 2, 2) and len(x_unlabeled["a"]) == 3


def test_split_survives_pickling():
    split = data.split_labels(X, Y, 2)
    copy = pickle.loads(pickle.dumps(split))
    assert np.array_equal(copy.labeled_index, split.labeled_index) and np.array_equal(copy[0], split[0])


def test_classes_may_be_numbered_by_ids_and_inputs_be_sparse():
    ids = np.repeat([10**12, 7], 5)
    split = data.split_labels(scipy.sparse.csr_matrix(np.eye(10)), ids, per_class=2)
    assert sorted(split.y_labeled) == [7, 7, 10**12, 10**12] and split.x_unlabeled.shape == (6, 10)
    assert np.array_equal(split.x_labeled.toarray(), np.eye(10)[split.labeled_index])
    _, y = data.synthesize(np.random.default_rng(0).normal(size=(10, 3))[1:], ids[1:])
    assert np.array_equal(np.unique(y, return_counts=True)[1], [5, 5])


@pytest.mark.parametrize(
    "x, y, per_class, seed, message",
    [
        (X, Y, 6, 0, "smallest class.*Class 0 has only 5"),
        (X, Y, 0, 0, "`per_class` must be a whole number >= 1; received 0"),
        (X, Y, 1, -1, "`seed`"),
        (X[:-1], Y, 1, 0, r"`x` must be as long as `y`, 64 rows; received \(63, 1\)"),
        ({"a": X, "b": X[:3]}, Y, 1, 0, r"received \(3, 1\). That is the shape of 'b'"),
        (X, Y - 1, 1, 0, "class numbers >= 0"),
        (X, Y + 0.5, 1, 0, "class numbers"),
        (X, np.ones((64, 3)), 1, 0, "Soft or multi-label"),
        (X, np.array(["a"] * 64), 1, 0, "(?s)class numbers.*np.unique"),
        (X[:0], Y[:0], 1, 0, "class numbers"),
        (X[:2], np.eye(3)[:2], 1, 0, "Class 2 has only 0"),
    ],
)
def test_bad_input_gets_one_clear_error(x, y, per_class, seed, message):
    with pytest.raises(ValueError, match=message):
        data.split_labels(x, y, per_class, seed)
