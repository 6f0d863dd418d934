"""The table of every Keras loss, head and form of labels: what is read agrees with `evaluate`, or the user is asked."""

from __future__ import annotations

import functools
import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning import labels, reading
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS

pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax", "ignore:.*from_logits=True")

N, FEATURES = 4, 4
X = np.random.default_rng(0).normal(size=(N, FEATURES)).astype("float32")
CLASSES_OF = {1: 2, 2: 2, 3: 3}

LOSSES = {
    name: cls for name, cls in vars(keras.losses).items() if inspect.isclass(cls) and cls is not keras.losses.Loss
}
HEADS = {
    "linear": "linear", "softmax": "softmax", "sigmoid": "sigmoid", "tanh": "tanh", "exponential": "exponential",
    "ops softmax": keras.ops.softmax, "hidden sigmoid": lambda z: 1.0 / (1.0 + keras.ops.exp(-z)),
}  # fmt: skip
FORMS = {
    "class numbers": lambda rng, k: rng.permutation(np.arange(N) % k),
    "class numbers (N, 1)": lambda rng, k: rng.permutation(np.arange(N) % k)[:, None],
    "bool": lambda rng, k: rng.permutation(np.arange(N) % 2 == 1),
    "one-hot": lambda rng, k: np.eye(k, dtype="int64")[rng.permutation(np.arange(N) % k)],
    "one-hot floats": lambda rng, k: np.eye(k, dtype="float32")[rng.permutation(np.arange(N) % k)],
    "soft": lambda rng, k: rng.dirichlet(np.ones(k), N).astype("float32"),
    "several": lambda rng, k: np.concatenate([np.ones((1, k)), rng.integers(0, 2, (N - 1, k))]).astype("float32"),
    "-1 and 1": lambda rng, k: 2 * rng.permutation(np.arange(N) % 2) - 1,
    "-1 and 1, rows": lambda rng, k: 2.0 * rng.integers(0, 2, (N, k)) - 1.0,
    "numbers": lambda rng, k: rng.normal(2.0, 1.0, N),
    "numbers (N, K)": lambda rng, k: rng.normal(2.0, 1.0, (N, k)),
    "between 0 and 1": lambda rng, k: rng.uniform(0.1, 0.9, (N, k)),
}


def losses_named(name):
    """A loss with its defaults and, where it has them, from logits and with its other options."""
    cls = LOSSES[name]
    options = inspect.signature(cls).parameters
    yield cls()
    if "from_logits" in options:
        yield cls(from_logits=True)
    if "label_smoothing" in options:
        yield cls(label_smoothing=0.1)


@functools.cache
def network(activation, units):
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(units, activation)])


@functools.cache
def output_of(activation, units):
    return network(activation, units)(X)


@functools.cache
def rows_of(activation, units):
    """The outputs for each example by itself, as the model puts them out."""
    return [network(activation, units)(X[row : row + 1]) for row in range(N)]


def judged(outputs, loss, y):
    """Loss and accuracy as `evaluate` has them, in batches of one example; None where Keras refuses."""
    try:
        loss(y, np.concatenate(outputs))  # in a batch of one, numbers meet the outputs of a row by chance
        values = [float(loss(y[row : row + 1], outputs[row])) for row in range(N)]
    except Exception:  # whatever Keras raises where it can't take the labels
        return None
    output = np.concatenate(outputs)
    if output.shape[1] == 1:
        right = keras.metrics.binary_accuracy(y.reshape(N, -1), output)
    elif y.ndim == 1 or y.shape[1] == 1:
        right = keras.metrics.sparse_categorical_accuracy(y, output)
    else:
        right = keras.metrics.categorical_accuracy(y, output)
    return (np.mean(values), float(np.mean(right))) if np.isfinite(values).all() else None


def read(model, output, loss, y):
    head = reading.read("table", model, output, loss, y)
    reading.check_probabilities("table", head, output)
    decided = labels.decisions("table", head, y, N)
    labels.check_judged("table", head, y, loss)
    values = objectives.from_keras("table", loss, head)(head.scores(output), tf.constant(y, tf.float32))
    return head, decided, values.numpy(), head.scores(output)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_cell_agrees_with_evaluate_or_is_asked_about(name):
    seen, wrong = {"agreed": 0, "asked": 0, "Keras refuses": 0}, []
    for (head_name, activation), units, (form, make) in itertools.product(HEADS.items(), (1, 2, 3), FORMS.items()):
        for loss in losses_named(name):
            y = make(np.random.default_rng(1), CLASSES_OF[units] if units > 1 or form.startswith("class") else 1)
            model, output = network(activation, units), output_of(activation, units)
            wanted = judged(rows_of(activation, units), loss, y)
            if wanted is None:
                seen["Keras refuses"] += 1
                continue
            try:
                head, decided, values, scores = read(model, output, loss, y)
            except ValueError as error:
                assert "table: `" in str(error) and " must be " in str(error), error
                seen["asked"] += 1
                continue
            seen["agreed"] += 1
            cell = f"{head_name} x{units}, {form}, {loss.get_config()}"
            if not np.allclose(values.mean(), wanted[0], rtol=1e-6, atol=1e-6):
                wrong.append(f"{cell}: loss {values.mean()} against {wanted[0]}")
            # Keras's own "accuracy" cuts logits of yes or no at 0.5, and takes the largest of several labels.
            if head.kind in (NUMBERS, LABELS) or head.units == 1 and head.logits or form in ("soft", "between 0 and 1"):
                continue
            accuracy = np.mean(labels.predicted(head, scores).numpy() == decided)
            if abs(accuracy - wanted[1]) > 1e-6:
                wrong.append(f"{cell}: accuracy {accuracy} against {wanted[1]}")
    print(name, seen)
    assert not wrong, "\n".join(wrong[:20])
    if name not in ("CTC", "Circle"):
        assert seen["agreed"], "nothing was compared"


@pytest.mark.parametrize("loss, activation, units, form", [
    ("SparseCategoricalCrossentropy", "softmax", 3, "class numbers"),
    ("CategoricalCrossentropy", "sigmoid", 3, "one-hot"),
    ("CategoricalFocalCrossentropy", "softmax", 3, "soft"),
    ("BinaryCrossentropy", "sigmoid", 1, "bool"),
    ("BinaryCrossentropy", "sigmoid", 3, "several"),
    ("MeanSquaredError", "sigmoid", 1, "between 0 and 1"),
    ("Huber", "linear", 1, "numbers"),
    ("Hinge", "tanh", 1, "-1 and 1"),
    ("Dice", "softmax", 3, "one-hot"),
])  # fmt: skip
def test_the_table_is_what_evaluate_says(loss, activation, units, form):
    y = FORMS[form](np.random.default_rng(1), units if units > 1 or form.startswith("between") else 2)
    model = network(HEADS[activation], units)
    expected = judged(rows_of(HEADS[activation], units), LOSSES[loss](), y)
    model.compile(loss=LOSSES[loss](), metrics=["accuracy"])
    assert np.allclose(model.evaluate(X, y, batch_size=1, verbose=0), expected, atol=1e-6)
    attack = kas.PGD(0.0, bounds=(-9, 9), loss=LOSSES[loss]())
    assert np.isclose(attack(model, X, y).loss.mean(), expected[0], atol=1e-6)
