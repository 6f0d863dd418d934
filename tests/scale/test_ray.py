"""On Ray: the same table, also when workers are killed; what goes wrong in a worker is told here, and can be mended."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import rules
from keras_aug_ssl.scale.shards import Shards
from keras_aug_ssl.study import Images, Method, Settings, run_study
from keras_aug_ssl.workers import InProcess
from tests.helpers import clusters
from tests.scale.conftest import ROWS
from tests.scale.test_labelling import assert_equal

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own, in threads that outlive a test

PRIOR = [0.5, 0.3, 0.2]
RULE = rules.TopFraction(0.6) & rules.SoftWeight() & rules.FreeThreshold() & rules.TopK(200)


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for all tests, since starting it takes longest."""
    ray.init("local", num_cpus=2, object_store_memory=2**28, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers don't know the tests
    yield
    ray.shutdown()


class Troubled(Shards):
    """Shards some of which do harm when they are opened for the first time, in a worker."""

    def __init__(self, *args, trouble, shards, folder, **kwargs):
        super().__init__(*args, **kwargs)
        self.trouble, self.numbers, self.folder, self.here = trouble, shards, folder, os.getpid()

    def open(self, shard):
        mark = self.folder / f"trouble-{shard.number}"
        if shard.number in self.numbers and os.getpid() != self.here and not mark.exists():
            mark.touch()
            self.trouble()
        return super().open(shard)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_table_is_that_of_one_process_also_when_workers_are_killed(pool_file, trained, tmp_path):
    shards = Troubled(pool_file, rows=64, trouble=killed, shards={2, 7}, folder=tmp_path)
    result = kas.scale.pseudo_label(trained[1], shards, tmp_path / "ray", RULE, prior=PRIOR, engine=kas.scale.Ray(2))
    assert len(list(tmp_path.glob("trouble-*"))) == 2 and 0 < result.selected < ROWS == result.rows
    plain = Shards(pool_file, rows=64)
    kas.scale.pseudo_label(trained[1], plain, tmp_path / "plain", RULE, prior=PRIOR, engine=InProcess())
    assert_equal(tmp_path / "ray", tmp_path / "plain")


def test_a_full_disk_is_told_as_it_is(pool_file, trained, tmp_path):
    shards = Troubled(pool_file, rows=256, trouble=full, shards={1}, folder=tmp_path)
    with pytest.raises(OSError, match="No space left"):
        kas.scale.pseudo_label(trained[1], shards, tmp_path / "labels", rules.TopK(3), engine=kas.scale.Ray(1))
    assert not (tmp_path / "labels").exists()


def test_a_corrupt_image_is_named_and_the_next_run_goes_on(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 1), np.uint8)
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{number:02}.png" for number in range(40)]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(tf.io.encode_png(image).numpy())
    good = files[33].read_bytes()
    files[33].write_bytes(good[:40].ljust(len(good)))

    def label():
        shards = Shards(tmp_path / "images", rows=16)
        return kas.scale.pseudo_label(
            tmp_path / "model.keras", shards, tmp_path / "labels", rules.TopK(3), engine=kas.scale.Ray(1)
        )

    with pytest.raises(ValueError, match="rows that can be decoded; received .*33.png.* cut off or damaged"):
        label()
    assert not (tmp_path / "labels").exists()
    files[33].write_bytes(good)
    assert label().rows == 40
    dataset = kas.data.pseudo_labelled(tmp_path / "labels", kas.UnlabeledPool(tmp_path / "images"))
    rows = {str(x.numpy().tobytes()) for x, *_ in dataset}
    assert rows <= {str(image.tobytes()) for image in images} and len(rows) == len(dataset)


def test_attacks_run_on_workers_find_the_same(trained):
    model, _ = trained
    x, y, *_ = clusters(labeled=10)
    attacks = [kas.PGD(steps=3), kas.FMN(steps=5), kas.GaussianNoise()]
    options = {"attacks": attacks, "epsilons": [0.1, 0.5], "bounds": (-20, 20), "checks": False}
    here, there = (
        kas.evaluate_robustness(model, (x, y), engine=engine, **options) for engine in (None, kas.scale.Ray(2))
    )
    assert here.worst_case == there.worst_case
    for one, other in zip(here.curves, there.curves, strict=True):
        assert (one.attack, one.accuracy) == (other.attack, other.accuracy)


def linear(task, settings, display):
    """Hardly trained, and killed once in its worker."""
    mark = Path(settings.data_dir) / "killed"
    if os.getpid() != int(mark.with_name("here").read_text()) and not mark.exists():
        mark.touch()
        killed()
    import keras

    start = keras.initializers.GlorotUniform(seed=task.seed)
    shape = task.x_labeled.shape[1:]
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer=start)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(task.x_labeled, task.y_labeled, epochs=settings.steps, shuffle=False, verbose=0)
    return model, []


def test_a_study_on_workers_makes_the_same_rows_also_when_one_is_killed(tmp_path):
    (tmp_path / "here").write_text(str(os.getpid()))
    settings = Settings(dataset="digits", labels=20, seeds=2, steps=3, data_dir=str(tmp_path))
    options = {"methods": [Method("linear", "linear", "A linear model.", linear)]}
    here, there = (
        run_study(settings, Images.load("digits"), tmp_path / name, engine=engine, **options)
        for name, engine in (("one", None), ("two", kas.scale.Ray(2)))
    )
    assert (tmp_path / "killed").exists()
    for row in here.rows:
        other = there.find(row.method, row.seed)
        assert (row.clean_accuracy, row.robust_accuracy) == (other.clean_accuracy, other.robust_accuracy)
        assert (tmp_path / "two" / "models" / f"linear-{row.seed}.keras").exists()
