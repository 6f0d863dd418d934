"""One step of each recipe is the paper's: loss, gradient and running averages against plain NumPy in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import draws
from keras_aug_ssl.consistency.batches import Batch
from tests.consistency.reference import Linear, one_hot, sharpen, softmax, through_softmax
from tests.helpers import LOGITS

CLASSES, SEED, STEP = 3, 5, 40
X = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
Y = np.array([0, 2, 1, 2])
POOL = np.random.default_rng(1).normal(size=(8, 5)).astype("float32")
TEACHER = np.random.default_rng(4).normal(size=(5, CLASSES)).astype("float32")


def weak(x, seed):
    return x + 0.1 * tf.random.stateless_normal(tf.shape(x), seed)


def strong(x, seed):
    return 1.3 * x + 0.5 * tf.random.stateless_normal(tf.shape(x), seed)


class Step:
    """One step of a recipe from known weights at a known number of steps, with rate 1."""

    def __init__(self, recipe, *views, **options):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES)])
        draw = np.random.default_rng(2)
        self.before = [draw.normal(size=(5, CLASSES)), draw.normal(size=CLASSES)]
        model.set_weights(self.before)
        self.ssl = recipe(model, *views, seed=SEED, **options)
        self.ssl.compile(keras.optimizers.SGD(1.0), LOGITS, run_eagerly=True)
        self.ssl._memory.write("step", STEP)
        self.batch = Batch(*map(tf.constant, (X, Y)), None, tf.constant(POOL))
        self.key = draws.fold_in(draws.fold_in(draws.as_key(SEED), STEP), 0)

    def views(self, count=1):
        """The labeled view, the weak ones, and the one that learns."""
        labeled, weak, student = self.ssl.views.draw(self.batch, self.key, count)
        return labeled.numpy(), *(view.numpy() for view in weak), student.numpy()

    def fit(self):
        stream = tf.data.Dataset.from_tensors(((X, Y), POOL))
        self.history = self.ssl.fit(stream, verbose=0).history
        return self

    def check(self, expected, atol=2e-5):
        """The loss and the step are those of the reference."""
        self.fit()
        assert self.history["loss"][0] == pytest.approx(expected.loss, abs=atol)
        for before, after, gradient in zip(
            self.before, self.ssl.model.get_weights(), (expected.d_kernel, expected.d_bias), strict=True
        ):
            np.testing.assert_allclose(before - after, gradient, atol=atol)

    def reference(self):
        return Linear(*self.before)


def hard(p):
    return one_hot(p.argmax(axis=1), CLASSES)


def test_pseudo_label():
    step = Step(kas.PseudoLabel, weak, ramp_steps=100, start_step=20)
    labeled, view, _ = step.views()
    expected = step.reference()
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(view, hard(expected.p(view)), factor=3.0 * (STEP - 20) / 100)
    step.check(expected)


def test_pi_model_sends_gradients_to_both_views():
    step = Step(kas.PiModel, weak, ramp_steps=80)
    labeled, one, other = step.views()
    expected, factor = step.reference(), 10.0 * np.exp(-5 * (1 - STEP / 80) ** 2)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_mse(other, expected.p(one), factor)
    value = expected.loss
    expected.add_mse(one, expected.p(other), factor)
    expected.loss = value  # one term of the loss, two ways for its gradient
    step.check(expected)


def test_mean_teacher():
    step = Step(kas.MeanTeacher, weak, decay=0.9, ramp_steps=80)
    teacher = [TEACHER, np.zeros(CLASSES, "float32")]
    step.ssl._average._memory.write("teacher", teacher)
    labeled, one, other = step.views()
    expected = step.reference()
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_mse(other, Linear(*teacher).p(one), 100.0 * np.exp(-5 * (1 - STEP / 80) ** 2))
    step.check(expected, atol=2e-4)
    for old, new, found in zip(teacher, step.ssl.model.get_weights(), step.ssl.teacher_weights(), strict=True):
        np.testing.assert_allclose(found, 0.9 * old + 0.1 * new, atol=1e-5)


@pytest.mark.parametrize("entropy", [0.0, 1.0])
def test_vat(entropy):
    step = Step(kas.VAT, epsilon=0.7, entropy=entropy)
    *_, key = draws.split(step.key, 3)
    d = draws.normal_array(draws.split(key, 1)[0], 8, (5,)).numpy().astype(np.float64)
    expected = step.reference()
    q, xi = expected.p(POOL), 1e-2
    trial = POOL + xi * d / np.linalg.norm(d, axis=1, keepdims=True)
    gradient = (expected.p(trial) - q) @ expected.kernel.T  # of KL(q || p(x)) for x
    moved = POOL + 0.7 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    expected.add_cross_entropy(X, one_hot(Y, CLASSES))
    expected.add_divergence(moved, q)
    expected.add_entropy(moved, entropy)
    step.check(expected, atol=2e-4)


def test_mix_match():
    step = Step(kas.MixMatch, weak, ramp_steps=100)
    first, order, share, *others = draws.split(step.key, 5)
    views = [weak(tf.constant(x), tf.bitcast(key, tf.int64)).numpy() for x, key in zip(
        (X, POOL, POOL), (first, *others), strict=True
    )]  # fmt: skip
    expected = step.reference()
    q = sharpen((expected.p(views[1]) + expected.p(views[2])) / 2, 0.5)
    rows, targets = np.concatenate(views), np.concatenate([one_hot(Y, CLASSES), q, q])
    other = draws.permutation(order, 20).numpy()
    part = draws.beta(draws.uniforms(share, 20, 1)[0], 0.75, 0.75).numpy().astype(np.float64)
    part = np.maximum(part, 1 - part)[:, None]
    rows, targets = part * rows + (1 - part) * rows[other], part * targets + (1 - part) * targets[other]
    expected.add_cross_entropy(rows[:4], targets[:4])
    expected.add_mse(rows[4:], targets[4:], 75.0 * STEP / 100)
    step.check(expected, atol=2e-4)


def test_uda():
    step = Step(kas.UDA, weak, strong, threshold=0.6)
    labeled, view, student = step.views()
    expected = step.reference()
    q = expected.p(view)
    taken = q.max(axis=1) >= 0.6
    assert 0 < taken.sum() < len(taken)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, sharpen(q, 0.4), taken)
    step.check(expected)
    assert step.history["mask_rate"][0] == pytest.approx(taken.mean())


@pytest.mark.parametrize("joint", [True, False])
def test_fix_match(joint):
    step = Step(kas.FixMatch, weak, strong, threshold=0.7, unlabeled_weight=0.6, joint=joint)
    labeled, view, student = step.views()
    expected = step.reference()
    q = expected.p(view)
    taken = q.max(axis=1) >= 0.7
    assert 0 < taken.sum() < len(taken)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, hard(q), taken, 0.6)
    step.check(expected)


def test_distribution_alignment_follows_the_labels():
    """ReMixMatch, section 3.1: p times the labels' mix over the running mix of the guesses, made to sum to 1."""
    alignment = kas.consistency.Alignment("labels", momentum=0.6)
    step = Step(kas.FixMatch, weak, strong, threshold=0.7, alignment=alignment)
    labeled, view, student = step.views()
    expected = step.reference()
    q, uniform = expected.p(view), np.full(CLASSES, 1 / CLASSES)
    found = 0.6 * uniform + 0.4 * q.mean(axis=0)
    wanted = 0.6 * uniform + 0.4 * one_hot(Y, CLASSES).mean(axis=0)
    q = q * wanted / found
    q /= q.sum(axis=1, keepdims=True)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, hard(q), q.max(axis=1) >= 0.7)
    step.check(expected)


def test_flex_match():
    step = Step(kas.FlexMatch, weak, strong, threshold=0.6, momentum=0.8)
    labeled, view, student = step.views()
    expected = step.reference()
    q = expected.p(view)
    confidence, label = q.max(axis=1), q.argmax(axis=1)
    sure = confidence >= 0.6
    counts = 0.2 * np.bincount(label, sure, CLASSES) / 8  # before the first batch no row is sure
    unsure = 0.8 + 0.2 * (~sure).mean()
    beta = counts / max(counts.max(), unsure)
    level = 0.6 * beta / (2 - beta)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, hard(q), confidence >= level[label])
    step.check(expected)
    levels = [step.history[f"threshold_{number}"][0] for number in range(CLASSES)]
    np.testing.assert_allclose(levels, np.maximum(level, 1 / CLASSES), atol=1e-5)


def test_free_match():
    step = Step(kas.FreeMatch, weak, strong, momentum=0.3, fairness=0.4)
    labeled, view, student = step.views()
    expected = step.reference()
    q, uniform = expected.p(view), np.full(CLASSES, 1 / CLASSES)
    confidence, label = q.max(axis=1), q.argmax(axis=1)
    mean = 0.3 * uniform + 0.7 * q.mean(axis=0)
    level = (0.3 / CLASSES + 0.7 * confidence.mean()) * mean / mean.max()
    taken = confidence >= level[label]
    assert 0 < taken.sum() < len(taken)
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, hard(q), taken)

    often = 0.3 * uniform + 0.7 * np.bincount(label, minlength=CLASSES) / 8
    wanted = mean / often / (mean / often).sum()
    p = expected.p(student)
    histogram = np.bincount(p[taken].argmax(axis=1), minlength=CLASSES) / taken.sum()
    scale = np.divide(1.0, histogram, out=np.zeros(CLASSES), where=histogram > 0)
    ratio = p[taken].mean(axis=0) * scale
    normal = ratio / ratio.sum()
    value = (wanted * np.log(normal + 1e-12)).sum()
    d_normal = wanted / (normal + 1e-12)
    d_ratio = (d_normal - (d_normal * normal).sum()) / ratio.sum()
    d_p = np.where(taken[:, None], d_ratio * scale / taken.sum(), 0.0)
    expected.add(value, student, through_softmax(p, d_p), 0.4)
    step.check(expected)
    levels = [step.history[f"threshold_{number}"][0] for number in range(CLASSES)]
    np.testing.assert_allclose(levels, np.maximum(level, 1 / CLASSES), atol=1e-5)


def test_soft_match():
    step = Step(kas.SoftMatch, weak, strong, momentum=0.3)
    labeled, view, student = step.views()
    expected = step.reference()
    q, uniform = expected.p(view), np.full(CLASSES, 1 / CLASSES)
    found = 0.3 * uniform + 0.7 * q.mean(axis=0)
    aligned = q * uniform / found
    aligned /= aligned.sum(axis=1, keepdims=True)
    confidence = aligned.max(axis=1)
    mean = 0.3 / CLASSES + 0.7 * confidence.mean()
    variance = 0.3 / CLASSES**2 + 0.7 * (confidence**2).mean() - mean**2
    weights = np.exp(-(np.minimum(confidence - mean, 0.0) ** 2) * 4 / (2 * variance))
    expected.add_cross_entropy(labeled, one_hot(Y, CLASSES))
    expected.add_cross_entropy(student, hard(q), weights)
    step.check(expected)
    assert step.history["mask_rate"][0] == pytest.approx(weights.mean(), abs=1e-5)


def test_ada_match():
    step = Step(kas.AdaMatch, weak, strong, total_steps=100)
    *keys, share = draws.split(step.key, 5)
    pairs = zip((weak, strong, weak, strong), (X, X, POOL, POOL), keys, strict=True)
    one, two, view, student = (
        function(tf.constant(x), tf.bitcast(key, tf.int64)).numpy() for function, x, key in pairs
    )
    expected = step.reference()
    # A linear model without BatchNormalization says the same in both passes: logits between them are they.
    assert draws.uniform_array(share, 8, (CLASSES,)).shape == (8, CLASSES)
    known, q = softmax(expected.logits(one)), expected.p(view)
    q = q * known.mean(axis=0) / q.mean(axis=0)
    q /= q.sum(axis=1, keepdims=True)
    taken = q.max(axis=1) >= 0.9 * known.max(axis=1).mean()
    assert 0 < taken.sum() < len(taken)
    expected.add_cross_entropy(one, one_hot(Y, CLASSES))
    expected.add_cross_entropy(two, one_hot(Y, CLASSES))
    factor = 0.5 - np.cos(min(np.pi, 2 * np.pi * STEP / 100)) / 2
    expected.add_cross_entropy(student, q, taken, factor)
    step.check(expected)


def test_ada_match_takes_logits_between_two_passes():
    """With BatchNormalization the passes differ; each logit is a part of one and the rest of the other."""
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((5,)), norm, keras.layers.Dense(CLASSES)])
    kernel, bias = np.random.default_rng(3).normal(size=(5, CLASSES)), np.zeros(CLASSES)
    model.layers[-1].set_weights([kernel, bias])
    ssl = kas.AdaMatch(model, weak, strong, seed=SEED, unlabeled_weight=0.0)
    ssl.compile(keras.optimizers.SGD(0.0), LOGITS, run_eagerly=True)
    step_key = draws.fold_in(draws.fold_in(draws.as_key(SEED), 0), 0)
    *keys, share = draws.split(step_key, 5)
    views = [
        function(tf.constant(x), tf.bitcast(key, tf.int64)).numpy().astype(np.float64)
        for function, x, key in zip((weak, strong, weak, strong), (X, X, POOL, POOL), keys, strict=True)
    ]

    def logits(x, rows):
        return ((x - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + norm.epsilon)) @ kernel

    labeled = np.concatenate(views[:2])
    part = draws.uniform_array(share, 8, (CLASSES,)).numpy()
    mixed = part * logits(labeled, np.concatenate(views)) + (1 - part) * logits(labeled, labeled)
    values = -np.log(softmax(mixed))[np.arange(8), np.concatenate([Y, Y])]
    history = ssl.fit(tf.data.Dataset.from_tensors(((X, Y), POOL)), verbose=0).history
    assert history["loss"][0] == pytest.approx(values[:4].mean() + values[4:].mean(), abs=1e-4)
    assert np.allclose(norm.moving_mean, 0.01 * np.concatenate(views).mean(axis=0), atol=1e-5)


def test_every_recipe_has_a_test():
    recipes = {name for name, thing in vars(kas.consistency.methods).items() if _is_recipe(thing)}
    tested = {name.replace("_", "") for name in globals() if name.startswith("test_")}
    assert len(recipes) == 11
    assert all(any(name.startswith("test" + recipe.lower()) for name in tested) for recipe in recipes)


def _is_recipe(thing):
    named = getattr(thing, "__name__", "_")
    return callable(thing) and getattr(thing, "__module__", "") == kas.consistency.methods.__name__ and named[0] != "_"


@pytest.mark.parametrize("recipe", [kas.PiModel, kas.MeanTeacher, kas.VAT])
def test_regression_forms_are_mean_squared_errors(recipe):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    kernel, bias = np.random.default_rng(2).normal(size=(5, 2)), np.ones(2)
    model.set_weights([kernel, bias])
    options = {"epsilon": 0.5} if recipe is kas.VAT else {"weak": weak}
    ssl = recipe(model, seed=SEED, **options)
    ssl.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    ssl._memory.write("step", 10**6)
    numbers = np.random.default_rng(6).normal(size=(4, 2)).astype("float32")
    history = ssl.fit(tf.data.Dataset.from_tensors(((X, numbers), POOL)), verbose=0).history
    batch, key = Batch(tf.constant(X), numbers, None, tf.constant(POOL)), draws.fold_in(draws.as_key(SEED), 10**6)
    if recipe is kas.VAT:
        # The squared change of a linear map grows most along its gradient at the trial step, W W' d.
        *_, third = draws.split(draws.fold_in(key, 0), 3)
        d = draws.normal_array(draws.split(third, 1)[0], 8, (5,)).numpy() @ kernel @ kernel.T
        moved = 0.5 * d / np.linalg.norm(d, axis=1, keepdims=True)
        expected = ((moved @ kernel) ** 2).mean()
    else:
        _, (one,), other = ssl.views.draw(batch, draws.fold_in(key, 0), 1)
        expected = (((one.numpy() - other.numpy()) @ kernel) ** 2).mean()
    assert history["unlabeled_loss"][0] == pytest.approx(expected, rel=1e-3)
