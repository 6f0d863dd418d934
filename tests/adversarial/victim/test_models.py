"""Models and data of every kind: what is attacked, what counts as success, and what comes back."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.testing.attack_subject import SHAPE, network, pictures
from keras_aug_ssl.testing.laws import op_by_op
from tests.adversarial.cases import BriefAutoAttack
from tests.helpers import LOGITS


@pytest.fixture(autouse=True)
def eagerly():
    """Tracing takes longer than everything else here."""
    with op_by_op():
        yield


def dense(units, activation=None, size=4, seed=0):
    start = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    return keras.layers.Dense(units, activation, kernel_initializer=start)


def numbers(count=4, size=4):
    return np.random.default_rng(1).uniform(0.2, 0.8, (count, size)).astype("float32")


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_sigmoid_unit(shape):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[2.0], [-1.0], [1.0], [-2.0]]), np.array([0.1])])
    x = numbers()
    y = (np.asarray(model(x)) > 0.5).astype(int)
    for attack in (kas.PGD(0.4, steps=2), kas.FMN(steps=10)):
        result = attack(model, x, y.reshape(shape))
        outputs = np.asarray(model(result.x_adv))
        assert np.array_equal(result.success, ((outputs > 0.5) != y)[:, 0])
        assert result.success.any()


def test_several_labels():
    """One flipped label is a success."""
    model = keras.Sequential([keras.Input((4,)), dense(3, "sigmoid")])
    x = numbers()
    y = (np.asarray(model(x)) > 0.5).astype("float32")
    for attack in (kas.PGD(0.2, steps=2), kas.DeepFool(steps=5), kas.FMN(steps=10)):
        result = attack(model, x, y)
        assert np.array_equal(result.success, ((np.asarray(model(result.x_adv)) > 0.5) != y).any(axis=1))
        assert result.success.any()


def test_regression():
    """The compiled loss rises, and success is that it did."""
    model = keras.Sequential([keras.Input((4,)), dense(1)])
    model.compile("sgd", "mean_squared_error")
    x = numbers()
    y = np.asarray(model(x)) + 0.5
    result = kas.PGD(0.1, steps=2, early_stop=False)(model, x, y)
    after = np.square(np.asarray(model(result.x_adv)) - y)[:, 0]
    assert result.success.all() and (after > 0.25).all()
    assert np.allclose(result.loss, after, atol=1e-5)
    kernel = np.abs(model.get_weights()[0]).sum()
    assert np.allclose(after, np.square(0.5 + 0.1 * kernel), atol=1e-3)  # the farthest a linear model can be moved


def test_logits_20_times_as_large_hide_nothing():
    """Cross-entropy has no gradient left there in float32; the reported robust accuracy must not rise for it."""
    inputs = keras.Input(SHAPE)
    sharp = keras.Model(inputs, keras.layers.Rescaling(20.0)(network().become("curved")(inputs)))
    sharp.compile("sgd", LOGITS)
    x = pictures(30)
    y = network().scores(x).argmax(axis=1)
    for attack in (kas.PGD(0.06, steps=4), kas.APGD(0.06, steps=6)):
        plain, scaled = (attack(model, x, y).robust_accuracy for model in (network().model, sharp))
        assert 0.1 < plain < 0.9
        assert scaled <= plain + 1 / len(x) + 1e-6


def test_preprocessing_inside_the_model():
    """On bytes, with bounds and epsilon in their unit, the attack is 255 times the one on [0, 1]."""
    inner = network().become("curved")
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, inner(keras.layers.Rescaling(1 / 255)(inputs)))
    model.compile("sgd", LOGITS)
    x = np.round(255 * pictures(4)).astype("uint8")
    y = network().scores(x / 255.0).argmax(axis=1)
    bytes_ = kas.PGD(25.5, steps=3, bounds=(0, 255))(model, x, y)
    unit = kas.PGD(0.1, steps=3)(inner, x / 255.0, y)
    assert bytes_.x_adv.max() > 1.5 and np.array_equal(bytes_.success, unit.success)
    assert kas.FGSM(25.5, bounds=(0, 255))(model, x, y).distance == pytest.approx(25.5, rel=1e-5)


def test_a_subclassed_model_is_read_by_its_compiled_loss():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = dense(3)

        def call(self, x):
            return self.layer(x)

    model = Own()
    with pytest.raises(ValueError, match="logits or probabilities"):
        kas.FGSM(0.1)(model, numbers())
    assert kas.FGSM(0.1, loss=LOGITS)(model, numbers()).x_adv.shape == (4, 4)
    model.compile("sgd", LOGITS)
    assert kas.FGSM(0.1)(model, numbers()).x_adv.shape == (4, 4)


def test_scores_are_enough_where_there_is_no_gradient():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: tf.round(8.0 * x)), dense(3)])
    x = numbers()
    result = kas.Square(0.4, steps=15)(model, x)
    decisions = [np.asarray(model(data)).argmax(axis=1) for data in (x, result.x_adv)]
    assert np.array_equal(result.success, decisions[0] != decisions[1]) and result.success.any()


@pytest.mark.parametrize("unit", [1.0, 255.0])
def test_square_evaluates_nothing_twice_in_a_row(unit):
    """A picture of one value has two sides to try, so two evaluations find the right one, whichever comes first."""
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([np.array([[0.0, 1.0]]), np.array([0.0, -0.55 * unit])])
    x = (unit * np.linspace(0.46, 0.54, 64, dtype="float32"))[:, None, None, None]  # equal ones draw alike
    attack = kas.Square(0.1 * unit, steps=2, bounds=(0.0, unit), loss=LOGITS)
    assert attack(model, x, np.zeros(64, int)).success.all()


@pytest.mark.parametrize("attack", [kas.Square(0.4, steps=25), kas.CarliniWagner(steps=40, searches=2)])
def test_the_margin_of_several_labels_flips_the_nearest_of_them(attack):
    """One label is within reach and the others are not: that one falls, by score or gradient."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False, kernel_initializer="identity")])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    x = np.maximum(0.4 * numbers(), [0.0, 0.9, 0.9, 0.9]).astype("float32")
    result = type(attack).from_config({**attack.get_config(), "bounds": (-1.0, 1.0)})(model, x, np.ones((4, 4)))
    assert result.success.all() and (np.asarray(model(result.x_adv))[:, 0] < 0.0).all()


def test_half_precision():
    policy = keras.DTypePolicy("mixed_float16")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=policy)])
    result = kas.PGD(0.1, steps=2)(model, numbers())
    assert result.x_adv.dtype == "float32" and np.isfinite(result.x_adv).all()


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_the_named_input_is_attacked(kind):
    parts = {"image": keras.Input((4,), name="image"), "size": keras.Input((2,), name="size")}
    joined = keras.layers.Concatenate()(list(parts.values()))
    x = {"image": numbers(), "size": np.full((4, 2), 7.0, "float32")}  # not inside bounds: it isn't attacked
    name: str | int = "image"
    if kind == "list":
        parts, x, name = list(parts.values()), list(x.values()), 0
    model = keras.Model(parts, dense(3)(joined))
    result = kas.PGD(0.3, steps=2)(model, x, input_name=name, batch_size=3)
    other = "size" if kind == "dict" else 1
    assert type(result.x_adv) is type(x) and np.array_equal(result.x_adv[other], x[other])
    assert not np.array_equal(result.x_adv[name], x[name])
    decisions = [np.asarray(model(data)).argmax(axis=1) for data in (x, result.x_adv)]
    assert np.array_equal(result.success, decisions[0] != decisions[1])
    with pytest.raises(ValueError, match="`input_name` must be one of"):
        kas.FGSM(0.1)(model, x)


def test_functions_take_the_named_input_too():
    """`fgsm`, `certify` and `input_gradient`; the gradient for an input that is read as integers is zero."""
    parts = {"image": keras.Input((4,), name="image"), "kind": keras.Input((1,), dtype="int32", name="kind")}
    embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(parts["kind"]))
    model = keras.Model(parts, dense(3)(keras.layers.Concatenate()([parts["image"], embedded])))
    x = {"image": numbers(), "kind": np.arange(4)[:, None]}
    y = np.asarray(model(x)).argmax(axis=1)
    gradient = kas.input_gradient(model, x, y)
    assert gradient["image"].all() and not gradient["kind"].any()
    moved = kas.fgsm(model, x, y, 0.1, input_name="image")
    assert np.allclose(moved["image"] - x["image"], 0.1 * np.sign(gradient["image"]), atol=1e-6)
    assert np.array_equal(moved["kind"], x["kind"])
    assert np.array_equal(kas.certify(model, x, 1e-6, input_name="image", n0=4, n=20).prediction, y)


def test_nested_lists_are_one_input():
    model = keras.Sequential([keras.Input((4,)), dense(3)])
    x, y = numbers(), np.zeros(4, int)
    assert np.array_equal(kas.FGSM(0.1)(model, x.tolist(), y).x_adv, kas.FGSM(0.1)(model, x, y).x_adv)
    assert np.array_equal(kas.input_gradient(model, x.tolist(), y), kas.input_gradient(model, x, y))


@pytest.mark.parametrize("labeled", [True, False])
def test_fgsm_in_a_graph(labeled):
    model = keras.Sequential([keras.Input((4,)), dense(3)])
    x, y = numbers(), np.array([0, 1, 2, 0]) if labeled else None
    expected = kas.fgsm(model, x, y, 0.1)
    with op_by_op(False):
        graph = tf.function(lambda x: kas.fgsm(model, x, y, 0.1))
        assert np.allclose(graph(tf.constant(x)), expected, atol=1e-6)
        batches = tf.data.Dataset.from_tensor_slices(x).batch(3).map(lambda x: kas.fgsm(model, x, epsilon=0.1))
        assert [len(batch) for batch in batches] == [3, 1]
        with pytest.raises(tf.errors.InvalidArgumentError, match="fgsm: inputs must lie inside"):
            graph(tf.constant(x + 1.0))


def test_a_picture_turns_away_from_where_it_is():
    """On the grid's only point, and after a shift by whole pixels, there is a gradient too."""
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense(4)])
    x = np.random.default_rng(0).uniform(0.1, 0.9, (6, 8, 8, 1)).astype("float32")
    for grid in ((1, 1, 1), (1, 3, 3)):
        result = kas.SpatialAttack(60, 0.25, grid=grid, steps=5)(model, x)
        assert not result.zero_gradient.any() and (result.x_adv != x).any(axis=(1, 2, 3)).all()


def test_data_sets_give_what_arrays_give():
    model, x = network().become("curved"), pictures(5)
    y = network().scores(x).argmax(axis=1)
    attack = kas.RandomFGSM(0.1)
    expected = attack(model, x, y)

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return x[2 * index : 2 * index + 2], y[2 * index : 2 * index + 2]

    slices = tf.data.Dataset.from_tensor_slices((x, y))
    tfds = tf.data.Dataset.from_tensor_slices({"image": x, "label": y}).batch(4)
    for data in (slices, slices.batch(2), tfds, Sequence()):
        result = attack(model, data)
        assert np.allclose(result.x_adv, expected.x_adv, atol=1e-6)
        assert np.array_equal(result.success, expected.success)
    small = list(attack.stream(model, x, y, batch_size=2))
    assert [len(part.success) for part in small] == [2, 2, 1]
    assert np.allclose(np.concatenate([part.x_adv for part in small]), expected.x_adv, atol=1e-6)


def test_labels_in_any_form():
    model, x = network().become("curved"), pictures(4)
    y = network().scores(x).argmax(axis=1)
    expected = kas.FGSM(0.1)(model, x, y).x_adv
    for form in (np.eye(3)[y], y[:, None], y.astype("float64"), y.astype("uint8"), list(y), tf.constant(y), None):
        assert np.array_equal(kas.FGSM(0.1)(model, x, form).x_adv, expected)


# --- results ----------------------------------------------------------------------------------------------------------


def test_a_result_sums_itself_up():
    model, x = network().become("curved"), pictures(6)
    y = network().scores(x).argmax(axis=1)
    y[0] = (y[0] + 1) % 3
    result = kas.FMN(steps=5)(model, x, y)
    found = result.success & (result.distance > 0)
    assert not found[0] and result.success[0] and result.distance[0] == 0.0
    assert result.robust_accuracy == pytest.approx(np.mean(~result.success))
    assert result.distribution((0.0, 1.0)) == {
        0.0: pytest.approx(result.distance[found].min()), 1.0: pytest.approx(result.distance[found].max()),
    }  # fmt: skip
    assert f"{result.success.sum()} of 6 fooled" in str(result)
    nothing = kas.FGSM(0.0)(model, x[1:2], y[1:2])
    assert np.isnan(nothing.distribution((0.5,))[0.5]) and nothing.robust_accuracy == 1.0


def test_early_stop_is_cheaper_and_finds_as_much():
    model, x = network().become("curved"), pictures(6)
    y = network().scores(x).argmax(axis=1)
    stops, stays = (kas.PGD(0.15, steps=4, early_stop=stop)(model, x, y) for stop in (True, False))
    assert np.array_equal(stops.success, stays.success) and stops.queries.sum() < stays.queries.sum()
    assert (stays.loss >= stops.loss - 1e-5).all()


def test_a_graph_and_operations_one_by_one_agree():
    model, x = network().become("curved"), pictures(4)
    attack = kas.RandomFGSM(0.1)
    eager = attack(model, x)
    with op_by_op(False):
        assert np.allclose(attack(model, x).x_adv, eager.x_adv, atol=1e-6)


def test_an_ensemble_finds_what_one_attack_finds():
    model, x = network().become("curved"), pictures(12)
    y = network().scores(x).argmax(axis=1)
    one, all_ = (attack(model, x, y) for attack in (kas.PGD(0.06, steps=4), BriefAutoAttack(0.06, version="fast")))
    assert one.success.any() and not (one.success & ~all_.success).any()


def test_attacks_keep_no_model_alive():
    model = keras.Sequential([keras.Input((4,)), dense(3)])
    kas.FGSM(0.1)(model, numbers())
    kas.input_gradient(model, numbers())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
