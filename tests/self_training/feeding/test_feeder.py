"""The training set: constant length, full batches, a pure function of seed, epoch and number."""

from __future__ import annotations

import collections
import functools

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.self_training.feeding.feeder import Published, Selected


def rows(count, offset=0):
    """Inputs that say which row they are."""
    return np.arange(offset, offset + count, dtype="float32")[:, None]


def training_set(labeled=6, unlabeled=20, **feeding):
    st = kas.SelfTraining(rows(unlabeled, 100))
    made = st.training_set(rows(labeled), np.arange(labeled), **({"batch_size": 8} | feeding))
    return st, made


def publish(st, epoch, chosen, weight=1.0):
    chosen = np.asarray(chosen)
    selected = Selected(chosen, 1000 + chosen, np.full(len(chosen), weight, np.float32))
    st._board.current = Published(epoch, selected, lambda targets: targets)


def values(dataset):
    return [batch[0][:, 0] for batch in (dataset[index] for index in range(len(dataset)))]


def test_length_is_what_all_rows_fill_and_never_changes():
    st, made = training_set()
    assert len(made) == 4
    publish(st, 0, range(20))
    assert len(made) == 4 and all(len(each) == 8 for each in values(made))
    assert len(training_set(steps=3)[1]) == 3


def test_every_row_comes_equally_often():
    st, made = training_set(labeled=6, steps=6)
    counts = collections.Counter(np.concatenate(values(made)))
    assert set(counts) == set(range(6)) and set(counts.values()) == {8}
    publish(st, 3, range(2, 10))
    counts = collections.Counter(np.concatenate(values(made)))
    assert {counts[row] for row in range(102, 110)} == {3}
    assert {counts[row] for row in range(6)} == {4}


def test_half_of_each_batch_is_labelled_or_more_where_more_rows_are():
    st, made = training_set(labeled=6)
    publish(st, 0, range(18))
    assert {int((each < 100).sum()) for each in values(made)} == {4}
    st, made = training_set(labeled=30)
    publish(st, 0, range(10))
    assert {int((each < 100).sum()) for each in values(made)} == {6}
    st, made = training_set(labeled=6, labeled_fraction=0.25)
    publish(st, 0, range(18))
    assert {int((each < 100).sum()) for each in values(made)} == {2}


def test_targets_follow_their_rows():
    st, made = training_set()
    publish(st, 0, [3, 4])
    for x, y in (made[index] for index in range(len(made))):
        np.testing.assert_array_equal(y, np.where(x[:, 0] < 100, x[:, 0], x[:, 0] + 900))


def test_batches_are_a_function_of_seed_epoch_and_number():
    st, made = training_set()
    publish(st, 2, range(9))
    first = values(made)
    made[1], made[0]  # whatever was asked in between
    np.testing.assert_array_equal(first, values(made))
    publish(st, 3, range(9))
    assert not np.array_equal(first, values(made))
    st, other = training_set(seed=1)
    publish(st, 2, range(9))
    assert not np.array_equal(first, values(other))


def test_fit_gets_batches_in_their_own_order_whatever_order_it_asks_for():
    _, made = training_set()
    expected = values(made)
    made.on_epoch_begin()
    np.testing.assert_array_equal([made[index][0][:, 0] for index in (2, 0, 3, 1)], expected)
    made.on_epoch_end()


def test_epochs_differ_without_the_callback_too_and_begin_anew_with_each_fit():
    _, made = training_set()
    made.on_epoch_end()  # Keras calls it once before a fit
    epochs = []
    for _ in range(2):
        made.on_epoch_begin()
        epochs.append(np.concatenate(values(made)))
        made.on_epoch_end()
    made.on_epoch_end()
    made.on_epoch_begin()
    assert not np.array_equal(*epochs)
    np.testing.assert_array_equal(epochs[0], np.concatenate(values(made)))


def test_class_weights_count_for_no_as_minus_one():
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.tile([-1.0, 1.0], 10)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "tanh")])
    model.compile("sgd", "hinge")
    made = kas.SelfTraining(x[20:]).training_set(x[:20], y, 20, class_weight={0: 0.25, 1: 3.0})
    _, labels, weights = made[0]
    assert set(zip(labels.tolist(), weights.tolist(), strict=True)) == {(-1.0, 0.25), (1.0, 3.0)}


def test_weights_and_class_weights_are_multiplied():
    st, made = training_set(sample_weight=np.arange(6) + 1.0, class_weight={2: 10.0})
    publish(st, 0, [3, 4], weight=0.5)
    st._board.current = Published(0, Selected(np.array([3]), np.array([2]), np.array([0.5], "float32")), lambda t: t)
    for x, y, w in (made[index] for index in range(len(made))):
        expected = np.where(x[:, 0] < 100, x[:, 0] + 1.0, 0.5) * np.where(y == 2, 10.0, 1.0)
        np.testing.assert_array_equal(w, expected)


def test_no_weights_come_where_none_can_differ_from_one():
    assert len(training_set()[1][0]) == 2
    st = kas.SelfTraining(rows(5), select=kas.rules.SoftWeight())
    assert len(st.training_set(rows(4), np.arange(4))[0]) == 3
    st = kas.SelfTraining(rows(5), weight=0.5)
    assert len(st.training_set(rows(4), np.arange(4))[0]) == 3


def test_augmentation_gets_a_key_if_it_takes_one_and_is_called_once_for_both_kinds():
    keys = []

    def augment(x, training, seed):
        keys.append((tuple(seed), len(x)))
        return x + 0.5

    st, made = training_set(augment=augment)
    publish(st, 1, range(9))
    assert (made[0][0] % 1 == 0.5).all() and made[1][0].dtype == "float32"
    made[0]
    assert [length for _, length in keys] == [8, 8, 8]
    assert keys[0] == keys[2] and keys[0] != keys[1]


def test_pseudo_labelled_rows_have_their_own_augmentation():
    st, made = training_set(augment=lambda x: x + 0.25, augment_pseudo=lambda x: x + 0.5)
    publish(st, 0, range(9))
    x = made[0][0][:, 0]
    np.testing.assert_array_equal(x % 1, np.where(x < 100, 0.25, 0.5))


def images(count, value, dtype):
    return np.full((count, 8, 6, 1), value, dtype)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pseudo_labelled_images_lose_a_patch_unless_both_kinds_get_one_view(dtype):
    """Labeled images are 40, the pool's 90; a patch has the mean color of the labeled ones."""
    augment = functools.partial(np.add, np.asarray(2, dtype))
    found = {}
    for name, given in {"by default": {}, "one view": {"augment_pseudo": augment}}.items():
        st = kas.SelfTraining(images(9, 90, dtype))
        made = st.training_set(images(4, 40, dtype), np.arange(4), batch_size=8, augment=augment, **given)
        publish(st, 0, range(9))
        found[name] = made[0][0].reshape(8, -1)
        assert found[name].dtype == dtype
    for batch in found.values():
        assert (batch == 42).all(axis=1).sum() == 4, "labeled images keep every pixel"
    hidden = (found["by default"] == 40).mean(axis=1)
    assert sorted(hidden > 0) == [False] * 4 + [True] * 4 and hidden.max() < 0.5
    assert (found["one view"] == 92).all(axis=1).sum() == 4


def test_nothing_is_hidden_where_nothing_is_augmented():
    st = kas.SelfTraining(images(9, 90, "float32"))
    made = st.training_set(images(4, 40, "float32"), np.arange(4), batch_size=8)
    publish(st, 0, range(9))
    assert set(np.unique(made[0][0])) == {40, 90}


@pytest.mark.parametrize("augment", [functools.partial(np.add, 1.0), lambda x, **options: x + 1.0])
def test_any_callable_augments(augment):
    _, made = training_set(augment=augment)
    assert made[0][0].max() == 6.0


def test_dict_inputs_stay_dicts():
    pool = {"a": rows(9, 100), "b": rows(9, 200)}
    st = kas.SelfTraining(pool)
    made = st.training_set({"a": rows(4), "b": rows(4, 50)}, np.arange(4), batch_size=4)
    publish(st, 0, [1, 7])
    x, y = made[0]
    assert set(x) == {"a", "b"} and x["a"].shape == (4, 1)
    for a, b in zip(x["a"][:, 0], x["b"][:, 0], strict=True):
        assert b - a == (50 if a < 100 else 100)


def seen_in_fit(st, made, epochs, callbacks=()):
    """All input values of every batch that a model sees in `fit`."""
    model, seen = keras.Sequential([keras.Input((1,)), keras.layers.Dense(40, "softmax")]), []
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", run_eagerly=True)
    step = model.train_step

    def note(data):
        seen.append(np.asarray(data[0]).ravel().tolist())
        return step(data)

    model.train_step = note
    try:
        model.fit(made, epochs=epochs, callbacks=[*([st] if st else []), *callbacks], verbose=0)
    except KeyboardInterrupt:
        pass
    return seen


@pytest.mark.parametrize("augment", [None, lambda x: x])
def test_a_model_sees_what_the_augmentation_of_pseudo_labelled_rows_returns(augment):
    st = kas.SelfTraining(np.full((9, 1), 100, "uint8"), kas.rules.Threshold(0.0), start_epoch=1)
    labeled = np.full((4, 1), 10, "uint8")
    feeding = {"augment": augment, "augment_pseudo": lambda x: (x - 100.5).astype("float32")}
    made = st.training_set(labeled, np.arange(4), batch_size=4, steps=1, **feeding)
    first, second = seen_in_fit(st, made, 2)
    assert first == [10.0] * 4 and sorted(second) == [-0.5, -0.5, 10.0, 10.0]


def test_a_fit_without_the_callback_sees_no_rows_that_an_interrupted_one_left():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    st = kas.SelfTraining(rows(20, 100), kas.rules.Threshold(0.0), start_epoch=0)
    made = st.training_set(rows(6), np.arange(6), batch_size=8, steps=2)
    assert max(seen_in_fit(st, made, 2, [Stop()])[0]) >= 100
    assert all(max(batch) < 100 for batch in seen_in_fit(None, made, 2))


def test_inputs_of_a_model_may_be_a_list():
    left, right = keras.Input((1,)), keras.Input((1,))
    model = keras.Model([left, right], keras.layers.Dense(4, "softmax")(keras.layers.Concatenate()([left, right])))
    model.compile("sgd", "sparse_categorical_crossentropy")
    st = kas.SelfTraining([rows(20), rows(20)], kas.rules.TopK(3), start_epoch=0)
    made = st.training_set([rows(8), rows(8)], np.arange(8) % 4, batch_size=4, steps=2)
    assert model.fit(made, epochs=2, callbacks=[st], verbose=0).history["n_pseudo"][-1] > 0


def test_worker_processes_are_refused():
    st, made = training_set()
    made.use_multiprocessing = True
    with pytest.raises(ValueError, match="use_multiprocessing` must be False"):
        seen_in_fit(st, made, 1)
