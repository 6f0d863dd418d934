"""Every law about rules catches a rule that breaks it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl.rules import Rule, Threshold, TopK
from keras_aug_ssl.testing.rules import RULE_LAWS, RuleSubject


class Broken(Threshold):
    """A rule that works until a subclass breaks it."""


def broken(name):
    def decorate(cls):
        BROKEN[name] = keras.saving.register_keras_serializable("tests")(cls)
        return cls

    return decorate


BROKEN: dict[str, type[Rule]] = {}


@broken("weights lie in [0, 1]")
class TooHeavy(Broken):
    def weights(self, rows, statistics, context):
        return 2.0 * super().weights(rows, statistics, context)


@broken("extreme predictions are judged")
class LogOdds(Broken):
    def weights(self, rows, statistics, context):
        odds = rows.score[:, 0] / (1.0 - rows.score[:, 0])
        return odds / (odds + 1.0)


@broken("the order of rows doesn't matter")
class EverySecond(Broken):
    def weights(self, rows, statistics, context):
        return tf.cast(rows.row % 2 == 0, tf.float32)


@broken("blocks merge to the whole")
class LastBlockOnly(Broken):
    def statistics(self, rows, probabilities):
        return {"mean": tf.reduce_mean(rows.score)}

    def merge(self, first, second):
        return second

    def weights(self, rows, statistics, context):
        return tf.cast(rows.score[:, 0] >= statistics["mean"], tf.float32)


@broken("a pool of any size is weighed as a whole")
class ShareOfThePart(Broken):
    by_row = True

    def weights(self, rows, statistics, context):
        rank = tf.argsort(tf.argsort(rows.score[:, 0], direction="DESCENDING", stable=True))
        return tf.cast(rank < tf.cast(0.2 * tf.cast(tf.size(rank), tf.float64), tf.int32), tf.float32)


@broken("an output without a class draws no rows")
class DividedByAlmostNothing(Broken):
    def statistics(self, rows, probabilities):
        return {"probabilities": tf.reduce_sum(probabilities, axis=0)}

    def weights(self, rows, statistics, context):
        share = statistics["probabilities"] / tf.maximum(context.prior, 1e-6)
        return tf.cast(
            rows.score[:, 0] >= self.confidence * tf.gather(share / tf.reduce_max(share), rows.label), "float32"
        )


@broken("graph equals eager")
class Counting(Broken):
    def score(self, prediction):
        return super().score(prediction) + (0.0 if tf.executing_eagerly() else 0.1)


@broken("surer is never worse")
class NotTooSure(Broken):
    def weights(self, rows, statistics, context):
        return tf.cast(rows.score[:, 0] <= self.confidence, tf.float32)


@broken("predictions are left alone")
class Normalizing(Broken):
    def weights(self, rows, statistics, context):
        if context.prior is not None:
            np.divide(context.prior, 2.0, out=context.prior)
        return super().weights(rows, statistics, context)


@broken("the configuration makes an equal rule")
class Forgetful(TopK):
    def get_config(self):
        return {}


@pytest.mark.parametrize("name", RULE_LAWS)
def test_the_law_catches_a_rule_that_breaks_it(name):
    arguments = (2,) if BROKEN[name] is Forgetful else (0.8,)
    with pytest.raises(AssertionError, match="breaks the law"):
        RULE_LAWS[name](RuleSubject(BROKEN[name](*arguments)))


@pytest.mark.parametrize("name", [name for name in RULE_LAWS if name != "the configuration makes an equal rule"])
def test_the_unbroken_rule_passes(name):
    RULE_LAWS[name](RuleSubject(Broken(0.8)))
