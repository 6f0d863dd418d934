"""The loop over seeds and methods: train, test, attack, keep the row; in this process, or on the workers of Ray."""

from __future__ import annotations

import dataclasses
import functools
import platform
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_aug_ssl
from keras_aug_ssl import writing
from keras_aug_ssl.adversarial import PGD
from keras_aug_ssl.study.methods import Method
from keras_aug_ssl.study.progress import Progress, Silent, best_progress
from keras_aug_ssl.study.results import Results, Row, Settings
from keras_aug_ssl.study.tasks import Images, Task
from keras_aug_ssl.workers import Engine, InProcess

BLOCK = 500
ATTACK_STEPS = 20
"""Of the attack on test images; stronger than the one trained on."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A network to train: a method's name and a seed."""

    method: str
    seed: int


def run_study(
    settings: Settings,
    images: Images,
    folder: str | Path,
    *,
    methods: Sequence[Method],
    progress: Callable[[int], Progress] = best_progress,
    engine: Engine | None = None,
) -> Results:
    """Trains every method for every seed, except the rows an earlier run left in `folder`.

    Args:
        settings: what is compared.
        images: where labeled, unlabeled and test images come from.
        folder: gets `results.json` after every row; every network as `models/<method>-<seed>.keras`, and a few of the
            images that attacked it as `attacked/<method>-<seed>.npz`.
        methods: in the order they run.
        progress: from the number of rows to a display.
        engine: who trains; None for this process. `kas.scale.Ray(workers)` trains so many networks at the same time,
            each of whose workers loads the data set of `settings` and writes into the same folder.

    Returns:
        The results, of this run and earlier ones.

    Raises:
        ValueError: the folder holds another study, or the images cannot give that many labels.
        BlockingIOError: another process runs a study in the folder.
    """
    results = Results(folder, settings, versions())
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {method.name: method for method in methods}
    with writing.locked(folder), progress(settings.seeds * len(methods)) as display:
        missing = []
        for cell in [Cell(name, seed) for seed in range(settings.seeds) for name in by_name]:
            row = results.find(cell.method, cell.seed)
            if row is not None and _attacked_are_whole(folder, row):  # the report shows them
                display.row_finished(row, by_name[cell.method].title, kept=True)
            else:
                missing.append(cell)
        if engine is None:
            engine, make = InProcess(), functools.partial(_work, settings, by_name, folder, lambda: images, display)
        else:
            load = functools.partial(Images.load, settings.dataset, settings.data_dir, settings.image_size)
            make = functools.partial(_work, settings, by_name, folder, load, None)
        with engine.running():
            for row in engine.map(make, missing):
                results.add(row)
                display.row_finished(row, by_name[row.method].title)
    return results


def _work(
    settings: Settings,
    methods: dict[str, Method],
    folder: Path,
    load: Callable[[], Images],
    display: Progress | None,
) -> Callable[[Cell], Row]:
    """What trains the networks of a study; each worker makes it once, and shows nothing without a display."""
    images, shows = load(), display or Silent()

    def train(cell: Cell) -> Row:
        method = methods[cell.method]
        shows.row_started(method.title, cell.seed, settings.steps)
        return _train_and_test(method, images.task(settings.labels, cell.seed), settings, folder, shows)

    return train


def shown(y_test: np.ndarray) -> np.ndarray:
    """Positions of the test images a report shows: the first of each class, ten at most."""
    return np.unique(y_test, return_index=True)[1][:10]


def versions() -> dict[str, str]:
    """The software that decides the figures, by name."""
    found = {module.__name__: module.__version__ for module in (keras_aug_ssl, keras, tf, np)}
    return found | {"python": platform.python_version()}


def _train_and_test(method: Method, task: Task, settings: Settings, folder: Path, display: Progress) -> Row:
    started = time.perf_counter()
    model, rounds = method.train(task, settings, display)
    seconds = time.perf_counter() - started
    display.attacking()
    attack = PGD(epsilon=settings.epsilon, steps=ATTACK_STEPS, early_stop=True, seed=task.seed)
    result = attack(model, task.x_test, task.y_test)
    x_shown = result.x_adv[shown(task.y_test)]
    for place in ("models", "attacked"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    with writing.replacing(folder / "models" / f"{method.name}-{task.seed}.keras") as draft:
        model.save(draft)
    with writing.replacing(folder / "attacked" / f"{method.name}-{task.seed}.npz") as draft:
        np.savez(draft, x=x_shown, read_as=classes(model, x_shown))
    clean = float(np.mean(classes(model, task.x_test) == task.y_test))
    return Row(method.name, task.seed, clean, result.robust_accuracy, seconds, tuple(rounds))


def _attacked_are_whole(folder: Path, row: Row) -> bool:
    try:
        with zipfile.ZipFile(folder / "attacked" / f"{row.method}-{row.seed}.npz") as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def classes(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """(N,) positions of the largest outputs; without `predict`, which would be traced anew for each network."""
    blocks = (model(x[start : start + BLOCK], training=False) for start in range(0, len(x), BLOCK))
    return np.concatenate([np.argmax(block, axis=-1) for block in blocks])
