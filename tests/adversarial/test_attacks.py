"""Laws that hold for every attack, on a small network that reads real digits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.base import Attack

EPSILON = 0.15
WITHIN = {
    "FGSM": lambda epsilon: kas.FGSM(epsilon),
    "RandomFGSM": lambda epsilon: kas.RandomFGSM(epsilon),
    "BIM": lambda epsilon: kas.BIM(epsilon, steps=5),
    "PGD": lambda epsilon: kas.PGD(epsilon, steps=5),
    "PGD in l2": lambda epsilon: kas.PGD(epsilon, norm="l2", steps=5),
    "MomentumFGSM": lambda epsilon: kas.MomentumFGSM(epsilon, steps=5),
    "APGD": lambda epsilon: kas.APGD(epsilon, steps=10),
    "Square": lambda epsilon: kas.Square(epsilon, steps=20),
    "GaussianNoise": lambda epsilon: kas.GaussianNoise(epsilon),
}
MINIMAL = {
    "DDN": lambda: kas.DDN(),
    "FMN": lambda: kas.FMN(),
    "DeepFool": lambda: kas.DeepFool(steps=10),
    "FAB": lambda: kas.FAB(steps=10),
    "CarliniWagner": lambda: kas.CarliniWagner(),
}
NORMS = {"linf": lambda d: np.abs(d).max((1, 2, 3)), "l2": lambda d: np.sqrt(np.square(d).sum((1, 2, 3)))}


@pytest.fixture(scope="module")
def digits():
    (x, y), _ = kas.data.load("digits")
    return x.astype("float32") / 255.0, y


@pytest.fixture(scope="module")
def model(digits):
    x, y = digits
    start = keras.initializers.GlorotUniform(seed=0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer=start)]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=10, batch_size=32, verbose=0, shuffle=False)
    return model


def read(model, x):
    return np.asarray(model(x, training=False)).argmax(-1)


@pytest.mark.parametrize("name", WITHIN)
def test_stays_in_ball_and_bounds_and_reports_what_the_model_says(name, model, digits):
    x, y = digits[0][:20], digits[1][:20]
    before = [weight.copy() for weight in model.get_weights()]
    attack = WITHIN[name](EPSILON)
    result = attack(model, x, y)
    assert result.x_adv.shape == x.shape and np.isfinite(result.x_adv).all()
    assert NORMS[attack.norm](result.x_adv - x).max() <= EPSILON + 1e-6
    assert result.x_adv.min() >= 0.0 and result.x_adv.max() <= 1.0
    assert np.array_equal(result.success, read(model, result.x_adv) != y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", WITHIN)
def test_without_a_budget_nothing_changes(name, model, digits):
    x, y = digits[0][:6], digits[1][:6]
    assert np.array_equal(WITHIN[name](0.0)(model, x, y).x_adv, x)


@pytest.mark.parametrize("name", ["PGD", "APGD", "BIM"])
def test_a_larger_ball_is_no_harder(name, model, digits):
    x, y = digits[0][:40], digits[1][:40]
    fooled = [WITHIN[name](epsilon)(model, x, y).success.mean() for epsilon in (0.02, 0.1, 0.5)]
    assert fooled == sorted(fooled) and fooled[-1] == 1.0


@pytest.mark.parametrize("name", MINIMAL)
def test_smallest_perturbations_fool_or_return_the_original(name, model, digits):
    x, y = digits[0][:20], digits[1][:20]
    result = MINIMAL[name]()(model, x, y)
    assert np.array_equal(result.success, read(model, result.x_adv) != y)
    assert np.array_equal(result.x_adv[~result.success], x[~result.success])
    assert result.x_adv.min() >= 0.0 and result.x_adv.max() <= 1.0
    assert result.success.any()


def test_fast_gradient_sign_is_exact_on_a_linear_model(model, digits):
    """The margin of a linear model falls fastest along the sign of its gradient."""
    x, y = 0.25 + 0.5 * digits[0][:10], digits[1][:10]
    gradient = np.asarray(kas.input_gradient(model, x, y))
    assert np.allclose(np.asarray(kas.fgsm(model, x, y, epsilon=0.1)), x + 0.1 * np.sign(gradient), atol=1e-6)


def test_scaled_logits_hide_nothing(model, digits):
    """With logits times 20 cross-entropy has no gradient left; the automatic loss finds what is there all the same."""
    sharp = keras.Sequential([model, keras.layers.Rescaling(20.0)])
    sharp.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = digits[0][:100], digits[1][:100]
    plain, scaled = (kas.PGD(0.1, steps=20)(m, x, y).success.mean() for m in (model, sharp))
    assert scaled >= plain - 0.05


def test_fast_ensemble_finds_no_less_than_its_part(model, digits):
    x, y = digits[0][:30], digits[1][:30]
    assert kas.AutoAttack(0.05, version="fast")(model, x, y).success.sum() >= kas.PGD(0.05)(model, x, y).success.sum()


def test_labels_may_be_one_hot(model, digits):
    x, y = digits[0][:8], digits[1][:8]
    numbers, one_hot = (kas.FGSM(EPSILON)(model, x, labels).x_adv for labels in (y, np.eye(10, dtype="float32")[y]))
    assert np.array_equal(numbers, one_hot)


@pytest.mark.parametrize(
    ("make", "x", "y", "words"),
    [
        (lambda: kas.PGD(-1.0), 0.5, 0, "epsilon"),
        (lambda: kas.PGD(0.1, norm="l7"), 0.5, 0, "norm"),
        (lambda: kas.PGD(0.1), 7.0, 0, "bounds"),
        (lambda: kas.PGD(0.1), 0.5, 12, "y"),
    ],
)
def test_bad_input_names_the_argument(make, x, y, words, model):
    with pytest.raises(ValueError, match=words):
        make()(model, np.full((2, 8, 8, 1), x, "float32"), np.full(2, y))


def test_every_attack_is_exported():
    found, todo = set(), [Attack]
    while todo:
        found |= (more := set(todo.pop().__subclasses__())) and more
        todo += more
    concrete = {cls.__name__ for cls in found if cls.search is not Attack.search and not cls.__subclasses__()}
    assert concrete <= set(dir(kas)), concrete - set(dir(kas))
