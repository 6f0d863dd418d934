"""Settings every test shares: one TensorFlow thread per worker, quiet logs, and where the real data are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
import tensorflow as tf

from keras_aug_ssl.testing.laws import op_by_op

# Two workers on two cores: more threads would only wait for each other.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)


@pytest.fixture
def without_graphs() -> Iterator[None]:
    """Runs what would be graphs operation by operation: on small images tracing takes seconds, running milliseconds."""
    with op_by_op():
        yield


@pytest.fixture(scope="session")
def tfds_dir() -> str:
    """Directory that holds a prepared CIFAR-10 subset; the test is skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "tfds"
    directory = Path(os.environ.get("KERAS_AUG_SSL_TFDS") or beside)
    if not (directory / "cifar10").is_dir():
        pytest.skip("no prepared CIFAR-10: set KERAS_AUG_SSL_TFDS to a TFDS data_dir that has it")
    return str(directory)
