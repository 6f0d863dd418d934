"""What only another process can show: being killed, and two devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import keras_aug_ssl as kas
from tests import helpers
from tests.self_training.books import test_resume as resume

ROOT = Path(__file__).resolve().parents[3]

PREPARE = """
import os, signal, sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)
"""

KILL_IN_A_BATCH = (
    PREPARE
    + """
import keras
from tests.self_training.books import test_resume as resume
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 18:
            os.kill(os.getpid(), signal.SIGKILL)
resume.fit(*resume.setting(sys.argv[1]), Kill())
"""
)

KILL_IN_A_WRITE = (
    PREPARE
    + """
from keras_aug_ssl import writing
from tests.self_training.books import test_resume as resume
flush, calls = writing.flush, []
def dying(path):
    calls.append(path)
    if len(calls) == 14:  # two parts, the draft and the directory for each epoch
        os.kill(os.getpid(), signal.SIGKILL)
    flush(path)
writing.flush = dying
resume.fit(*resume.setting(sys.argv[1]))
"""
)

TWO_DEVICES = (
    PREPARE
    + """
import json
import numpy as np
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras_aug_ssl as kas
from tests.helpers import clusters, network, run
x, y, pool, hidden = clusters()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = network()
st = kas.SelfTraining(pool, kas.rules.TopK(6), start_epoch=2, oracle=hidden)
history = run(st, model).history
print(json.dumps([history, [w.tolist() for w in model.get_weights()]]))
"""
)

MANY_KILLS = """
import importlib.util, os, random, signal, sys, time
import numpy as np
def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(sys.argv[1], name + ".py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
ledgers, backups = load("ledger"), load("backup")
ROWS = 500
def step(ledger, epoch):
    draw = np.random.default_rng(epoch)
    weight = (draw.random(ROWS) < 0.4).astype("float32")
    ledger.update(epoch, draw.integers(0, 9, ROWS).astype("int32"), weight, draw.random(ROWS) < 0.5)
def work(backup):
    epochs = backup.epochs()
    epoch = epochs[-1] if epochs else 0
    ledger = ledgers.Ledger.restored(backup.load(epoch).arrays) if epochs else ledgers.Ledger(ROWS)
    while True:
        epoch += 1
        step(ledger, epoch)
        backup.save(epoch, {"epoch": epoch}, ledger.state())
backup, expected, random = backups.Backup(sys.argv[2]), [ledgers.Ledger(ROWS)], random.Random(0)
for kill in range(200):
    child = os.fork()
    if not child:
        work(backup)
    time.sleep(random.uniform(0.0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for epoch in backup.epochs():
        while len(expected) <= epoch:
            following = ledgers.Ledger.restored(expected[-1].state())
            step(following, len(expected))
            expected.append(following)
        state = backup.load(epoch)
        assert state.facts == {"epoch": epoch}
        for name, column in expected[epoch].state().items():
            assert np.array_equal(state.arrays[name], column, equal_nan=column.dtype.kind == "f"), (kill, name)
print(backup.epochs()[-1])
"""


def python(script, *arguments, check=True):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=check)


def killed_and_resumed(script, directory):
    assert python(script, directory, check=False).returncode == -9
    resumed, whole = resume.setting(directory), resume.setting()
    history = resume.fit(*resumed)
    resume.fit(*whole)
    assert history.epoch == [3, 4, 5]
    resume.same_end(resumed, whole)


def test_killed_while_training(tmp_path):
    killed_and_resumed(KILL_IN_A_BATCH, tmp_path)


def test_killed_while_writing(tmp_path):
    killed_and_resumed(KILL_IN_A_WRITE, tmp_path)


SPOILT = (
    PREPARE
    + """
from tests.self_training.books.kill_points import kill_and_compare
print(sum(kill_and_compare(5, seed=4).values()))
"""
)


def test_killed_anywhere_and_spoilt_in_between_ends_like_one_left_alone():
    assert int(python(SPOILT).stdout.splitlines()[-1]) > 5


def test_two_hundred_kills_lose_and_duplicate_no_row(tmp_path):
    folder = Path(kas.__file__).parent / "self_training" / "books"
    assert int(python(MANY_KILLS, folder, tmp_path).stdout) > 2


def test_mirrored_strategy():
    history, weights = json.loads(python(TWO_DEVICES).stdout.splitlines()[-1])
    assert history["n_pseudo"][-1] == 18 and history["pseudo_accuracy"][-1] > 0.9
    x, y, pool, hidden = helpers.clusters()
    single = helpers.network()
    helpers.run(kas.SelfTraining(pool, kas.rules.TopK(6), start_epoch=2), single)
    for a, b in zip(weights, single.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
