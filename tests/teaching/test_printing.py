"""An epoch's line stays short; `History` and the user's callbacks get every column."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas

X = np.eye(12, dtype="float32")[np.arange(48) % 12]
Y = np.arange(48) % 12


class Seen(keras.callbacks.Callback):
    """What a callback of the user's, such as TensorBoard, is told."""

    def on_epoch_end(self, epoch, logs=None):
        self.logs = dict(logs)


def network():
    return keras.Sequential([keras.Input((12,)), keras.layers.Dense(12)])


def compiled(model):
    model.compile(
        keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    return model


def self_training(callbacks):
    training = kas.SelfTraining(X, start_epoch=1, oracle=Y)
    made = training.training_set(X[:24], Y[:24], batch_size=24)
    return compiled(network()).fit(made, epochs=3, verbose=2, callbacks=[training, *callbacks])


def consistency(callbacks):
    ssl = compiled(kas.FreeMatch(network(), weak=kas.consistency.unchanged, strong=kas.consistency.unchanged))
    return ssl.fit(kas.data.labeled_unlabeled((X, Y), X, 12, 1, oracle=Y), epochs=3, verbose=2, callbacks=callbacks)


@pytest.mark.parametrize(
    ("run", "printed", "kept"),
    [
        (self_training, {"n_pseudo", "n_pseudo_added", "pseudo_accuracy"}, {"pseudo_confidence", "n_pseudo_class_11"}),
        (consistency, {"mask_rate", "unlabeled_loss", "pseudo_accuracy"}, {"threshold_0", "threshold_11"}),
    ],
)
def test_a_line_has_few_columns_and_history_all(run, printed, kept, capsys):
    seen = Seen()
    history = run([seen]).history
    lines = [line for line in capsys.readouterr().out.splitlines() if "loss:" in line]
    assert len(lines) == 3
    for line in lines:
        columns = set(re.findall(r"(\w+): ", line))
        assert columns >= printed and not columns & kept and len(line) < 160, line
    assert set(history) >= printed | kept and set(seen.logs) >= printed | kept
    assert {len(values) for values in history.values()} == {3}, "no epoch is missing or counted twice"


def test_a_second_fit_and_a_history_of_ones_own(capsys):
    own = keras.callbacks.History()
    self_training([own])
    assert len(own.history["pseudo_confidence"]) == 3
    assert "pseudo_confidence" not in capsys.readouterr().out
