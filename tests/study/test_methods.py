"""The rows of the table differ in what they say they differ in, and in nothing else."""

from __future__ import annotations

import io
import types

import numpy as np
import pytest

from keras_aug_ssl import consistency
from keras_aug_ssl.study import BUDGETS, Settings, methods, views
from keras_aug_ssl.study.budgets import CONSISTENCY
from keras_aug_ssl.study.networks import small_network
from keras_aug_ssl.study.progress import Progress

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SETTINGS = Settings(dataset="tiny", labels=6, seeds=1, steps=6)


@pytest.fixture
def train(images):
    def run(seed=0, **switches):
        switches = {"augmented": False, "self_trained": False, "attacked": None} | switches
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
    fixmatch = next(method.train for method in BUDGETS["quick"].methods if method.name == "fixmatch")

    def trained(seed):
        model, rounds = fixmatch(images.task(SETTINGS.labels, seed), SETTINGS, Progress(1, io.StringIO()))
        return [np.asarray(weight) for weight in model.get_weights()], rounds

    first, rounds = trained(0)
    assert same(first, trained(0)[0])
    assert not same(first, trained(1)[0])
    assert [entry.step for entry in rounds] == [0, 1, 2, 3, 4, 5]
    assert all(0 <= entry.count <= 30 and (entry.accuracy is None) == (entry.count == 0) for entry in rounds)


def test_attacks_change_what_is_learned(train):
    assert not same(train(attacked="standard")[0], train()[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [views.weak, views.strong, views.gentle])
def test_every_image_of_an_augmented_batch_stays_in_range(view, channels):
    batch = np.random.default_rng(0).random((16, 28, 28, channels), dtype=np.float32)
    changed = np.asarray(view(batch)(batch, seed=(0, 1)))
    assert changed.shape == batch.shape and changed.min() >= 0 and changed.max() <= 1
    assert changed.max() > 0.5, "values of 0..1 are not taken for 0..255"


def test_a_full_study_has_every_consistency_method_and_all_of_a_quick_one():
    full = [method.name for method in BUDGETS["full"].methods]
    assert len(set(full)) == len(full)
    assert set(full) >= {method.name for method in BUDGETS["quick"].methods}
    recipes = {name for name, made in vars(consistency).items() if isinstance(made, types.FunctionType)}
    assert set(full) >= {name.lower() for name in recipes if name[0].isupper()}
    assert all(method.about.endswith(".") for method in BUDGETS["full"].methods)


@pytest.mark.parametrize("steps", [1, 4000])
def test_every_consistency_method_can_be_made_for_any_number_of_steps(images, steps):
    network = small_network((8, 8, 1), 3, 0)
    for name, make in CONSISTENCY.items():
        made = make(network, views.weak(images.x_train), views.strong(images.x_train), steps, 5)
        assert isinstance(made, consistency.ConsistencyModel) and made.seed == 5, name
