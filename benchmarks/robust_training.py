"""Adversarial training: every method with all labels, robust self-training with few, beside ART and torchattacks.

    python benchmarks/robust_training.py [--tasks all 40] [--draws 3] [--epochs 20] [--methods ...] [--attacked 500]
                                         [--data mnist5k] [--rows N] [--epsilon 0.2]
                                         [--csv benchmarks/results/robust_training.csv]
    python benchmarks/robust_training.py --peers [--tensorflow-peers PYTHON] [--torch-peers PYTHON] ...
    python benchmarks/robust_training.py --collapse [--draws 5]
    python benchmarks/robust_training.py --report       the table from the rows kept, no training

`mnist5k` (or `cifar10`, of which `--rows` are taken, with `--epsilon 0.0314`), two strided convolutions as in Wong and
Kolter 2018 but twice as wide (of rows kept back, epsilon 0.3, 88 % withstood AutoAttack after 80 epochs; with the
study's network, which has pooling and BatchNormalization, 75 % APGD after 40), Adam with a rate that falls to 0. Task
"all" has the labels of all training rows; "40" those of 40 rows a class, and the others without. Every method makes as
many updates on batches of 64 rows moved by up to a tenth ("as they are": not moved), in Linf, with PGD of 7 steps where
it takes steps; "fast", "n-fgsm" and "free" don't. The radius grows over the first quarter of the updates, without which
a large one leaves a network at chance, but for "no warm-up" and where a method learns clean rows beside. Measured on
the first `--attacked` test rows: accuracy as they are, under PGD of 40 steps and under AutoAttack (ours), and the
median processor seconds of an epoch behind the first, in which graphs are traced.

Each row (data, task, method, draw, epochs, epsilon) is written to the CSV when it is done and not run again.
`--peers` trains the network of `attacks.py`, which has no BatchNormalization, from the same weights with the same
number of PGD epochs by us, by ART's AdversarialTrainer and by a PyTorch loop with torchattacks, each in a process of
its own with one thread, in environments as for `attacks.py`. All end in weights that are measured here.

`--collapse` trains the study's network, which learns without a warm-up, by "fast" with a radius so large that it
collapses, and with a small one, and says what `RobustAccuracy` made of each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _rows import append, read
from _training import mean_and_spread

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.methods import Fast, Free, Virtual
from keras_aug_ssl.study.networks import small_network

HERE = Path(__file__).resolve().parent
BATCH, STEPS, REPLAYS, RATIO = 64, 7, 4, 3
FIELDS = (
    "data", "task", "method", "draw", "epochs", "epsilon", "attacked", "clean", "pgd40", "autoattack", "epoch_seconds",
)  # fmt: skip
PEERS = ("keras_aug_ssl", "ART", "torchattacks")
HEADING = """\
2 cores, x86_64, Python 3.11.7, Keras 3.15.1, TensorFlow 2.21.0, beside other work, one core for each run. Made by
`python benchmarks/robust_training.py --report` from `robust_training.csv`, which holds the raw rows: mean and standard
deviation over draws, of 250 test images (peers 50). CPU seconds are the median of epochs behind the first.

"""
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Task(NamedTuple):
    """One draw: labeled rows, the pool (empty where all have labels), the test rows, and how to train."""

    draw: int
    x: np.ndarray
    y: np.ndarray
    pool: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    epochs: int
    epsilon: float

    @property
    def steps(self) -> int:
        """Updates of an epoch, as many with few labels as with all."""
        return -(-(len(self.x) + len(self.pool)) // BATCH)

    @property
    def warmup_steps(self) -> int:
        return self.steps * self.epochs // 4

    @property
    def attack(self) -> kas.PGD:
        return kas.PGD(self.epsilon, steps=STEPS, seed=self.draw)

    def batches(self, moved: bool) -> tf.data.Dataset:
        """An epoch of labeled rows, repeated where they are few, in another order each time."""
        rows = np.arange(self.steps * BATCH) % len(self.x)
        made = tf.data.Dataset.from_tensor_slices((self.x[rows], self.y[rows]))
        made = made.shuffle(len(rows), seed=self.draw).batch(BATCH)
        return weak().map(made, seed=self.draw) if moved else made


class Clock(keras.callbacks.Callback):
    """Processor seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(time.process_time() - self.begun)

    def median(self) -> float:
        return statistics.median(self.epochs[1:] or self.epochs)


def load(data: str, task: str, draw: int, arguments: argparse.Namespace) -> Task:
    (x, y), (x_test, y_test) = kas.data.load(data)
    if data != "mnist5k":  # which comes in random order; others may come class by class
        both = (x, y, x_test, y_test)
        x, y, x_test, y_test = (part[np.random.default_rng(0).permutation(len(part))] for part in both)
    x, x_test = (part[: arguments.rows].astype("float32") / 255.0 for part in (x, x_test))
    y, pool = y[: arguments.rows], x[:0]
    if task != "all":
        x, y, pool, _ = kas.data.split_labels(x, y, per_class=int(task), seed=draw)
    attacked = slice(0, arguments.attacked)
    return Task(draw, x, y, pool, x_test[attacked], y_test[attacked], arguments.epochs, arguments.epsilon)


def optimizer(task: Task) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, task.epochs * task.steps))


def network(task: Task) -> keras.Model:
    keras.utils.set_random_seed(task.draw)
    inputs = keras.Input(task.x.shape[1:])
    x = inputs
    for filters in (32, 64):
        x = keras.layers.Conv2D(filters, 4, 2, "same", activation="relu", kernel_initializer="he_normal")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal")(x)
    return keras.Model(inputs, keras.layers.Dense(len(np.unique(task.y)))(x))


Trained = tuple[keras.Model, Clock]


def plain(moved: bool) -> Callable[[Task], Trained]:
    def train(task: Task) -> Trained:
        model, clock = network(task), Clock()
        model.compile(optimizer(task), LOSS)
        model.fit(task.batches(moved), epochs=task.epochs, verbose=0, callbacks=[clock])
        return model, clock

    return train


def adversarial(method: Any, moved: bool = True, warm: bool = True, **options: Any) -> Callable[[Task], Trained]:
    def train(task: Task) -> Trained:
        model, clock = network(task), Clock()
        given = {**options, "warmup_steps": task.warmup_steps} if warm else options
        trainer = kas.AdversarialTraining(model, task.attack, method, **given)
        trainer.compile(optimizer(task), LOSS)
        epochs = max(1, task.epochs // REPLAYS) if isinstance(method, Free) else task.epochs
        trainer.fit(task.batches(moved), epochs=epochs, verbose=0, callbacks=[clock])
        return model, clock

    return train


def stream(task: Task) -> Any:
    return kas.data.labeled_unlabeled((task.x, task.y), task.pool, BATCH, RATIO, seed=task.draw, steps=task.steps)


def weak() -> kas.Pipeline:
    return kas.Pipeline([kas.layers.RandomTranslation(0.1, 0.1)])


def strong() -> kas.Pipeline:
    changes = [kas.layers.RandomTranslation(0.15, 0.15), kas.layers.RandomRotation(0.08), kas.layers.RandomZoom(0.25)]
    return kas.Pipeline(changes)


def virtual(task: Task) -> Trained:
    model, clock = network(task), Clock()
    trainer = kas.AdversarialTraining(model, task.attack, Virtual())
    trainer.compile(optimizer(task), LOSS)
    trainer.fit(stream(task), epochs=task.epochs, verbose=0, callbacks=[clock])
    return model, clock


def consistent(attacked: bool) -> Callable[[Task], Trained]:
    def train(task: Task) -> Trained:
        model, clock = network(task), Clock()
        ssl = kas.FixMatch(model, weak(), strong(), seed=task.draw)
        ssl = kas.robust(ssl, task.attack) if attacked else ssl
        ssl.compile(optimizer(task), LOSS)
        ssl.fit(stream(task), epochs=task.epochs, verbose=0, callbacks=[clock])
        return model, clock

    return train


def self_trained(method: str, taught: bool) -> Callable[[Task], Trained]:
    """Robust self-training; `taught` by FixMatch, which learned clean, as many steps, else by the model in training."""

    def train(task: Task) -> Trained:
        if taught:  # once, before anything else, as in the paper
            teachers = [consistent(attacked=False)(task)[0]]
            training = kas.SelfTraining(
                task.pool, kas.rules.Threshold(0.8), start_epoch=0, max_iter=1, teachers=teachers
            )
        else:
            training = kas.SelfTraining(task.pool, start_epoch=max(1, task.epochs // 4))
        model, clock = network(task), Clock()
        model.compile(optimizer(task), LOSS)
        feeding = {"batch_size": BATCH, "steps": task.steps, "seed": task.draw, "augment": weak()}
        kas.robust_self_training(
            model, training, (task.x, task.y), task.attack, method, feeding=feeding,
            hardening={"warmup_steps": task.warmup_steps}, epochs=task.epochs, verbose=0, callbacks=[clock],
        )  # fmt: skip
        return model, clock

    return train


METHODS: dict[str, Callable[[Task], Trained]] = {
    "plain, as they are": plain(moved=False),
    "plain": plain(moved=True),
    "standard, as they are": adversarial("standard", moved=False),
    "standard": adversarial("standard"),
    "standard, half clean": adversarial("standard", clean_fraction=0.5),
    "standard, no warm-up": adversarial("standard", warm=False),
    "standard, perturbed weights": adversarial("standard", weight_perturbation=0.005),
    "trades": adversarial("trades"),
    "trades, perturbed weights": adversarial("trades", weight_perturbation=0.005),
    "ikl": adversarial("ikl"),
    "mart": adversarial("mart"),
    "free": adversarial(Free(REPLAYS)),
    "fast, as they are": adversarial("fast", moved=False),
    "fast": adversarial("fast"),
    "n-fgsm": adversarial("n-fgsm"),
    "fast, from 1.5 epsilon": adversarial(Fast(1.5)),
    "fast, no warm-up": adversarial("fast", warm=False),
    "virtual, as they are": adversarial("virtual", moved=False, warm=False),
    "virtual, with the pool": virtual,
    "FixMatch": consistent(attacked=False),
    "robust FixMatch": consistent(attacked=True),
    "robust self-training": self_trained("standard", taught=False),
    "robust self-training, FixMatch teaches": self_trained("standard", taught=True),
    "the same by TRADES": self_trained("trades", taught=True),
}
NEED_A_POOL = tuple(name for name in METHODS if any(word in name for word in ("pool", "FixMatch", "self-", "same")))


def measured(model: keras.Model, task: Task) -> dict[str, float]:
    """Shares of the test rows that are right as they are and under both attacks."""
    x, y = task.x_test, task.y_test
    if model.loss is None:
        model.compile(loss=LOSS)
    attacks = {
        "pgd40": kas.PGD(task.epsilon, steps=40, step_size=task.epsilon / 10),
        "autoattack": kas.AutoAttack(task.epsilon),
    }
    clean = float(np.mean(model.predict(x, batch_size=500, verbose=0).argmax(1) == y))
    return {"clean": clean, **{name: attack(model, x, y).robust_accuracy for name, attack in attacks.items()}}


def keep(path: Path, row: dict[str, Any], train: Callable[[], tuple[keras.Model, float]], task: Task) -> None:
    """Trains, measures and writes a row, unless it is there."""
    if any(all(old[name] == str(value) for name, value in row.items()) for old in read(path)):
        return
    model, seconds = train()
    found = {name: round(value, 4) for name, value in measured(model, task).items()}
    append(path, FIELDS, {**row, **found, "epoch_seconds": round(seconds, 3)})
    print(" | ".join(f"{name}: {value}" for name, value in {**row, **found}.items()), f"| {seconds:.1f} s", flush=True)


def run(arguments: argparse.Namespace) -> None:
    """Runs the rows that aren't in the CSV yet, draw by draw, so that a run cut short has all methods."""
    for draw in range(arguments.draws):
        for name in arguments.tasks:
            task = load(arguments.data, name, draw, arguments)
            for method in arguments.methods:
                if method in NEED_A_POOL and not len(task.pool):
                    continue

                def train(method: str = method, task: Task = task) -> tuple[keras.Model, float]:
                    model, clock = METHODS[method](task)
                    return model, clock.median()

                keep(Path(arguments.csv), described(arguments, name, method, draw), train, task)


def described(arguments: argparse.Namespace, task: str, method: str, draw: int) -> dict[str, Any]:
    given = {"epochs": arguments.epochs, "epsilon": arguments.epsilon, "attacked": arguments.attacked}
    return {"data": arguments.data, "task": task, "method": method, "draw": draw, **given}


def peers(arguments: argparse.Namespace) -> None:
    """Trains with each contender whose Python is given, from the same weights on the same rows."""
    from _attack_peers import network as twin

    pythons = dict(zip(PEERS, (sys.executable, arguments.tensorflow_peers, arguments.torch_peers), strict=True))
    for draw in range(arguments.draws):
        task = load("mnist5k", "all", draw, arguments)
        keras.utils.set_random_seed(draw)
        start = twin().get_weights()
        for peer, python in pythons.items():
            if python is None:
                continue

            def train(peer: str = peer, python: str = python, task: Task = task, start: Any = start) -> Any:
                with tempfile.TemporaryDirectory() as folder:
                    np.savez(Path(folder) / "start.npz", *start)
                    np.savez(Path(folder) / "rows.npz", x=task.x, y=task.y.astype("int64"))
                    options = [str(option) for option in (task.epsilon, STEPS, task.epochs, BATCH)]
                    command = [python, str(HERE / "_robust_worker.py"), peer, folder, *options]
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                    with np.load(Path(folder) / "end.npz") as arrays:
                        *weights, seconds = (arrays[key] for key in arrays.files)
                model = twin()
                model.set_weights(weights)
                return model, float(seconds)

            row = {**described(arguments, "peers", peer, draw), "data": "mnist5k"}
            keep(Path(arguments.csv), row, train, task)


def collapse(arguments: argparse.Namespace) -> None:
    """What `RobustAccuracy` makes of runs of "fast" that collapse, and of healthy ones."""
    for name, epsilon, rate in (("too large a radius", 0.4, 5e-3), ("healthy", 0.1, 2e-3)):
        epochs = []
        for draw in range(arguments.draws):
            task = load("mnist5k", "all", draw, arguments)
            keras.utils.set_random_seed(draw)
            model = small_network(task.x.shape[1:], 10, draw)
            trainer = kas.AdversarialTraining(model, kas.PGD(epsilon, seed=draw), "fast")
            trainer.compile(keras.optimizers.Adam(rate), LOSS)
            data = (task.x_test[:250], task.y_test[:250])
            watch = kas.RobustAccuracy(kas.PGD(epsilon, steps=20), data, on_overfitting="stop")
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                history = trainer.fit(task.x, task.y, batch_size=BATCH, epochs=3, verbose=0, callbacks=[watch]).history
            epochs.append(watch.overfitted_epoch)
            shown = ", ".join(f"{value:.1%}" for value in history["robust_accuracy"])
            print(f"{name} | draw {draw} | robust accuracy {shown} | alarm in epoch {epochs[-1]}", flush=True)
        print(f"{name}: {sum(epoch is not None for epoch in epochs)} alarms in {len(epochs)} runs")


def table(rows: list[dict[str, str]]) -> str:
    head = ["data", "task", "epochs", "epsilon", "method", "draws", "clean, %", "PGD-40, %", "AutoAttack, %"]
    head += ["CPU s an epoch", "of plain"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("data", "task", "epochs", "epsilon", "method")), []).append(row)
    for (data, task, epochs, epsilon, method), some in groups.items():
        shares = [mean_and_spread(float(row[name]) for row in some) for name in ("clean", "pgd40", "autoattack")]
        seconds = statistics.median(float(row["epoch_seconds"]) for row in some)
        base = groups.get((data, task, epochs, epsilon, "plain, as they are"), [])
        of_plain = f"{seconds / statistics.median(float(row['epoch_seconds']) for row in base):.1f}" if base else ""
        cells = (data, task, epochs, epsilon, method, str(len(some)), *shares, f"{seconds:.1f}", of_plain)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["all", "40"], help='"all", or labeled rows a class')
    parser.add_argument("--data", default="mnist5k", help="what kas.data.load takes")
    parser.add_argument("--rows", type=int, default=None, help="training rows that are taken; all without")
    parser.add_argument("--draws", type=int, default=3, help="seeds, and choices of the labeled rows")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of every method")
    parser.add_argument("--epsilon", type=float, default=0.2, help="radius in Linf, of inputs 0 to 1")
    parser.add_argument("--attacked", type=int, default=500, help="test rows that are attacked")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--csv", default="benchmarks/results/robust_training.csv", help="where rows are kept")
    parser.add_argument("--peers", action="store_true", help="train beside the peers instead")
    parser.add_argument("--tensorflow-peers", help="Python of an environment with tensorflow and ART")
    parser.add_argument("--torch-peers", help="Python of an environment with torch and torchattacks")
    parser.add_argument("--collapse", action="store_true", help="look at the alarm instead")
    parser.add_argument("--report", action="store_true", help="only write the table beside the CSV")
    arguments = parser.parse_args()
    if arguments.collapse:
        collapse(arguments)
        return
    path = Path(arguments.csv)
    if arguments.report:
        path.with_suffix(".md").write_text(HEADING + table(read(path)) + "\n", encoding="utf-8")
        return
    (peers if arguments.peers else run)(arguments)
    print(table(read(path)))


if __name__ == "__main__":
    main()
