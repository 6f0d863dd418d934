"""Who is mixed with whom and how much: the laws of the draws."""

from __future__ import annotations

import numpy as np
import pytest

from keras_aug_ssl import layers
from keras_aug_ssl.layers import Spec
from tests.layers.mixing.cases import IMAGES, KEY, LABELS, MIXING, many, standard_error_of_variance

PAIRS = np.arange(10_000) // 2 % 5


def spec(count, labels=None, size=(8, 8)):
    return Spec(count, *size, 3, labels=labels)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
@pytest.mark.parametrize("make", [layers.MixUp, layers.SameClassMix, layers.SimilarTargetMix])
def test_weights_are_beta(make, alpha):
    """Beta(alpha, alpha) has the mean 1/2 and the variance 1 / (4 (2 alpha + 1))."""
    labels = PAIRS[:1000].astype("float32")
    weight = many(make(alpha), spec(1000, labels), 10)["weight"].ravel()
    assert abs(weight.mean() - 0.5) < 4 * weight.std() / 100
    assert abs(weight.var() - 1 / (4 * (2 * alpha + 1))) < 4 * standard_error_of_variance(weight)


@pytest.mark.parametrize("factor, alpha", [(1.0, 1.0), (0.3, 0.3), ((0.5, 0.5), 0.5)])
def test_pasted_area_is_beta(factor, alpha):
    """The rectangle lies inside the image, so that the share kept is Beta but for rounding to pixels."""
    weight = np.asarray(layers.CutMix(factor).sample(spec(10_000, size=(500, 500)), KEY)["weight"])
    assert abs(weight.var() - 1 / (4 * (2 * alpha + 1))) < 4 * standard_error_of_variance(weight) + 1e-3


def test_balanced_weights_lie_near_the_instance():
    """The share given away is Beta(alpha, 1), of mean alpha / (alpha + 1)."""
    given = 1.0 - np.asarray(layers.BalancedMixUp(0.25).sample(spec(5000, PAIRS[:5000]), KEY)["weight"])
    assert abs(given.mean() - 0.2) < 4 * given.std() / np.sqrt(5000)


def test_partners_are_a_permutation_without_fixed_points():
    for key in range(20):
        partner = np.asarray(layers.MixUp().sample(spec(7), (key, 0))["partner"])
        assert sorted(partner) == list(range(7)) and not np.any(partner == np.arange(7))


def test_every_partner_is_as_likely():
    counts = np.bincount(many(layers.MixUp(), spec(5), 800)["partner"][:, 0], minlength=5)
    assert counts[0] == 0 and np.all(abs(counts[1:] - 200) < 4 * np.sqrt(150))


@pytest.mark.parametrize("name", MIXING)
def test_batches_of_one_stream_draw_for_themselves(name):
    """A batch's draw depends on where it stands, or a parallel map would mix all batches alike."""
    layer = MIXING[name]()
    drawn = [layer.sample((IMAGES, LABELS), KEY, first=first)["weight"].numpy() for first in (0, 8, 0)]
    assert np.array_equal(drawn[0], drawn[2]) and not np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("name", MIXING)
def test_one_weight_for_a_batch_on_request(name):
    drawn = MIXING[name](per_batch=True).sample((IMAGES, LABELS.astype("int32")), KEY)
    mixed = drawn["partner"].numpy() != np.arange(8)
    assert mixed.any() and len(set(drawn["weight"].numpy()[mixed])) == 1
    assert len(set(MIXING[name]().sample((IMAGES, LABELS), KEY)["weight"].numpy())) > 2


@pytest.mark.parametrize("name", MIXING)
def test_a_batch_of_one_stays(name):
    layer = MIXING[name]()
    images, _ = layer((IMAGES[:1], LABELS[:1]))
    assert np.array_equal(images, IMAGES[:1])
    assert layer.sample((IMAGES[:1], LABELS[:1]), KEY)["weight"].numpy().tolist() == [1.0]


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, -1, 2, -1, 0, -1, 2, 0]),
        np.array([[1, 0], [-1, -1]] * 4, "int8"),
        np.array([0.5, np.nan, 1.5, np.nan, 0.5, np.nan, 1.5, 0.5], "float32"),
    ],
    ids=["class", "one-hot", "target"],
)
def test_partners_never_cross_between_labelled_and_unlabelled(name, labels):
    if name == "SimilarTargetMix" and labels.dtype.kind == "i":
        pytest.skip("an integer is a number here, and may be negative")
    if name == "Remix":
        labels = labels if labels.ndim == 1 else np.pad(labels, [[0, 0], [0, 2]], "edge")
        labels = labels.astype("int64") if labels.dtype.kind == "i" else np.eye(4)[[0, 1, 2, 3] * 2] + labels[:, None]
    rows = labels.reshape(8, -1)
    known = ~np.isnan(rows).any(1) if labels.dtype.kind == "f" else (rows >= 0).any(1)
    for key in range(10):
        partner = MIXING[name]().sample((IMAGES, labels), (key, 0))["partner"].numpy()
        assert np.array_equal(known[partner], known)


def test_unlabelled_rows_of_integers_become_zeros():
    _, labels = layers.MixUp(1.0, num_classes=3)((IMAGES, np.array([0, -1, 2, -1, 0, -1, 2, 0])))
    assert np.allclose(np.sum(labels, 1), [1, 0, 1, 0, 1, 0, 1, 1])
