"""Consistency methods with few labels, beside supervised training and the self-training callback.

    python benchmarks/consistency.py [--dataset mnist5k] [--labels 1 4 10] [--draws 5] [--steps 2000] [--methods ...]
                                     [--csv benchmarks/results/consistency.csv] [--held-out] [--first-draw 0]
    python benchmarks/consistency.py --report       tables and the figure from the rows kept, no training

`mnist5k`, or `cifar10` where TensorFlow Datasets finds it, with the network of `keras-aug-ssl study`. Every method gets
the same labeled rows, batches of 32 labeled and 96 unlabeled rows, and number of steps; supervised lines see the same
32 labeled rows a step. For digits, weak views move them by a tenth; strong ones also turn, shear and zoom them, change
contrast and erase a patch. For photographs they are the library's own. Errors are of the test set, which is used for
the figures only; `--held-out`, with other draws, takes a quarter of the pool to choose by.

Each row (method, data set, labels, draw, steps) is written to the CSV when it is done, with the errors after each tenth
of the steps, and not run again. Seconds are of the training alone. `--step-time` prints, instead, what a step takes
beside a plain training step on as many images, medians of five.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _rows import append, read
from _training import mean_and_spread
from self_training import CLASSES, Task, hold_out, load

import keras_aug_ssl as kas
from keras_aug_ssl.study.budgets import CONSISTENCY
from keras_aug_ssl.study.methods import Make
from keras_aug_ssl.study.networks import small_network

LABELED, RATIO, EPOCHS = 32, 3, 10
FIELDS = ("dataset", "labels", "method", "draw", "steps", "errors", "seconds", "mask_rate", "pseudo_accuracy", "curve")
KEY = ("dataset", "labels", "method", "draw", "steps")
layers = kas.layers
HEADING = """\
2 cores, x86_64, Python 3.11.7, Keras 3.15.1, TensorFlow 2.21.0, one core for each run, beside other work: seconds are
upper bounds. Made by `python benchmarks/consistency.py --report` from `consistency.csv`, which holds the raw rows and
the errors after each tenth of the steps. Errors are mean and standard deviation over draws of the labeled rows.

"""
Facts = dict[str, Any]
Train = Callable[[Task, int, "Watch"], Facts]


class Watch(keras.callbacks.Callback):
    """Counts errors after each epoch, and the seconds of training between."""

    def __init__(self, task: Task, epochs: int = EPOCHS) -> None:
        super().__init__()
        self._task, self._every = task, epochs // EPOCHS
        self.errors: list[float] = []
        self.seconds, self._since = 0.0, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seconds += time.perf_counter() - self._since
        if (epoch + 1) % self._every == 0:
            self.errors.append(_errors(getattr(self.model, "model", self.model), self._task))
        self._since = time.perf_counter()


def _errors(model: keras.Model, task: Task) -> float:
    blocks = [model(task.x_test[start : start + 500], training=False) for start in range(0, len(task.x_test), 500)]
    return float(np.mean(np.concatenate(blocks).argmax(axis=1) != task.y_test))


def network(task: Task) -> keras.Model:
    return small_network(task.x.shape[1:], CLASSES, task.draw)


def weak(task: Task) -> kas.Pipeline:
    return layers.weak_augmentation() if _photographs(task) else kas.Pipeline([layers.RandomTranslation(0.1, 0.1)])


def strong(task: Task) -> kas.Pipeline:
    if _photographs(task):
        return layers.strong_augmentation(value_range=(0, 1))
    changes = [
        layers.RandomShear(0.2, 0.1),
        layers.RandomTranslation(0.15, 0.15),
        layers.RandomRotation(0.08),
        layers.RandomZoom(0.25),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomErasing(0.7, fill_value=0.5, value_range=(0, 1)),
    ]
    return kas.Pipeline(changes)


def _photographs(task: Task) -> bool:
    return task.x.shape[-1] == 3


def compiled(model: keras.Model, steps: int) -> keras.Model:
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def stream(task: Task, steps: int) -> Any:
    return kas.data.labeled_unlabeled(
        (task.x, task.y), task.pool, LABELED, RATIO, seed=task.draw, steps=steps // EPOCHS, oracle=task.hidden
    )


def supervised(view: Callable[[Task], kas.Pipeline], everything: bool = False) -> Train:
    """On labeled rows alone; on as many rows as the others see, all with their true labels, when `everything`."""

    def train(task: Task, steps: int, watch: Watch) -> Facts:
        augment = view(task)
        if everything:
            x, y = np.concatenate([task.x, task.pool]), np.concatenate([task.y, task.hidden])
            task = dataclasses.replace(task, x=x, y=y)

        def seen(known: Any, pool: Any, hidden: Any) -> Any:
            x, y = (tf.concat([known[0], pool], 0), tf.concat([known[1], hidden], 0)) if everything else known
            return augment(x, training=True), y

        compiled(network(task), steps).fit(stream(task, steps).map(seen), epochs=EPOCHS, callbacks=[watch], verbose=0)
        return {}

    return train


def consistent(make: Make, labeled_too: bool = False) -> Train:
    """A method; with labeled rows changed strongly as well, where `labeled_too`: in the papers they aren't."""

    def train(task: Task, steps: int, watch: Watch) -> Facts:
        ssl, batches = compiled(make(network(task), weak(task), strong(task), steps, 0), steps), stream(task, steps)
        if labeled_too:
            view = strong(task)
            batches = batches.map(lambda known, *pool: ((view(known[0], training=True), known[1]), *pool))
        history = ssl.fit(batches, epochs=EPOCHS, callbacks=[watch], verbose=0).history
        return {name: history[name][-1] for name in ("mask_rate", "pseudo_accuracy") if name in history}

    return train


def callback(task: Task, steps: int, watch: Watch) -> Facts:
    st = kas.SelfTraining(task.pool, oracle=task.hidden)
    made = st.training_set(
        task.x, task.y, LABELED * (1 + RATIO), weak(task),
        augment_pseudo=strong(task), steps=steps // CALLBACK_EPOCHS, seed=task.draw,
    )  # fmt: skip
    model = compiled(network(task), steps)
    history = model.fit(made, epochs=CALLBACK_EPOCHS, callbacks=[st, watch], verbose=0).history
    return {"pseudo_accuracy": history["pseudo_accuracy"][-1]}


CALLBACK_EPOCHS = 3 * EPOCHS
ALIGNED = kas.consistency.Alignment("uniform", 0.99)
METHODS: dict[str, Train] = {
    "supervised, weak": supervised(weak),
    "supervised, strong": supervised(strong),
    "SelfTraining, defaults, strong for pseudo-labeled rows": callback,
    **{name: consistent(make) for name, make in CONSISTENCY.items()},
    "FixMatch, labeled rows strong too": consistent(CONSISTENCY["FixMatch"], labeled_too=True),
    "FixMatch, aligned": consistent(lambda m, w, s, n, seed: kas.FixMatch(m, w, s, alignment=ALIGNED, seed=seed)),
    "all labels, strong": supervised(strong, everything=True),
}


def run(arguments: argparse.Namespace) -> None:
    """Runs the rows that aren't in the CSV yet, draw by draw, so that a run cut short has all methods."""
    path, name, steps = Path(arguments.csv), arguments.dataset, arguments.steps
    done = {tuple(row[field] for field in KEY) for row in read(path)}
    for labels in arguments.labels:
        for draw in range(arguments.first_draw, arguments.first_draw + arguments.draws):
            task = load(name, labels, draw)
            task = hold_out(task) if arguments.held_out else task
            for method in arguments.methods:
                row = {"dataset": name, "labels": labels, "method": method, "draw": draw, "steps": steps}
                if tuple(str(row[field]) for field in KEY) in done:
                    continue
                watch = Watch(task, CALLBACK_EPOCHS if METHODS[method] is callback else EPOCHS)
                facts = METHODS[method](task, steps, watch)
                found = {"errors": watch.errors[-1], "seconds": round(watch.seconds, 1)}
                curve = " ".join(f"{wrong:.4f}" for wrong in watch.errors)
                append(path, FIELDS, {**row, **found, **facts, "curve": curve})
                print(f"{name} | {labels} | {draw} | {method}: {100 * watch.errors[-1]:.1f} % errors, "
                      f"{watch.seconds:.0f} s", flush=True)  # fmt: skip


def table(rows: list[dict[str, str]]) -> str:
    groups: dict[tuple[str, int, int], dict[str, list[dict[str, str]]]] = {}
    for row in rows:
        group = groups.setdefault((row["dataset"], int(row["labels"]), int(row["steps"])), {})
        group.setdefault(row["method"], []).append(row)
    lines = []
    for (name, labels, steps), methods in sorted(groups.items()):
        lines += ["", f"### {name}, {labels} labels a class, {steps} steps", ""]
        lines += ["| method | draws | errors, % | each | labels taken, % | of them right, % | seconds |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        for method in sorted(methods, key=list(METHODS).index):
            some = methods[method]
            wrong = [float(row["errors"]) for row in some]
            each = ", ".join(f"{100 * value:.1f}" for value in wrong)
            facts = [_mean_percent(some, field) for field in ("mask_rate", "pseudo_accuracy")]
            seconds = statistics.mean(float(row["seconds"]) for row in some)
            cells = [
                method,
                len(some),
                mean_and_spread(float(row["errors"]) for row in some),
                each,
                *facts,
                f"{seconds:.0f}",
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines[1:])


def _mean_percent(rows: list[dict[str, str]], field: str) -> str:
    values = [float(row[field]) for row in rows if row[field] not in ("", "nan")]
    return f"{100 * statistics.mean(values):.1f}" if values else ""


def figure(rows: list[dict[str, str]]) -> Any:
    """Mean errors against steps and against seconds, a row of two panels for each number of labels."""
    from matplotlib.figure import Figure

    longest: dict[tuple[str, int], int] = {}
    for row in rows:
        cell = row["dataset"], int(row["labels"])
        longest[cell] = max(longest.get(cell, 0), int(row["steps"]))
    cells = sorted((*cell, steps) for cell, steps in longest.items())
    drawing = Figure(figsize=(10, 3.2 * len(cells)), layout="constrained")
    for axes, (name, labels, steps) in zip(drawing.subplots(len(cells), 2, squeeze=False), cells, strict=True):
        for number, method in enumerate(METHODS):
            keys = [str(part) for part in (name, labels, method, steps)]
            some = [row for row in rows if [row[field] for field in ("dataset", "labels", "method", "steps")] == keys]
            if not some:
                continue
            curve = np.mean([[100.0 * float(part) for part in row["curve"].split()] for row in some], axis=0)
            share = np.arange(1, len(curve) + 1) / len(curve)
            ends = steps, statistics.mean(float(row["seconds"]) for row in some)
            style = "-" if number < 10 else "--"
            for panel, end in zip(axes, ends, strict=True):
                panel.plot(share * end, curve, style, color=f"C{number % 10}", label=method, linewidth=1.3)
        for panel, unit in zip(axes, ("steps", "seconds"), strict=True):
            panel.set(xlabel=unit, ylabel="test errors, %", yscale="log")
            panel.minorticks_off()
            panel.set_yticks(ticks := [2, 5, 10, 20, 50], map(str, ticks))
            panel.grid(alpha=0.3)
        axes[0].set_title(f"{name}, {labels} labels a class", loc="left", fontsize=10)
        axes[1].legend(fontsize=6, loc="upper right")
    return drawing


def step_time(steps: int = 100) -> str:
    """A FixMatch step, views and selection included, beside a plain step on as many images, made beforehand."""
    task = load("mnist5k", 10, 0)
    pairs, plain = [], compiled(network(task), steps)
    ssl = compiled(kas.FixMatch(network(task), weak(task), strong(task)), steps)
    size = LABELED * (1 + 2 * RATIO)  # labeled, weak and strong views
    rows = np.random.default_rng(0).integers(0, len(task.pool), size * steps)
    x, y = task.pool[rows], task.hidden[rows]
    pool = stream(task, steps * EPOCHS).map(lambda known, unlabeled, hidden: (known, unlabeled))
    for _ in range(6):
        begun = time.perf_counter()
        plain.fit(x, y, batch_size=size, verbose=0)
        middle = time.perf_counter()
        ssl.fit(pool, verbose=0)
        pairs.append((middle - begun, time.perf_counter() - middle))
    ours, theirs = (statistics.median(pair[side] for pair in pairs[1:]) / steps * 1e3 for side in (1, 0))
    return f"a FixMatch step {ours:.1f} ms, a plain step on {size} images {theirs:.1f} ms: {ours / theirs:.2f} times"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist5k", help="a name that kas.data.load knows")
    parser.add_argument("--labels", nargs="+", type=int, default=[1, 4, 10], help="labeled rows a class")
    parser.add_argument("--draws", type=int, default=5, help="choices of the labeled rows")
    parser.add_argument("--first-draw", type=int, default=0, help="number of the first of them")
    parser.add_argument("--steps", type=int, default=2000, help="training steps of every method")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--held-out", action="store_true", help="errors on a quarter of the pool, not the test set")
    parser.add_argument("--csv", default="benchmarks/results/consistency.csv", help="where rows are kept")
    parser.add_argument("--step-time", action="store_true", help="time a step instead")
    parser.add_argument("--report", action="store_true", help="only write tables and figure beside the CSV")
    arguments = parser.parse_args()
    if arguments.step_time:
        print(step_time())
        return
    if not arguments.report:
        run(arguments)
    path = Path(arguments.csv)
    text = table(read(path))
    print(text)
    if arguments.report:
        path.with_suffix(".md").write_text(HEADING + text + "\n", encoding="utf-8")
        figure(read(path)).savefig(path.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
