"""Maps of what a model looks at, by their papers' laws."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas


def network(activation=None, units=3):
    start = [keras.initializers.GlorotUniform(seed) for seed in (0, 1)]
    hidden = [keras.layers.Flatten(), keras.layers.Dense(6, "tanh", kernel_initializer=start[0])]
    return keras.Sequential(
        [keras.Input((4, 4, 2)), *hidden, keras.layers.Dense(units, activation, kernel_initializer=start[1])]
    )


def images(count=4):
    return np.random.default_rng(0).uniform(size=(count, 4, 4, 2)).astype("float32")


def score(model, x, y):
    """The logit of the class."""
    return np.asarray(model(x)).astype("float64")[np.arange(len(x)), y]


@pytest.mark.parametrize("baseline", [0.0, 0.5, "array"])
def test_integrated_gradients_are_complete(baseline):
    model, x, y = network(), images(), np.array([0, 1, 2, 0])
    baseline = images(8)[4:] if isinstance(baseline, str) else baseline
    maps = kas.saliency(model, x, y, "integrated", baseline=baseline, steps=100)
    total = score(model, x, y) - score(model, np.zeros_like(x) + baseline, y)
    assert np.abs(total).max() > 0.1 and np.allclose(maps.sum((1, 2, 3)), total, atol=1e-4)


def test_the_gradient_is_the_slope():
    model, x, y = network(), images(), np.array([0, 1, 2, 0])
    direction = np.random.default_rng(1).normal(size=x.shape)
    step = (1e-2 * direction).astype("float32")
    slope = (score(model, x + step, y) - score(model, x - step, y)) / 2e-2
    assert np.allclose((kas.saliency(model, x, y) * direction).sum((1, 2, 3)), slope, atol=1e-3)


def test_smoothed_is_the_mean_over_noise():
    """Without noise it is the gradient; of a linear model it is, with any; and alone as in a batch."""
    model, x = network(), images()
    assert np.allclose(
        kas.saliency(model, x, None, "smooth", noise_level=0.0, steps=3), kas.saliency(model, x), atol=1e-6
    )
    linear = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert np.allclose(kas.saliency(linear, x, [0] * 4, "smooth"), kas.saliency(linear, x, [0] * 4), atol=1e-6)
    some = kas.saliency(model, x, [1] * 4, "smooth", steps=5)
    assert np.allclose(kas.saliency(model, x[2:3], [1], "smooth", steps=5), some[2:3], atol=1e-6)
    assert not np.allclose(some, kas.saliency(model, x, [1] * 4), atol=1e-4)


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_labels_may_be_numbers_one_hot_or_the_models_own(activation):
    model, x = network(activation, units=1 if activation == "sigmoid" else 3), images()
    output = model.predict(x, verbose=0)
    own = (output[:, 0] > 0.5).astype(int) if activation == "sigmoid" else output.argmax(1)
    expected = kas.saliency(model, x, own)
    assert np.allclose(kas.saliency(model, x), expected, atol=1e-6)
    if activation != "sigmoid":
        assert np.allclose(kas.saliency(model, x, np.eye(3)[own]), expected, atol=1e-6)


def test_a_figure_has_a_row_for_each_model():
    x = images()
    maps = {name: kas.saliency(network(), x, method=name) for name in ("gradient", "integrated", "smooth")}
    assert len(kas.plots.saliency(x[..., :1], maps).axes) == 16
    assert kas.plots.to_png(kas.plots.saliency(x[..., :1], {"still": np.zeros_like(x)}))[1:4] == b"PNG"


def test_errors_say_what_to_do():
    x = images()
    with pytest.raises(ValueError, match="`method` must be one of"):
        kas.saliency(network(), x, method="occlusion")
    regression = network()
    regression.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`model` must be a model of classes"):
        kas.saliency(regression, x)


@pytest.mark.parametrize("method", ["gradient", "integrated", "smooth"])
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_what_speaks_for_no_speaks_against_yes(method, activation):
    """Of one unit, as of two whose difference it is."""
    model, x = network(activation, units=1), images()
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=activation is None))
    yes, no = (kas.saliency(model, x, np.full(4, label), method) for label in (1, 0))
    assert np.abs(yes).max() > 1e-3
    np.testing.assert_allclose(no, -yes, atol=1e-6)
