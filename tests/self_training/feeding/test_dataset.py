"""The training set as `tf.data`: the same batches, the same bits, the same length, for a `fit` that takes no other."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network
from tests.self_training.books.test_resume import Interrupt, same_end

X, Y, POOL, HIDDEN = clusters()
SETTINGS = {
    "plain": {},
    "weighted": {"sample_weight": np.linspace(0.5, 2.0, len(X)), "class_weight": {0: 3.0}},
    "augmented": {"augment": lambda x, seed: x + np.float32(seed[0] / 2**33)},
}
pytestmark = pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so of every data set


def fit(as_dataset, *callbacks, epochs=4, backup_dir=None, compiled=None, **feeding):
    st = kas.SelfTraining(POOL, kas.rules.TopFraction(0.1, step=0.2), start_epoch=1, backup_dir=backup_dir)
    model = network(dropout=0.3, **(compiled or {}))
    made = st.training_set(X, Y, **({"batch_size": 8, "steps": 5} | feeding))
    history = model.fit(made.as_dataset() if as_dataset else made, epochs=epochs, callbacks=[st, *callbacks], verbose=0)
    return st, model, history.history


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_bits_as_the_training_set(name):
    (st, model, history), (other_st, other, other_history) = (fit(kind, **SETTINGS[name]) for kind in (False, True))
    assert equal_weights(model, other)
    np.testing.assert_equal(history, other_history)
    same_end((st, model), (other_st, other))
    assert history["n_pseudo"][-1] > history["n_pseudo"][1] > 0


def test_the_same_bits_in_compiled_loops_of_several_steps():
    compiled = {"steps_per_execution": 2}
    (_, model, _), (_, other, _) = (fit(kind, compiled=compiled) for kind in (False, True))
    assert equal_weights(model, other)


def test_length_and_batches_are_those_of_the_training_set():
    st = kas.SelfTraining(POOL)
    made = st.training_set(X, Y, batch_size=8)
    dataset = made.as_dataset()
    assert int(dataset.cardinality()) == len(made)
    batches = [made[index] for index in range(len(made))]
    for (x, y), (other_x, other_y) in zip(dataset.as_numpy_iterator(), batches, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
        assert x.dtype == other_x.dtype and y.dtype == other_y.dtype


def test_without_the_callback_whole_passes_are_epochs():
    made = kas.SelfTraining(POOL).training_set(X, Y, batch_size=8, steps=3)
    models = network(), network()
    for model, data in zip(models, (made, made.as_dataset()), strict=True):
        model.fit(data, epochs=3, verbose=0)
    assert equal_weights(*models)
    dataset = made.as_dataset()
    first, second = (np.concatenate([x for x, _ in dataset.as_numpy_iterator()]) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, np.concatenate([x for x, _ in made.as_dataset().as_numpy_iterator()]))


@pytest.mark.parametrize("at", [(1, 4), (3, 1)])
def test_resumed_equals_uninterrupted(tmp_path, at):
    st, model, _ = fit(True)
    with pytest.raises(KeyboardInterrupt):
        fit(True, Interrupt(*at), backup_dir=tmp_path)
    again, resumed, history = fit(True, backup_dir=tmp_path)
    assert len(history["loss"]) == 4 - at[0]
    same_end((st, model), (again, resumed))


def test_sizes_that_differ_between_batches_are_open():
    images = np.zeros((6, 8, 8, 1), "float32")

    def crop(x, seed):
        return x[:, : 4 + seed[0] % 3]

    made = kas.SelfTraining(images).training_set(images, np.arange(6) % 2, batch_size=4, steps=2, augment=crop)
    assert len({made[index][0].shape for index in range(2)}) == 2, "else the test shows nothing"
    assert [x.shape for x, _ in made.as_dataset()] == [made[index][0].shape for index in range(2)]


def test_another_data_set_is_noticed():
    st = kas.SelfTraining(POOL, start_epoch=1)
    st.training_set(X, Y, batch_size=8, steps=1).as_dataset()
    with pytest.raises(ValueError, match="training set"):
        network().fit(X, Y, callbacks=[st], verbose=0)


def test_several_inputs_stay_a_dict():
    def parts(x):
        return {"left": x[:, :2], "right": x[:, 2:]}

    inputs = {"left": keras.Input((2,), name="left"), "right": keras.Input((1,), name="right")}
    joined = keras.layers.Concatenate()([inputs["left"], inputs["right"]])
    model = keras.Model(inputs, network()(joined))
    model.compile("sgd", "sparse_categorical_crossentropy")
    st = kas.SelfTraining(parts(POOL), start_epoch=0)
    model.fit(st.training_set(parts(X), Y, batch_size=8).as_dataset(), epochs=1, callbacks=[st], verbose=0)
    assert st.n_iter_ == 1
