"""What a directory of states may hold: damaged states, another run's, somebody else's files, and one run at a time."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import keras
import ml_dtypes
import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import writing
from keras_aug_ssl.self_training.books import identity
from keras_aug_ssl.self_training.books.backup import ARRAYS, FACTS, Backup, Damaged
from tests.helpers import clusters, network
from tests.rules.cases import RULE_CASES
from tests.self_training.books.test_resume import Interrupt, fit, same_end, setting

X, Y, POOL, HIDDEN = clusters()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A directory with the states of epochs 3 and 4 of a run of six."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.raises(KeyboardInterrupt):
        fit(*setting(directory), Interrupt(4, 1))
    return directory


@pytest.fixture
def states(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "states")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def another_digit(path):
    content = path.read_bytes()
    place = next(i for i, byte in enumerate(content) if byte in b"123456789")
    path.write_bytes(content[:place] + b"0" + content[place + 1 :])


DAMAGE = [(ARRAYS, cut), (ARRAYS, flipped), (FACTS, emptied), (FACTS, another_digit), (FACTS, os.remove)]


@pytest.mark.parametrize("name", [ARRAYS, FACTS])
@pytest.mark.parametrize("damage", [cut, emptied, flipped, another_digit, os.remove])
def test_every_damage_is_noticed(tmp_path, name, damage):
    backup = Backup(tmp_path)
    backup.save(1, {"round": 1, "mix": [0.5, float("nan")]}, {"label": np.arange(99)})
    backup.load(1)
    damage(tmp_path / "epoch-000001" / name)
    with pytest.raises(Damaged, match=name):
        backup.load(1)


@pytest.fixture(scope="module")
def uninterrupted():
    whole = setting()
    fit(*whole)
    return whole


@pytest.mark.parametrize(("name", "damage"), [(ARRAYS, flipped), (FACTS, os.remove)])
def test_a_damaged_newest_state_falls_back_to_the_one_before(states, uninterrupted, name, damage):
    damage(states / "epoch-000004" / name)
    resumed = setting(states)
    with pytest.warns(UserWarning, match=f"a damaged state, epoch 4: {name}.* goes on from epoch 3"):
        history = fit(*resumed)
    assert history.epoch == [3, 4, 5]
    same_end(resumed, uninterrupted)
    assert not list(states.iterdir())


def test_without_a_whole_state_nothing_begins(states):
    for folder in states.iterdir():
        emptied(folder / ARRAYS)
    with pytest.raises(ValueError, match=r"with a whole state; received '.*states'. Damaged: epoch 4: .*remove its"):
        fit(*setting(states))
    assert len(list(states.iterdir())) == 2


def other_network(activation="relu", **compile):
    model = network(dropout=0.3, **compile)
    if activation != "relu":
        model.layers[1].activation = keras.activations.get(activation)
    return model


PLAIN = {"start_epoch": 2}
RULE = kas.rules.TopFraction(0.1, step=0.1)


@pytest.mark.parametrize(
    ("changed", "options", "model", "pool", "feeding"),
    [
        ("model", {}, {"activation": "tanh"}, POOL, {}),
        ("optimizer", {}, {"optimizer": keras.optimizers.Adam(0.03)}, POOL, {}),
        ("optimizer", {}, {"optimizer": keras.optimizers.Adamax(0.02)}, POOL, {}),
        ("loss", {}, {"loss": keras.losses.SparseCategoricalCrossentropy()}, POOL, {}),
        ("rule or option", {"select": kas.rules.TopFraction(0.2, step=0.1)}, {}, POOL, {}),
        ("rule or option", {"select": lambda p: p.max(axis=1) > 0.7}, {}, POOL, {}),
        ("rule or option", {"every": 2}, {}, POOL, {}),
        ("rule or option", {"relabel": False}, {}, POOL, {}),
        ("rule or option", {"weight": 0.5}, {}, POOL, {}),
        ("pool", {}, {}, -POOL, {}),
        ("pool", {}, {}, POOL[::-1], {}),
        ("pool", {}, {}, POOL[:50], {}),
        ("set of labeled rows", {}, {}, POOL, {"y": 2 - Y}),
        ("seed", {}, {}, POOL, {"seed": 9}),
        ("batch size, length or augmentation", {}, {}, POOL, {"steps": 6}),
        ("batch size, length or augmentation", {}, {}, POOL, {"augment": lambda x: 2.0 * x}),
    ],
)
def test_another_runs_states_are_refused(states, changed, options, model, pool, feeding):
    st = kas.SelfTraining(pool, **({"select": RULE, "backup_dir": states} | PLAIN | options))
    made = st.training_set(X, **({"y": Y, "batch_size": 8, "steps": 5} | feeding))
    with pytest.raises(ValueError, match=f"states of this run; .*another {changed}"):
        other_network(**model).fit(made, epochs=6, callbacks=[st], verbose=0)
    assert len(list(states.iterdir())) == 2


def test_a_run_is_known_whatever_number_keras_gives_its_layers(states):
    keras.backend.clear_session(free_memory=False)
    with pytest.raises(KeyboardInterrupt):
        fit(*setting(states), Interrupt(4, 3))


def test_fewer_epochs_than_are_finished_are_refused(states):
    with pytest.raises(ValueError, match="fit: `epochs` must be at least 4.*received 2.*remove its epoch-"):
        fit(*setting(states), epochs=2)


def test_going_on_in_the_process_that_was_interrupted_after_a_change_of_rate(tmp_path):
    st, model = setting(tmp_path)

    class Slower(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.02 / (1 + epoch)

    with pytest.raises(KeyboardInterrupt):
        fit(st, model, Slower(), Interrupt(3, 1))
    assert fit(st, model, Slower()).epoch == [3, 4, 5]


def test_only_states_and_drafts_are_touched_and_two_states_kept(tmp_path):
    backup = Backup(tmp_path / "new" / "place")
    mine = backup.directory / "writing-000009" / "novel.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for epoch in range(1, 5):
        (backup.directory / f"{writing.DRAFT}{epoch}").mkdir()
        backup.save(epoch, {"round": epoch}, {"label": np.arange(epoch)})
        assert backup.epochs() == list(range(max(1, epoch - 1), epoch + 1))
        names = {path.name for path in backup.directory.iterdir()}
        assert names == {"writing-000009"} | {f"epoch-{e:06d}" for e in backup.epochs()}
    (backup.directory / "epoch-000004" / "notes.txt").write_text("mine")
    backup.save(3, {"round": 9}, {"label": np.arange(9)})
    assert backup.epochs() == [3] and backup.load(3).facts == {"round": 9} and len(backup.load(3).arrays["label"]) == 9
    backup.clear()
    left = sorted(str(path.relative_to(backup.directory)) for path in backup.directory.rglob("*.*"))
    assert left == ["epoch-000004/notes.txt", "writing-000009/novel.txt"]


def test_somebody_elses_folder_of_that_name_is_left_and_named(tmp_path):
    (tmp_path / "epoch-000002").mkdir()
    (tmp_path / "epoch-000002" / "weights.h5").write_text("mine")
    with pytest.raises(ValueError, match="for the states of one run; .*'epoch-000002' in it is no state"):
        fit(*setting(tmp_path))
    assert (tmp_path / "epoch-000002" / "weights.h5").read_text() == "mine"


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    for make in (setting, lambda path: kas.SelfTrainer(network, backup_dir=path)):
        with pytest.raises(ValueError, match="Self.*: `backup_dir` must be a directory"):
            make(tmp_path / "file")


ELSEWHERE = """
import pathlib, sys
from keras_aug_ssl import writing
from keras_aug_ssl.self_training.books import identity
try:
    writing.lock(pathlib.Path(sys.argv[1]))
    print("free")
except BlockingIOError:
    print("held")
"""


def seen_from_elsewhere(directory):
    return subprocess.run([sys.executable, "-c", ELSEWHERE, directory], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_a_directory_is_one_processes_at_a_time(tmp_path):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(seen_from_elsewhere(tmp_path))

    fit(*setting(tmp_path, start_epoch=1), Look(), epochs=1)
    assert seen == ["held"] and seen_from_elsewhere(tmp_path) == "free"


HOLD = """
import os, sys, time
from keras_aug_ssl.self_training.books.backup import Backup
backup = Backup(sys.argv[1])
backup.begin({})
helper = os.fork()  # as one that makes batches; it outlives a killed parent
if helper:
    print(helper, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_a_directory_in_use_is_refused_and_free_once_its_process_was_killed(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        helper = int(other.stdout.readline())
        with pytest.raises(ValueError, match="SelfTraining: `backup_dir` must be .* no other run uses"):
            fit(*setting(tmp_path))
    finally:
        other.kill()
        other.wait()
    try:
        assert fit(*setting(tmp_path, start_epoch=1), epochs=1).epoch == [0]
    finally:
        os.kill(helper, signal.SIGKILL)
        other.communicate()


def test_of_two_fits_in_one_process_the_older_stops_before_it_mixes_states(tmp_path):
    older, newer = Backup(tmp_path), Backup(tmp_path)
    older.begin({"rule": "a"})
    newer.begin({"rule": "a"})
    newer.save(1, {}, {})
    with pytest.raises(ValueError, match="for one run; .* Another fit in this process"):
        older.save(1, {}, {})
    with pytest.raises(ValueError, match="another rule"):
        Backup(tmp_path).begin({"rule": "b"})


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "int4", "int8", "uint32", "bool", "float64"])
def test_every_type_of_a_variable_is_read_back(tmp_path, dtype):
    array = np.array([0, 1, 3, 7]).astype(getattr(ml_dtypes, dtype, None) or np.dtype(dtype))
    backup = Backup(tmp_path)
    backup.save(1, {}, {"model:0": array})
    stored = backup.load(1).arrays["model:0"]
    assert stored.dtype == array.dtype and np.array_equal(stored, array)


def test_a_model_of_bfloat16_goes_on(tmp_path):
    def half(directory=None):
        st, _ = setting(directory)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax", dtype="bfloat16")])
        model.layers[0].kernel.assign(np.eye(3))
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        return st, model

    whole, resumed = half(), half(tmp_path)
    fit(*whole)
    with pytest.raises(KeyboardInterrupt):
        fit(*half(tmp_path), Interrupt(4, 1))
    assert fit(*resumed).epoch == [4, 5]
    for a, b in zip(whole[1].get_weights(), resumed[1].get_weights(), strict=True):
        assert np.array_equal(np.asarray(a, "float32"), np.asarray(b, "float32"))


def test_a_trainers_states_are_known_too(tmp_path):
    calls = []

    def build():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return network()

    def trainer(build=network):
        return kas.SelfTrainer(build, RULE, rounds=3, backup_dir=tmp_path)

    with pytest.raises(KeyboardInterrupt):
        trainer(build).fit(X, Y, POOL, epochs=1, batch_size=8, steps=3)
    for arguments in ({"pool": -POOL}, {"epochs": 2}):
        with pytest.raises(ValueError, match="SelfTrainer: `backup_dir` must be .* states of this run"):
            trainer().fit(X, Y, **({"pool": POOL, "epochs": 1} | arguments), batch_size=8, steps=3)
    cut(max(tmp_path.iterdir()) / ARRAYS)
    with pytest.warns(UserWarning, match="SelfTrainer: .* damaged state"):
        assert trainer().fit(X, Y, POOL, epochs=1, batch_size=8, steps=3).n_iter_ == 3


def digests(*values):
    return [json.dumps(identity.plain(value)) for value in values]


def test_every_rule_is_told_from_others_and_known_again():
    again = [keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rule)) for rule in RULE_CASES]
    found = digests(*RULE_CASES)
    assert digests(*again) == found and len(set(found)) == len(found)


def pipeline(factor=0.1, seed=7):
    return kas.Pipeline([kas.layers.RandomFlip("horizontal"), kas.layers.RandomRotation(factor)], seed=seed)


def test_augmentations_are_told_from_others_and_known_again():
    assert digests(pipeline()) == digests(pipeline())
    flips = [kas.layers.RandomFlip("vertical"), keras.layers.RandomFlip("vertical"), keras.layers.RandomFlip()]
    functions = [
        lambda x: x * 2,
        lambda x: x * 3,
        functools.partial(np.roll, shift=1),
        functools.partial(np.roll, shift=2),
    ]
    others = digests(pipeline(), pipeline(0.2), pipeline(seed=8), *flips, *functions, None)
    assert len(set(others)) == len(others)


def test_nothing_warns_when_nothing_is_wrong(states):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(*setting(states))
