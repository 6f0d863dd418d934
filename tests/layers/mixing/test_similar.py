"""Layers that choose partners by labels."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import layers
from tests.layers.mixing.cases import IMAGES, KEY, LABELS, ROWS, many


@pytest.mark.parametrize("neighbours", [None, 1, 2, 50])
def test_same_class_mix_stays_on_the_segment(neighbours):
    """Between two examples of one class, always: collinear, and not outside by a rounding error."""
    x = np.random.default_rng(0).normal(size=(64, 7)).astype("float32")
    labels = np.random.default_rng(1).integers(0, 5, 64)
    layer = layers.SameClassMix(neighbours=neighbours)
    for key in range(10):
        drawn = layer.sample((x, labels), (key, 0))
        mixed, kept = (np.asarray(part) for part in layer.apply((x, labels), drawn))
        partner = drawn["partner"].numpy()
        assert np.array_equal(labels[partner], labels) and np.array_equal(kept, labels)
        assert np.all(mixed >= np.minimum(x, x[partner])) and np.all(mixed <= np.maximum(x, x[partner]))
        share = np.sum((mixed - x[partner]) * (x - x[partner]), 1) / np.maximum(np.sum((x - x[partner]) ** 2, 1), 1e-9)
        assert np.allclose(mixed, x[partner] + share[:, None] * (x - x[partner]), atol=1e-5)


def test_same_class_mix_takes_the_nearest_of_the_class():
    x = np.array([[0.0], [1.0], [0.4], [10.0], [0.5]], "float32")
    labels = np.array([0, 0, 1, 0, 1])
    partner = layers.SameClassMix(neighbours=1).sample((x, labels), KEY)["partner"]
    assert partner.numpy().tolist() == [1, 0, 4, 1, 2]


@pytest.mark.parametrize(
    "labels", [LABELS, np.eye(4)[LABELS], np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1]])[[0, 1, 2, 2, 0, 1, 2, 0]]]
)
def test_who_is_alone_in_its_class_stays(labels):
    labels = labels.copy()
    labels[3] = 9  # nobody else's
    layer = layers.SameClassMix()
    drawn = layer.sample((IMAGES, labels), KEY)
    mixed, kept = layer.apply((IMAGES, labels), drawn)
    assert (drawn["partner"].numpy() == np.arange(8)).tolist() == [i == 3 for i in range(8)]
    assert np.array_equal(np.asarray(mixed)[3], IMAGES[3])
    assert np.array_equal(kept, labels)


def test_similar_targets_are_likelier_by_the_gaussian():
    targets = np.array([0.0, 1.0, 2.0, 4.0], "float32")
    partners = many(layers.SimilarTargetMix(sigma=1.5), (ROWS[:4], targets), 600)["partner"]
    counts = np.bincount(partners[:, 0], minlength=4)
    chance = np.exp(-(targets**2) / (2 * 1.5**2)) * [0, 1, 1, 1]
    expected = 600 * chance / chance.sum()
    assert counts[0] == 0 and np.all(abs(counts - expected) <= 4 * np.sqrt(expected) + 1e-9)


def test_wide_sigma_is_mixup():
    """Everyone else is as likely: the same distribution of partners as MixUp's."""
    targets = np.array([0.0, 1e6, -1e9, 3.0, 7.0], "float32")
    partners = many(layers.SimilarTargetMix(sigma=math.inf), (ROWS[:5], targets), 600)["partner"]
    counts = np.array([np.bincount(partners[:, row], minlength=5) for row in range(5)])
    assert np.all(np.diag(counts) == 0)
    assert np.all(abs(counts[~np.eye(5, dtype=bool)] - 150) < 4 * np.sqrt(150 * 0.75))


def test_narrow_sigma_is_the_identity():
    targets = np.linspace(0.0, 1.0, 8).astype("float32")
    mixed, kept = layers.SimilarTargetMix(sigma=1e-3)((ROWS, targets))
    assert np.array_equal(mixed, ROWS) and np.array_equal(kept, targets)


def test_sigma_follows_the_batch_when_none():
    """The unit of the targets doesn't matter then."""
    targets = np.random.default_rng(3).normal(size=8).astype("float32")
    partners = [layers.SimilarTargetMix().sample((ROWS, scale * targets), KEY)["partner"] for scale in (1.0, 64.0)]
    assert np.array_equal(*partners)
    mixed, kept = layers.SimilarTargetMix()((ROWS, np.full(8, 2.0)))  # no spread at all: anyone will do
    assert np.all(np.isfinite(mixed)) and np.allclose(kept, 2.0)


def test_integer_targets_are_numbers():
    _, ages = layers.SimilarTargetMix(sigma=100.0)((ROWS, np.arange(20, 28)))
    assert ages.dtype == "float32" and np.any(np.asarray(ages) % 1 > 0)


def test_balanced_partners_are_even_over_classes():
    labels = np.array([0] * 60 + [1] * 3 + [2])
    partners = many(layers.BalancedMixUp(num_classes=3), (np.zeros((64, 1)), labels), 20)["partner"]
    counts = np.bincount(labels[partners.ravel()], minlength=3)
    assert np.all(abs(counts - 64 * 20 / 3) < 4 * np.sqrt(64 * 20 * 2 / 9))


# --- Remix ------------------------------------------------------------------------------------------------------------


def remixed(own, theirs, weight, kappa=3.0, tau=0.5):
    """Equation 8 of the paper."""
    if own / theirs >= kappa and weight < tau:
        return 0.0
    return 1.0 if own / theirs <= 1 / kappa and 1 - weight < tau else weight


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_remix_gives_the_label_to_the_rare_class(tau):
    counts = np.array([100, 50, 10, 1])
    drawn = layers.Remix(class_counts=counts, tau=tau).sample((IMAGES, LABELS), KEY)
    partner, weight = drawn["partner"].numpy(), drawn["weight"].numpy()
    own, theirs = counts[LABELS], counts[LABELS[partner]]
    expected = [remixed(*row, tau=tau) for row in zip(own, theirs, weight, strict=True)]
    assert np.array_equal(drawn["label_weight"], np.float32(expected))
    assert np.any(drawn["label_weight"] != drawn["weight"])


def test_remix_mixes_images_by_the_other_weight():
    layer = layers.Remix(class_counts=[100, 50, 10, 1])
    drawn = layer.sample((ROWS, LABELS), KEY)
    mixed, labels = layer.apply((ROWS, LABELS), drawn)
    weight = drawn["weight"].numpy()[:, None]
    assert np.allclose(mixed, weight * ROWS + (1 - weight) * ROWS[drawn["partner"].numpy()], atol=1e-6)
    assert np.allclose(np.sum(labels, 1), 1.0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2 saves so
def test_remix_counts_what_it_is_called_with(tmp_path):
    layer = layers.Remix(num_classes=4)
    layer((ROWS, LABELS))
    layer.sample((ROWS, LABELS), KEY)  # looks, and counts nothing
    for _ in tf.data.Dataset.from_tensor_slices((ROWS, np.eye(4)[LABELS])).batch(4).map(layer):
        pass
    assert layer.seen.numpy().tolist() == [6, 4, 4, 2]
    x, y = keras.Input((5,)), keras.Input((4,))
    keras.Model([x, y], layer((x, y))).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].seen.numpy().tolist() == [6, 4, 4, 2]
