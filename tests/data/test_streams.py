"""Laws of the streams: full batches, announced lengths, every example once a pass, resumable order."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import data

X = np.arange(10, dtype="float32")[:, None]
Y = np.arange(10)
UNLABELED = np.arange(100, 150)


def collect(stream, batches=None):
    """Labeled inputs, labels and unlabeled inputs of one iteration, one row a batch."""
    rows = [(x.numpy(), y.numpy(), u.numpy()) for (x, y), u in stream.take(batches or -1)]
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


@pytest.mark.parametrize(
    "size, batch_size, ratio, batches", [(50, 4, 3, 4), (50, 5, 10, 1), (50, 64, 7, 1), (12, 4, 3, 1)]
)
def test_epoch_is_as_long_as_announced_and_every_batch_is_full(size, batch_size, ratio, batches):
    stream = data.labeled_unlabeled((X, Y), UNLABELED[:size], batch_size, ratio)
    assert len(stream) == batches
    for _ in range(2):
        x, y, u = collect(stream)
        assert x.shape == (batches, batch_size, 1) and u.shape == (batches, batch_size * ratio)
        assert np.array_equal(x[..., 0], y)


def test_no_unlabelled_example_comes_twice_in_a_pass_and_labels_are_balanced():
    x, _, u = collect(data.labeled_unlabeled((X, Y), UNLABELED, batch_size=4, ratio=3))
    assert len(np.unique(u)) == u.size == 48
    counts = np.bincount(x.astype(int).ravel(), minlength=10)
    assert counts.max() - counts.min() <= 1


def test_labelled_passes_differ_within_an_epoch():
    x, _, _ = collect(data.labeled_unlabeled((X, Y), UNLABELED, batch_size=10, ratio=1))
    assert all(set(batch[:, 0]) == set(range(10)) for batch in x)
    assert len({tuple(batch[:, 0]) for batch in x}) == len(x)


def test_epochs_differ_and_seeds_repeat():
    first = data.labeled_unlabeled((X, Y), UNLABELED, 4, 3, seed=1)
    second = data.labeled_unlabeled((X, Y), UNLABELED, 4, 3, seed=1)
    epochs = [collect(first)[2] for _ in range(2)]
    assert not np.array_equal(*epochs)
    assert all(np.array_equal(epoch, collect(second)[2]) for epoch in epochs)
    assert not np.array_equal(epochs[0], collect(data.labeled_unlabeled((X, Y), UNLABELED, 4, 3, seed=2))[2])


class Recorder(keras.Model):
    """Trains nothing; keeps the labels and unlabeled inputs of every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def train_step(self, batch):
        self.seen.append((batch[0][1].numpy().tolist(), batch[1].numpy().tolist()))
        return {"loss": 0.0}


def recorded_fit(**arguments):
    counter = data.EpochCounter()
    stream = data.labeled_unlabeled((X, Y), UNLABELED, 4, 3, seed=5, epoch=counter)
    model = Recorder()
    model.compile(optimizer="sgd", run_eagerly=True)
    model.fit(stream, verbose=0, callbacks=[counter], **arguments)
    return model.seen


def test_resumed_fit_sees_what_the_uninterrupted_one_saw():
    whole = recorded_fit(epochs=3)
    assert recorded_fit(epochs=3, initial_epoch=2) == whole[8:]
    assert whole[:4] != whole[4:8]


def test_datasets_keep_their_order_and_their_end():
    labeled = tf.data.Dataset.from_tensor_slices((X, Y))
    x, y, u = collect(data.labeled_unlabeled(labeled, tf.data.Dataset.from_tensor_slices(UNLABELED), 4, 3))
    assert np.array_equal(u.ravel(), UNLABELED[:48]) and np.array_equal(y.ravel(), np.arange(16) % 10)

    endless = data.labeled_unlabeled(labeled, tf.data.Dataset.from_tensors(1.0).repeat(), 4, 3)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY and len(collect(endless, 20)[0]) == 20

    unknown = tf.data.Dataset.from_tensor_slices(UNLABELED).filter(lambda i: i < 130)
    assert collect(data.labeled_unlabeled((X, Y), unknown, 4, 3))[2].shape == (2, 12)


def test_dict_inputs_and_sample_weights_pass_through():
    x = {"image": np.zeros((10, 4, 4, 1), "uint8"), "row": X}
    stream = data.labeled_unlabeled((x, Y, X[:, 0]), {"image": np.ones((9, 4, 4, 1), "uint8"), "row": X[:9]}, 2, 2)
    (x_batch, y, weight), u = next(iter(stream))
    assert x_batch["image"].shape == (2, 4, 4, 1) and x_batch["image"].dtype == "uint8" and u["row"].shape == (4, 1)
    assert np.array_equal(x_batch["row"][:, 0], weight) and np.array_equal(y, weight)


IMAGES = np.zeros((10, 4, 4, 1), "uint8")


@pytest.mark.parametrize(
    "labeled, unlabeled, options, message",
    [
        ((X, Y), UNLABELED[:0], {}, "`unlabeled` must be at least one example"),
        ((X[:0], Y[:0]), UNLABELED, {}, "`labeled` must be at least one example"),
        ((X, Y[:3]), UNLABELED, {}, r"`labeled` must be arrays of one length; received \[10, 3\]"),
        (X, UNLABELED, {}, r"`labeled` must be \(x, y\)"),
        (tf.data.Dataset.from_tensor_slices(X), UNLABELED, {}, r"`labeled` must be \(x, y\)"),
        ((X, Y), (X, Y), {}, "inputs x alone"),
        ((X, Y), tf.data.Dataset.from_tensor_slices((X, Y)), {}, "inputs x alone.*lambda x, y: x"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), UNLABELED, {}, "`labeled` must be .* single.*unbatch"),
        ((X, Y), tf.data.Dataset.from_tensor_slices(IMAGES).batch(2), {}, "`unlabeled` must be .* single.*unbatch"),
        ((IMAGES, Y), tf.data.Dataset.from_tensor_slices(IMAGES).batch(2, True), {}, "like the labeled ones"),
        ((X, Y), {"row": UNLABELED}, {}, "like the labeled ones"),
        ((X, Y), UNLABELED, {"batch_size": 0}, "`batch_size`"),
        ((X, Y), UNLABELED, {"ratio": 0}, "`ratio`"),
        ((X, Y), UNLABELED, {"seed": -1}, "`seed`"),
    ],
)
def test_bad_input_gets_one_clear_error(labeled, unlabeled, options, message):
    with pytest.raises(ValueError, match=message):
        data.labeled_unlabeled(labeled, unlabeled, **options)


def test_a_list_of_labels_is_an_array():
    batches = data.labeled_unlabeled((np.zeros((10, 2)), [3, 4] * 5), np.zeros((30, 2)), batch_size=10, ratio=1)
    (_, labels), _ = next(iter(batches))
    np.testing.assert_array_equal(np.sort(labels), [3] * 5 + [4] * 5)
