"""Every law of a consistency method catches one that breaks it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.consistency import ConsistencyModel
from tests.consistency.cases import RECIPES, strong, weak

# Keras 3.15 on NumPy 2 saves so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def made(cls, **options):
    return lambda model: cls(
        model, selector=kas.rules.Threshold(0.4), views=kas.consistency.Views(weak, strong), **options
    )


class Sharpens(ConsistencyModel):
    """Predicts something else than the model."""

    def call(self, inputs, training=None):
        return 2.0 * super().call(inputs, training)


class Draws(ConsistencyModel):
    """Draws from a generator without a seed."""

    def guess(self, batch, labeled, answers):
        return super().guess(batch, labeled, [answer + tf.random.normal(tf.shape(answer)) for answer in answers])


class Peeks(ConsistencyModel):
    """Labels by the oracle."""

    def guess(self, batch, labeled, answers):
        guess = super().guess(batch, labeled, answers)
        return guess if batch.oracle is None else guess._replace(targets=tf.one_hot(batch.oracle, 3))


class Trusts(ConsistencyModel):
    """Lets what an unlabeled row holds into its weights."""

    def train_step(self, data):
        logs, bias = super().train_step(data), self.model.weights[-1]
        bias.assign(bias + 0.0 * tf.reduce_sum(data[1]))
        return logs


class Forgets(ConsistencyModel):
    """Counts its steps from nought after a restart."""

    def load_weights(self, filepath, **kwargs):
        super().load_weights(filepath, **kwargs)
        self._memory.write("step", 0)


class InGraphsOnly(ConsistencyModel):
    """Learns otherwise where it is run operation by operation."""

    def supervised(self, batch, seen):
        return super().supervised(batch, seen) * (3.0 if tf.executing_eagerly() else 1.0)


class LosesSeed(ConsistencyModel):
    """Leaves a setting out of its config."""

    def get_config(self):
        return {**super().get_config(), "seed": np.random.default_rng().integers(1000).item()}


BROKEN = {
    "is the wrapped model": made(Sharpens),
    "seeds decide": made(Draws),
    "hidden labels teach nothing": made(Peeks),
    "learns from the unlabeled rows": lambda model: kas.FixMatch(
        model, weak, strong, threshold=1.0, unlabeled_weight=0.0
    ),
    "one spoiled row spoils nothing": made(Trusts),
    "interrupted equals uninterrupted": made(Forgets),
    "graph equals eager": made(InGraphsOnly),
    "made anew from its config": made(LosesSeed),
}


@pytest.mark.parametrize("law", kas.testing.CONSISTENCY_LAWS)
def test_broken_methods_are_caught(law):
    with pytest.raises(AssertionError, match=law):
        kas.testing.check_consistency(BROKEN[law], only=[law])


def test_what_is_no_method_is_named():
    with pytest.raises(TypeError, match="`make` must be a function that returns a ConsistencyModel"):
        kas.testing.check_consistency(lambda model: model)
    with pytest.raises(ValueError, match="`only`"):
        kas.testing.check_consistency(RECIPES["FixMatch"], only=["luck"])


def test_broken_methods_are_methods():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    assert all(isinstance(make(model), ConsistencyModel) for make in BROKEN.values())
