"""A pool of easy points in files of every kind, and a model that has learned from few of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, network

ROWS = 700


@pytest.fixture(scope="session")
def points():
    """(700, 3) points, some of them equal, one with NaN."""
    x = clusters(unlabeled=ROWS // 3 + 1)[2][:ROWS].copy()
    x[100:140] = x[100]
    x[555] = np.nan
    return x


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A classifier and its file."""
    x, y, *_ = clusters(labeled=10)
    model = network(dropout=0.2)
    model.fit(x, y, epochs=20, verbose=0)
    file = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(file)
    return model, file


@pytest.fixture(scope="session")
def pool_file(points, tmp_path_factory):
    """The points in a `.npy` file."""
    file = tmp_path_factory.mktemp("pool") / "pool.npy"
    np.save(file, points)
    return file


@pytest.fixture
def shards(pool_file):
    """The points in three shards, of 256 rows and less."""
    return kas.scale.Shards(pool_file, rows=256)


def in_memory(model: keras.Model, pool, rule, **options):
    """The table that one selection of `SelfTraining` by this model makes."""
    x, y, *_ = clusters()
    y = options.pop("y", y)
    training = kas.SelfTraining(pool, rule, start_epoch=0, teachers=[model], **options)
    pupil = options.pop("pupil", None) or keras.models.clone_model(model)
    pupil.compile("sgd", model.loss)
    pupil.fit(training.training_set(x, y, batch_size=256, steps=1), epochs=1, callbacks=[training], verbose=0)
    return training.table()
