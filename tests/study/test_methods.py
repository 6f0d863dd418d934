"""The rows of the table differ in what they say they differ in, and in nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest

from keras_aug_ssl.study import Settings, methods
from keras_aug_ssl.study.progress import Progress

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SETTINGS = Settings(dataset="tiny", labels=6, seeds=1, steps=6)


@pytest.fixture
def train(images):
    def run(seed=0, **switches):
        switches = {"augmented": False, "self_trained": False, "attacked": False} | switches
        task = images.task(SETTINGS.labels, seed)
        model, rounds = methods.recipe(**switches)(task, SETTINGS, Progress(1, io.StringIO()))
        return [np.asarray(weight) for weight in model.get_weights()], rounds

    return run


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_seed_decides_everything(train):
    first, _ = train()
    assert same(first, train()[0])
    assert not same(first, train(seed=1)[0])


@pytest.mark.filterwarnings("ignore:SelfTraining, selection 3")  # that nothing is selected, which is the point
def test_self_training_that_selects_nothing_changes_nothing(train, monkeypatch):
    monkeypatch.setattr(methods, "CONFIDENCE", 1.0)
    with_it, rounds = train(self_trained=True)
    assert {entry.count for entry in rounds} == {0}
    assert same(with_it, train()[0])


def test_pseudo_labels_are_counted_from_when_they_start(train, monkeypatch):
    monkeypatch.setattr(methods, "CONFIDENCE", 0.0)
    _, rounds = train(self_trained=True)
    assert [entry.step for entry in rounds] == [0, 1, 2, 3, 4, 5]
    assert [entry.count for entry in rounds] == [0, 0, 30, 30, 30, 30]
    assert [entry.accuracy is None for entry in rounds] == [True, True, False, False, False, False]


def test_fixmatch_is_decided_by_its_seed_and_counts_what_it_takes(images):
    def trained(seed):
        model, rounds = methods.fixmatch(images.task(SETTINGS.labels, seed), SETTINGS, Progress(1, io.StringIO()))
        return [np.asarray(weight) for weight in model.get_weights()], rounds

    first, rounds = trained(0)
    assert same(first, trained(0)[0])
    assert not same(first, trained(1)[0])
    assert [entry.step for entry in rounds] == [0, 1, 2, 3, 4, 5]
    assert all(0 <= entry.count <= 30 and (entry.accuracy is None) == (entry.count == 0) for entry in rounds)


def test_attacks_change_what_is_learned(train):
    assert not same(train(attacked=True)[0], train()[0])


def test_every_image_of_an_augmented_batch_stays_in_range():
    batch = np.random.default_rng(0).random((16, 28, 28, 1), dtype=np.float32)
    changed = np.asarray(methods.augmentation()(batch, seed=(0, 1)))
    assert changed.shape == batch.shape and changed.min() >= 0 and changed.max() <= 1
