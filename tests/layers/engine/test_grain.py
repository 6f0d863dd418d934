"""`Pipeline.map` over Grain's data sets: keyed by index, arrays in and out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine.indexed import Augment

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), dtype=np.uint8)
ELEMENTS = [{"images": IMAGES[number % 4], "labels": np.int64(number)} for number in range(12)]


def pipeline(**kwargs):
    return kas.Pipeline([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], jit_compile=False, **kwargs)


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# --- what Grain calls, which needs no Grain ---------------------------------------------------------------------------


class Index:
    """Stands for the generator that Grain makes for an index."""

    def __init__(self, index):
        self.index = index

    def integers(self, bound):
        return self.index


def test_an_element_is_a_function_of_seed_epoch_and_index():
    counter = kas.data.EpochCounter()
    augment, element = Augment(pipeline(), 7, counter), ELEMENTS[0]
    first = augment(element, Index(3))
    assert isinstance(first["images"], np.ndarray) and first["images"].dtype == "uint8"
    assert first["labels"] == 0 and first["labels"].dtype == "int64"
    assert equal(augment(element, Index(3)), first)
    assert not equal(augment(element, Index(4)), first)
    assert not equal(Augment(pipeline(), 8, None)(element, Index(3)), first)
    counter.epoch.assign(1)
    assert not equal(augment(element, Index(3)), first)


def test_a_worker_process_gets_the_same_layer():
    augment = Augment(pipeline(), 7, 2)
    other = pickle.loads(pickle.dumps(augment))
    assert equal(other(ELEMENTS[1], Index(5)), augment(ELEMENTS[1], Index(5)))


def test_a_tuple_stays_one():
    image, label = Augment(pipeline(), 7, None)((IMAGES[0], 3), Index(0))
    assert isinstance(image, np.ndarray) and label == 3


# --- with Grain -------------------------------------------------------------------------------------------------------


@pytest.fixture
def grain():
    return pytest.importorskip("grain")


def test_every_read_of_an_index_is_the_same_and_every_other_index_new(grain):
    source = grain.MapDataset.source(ELEMENTS)
    mapped = pipeline().map(source, seed=7)
    assert isinstance(mapped, grain.MapDataset) and len(mapped) == 12
    assert equal(mapped[5], mapped[5]) and equal(mapped[5], pipeline(seed=7).map(source)[5])
    assert not np.array_equal(mapped[1]["images"], mapped[5]["images"])  # of the same picture
    twice = mapped.repeat(2)
    assert equal(twice[5], mapped[5]) and not np.array_equal(twice[17]["images"], mapped[5]["images"])
    batch = pipeline().map(source.batch(4), seed=7)[2]
    assert batch["images"].shape == (4, 8, 9, 3) and batch["labels"].tolist() == [8, 9, 10, 11]


def test_threads_and_iterators_make_no_difference(grain):
    source = grain.MapDataset.source(ELEMENTS)
    mapped = pipeline().map(source, seed=7)
    alone = [mapped[number] for number in range(12)]
    threads = mapped.to_iter_dataset(grain.ReadOptions(num_threads=4))
    iterated = pipeline().map(source.to_iter_dataset(), seed=7)
    assert isinstance(iterated, grain.IterDataset)
    for other in (threads, iterated, iterated):
        assert all(equal(one, two) for one, two in zip(alone, other, strict=True))
