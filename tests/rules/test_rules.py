"""What each rule takes, on predictions small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import rules


def two(*confidences, label=0):
    """Rows of two classes with the given probability of `label`."""
    p = np.asarray(confidences, np.float32)
    return np.stack([p, 1 - p] if label == 0 else [1 - p, p], axis=1)


def test_threshold_includes_its_level():
    np.testing.assert_array_equal(rules.Threshold(0.95)(two(0.95, 0.9499)), [1, 0])


def test_margin_tells_apart_what_a_threshold_cannot():
    p = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]], np.float32)
    np.testing.assert_array_equal(rules.Margin(0.2)(p), [0, 1])
    assert len(set(rules.Threshold(0.5)(p))) == 1


def test_entropy_share_is_one_when_uniform_and_zero_when_certain():
    p = np.array([[0.25] * 4, [1, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(rules.Entropy(0.999)(p), [0, 1])
    np.testing.assert_array_equal(rules.Entropy(1.0)(p), [1, 1])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_takes_exactly_k_of_each_class_and_the_most_confident(k):
    random = np.random.default_rng(0)
    p = random.dirichlet([0.5] * 3, size=200).astype("float32")
    weights, label, confidence = rules.TopK(k)(p), p.argmax(1), p.max(1)
    for c in range(3):
        mine = confidence[label == c]
        assert weights[label == c].sum() == k
        assert confidence[(label == c) & (weights > 0)].min() == np.sort(mine)[-k]


def test_top_k_of_all_takes_k_and_the_first_of_equals():
    p = two(1.0, 1.0, 1.0, 0.6)
    np.testing.assert_array_equal(rules.TopK(2, per_class=False)(p), [1, 1, 0, 0])


def test_top_k_takes_all_of_a_class_with_fewer_rows():
    np.testing.assert_array_equal(rules.TopK(5)(two(0.9, 0.8)), [1, 1])


def test_top_fraction_gives_each_class_its_share_by_the_prior():
    p = np.concatenate([two(*np.linspace(0.6, 0.99, 50)), two(*np.linspace(0.6, 0.99, 50), label=1)])
    weights = rules.TopFraction(0.2)(p, prior=[0.75, 0.25])
    assert weights[:50].sum() == 15 and weights[50:].sum() == 5
    assert weights[35:50].all() and weights[95:].all()
    assert rules.TopFraction(0.2)(p).sum() == 20


def test_all_of_millions_are_all():
    p = np.full((2_500_000, 2), 0.1, "float32")
    p[:, 0], p[:5, 0] = 0.9, 0.05
    assert int(np.sum(rules.TopFraction(1.0)(p))) == len(p)
    assert int(np.sum(rules.TopFraction(0.2)(p[5:10]))) == 1  # 0.2 in float32 is a little more


def test_top_fraction_grows_with_the_rounds_up_to_all():
    p = two(*np.linspace(0.5, 0.9, 10))
    taken = [rules.TopFraction(0.2, step=0.3)(p, round=number).sum() for number in (1, 2, 3, 4, 9)]
    assert taken == [2, 5, 8, 10, 10]


def test_flex_threshold_is_the_papers():
    p = np.concatenate([two(*[0.97] * 8), two(0.97, 0.97, 0.3 + 0.35, label=1), two(0.6)])
    level = 0.95 * (2 / 8) / (2 - 2 / 8)  # two of class 1 against eight of class 0; two rows reach it for none
    expected = [1] * 8 + [1, 1, 0.65 >= level] + [0]
    np.testing.assert_array_equal(rules.FlexThreshold(0.95)(p), expected)


def test_flex_threshold_expects_of_a_class_what_its_share_is():
    p = np.concatenate([two(*[0.97] * 8), two(0.97, 0.97, 0.6, label=1)])
    assert rules.FlexThreshold(0.95)(p)[-1] == 1  # class 1 looks badly learned, so its level is low
    assert rules.FlexThreshold(0.95)(p, prior=[0.8, 0.2])[-1] == 0  # two of ten is what a fifth should have


def test_free_threshold_is_the_papers():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], np.float32)
    mean, share = p.max(1).mean(), p.mean(0)
    level = mean * share / share.max()
    np.testing.assert_array_equal(rules.FreeThreshold()(p), p.max(1) >= level[p.argmax(1)])


def test_soft_weight_is_the_papers():
    p = np.random.default_rng(0).dirichlet([1] * 4, 50).astype("float32")
    confidence = p.max(1)
    below = np.minimum(confidence - confidence.mean(), 0)
    expected = np.exp(-(below**2) * 4 / (2 * confidence.var()))
    np.testing.assert_allclose(rules.SoftWeight(2.0)(p), expected, atol=1e-5)


def test_target_precision_takes_the_lowest_level_that_is_right_often_enough():
    held_out = two(0.99, 0.95, 0.9, 0.8, 0.7, 0.6), np.array([0, 0, 0, 1, 0, 0])
    assert rules.TargetPrecision(1.0).level(*held_out) == pytest.approx(0.9)
    assert rules.TargetPrecision(0.8).level(*held_out) == pytest.approx(0.6)  # 5 of 6, though 3 of 4 in between
    assert rules.TargetPrecision(0.9).level(*held_out) == pytest.approx(0.9)
    assert rules.TargetPrecision(0.9).level(two(0.9), np.array([1])) == np.inf
    np.testing.assert_array_equal(rules.TargetPrecision(1.0)(two(0.92, 0.85), holdout=held_out), [1, 0])


def test_target_precision_can_not_split_rows_of_equal_confidence():
    assert rules.TargetPrecision(1.0).level(two(0.9, 0.9), np.array([0, 1])) == np.inf


def test_uncertainty_judges_the_spread_of_the_predicted_class():
    passes = np.stack([two(0.9, 0.9), two(0.9, 0.6)])
    np.testing.assert_array_equal(rules.Uncertainty(0.1)(passes), [1, 0])
    np.testing.assert_array_equal(rules.Uncertainty(0.2)(passes), [1, 1])
    np.testing.assert_array_equal(rules.Uncertainty(0.1)(two(0.9, 0.9), uncertainty=[0.05, 0.2]), [1, 0])


def test_low_variance_takes_the_steadiest_share():
    variance = np.array([0.4, 0.1, 0.3, 0.2])
    np.testing.assert_array_equal(rules.LowVariance(0.5)(np.zeros(4), variance), [0, 1, 0, 1])
    several = np.stack([variance, np.zeros(4)], axis=1)
    np.testing.assert_array_equal(rules.LowVariance(0.25)(np.zeros((4, 2)), several), [0, 1, 0, 0])


def test_decided_needs_enough_labels_to_be_present_or_absent():
    p = np.array([[0.95, 0.05], [0.95, 0.5], [0.5, 0.5]], np.float32)
    np.testing.assert_array_equal(rules.Decided(0.9, 0.1)(p), [1, 0, 0])
    np.testing.assert_array_equal(rules.Decided(0.9, 0.1, share=0.5)(p), [1, 1, 0])
    np.testing.assert_allclose(rules.Decided(0.9, 0.1, share=0.5).harden(p[1:2]), [[1, 0.5]])


def test_and_multiplies():
    p = two(0.99, 0.9, 0.7)
    both = rules.Threshold(0.8) & rules.SoftWeight()
    np.testing.assert_allclose(both(p), rules.Threshold(0.8)(p) * rules.SoftWeight()(p))
    assert both.graded and repr(rules.Threshold(0.8) & rules.TopK(2)) == (
        "Threshold(confidence=0.8) & TopK(k=2, per_class=True)"
    )
    assert "negative" in repr(rules.Uncertainty(view=np.negative))  # which can't be saved


def test_rules_work_in_graphs_with_batches_of_any_size():
    rule = rules.FlexThreshold(0.8) & rules.SoftWeight() & rules.TopK(3)
    traced = tf.function(lambda p: rule(p), input_signature=[tf.TensorSpec([None, 2])])
    for rows in (2, 7):
        p = two(*np.linspace(0.55, 0.95, rows))
        np.testing.assert_allclose(traced(p), rule(p), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Threshold(1.1),
        lambda: rules.Threshold(-0.1),
        lambda: rules.TopK(0),
        lambda: rules.TopFraction(0.0),
        lambda: rules.TopFraction(0.2, step=-1),
        lambda: rules.FlexThreshold(0.0),
        lambda: rules.SoftWeight(0.0),
        lambda: rules.TargetPrecision(0.0),
        lambda: rules.Uncertainty(-1),
        lambda: rules.Uncertainty(passes=1),
        lambda: rules.Decided(0.1, 0.9),
        lambda: rules.TopK(1)(np.zeros(3)),
        lambda: rules.TopFraction(0.5)(np.ones((3, 2)) / 2, prior=[1, 0, 0]),
        lambda: rules.TargetPrecision()(np.ones((3, 2)) / 2),
        lambda: rules.Uncertainty()(np.ones((3, 2)) / 2),
        lambda: rules.LowVariance()(np.zeros(3), np.zeros(2)),
        lambda: rules.Uncertainty() & rules.LowVariance(),
    ],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match="`"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.Threshold("high"),
        lambda: rules.TopK("many"),
        lambda: rules.Uncertainty(passes=[1, 2]),
        lambda: rules.Both(rules.Threshold(), 1),
    ],
)
def test_wrong_kinds_are_named(make):
    with pytest.raises(TypeError, match="`"):
        make()


@pytest.mark.parametrize("rule", [rules.FreeThreshold(), rules.FlexThreshold(0.9)])
def test_an_output_without_a_class_changes_nothing(rule):
    p = np.concatenate([two(*[0.99] * 30), two(*[0.97] * 20, label=1), two(0.6, 0.7)])
    ghost = np.concatenate([p, np.zeros((len(p), 1), np.float32)], axis=1)
    sure_ghost = np.array([[0.0, 0.02, 0.98]], np.float32)
    expected = rule(p, prior=[0.5, 0.5])
    weights = rule(np.concatenate([ghost, sure_ghost]), prior=[0.5, 0.5, 0.0])
    np.testing.assert_array_equal(weights[:-1], expected)
    assert weights[-1] == 0 and not expected.all()
    np.testing.assert_array_equal(rule(ghost, prior=[0.5, 0.5, 0.0]), expected)


def test_a_class_without_labelled_rows_has_no_quota():
    p = np.tile(np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.1, 0.9]], np.float32), (100_000, 1))
    weights = rules.TopFraction(1.0)(p, prior=[0.5, 0.5, 0.0])
    np.testing.assert_array_equal(weights.reshape(-1, 3).sum(axis=0), [100_000, 100_000, 0])
