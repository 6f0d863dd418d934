"""Bad input gets one error that says whose, which, what was expected, what came, and what to do."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, network, run

X, Y, POOL, HIDDEN = clusters()


def training_set(x=X, y=Y, pool=POOL, **feeding):
    return kas.SelfTraining(pool).training_set(x, y, **feeding)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: training_set(X[:, :2]), r"`x` must be like the pool.*\(\(3,\), 'float32'\); received \(\(2,\)"),
        (lambda: training_set(X.astype("float64")), "`x` must be like the pool.*float32.*float64"),
        (lambda: training_set({"a": X}), "`x` must be like the pool"),
        (lambda: training_set(X[:4]), "`y` must be as long as `x`, 4 rows"),
        (lambda: training_set(y=np.full(len(Y), np.nan)), "`y` must be finite"),
        (lambda: training_set(x=X[:0], y=Y[:0]), "`y` must be labels .* at least one"),
        (lambda: training_set(y=np.zeros((len(Y), 2, 2))), "`y` must be labels of shape"),
        (lambda: training_set(batch_size=1), "`batch_size` must be a whole number >= 2"),
        (lambda: training_set(steps=0), "`steps` must be a whole number >= 1"),
        (lambda: training_set(labeled_fraction=1.0), "`labeled_fraction` must be"),
        (lambda: training_set(sample_weight=[1.0]), "`sample_weight` must be 9 finite numbers"),
        (lambda: training_set(class_weight={-1: 1.0}), "`class_weight` must be"),
        (lambda: training_set(seed=-1), "`seed` must be"),
    ],
)
def test_bad_training_sets_are_named(make, message):
    with pytest.raises(ValueError, match=f"SelfTraining: {message}"):
        make()


@pytest.mark.parametrize("y", [np.array(list("abcabcabc")), np.array(list("abcabcabc"), dtype=object)])
def test_string_labels_are_named(y):
    with pytest.raises(TypeError, match=r"`y` must be numbers.*np.unique\(y, return_inverse=True\)"):
        training_set(y=y)


def test_an_augmentation_must_be_callable():
    with pytest.raises(TypeError, match="`augment` must be a callable"):
        training_set(augment="flip")


class WithoutSignature:
    __signature__ = "none"

    def __call__(self, x):
        return -x


@pytest.mark.parametrize("augment", [WithoutSignature(), np.negative])
def test_an_augmentation_needs_no_python_signature(augment):
    made = training_set(augment=augment, augment_pseudo=augment)
    np.testing.assert_array_equal(np.sort(made[0][0], axis=None)[0], -training_set()[0][0].max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": None}, "`model` must be compiled with a loss"),
        ({"loss": "mse", "metrics": []}, None),
    ],
)
def test_a_model_needs_a_loss(settings, message):
    model = network(**settings)
    model.add_loss = lambda: None
    st = kas.SelfTraining(POOL, start_epoch=0)
    if message is None:
        assert run(st, model, epochs=1, task=(X, np.eye(3, dtype="float32")[Y]))
    else:
        with pytest.raises(ValueError, match=message):
            kas.calibration.dry_run(model, POOL, kas.rules.Threshold(), X, Y)


def logits(loss, subclass=False):
    if subclass:

        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(0))

            def call(self, x):
                return 5.0 * self.dense(x)

        model = Net()
    else:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("adam", loss)
    return model


def test_logits_where_probabilities_are_expected_are_found_by_the_last_layer():
    with pytest.raises(ValueError, match="from_logits=True, since its last layer is linear"):
        run(kas.SelfTraining(POOL), logits("sparse_categorical_crossentropy"))


def test_logits_where_probabilities_are_expected_are_found_by_their_values():
    with pytest.raises(ValueError, match="puts out probabilities, as its loss says.*from_logits=True"):
        run(kas.SelfTraining(POOL, start_epoch=0), logits("sparse_categorical_crossentropy", subclass=True), epochs=1)


@pytest.mark.parametrize("subclass", [False, True])
def test_logits_with_a_loss_for_them_become_probabilities(subclass):
    st = kas.SelfTraining(POOL, kas.rules.TopK(6), start_epoch=0)
    run(st, logits(keras.losses.SparseCategoricalCrossentropy(from_logits=True), subclass), epochs=2)
    confidence = st.table()["confidence"]
    assert confidence.min() > 1 / 3 and confidence.max() <= 1.0


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ({"select": kas.rules.Threshold(0.9)}, "select"),
        ({"select": kas.rules.TopK(3)}, "select"),
        ({"select": kas.rules.LowVariance() & kas.rules.Entropy()}, "select"),
        ({"select": kas.rules.LowVariance(), "relabel": kas.rules.Threshold(0.5)}, "relabel"),
    ],
)
def test_a_number_is_no_confidence(rules, name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=f"`{name}` must be a rule for regression.*LowVariance"):
        run(kas.SelfTraining(POOL, start_epoch=3, **rules), model, epochs=1, task=(X, X[:, 0]))


@pytest.mark.parametrize(
    ("options", "name"),
    [({"select": kas.rules.TargetPrecision(0.9)}, "select"), ({"temperature": "calibrated"}, "temperature")],
)
def test_held_out_labels_need_one_class_a_row(options, name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    labels = (X > 1).astype("float32")
    with pytest.raises(
        ValueError, match=f"`{name}` must be one that needs no `holdout`, since the model predicts labels"
    ):
        run(kas.SelfTraining(POOL, holdout=(X, labels), **options), model, epochs=1, task=(X, labels))


@pytest.mark.parametrize(
    ("prior", "error"),
    [([0.5, 0.5], ValueError), ([0, 0, 0], ValueError), ([1, -1, 1], ValueError), ("abc", TypeError)],
)
def test_a_prior_is_a_share_for_each_class(prior, error):
    with pytest.raises(error, match=r"SelfTraining: `prior` must be \(3,\) shares >= 0, one for each class"):
        run(kas.SelfTraining(POOL, prior=prior), epochs=1)


def test_no_prior_without_classes():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="`prior` must be None where rows have no single class"):
        run(kas.SelfTraining(POOL, prior=[1.0]), model, epochs=1, task=(X, X[:, 0]))


def test_predictions_that_are_not_numbers_are_named():
    model = network()
    model.layers[-1].bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="finite predictions; received 'NaN or infinity'"):
        run(kas.SelfTraining(POOL, start_epoch=0), model, epochs=1)


def test_more_classes_than_outputs_are_named():
    with pytest.raises(ValueError, match="`y` must be class numbers from 0 to 2.*received 4"):
        run(kas.SelfTraining(POOL), task=(X, Y + 2), epochs=1)


def test_rows_without_a_label_belong_into_the_pool():
    with pytest.raises(ValueError, match="received -1. Rows without a label belong into the pool"):
        run(kas.SelfTraining(POOL), task=(X, np.where(Y == 2, -1, Y)), epochs=1)


def test_soft_labels_need_a_loss_that_takes_them():
    with pytest.raises(ValueError, match="`labels` must be 'hard' with a sparse loss"):
        run(kas.SelfTraining(POOL, labels="soft"), network(metrics=[]), task=(X, np.eye(3)[Y]), epochs=1)


def test_several_outputs_are_named():
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(3, "softmax")(inputs) for _ in range(2)]
    model = keras.Model(inputs, outputs)
    model.compile("adam", ["sparse_categorical_crossentropy"] * 2)
    with pytest.raises(ValueError, match="a model with one output"):
        kas.calibration.dry_run(model, POOL, kas.rules.Threshold(), X, Y)


def test_a_fit_on_other_data_is_named():
    st = kas.SelfTraining(POOL, start_epoch=0)
    with pytest.raises(ValueError, match="fit: `x` must be the training set"):
        network().fit(X, Y, callbacks=[st], verbose=0)
    made = st.training_set(X, Y, batch_size=9, steps=1)
    with pytest.raises(ValueError, match="fit: `x` must be the training set"):
        network().fit(X, Y, batch_size=9, callbacks=[st], verbose=0)
    with pytest.raises(ValueError, match=r"steps_per_epoch` must be left out, or 1; .*training_set\(..., steps"):
        network().fit(made, steps_per_epoch=3, callbacks=[st], verbose=0)


@pytest.mark.parametrize(
    "weights",
    [lambda p: np.zeros(3), lambda p: np.full(len(p), 2.0), lambda p: np.full(len(p), np.nan)],
)
def test_a_functions_bad_weights_are_named(weights):
    with pytest.raises(ValueError, match="`select` must be a rule that gives 120 weights"):
        run(kas.SelfTraining(POOL, weights, start_epoch=0), epochs=1)


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_the_weight_of_a_selection_is_a_number_of_at_least_0(value):
    with pytest.raises(ValueError, match=r"`weight\(1\)` must be a finite number >= 0"):
        run(kas.SelfTraining(POOL, kas.rules.TopK(3), start_epoch=0, weight=lambda number: value), epochs=1)
    with pytest.raises(TypeError, match=r"`weight\(1\)` must be"):
        run(kas.SelfTraining(POOL, kas.rules.TopK(3), start_epoch=0, weight=lambda number: None), epochs=1)


@pytest.mark.parametrize(
    ("holdout", "error", "message"),
    [
        ((X, None), ValueError, r"must be \(x, y\): rows that are not trained on"),
        (X, ValueError, r"must be \(x, y\): rows"),
        ((X, Y[:4]), ValueError, "of one length"),
        ((X, np.array(list("abc"))[Y]), TypeError, "class numbers.*return_inverse"),
        ((X, np.where(Y == 0, np.nan, Y)), ValueError, "finite labels"),
        ((X[:, :2], Y), ValueError, "x like the pool"),
        (((255 * X).astype("uint8"), Y), ValueError, "x like the pool"),
        (({"a": X}, Y), ValueError, "x in the structure of the pool"),
        ((np.full_like(X, np.nan), Y), ValueError, "finite x"),
        ((X, Y + 9), ValueError, "classes from 0 to 2.*received 11"),
        ((X, Y - 1), ValueError, "classes from 0 to 2.*received -1"),
    ],
)
def test_held_out_rows_are_checked(holdout, error, message):
    with pytest.raises(error, match=f"SelfTraining: `holdout` must be .*{message}|SelfTraining: `holdout` {message}"):
        run(kas.SelfTraining(POOL, kas.rules.TargetPrecision(0.1), start_epoch=0, holdout=holdout), epochs=1)


def test_held_out_rows_may_be_a_table_and_have_other_floats():
    pandas = pytest.importorskip("pandas")
    for holdout in ((pandas.DataFrame(X), pandas.Series(Y)), (X.astype("float64"), np.eye(3)[Y])):
        st = kas.SelfTraining(POOL, kas.rules.TargetPrecision(0.1), start_epoch=0, holdout=holdout)
        assert run(st, epochs=1).history["n_pseudo"][-1] > 0


def test_class_numbers_are_whole():
    with pytest.raises(ValueError, match="`y` must be whole class numbers, or one-hot"):
        run(kas.SelfTraining(POOL), task=(X, Y + 0.5), epochs=1)
