"""What a model, its loss and its labels mean: read where they say it, asked where they don't, everywhere the same."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.meaning import losses, reading

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
C = np.arange(12) % 3
ONE_HOT = np.eye(3)[C]
LOGITS = {"from_logits": True}


def squared(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)


def sparse_from_logits(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


class Own(keras.losses.MeanSquaredError):
    """A loss of the user's that tells its kind by what it is derived from."""


class Hidden(keras.Model):
    """A model whose last activation can't be seen."""

    def __init__(self, units, activation=None):
        super().__init__()
        self.dense = keras.layers.Dense(units, activation)

    def call(self, x):
        return self.dense(x)


def plain(units, activation=None):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation)])


def head(model, loss, y=None, **options):
    return reading.read("test", model, model(X), loss, y, **options)


@pytest.mark.parametrize(
    ("model", "loss", "y", "kind", "logits"),
    [
        (lambda: plain(3, "softmax"), "sparse_categorical_crossentropy", C, "classes", False),
        (lambda: plain(3, "sigmoid"), "categorical_crossentropy", ONE_HOT, "classes", False),
        (lambda: plain(3, "sigmoid"), "binary_crossentropy", ONE_HOT, "labels", False),
        (lambda: plain(2, "softmax"), "binary_crossentropy", ONE_HOT[:, :2], "classes", False),
        (lambda: plain(3), functools.partial(keras.losses.categorical_crossentropy, **LOGITS), C, "classes", True),
        (lambda: plain(3, "log_softmax"), keras.losses.CategoricalCrossentropy(**LOGITS), C, "classes", True),
        (lambda: plain(1, "sigmoid"), "mean_squared_error", C > 0, "binary", False),
        (lambda: plain(1, "sigmoid"), "mean_squared_error", C / 2, "numbers", False),
        (lambda: plain(2, "sigmoid"), "mean_squared_error", X[:, :2], "numbers", False),
        (lambda: plain(3, "softmax"), "mean_squared_error", ONE_HOT, "classes", False),
        (lambda: plain(1), "hinge", 2 * (C > 0) - 1, "binary", True),
        (lambda: plain(1, "tanh"), "squared_hinge", C > 0, "binary", True),
        (lambda: plain(1, "exponential"), "poisson", C, "numbers", False),
        (lambda: plain(1), "mse", C > 0, "numbers", False),
        (lambda: plain(1, "sigmoid"), "crossentropy", C > 0, "binary", False),
        (lambda: plain(3, "softmax"), "ce", C, "classes", False),
        (lambda: plain(3), squared, X[:, :3], "numbers", False),
        (lambda: plain(3), squared, np.abs(np.round(3 * X[:, :3])), "numbers", False),
        (lambda: plain(3), sparse_from_logits, C, "classes", True),
        (lambda: plain(3), squared, (X[:, :3] > 0) * 1.0, "labels", True),
        (lambda: plain(1), squared, X[:, 0], "numbers", False),
        (lambda: plain(1), Own(), C > 0, "numbers", False),
        (lambda: plain(1), {"dense": "mse"}, C > 0, "numbers", False),
        (lambda: plain(3), None, C, "classes", True),
        (lambda: plain(3), None, None, "classes", True),
        (lambda: Hidden(3), sparse_from_logits, C, "classes", True),
        (lambda: Hidden(3, "softmax"), squared, ONE_HOT, "classes", False),
        (lambda: Hidden(3, "sigmoid"), "binary_crossentropy", ONE_HOT, "labels", False),
    ],
)  # fmt: skip
def test_it_is_read(model, loss, y, kind, logits):
    found = head(model(), loss, y)
    assert (found.kind, found.logits) == (kind, logits)


@pytest.mark.parametrize(
    ("model", "loss", "y", "words"),
    [
        (lambda: plain(1), squared, C > 0, "nothing tells of its one unit"),
        (lambda: plain(1), None, None, "nothing tells of its one unit"),
        (lambda: plain(3), squared, None, "don't tell"),
        (lambda: Hidden(3), None, None, "don't tell"),
        (lambda: plain(1, "sigmoid"), "mse", None, "labels would tell"),
        (lambda: plain(3), "categorical_crossentropy", C, "from_logits=True, since its last layer is linear"),
        (lambda: plain(1), "binary_crossentropy", C > 0, "from_logits=True, since its last layer is linear"),
        (lambda: plain(1, "sigmoid"), "categorical_crossentropy", C > 0, "two or more units"),
        (lambda: plain(3), "circle", C, "no predictions"),
        (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Reshape((2, 2))]), "mse", X, "Pool or flatten"),
        (lambda: keras.Model(i := keras.Input((4,)), {"a": i, "b": i}), "mse", X, "just one of them"),
    ],
)  # fmt: skip
def test_it_is_asked(model, loss, y, words):
    with pytest.raises(ValueError, match=f"^test: `model` must be .*{words}"):
        head(model(), loss, y)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", keras.ops.softmax, keras.ops.sigmoid])
@pytest.mark.parametrize(
    "loss", ["categorical_crossentropy", "binary_crossentropy", keras.losses.MeanSquaredError(), "kl_divergence"]
)
def test_outputs_undo_scores_eagerly_and_in_graphs(loss, activation, hidden):
    model = Hidden(3, activation) if hidden else plain(3, activation)
    model.compile(loss=loss)
    raw = model(X)
    if hidden and not isinstance(loss, str):
        pytest.skip("neither loss nor last layer tells")
    found = head(model, loss, ONE_HOT)

    def there_and_back():
        return found.outputs(found.scores(model(X)))

    for undone in (there_and_back(), tf.function(there_and_back, autograph=False)()):
        np.testing.assert_allclose(undone, raw, atol=1e-6)


def test_the_user_says_it():
    assert head(plain(1), squared, C > 0, kind="classes").kind == "binary"
    assert head(plain(1), squared, C > 0, kind="numbers").kind == "numbers"
    assert head(plain(3), squared, None, kind="labels").kind == "labels"
    with pytest.raises(ValueError, match="`kind` must be one of 'classes', 'labels', 'numbers'"):
        head(plain(1), squared, C > 0, kind="binary")


def test_self_training_asks_for_kind_and_takes_it():
    pool = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")
    y = (C > 0).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
    model.compile("sgd", squared)
    with pytest.raises(ValueError, match='kind="numbers"'):
        st = kas.SelfTraining(pool, start_epoch=0)
        model.fit(st.training_set(X, y, batch_size=8), epochs=1, callbacks=[st], verbose=0)
    for kind, whole in (("numbers", False), ("classes", True)):
        st = kas.SelfTraining(pool, start_epoch=0, kind=kind)
        model.fit(st.training_set(X, y, batch_size=8, steps=1), epochs=1, callbacks=[st], verbose=0)
        found = st.transduction_[len(X) :]
        found = found[found >= 0] if kind == "classes" else found[np.isfinite(found)]
        assert (found == np.round(found)).all() == whole


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16", "float64"])
def test_pseudo_labels_are_never_cast_to_the_labels_dtype(dtype):
    pool = np.random.default_rng(1).normal(size=(60, 4)).astype("float32")
    for activation, loss, y, options in (
        ("softmax", "categorical_crossentropy", ONE_HOT, {"labels": "soft", "select": kas.rules.Threshold(0.0)}),
        ("sigmoid", "binary_crossentropy", ONE_HOT, {"labels": "soft", "select": kas.rules.Decided(share=0.1)}),
        (None, "mse", C, {"select": kas.rules.LowVariance(1.0, passes=2)}),
    ):
        units = 1 if loss == "mse" else 3
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.3), keras.layers.Dense(units, activation)])
        model.compile(keras.optimizers.SGD(0.0), loss)
        st = kas.SelfTraining(pool, start_epoch=0, **options)
        feeder, seen = st.training_set(X, y.astype(dtype), batch_size=16, steps=1), []
        watch = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(feeder[0][1]))  # noqa: B023
        model.fit(feeder, epochs=1, callbacks=[st, watch], verbose=0)
        assert (seen[0] != np.round(seen[0])).any(), (loss, seen[0])


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_class_weights_are_those_of_fit(labels):
    weights = {0: 1.0, 1: 10.0}  # class 2 has an output, and neither a label nor a weight
    bias = keras.initializers.Constant([0.0, 0.0, 9.0])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax", bias_initializer=bias)])
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    st = kas.SelfTraining(np.ones((20, 4), "float32"), kas.rules.Threshold(0.5), start_epoch=0, labels=labels)
    feeder, seen = st.training_set(X, np.eye(3)[C % 2], batch_size=8, steps=1, class_weight=weights), []
    watch = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(feeder[0]))
    model.fit(feeder, epochs=1, callbacks=[st, watch], verbose=0)
    _, y, weight = seen[0]
    assert np.array_equal(weight, [weights.get(int(label), 1.0) for label in y.argmax(axis=1)])
    assert {0, 1, 2} == set(y.argmax(axis=1))


def test_a_loss_judges_each_example_by_itself():
    def scalar(y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - y_pred))

    class Returns(keras.losses.Loss):
        def __init__(self, scale):  # no defaults: what copies by its config fails here
            super().__init__()
            self.scale = scale

        def call(self, y_true, y_pred):
            return self.scale * keras.ops.square(y_true - y_pred)

    y_true, y_pred = tf.constant([1.0, 5.0, 0.0]), tf.constant([[1.0], [1.0], [2.0]])
    for loss, truth in ((squared, y_true), (scalar, y_true[:, None]), (Returns(1.0), y_true[:, None])):
        assert np.allclose(losses.per_example(loss)(truth, y_pred), [0.0, 16.0, 4.0])


def test_the_halves_agree_on_a_classifier_of_sigmoids():
    model = plain(3, "sigmoid")
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    truth = model.predict(X, verbose=0).argmax(axis=1)
    truth[:3] = (truth[:3] + 1) % 3
    expected = model.evaluate(X, np.eye(3)[truth], verbose=0)[1]
    report = kas.evaluate_robustness(model, (X, np.eye(3)[truth]), [kas.FGSM()], [0.0], bounds=(-9, 9), checks=False)
    tried = kas.calibration.dry_run(model, X, kas.rules.Threshold(0.0), X, np.eye(3)[truth])
    assert report.clean_accuracy == pytest.approx(expected) == pytest.approx(tried.precision)


@pytest.mark.parametrize(("activation", "units", "loss"), [
    ("softmax", 3, "categorical_crossentropy"), ("sigmoid", 1, "binary_crossentropy"),
    ("sigmoid", 3, "binary_crossentropy"),
])  # fmt: skip
def test_the_gradient_of_soft_labels_is_that_of_their_loss(activation, units, loss):
    rng, model = np.random.default_rng(2), plain(units, activation)
    model.compile("sgd", loss)
    y = rng.dirichlet(np.ones(3), 12) if activation == "softmax" else rng.uniform(0.1, 0.9, (12, units))
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = getattr(keras.losses, loss)(tf.constant(y, tf.float32), model(x))
    np.testing.assert_allclose(kas.input_gradient(model, X, y), tape.gradient(value, x), atol=1e-6)
