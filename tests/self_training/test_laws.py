"""What must always hold while `fit` runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network, run

X, Y, POOL, HIDDEN = clusters()


def test_selecting_nothing_is_plain_training_with_dropout_and_normalization_too():
    def model():
        built = keras.Sequential([network(dropout=0.3), keras.layers.BatchNormalization(), keras.layers.Softmax()])
        built.compile("adam", "sparse_categorical_crossentropy")
        return built

    st = kas.SelfTraining(POOL, lambda p: np.zeros(len(p)), start_epoch=1)
    with_callback, plain = model(), model()
    run(st, with_callback, epochs=3)
    plain.fit(st.training_set(X, Y, batch_size=8, steps=6, sample_weight=np.ones(len(X))), epochs=3, verbose=0)
    assert st.n_iter_ == 2 and equal_weights(with_callback, plain)


def test_hidden_labels_change_nothing_but_the_log():
    runs = []
    for oracle in (HIDDEN, np.roll(HIDDEN, 1), None):
        st, model = kas.SelfTraining(POOL, kas.rules.TopK(9), start_epoch=2, oracle=oracle), network()
        runs.append((model, run(st, model, epochs=4).history.get("pseudo_accuracy")))
    (one, right), (two, wrong), (three, nothing) = runs
    assert equal_weights(one, two) and equal_weights(one, three)
    assert right[-1] > 0.9 > wrong[-1] and nothing is None and np.isnan(right[0])


def test_labelled_rows_are_never_changed():
    x, y = X.copy(), Y.copy()
    run(kas.SelfTraining(POOL, kas.rules.Threshold(0.0), start_epoch=0), epochs=2, task=(x, y), augment=lambda x: x + 1)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(POOL, clusters()[2])


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_epochs_are_as_long_as_announced_while_the_pool_grows(steps_per_execution):
    class Count(keras.callbacks.Callback):
        batches: list[int] = []

        def on_epoch_begin(self, epoch, logs=None):
            self.before = int(self.model.optimizer.iterations)

        def on_epoch_end(self, epoch, logs=None):
            self.batches.append(int(self.model.optimizer.iterations) - self.before)

    st = kas.SelfTraining(POOL, kas.rules.TopFraction(0.1, step=0.3), start_epoch=1)
    made, model = st.training_set(X, Y, batch_size=8), network(steps_per_execution=steps_per_execution)
    count = Count()
    history = model.fit(made, epochs=5, callbacks=[st, count], verbose=0)
    assert count.batches == [len(made)] * 5
    assert history.history["n_pseudo"] == sorted(history.history["n_pseudo"]) and history.history["n_pseudo"][-1] > 100


def test_the_model_is_traced_once():
    traces = []

    class Counted(keras.layers.Layer):
        def call(self, x, training=None):
            traces.append(training)
            return x

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(Counted()(inputs)))
    model.compile("adam", "sparse_categorical_crossentropy")
    st = kas.SelfTraining(np.concatenate([POOL] * 5), kas.rules.TopFraction(0.1, step=0.2), start_epoch=1)
    run(st, model, epochs=2)
    before = len(traces)
    run(st, model, epochs=6)
    # A new fit looks at one row and traces scoring; rounds and growing pools add nothing.
    assert len(traces) - before <= 2


def test_one_instance_serves_two_fits():
    st, model = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2), network()
    run(st, model, epochs=5)
    assert st.n_iter_ == 3
    again = network()
    history = run(st, again, epochs=4)
    assert st.n_iter_ == 2 and history.history["n_pseudo"][:2] == [0.0, 0.0]
    fresh = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2)
    other = network()
    run(fresh, other, epochs=4)
    assert equal_weights(again, other)


def test_a_fit_that_goes_on_equals_one_that_never_stopped():
    whole, st = network(), kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2, relabel=False)
    run(st, whole, epochs=6)
    parts, second = network(), kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=2, relabel=False)
    made = second.training_set(X, Y, batch_size=8, steps=6)
    parts.fit(made, epochs=3, callbacks=[second], verbose=0)
    parts.fit(made, epochs=6, initial_epoch=3, callbacks=[second], verbose=0)
    assert equal_weights(whole, parts)
    np.testing.assert_array_equal(st.labeled_iter_, second.labeled_iter_)


def test_global_random_state_is_neither_read_nor_changed():
    def state():
        return np.random.get_state()[1].tolist()

    before, weights = state(), []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        before = state()
        model = network()
        run(kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=1), model, epochs=3)
        assert state() == before
        weights.append(model)
    assert equal_weights(*weights)


def test_rows_may_leave_and_stay_by_another_level():
    class Fixed(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.level = self.add_weight(shape=(), trainable=False)
            self.free = self.add_weight(shape=())

        def call(self, x):
            yes = self.level * keras.ops.ones_like(x[:, :1]) + 0.0 * self.free
            return keras.ops.concatenate([yes, 1.0 - yes], axis=1)

    class Level(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            layer.level.assign([0.95, 0.85, 0.7, 0.85, 0.95, 0.95][epoch])

    layer = Fixed()
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    st = kas.SelfTraining(POOL, kas.rules.Threshold(0.9), relabel=kas.rules.Threshold(0.8), start_epoch=1, every=1)
    history = model.fit(
        st.training_set(X, (Y > 0).astype(int), steps=1), epochs=6, callbacks=[st, Level()], verbose=0
    ).history
    everything = float(len(POOL))
    assert history["n_pseudo"] == [0.0, everything, everything, 0.0, 0.0, everything]
    table = st.table()
    assert (table["round_entered"] == 5).all() and (table["round_left"] == -1).all()


def test_soft_labels_reach_the_loss_as_probabilities():
    seen = []

    def loss(y_true, y_pred):
        return keras.ops.mean(keras.losses.categorical_crossentropy(y_true, y_pred))

    st = kas.SelfTraining(POOL, kas.rules.Threshold(0.0), start_epoch=0, labels="soft", temperature=2.0)
    model = network(loss="categorical_crossentropy", metrics=[])
    made = st.training_set(X, Y, batch_size=8, steps=4)

    class Peek(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(made[0][1])

    model.fit(made, epochs=1, callbacks=[st, Peek()], verbose=0)
    np.testing.assert_allclose(seen[0].sum(axis=1), 1.0, atol=1e-5)
    hard = (seen[0].max(axis=1) == 1.0).sum()
    assert seen[0].shape == (8, 3) and hard == 4
    assert loss(seen[0], seen[0]) > 0
