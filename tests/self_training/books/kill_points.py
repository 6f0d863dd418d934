"""Kills a run at seeded points, spoils states in between, and compares its end with that of a run left alone.

`python -m tests.self_training.books.kill_points 200` does it at 200 points and prints what it did.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.self_training.books.backup import ARRAYS, FACTS, Backup, Damaged
from tests.self_training.books import test_resume as resume

STEPS = 5  # batches an epoch in `resume.fit`
OPERATIONS = (
    (os, "replace"), (os, "fsync"), (os, "close"), (shutil, "rmtree"), (np, "savez"),
    (Path, "mkdir"), (Path, "write_text"), (Path, "touch"),
)  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KillAtBatch(keras.callbacks.Callback):
    """Kills the process at the end of its nth batch."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            die()


class KillWhileSaving(keras.callbacks.Callback):
    """Kills the process at its nth operation on files: before it, or for odd numbers after it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left, self.after = number, bool(number % 2)

    def on_train_begin(self, logs: Any = None) -> None:
        for place, name in OPERATIONS:
            setattr(place, name, self.counted(getattr(place, name)))

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if not self.left and not self.after:
                die()
            done = call(*arguments, **options)
            if not self.left:
                die()
            return done

        return counted


class NoteTheLastEpoch(keras.callbacks.Callback):
    """Makes a file once the last epoch's state is saved; all states may be gone only after that."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == resume.EPOCHS - 1:
            os.makedirs(self.file, exist_ok=True)


def child(work: Callable[[], None]) -> int:
    """Does the work in another process and returns its exit code; TensorFlow only begins there."""
    process = os.fork()
    if not process:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(directory: Path | None, result: Path, *callbacks: keras.callbacks.Callback) -> None:
    """Trains to the end, if it is left alone, and writes down what came out."""
    import warnings

    warnings.simplefilter("ignore")  # about damaged states
    st, model = resume.setting(directory)
    resume.fit(st, model, *callbacks)
    weights = {f"weight {number}": value for number, value in enumerate(model.get_weights())}
    columns = {name: st.table()[name] for name in st.table().columns}
    np.savez(result, **weights, **columns, rounds=st.n_iter_)


def whole_epochs(backup: Backup) -> list[int]:
    found = []
    for epoch in backup.epochs():
        try:
            backup.load(epoch)
            found.append(epoch)
        except Damaged:
            pass
    return found


def spoil(place: Path, chance: random.Random) -> str:
    """Damages one of a state's files in one of four ways; says how."""
    file, how = place / chance.choice((ARRAYS, FACTS)), chance.choice(("cut", "flipped", "emptied", "removed"))
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    if how == "removed":
        file.unlink()
    elif how == "flipped":
        content[at] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    else:
        file.write_bytes(content[:at] if how == "cut" else b"")
    return f"{file.name} {how}"


def kill_and_compare(points: int, seed: int = 0) -> collections.Counter[str]:
    """Kills runs at so many points; raises as soon as anything is lost or comes out otherwise.

    Args:
        points: kills in all; a run that ends before its next one is followed by another.
        seed: of the points, and of what is spoilt.

    Returns:
        How often what happened.
    """
    chance, done = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        expected, result, directory, last = (Path(folder, name) for name in ("whole.npz", "end.npz", "run", "last"))
        assert child(lambda: run(None, expected)) == 0
        backup, kept = Backup(directory), 0
        while done["kills"] < points:
            saving = chance.random() < 0.6
            kill = KillWhileSaving(chance.randint(1, 60)) if saving else KillAtBatch(chance.randint(1, 3 * STEPS))
            code = child(lambda kill=kill: run(directory, result, NoteTheLastEpoch(last), kill))  # type: ignore[misc]
            assert code in (0, -signal.SIGKILL), code
            whole = whole_epochs(backup)
            if code:
                done["kills"] += 1
                done["kills while saving" if saving else "kills in a batch"] += 1
                assert (whole or [0])[-1] >= kept or last.exists() and not backup.epochs(), (kept, whole)
            else:
                compare(expected, result)
                done["runs that ended like one left alone"] += 1
                assert not list(directory.iterdir())
                shutil.rmtree(directory)
            kept = (whole or [0])[-1]
            if not kept and last.exists():  # the next run begins anew
                last.rmdir()
            if len(whole) > 1 and chance.random() < 0.4:
                done[f"spoilt: {spoil(directory / f'epoch-{kept:06d}', chance)}"] += 1
                done["spoilt newest states"] += 1
                kept = whole[-2]
    return done


def compare(expected: Path, result: Path) -> None:
    with np.load(expected) as whole, np.load(result) as resumed:
        assert whole.files == resumed.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    result.unlink()


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    for what, times in kill_and_compare(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0).items():
        print(f"{times:4d}  {what}", flush=True)
