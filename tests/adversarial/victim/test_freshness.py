"""An attack looks at the model as it is now, and traces it again only when that changed."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.victim.freshness import state_of
from tests.helpers import LOGITS

X = np.random.default_rng(0).uniform(0.2, 0.8, (16, 4)).astype("float32")


class Scaled(keras.layers.Layer):
    """Keeps what it does in a number, a list and a function."""

    def __init__(self):
        super().__init__()
        self.factor, self.factors, self.function = 1.0, [1.0], tf.identity

    def call(self, x):
        return self.function(self.factor * self.factors[0] * x)


class Remembers(keras.layers.Layer):
    """Counts its calls in Python and keeps its last output."""

    calls, last = 0, None

    def call(self, x):
        self.calls, self.last = self.calls + 1, x
        return x


def network(*layers):
    start = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=start), *layers])
    model = keras.Sequential([keras.Input((4,)), inner])
    model.compile("sgd", LOGITS)
    return model


def add_outside(model):
    model.add(keras.layers.Rescaling(-1.0))


def pop(model):
    model.layers[0].pop()


def insert_inside(model):
    model.layers[0].add(keras.layers.Rescaling(-1.0))


def replace_activation(model):
    model.layers[0].layers[0].activation = lambda x: -x


def enable_lora(model):
    dense = model.layers[0].layers[0]
    dense.enable_lora(1)
    dense.lora_kernel_b.assign([[5.0, -5.0, 5.0]])


def replace_call(model):
    layer = model.layers[0].layers[1]
    layer.call = lambda x: -x


def set_number(model):
    model.layers[0].layers[1].factor = -1.0


def set_in_list(model):
    model.layers[0].layers[1].factors[0] = -1.0


def set_function(model):
    model.layers[0].layers[1].function = lambda x: -x


def recompile(model):
    hidden["factor"] = -1.0
    model.compile("sgd", LOGITS)


CHANGES = [
    add_outside, pop, insert_inside, replace_activation, enable_lora, replace_call, set_number, set_in_list,
    set_function, recompile,
]  # fmt: skip
hidden = {"factor": 1.0}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_is_seen(change):
    """By attacks, gradients and certificates alike: before the change they agree with the model, and after it too."""
    hidden["factor"] = 1.0
    last = keras.layers.Lambda(lambda x: hidden["factor"] * x) if change is recompile else Scaled()
    model = network(last, *([keras.layers.Rescaling(-1.0)] if change is pop else []))
    for _ in range(2):
        y = np.asarray(model(X)).argmax(axis=1)
        assert not kas.FGSM(0.0)(model, X, y).success.any()
        with tf.GradientTape() as tape:
            x = tf.Variable(X)
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True))
        assert np.allclose(kas.input_gradient(model, X, y), tape.gradient(loss, x), atol=1e-5)
        assert np.array_equal(kas.certify(model, X, 1e-6, n0=4, n=20).prediction, y)
        change(model)
        change = lambda model: None  # noqa: E731


def count_traces(attack):
    traces, objective = [], attack.objective
    attack.objective = lambda *arguments: (traces.append(1), objective(*arguments))[1]
    return traces


@pytest.mark.parametrize("layer", [Scaled, keras.layers.BatchNormalization])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
def test_use_does_not_trace_again(layer, tmp_path):
    """Fits, evaluations, predictions, saving, new weights, trainable flags and calls leave the graph as it is."""
    model = network(layer())
    y = np.asarray(model(X)).argmax(axis=1)
    attack = kas.FGSM(0.01)
    traces = count_traces(attack)
    attack(model, X, y)
    assert len(traces) == 1
    for use in (
        lambda: model.fit(X, y, verbose=0, validation_data=(X, y)),
        lambda: model.evaluate(X, y, verbose=0),
        lambda: model.predict(X, verbose=0),
        lambda: model.save_weights(tmp_path / "w.weights.h5"),
        lambda: model.set_weights(model.get_weights()),
        lambda: setattr(model, "trainable", False),
        lambda: kas.FGSM(0.01)(model, X[:3], y[:3]),
        lambda: kas.evaluate_robustness(model, (X, y), [attack], [0.01], checks=False),
    ):
        use()
        attack(model, X, y)
    assert len(traces) == 1


def test_a_layer_that_notes_its_calls_is_not_traced_for_that():
    """The trace itself changes it; nobody else did."""
    model, attack = network(Remembers()), kas.FGSM(0.01)
    traces = count_traces(attack)
    for _ in range(3):
        attack(model, X)
    assert len(traces) == 1


def test_a_state_keeps_nothing_alive_and_knows_who_took_a_place():
    """Python may give the address of a function that is gone to the next one."""
    model = network(Scaled())
    layer = model.layers[0].layers[1]
    layer.function = lambda x: x
    before, gone = state_of(model), weakref.ref(layer.function)
    layer.function = tf.identity
    gc.collect()
    assert gone() is None
    states = []
    for _ in range(50):
        layer.function = lambda x: -x
        states.append(state_of(model))
    assert before not in states
