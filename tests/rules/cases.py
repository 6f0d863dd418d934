"""One case or more for every public rule."""

from __future__ import annotations

from keras_aug_ssl import rules

RULE_CASES = [
    rules.Threshold(0.8),
    rules.Margin(0.5),
    rules.Entropy(0.4),
    rules.TopK(3),
    rules.TopK(5, per_class=False),
    rules.TopFraction(0.3),
    rules.FlexThreshold(0.8),
    rules.FreeThreshold(),
    rules.SoftWeight(),
    rules.TargetPrecision(0.9),
    rules.Uncertainty(0.1),
    rules.LowVariance(0.4),
    rules.Decided(0.8, 0.2),
    rules.Threshold(0.6) & rules.TopK(5),
    rules.Threshold(0.7) & rules.Uncertainty(0.1) & rules.SoftWeight(),
]
