"""Consistency methods with few labels, beside supervised training and the self-training callback.

    python benchmarks/consistency.py [--labels 1 4 10] [--draws 5] [--steps 2000] [--methods ...]
                                     [--csv benchmarks/results/consistency.csv] [--held-out] [--first-draw 0]

`mnist5k`, the network of `keras-aug-ssl study`. Every method gets the same labeled rows, batches of 32 labeled
and 96 unlabeled rows, and number of steps; a supervised line sees the same 32 labeled rows a step. Weak views move
digits by a tenth; strong ones also turn, shear and zoom them, change contrast and erase a patch. Errors are of the test
set, which is used for the figures only; `--held-out`, with other draws, takes a quarter of the pool to choose by.

Each row (method, labels, draw) is written to the CSV when it is done and not run again. `--step-time` prints, instead,
what a step takes beside a plain training step on as many images, medians of five.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from self_training import CLASSES, Task, hold_out, load

import keras_aug_ssl as kas
from keras_aug_ssl.study.networks import small_network

LABELED, RATIO, EPOCHS = 32, 3, 10
FIELDS = ("method", "labels", "draw", "steps", "errors", "seconds", "mask_rate", "pseudo_accuracy")
layers = kas.layers


def network(task: Task) -> keras.Model:
    return small_network(task.x.shape[1:], CLASSES, task.draw)


def weak() -> kas.Pipeline:
    return kas.Pipeline([layers.RandomTranslation(0.1, 0.1)])


def strong() -> kas.Pipeline:
    changes = [
        layers.RandomShear(0.2, 0.1),
        layers.RandomTranslation(0.15, 0.15),
        layers.RandomRotation(0.08),
        layers.RandomZoom(0.25),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomErasing(0.7, fill_value=0.5, value_range=(0, 1)),
    ]
    return kas.Pipeline(changes)


def compiled(model: keras.Model, steps: int) -> keras.Model:
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def stream(task: Task, steps: int) -> Any:
    return kas.data.labeled_unlabeled(
        (task.x, task.y), task.pool, LABELED, RATIO, seed=task.draw, steps=steps // EPOCHS, oracle=task.hidden
    )


def supervised(view: Callable[[], kas.Pipeline]) -> Callable[[Task, int], tuple[keras.Model, dict[str, Any]]]:
    def train(task: Task, steps: int) -> tuple[keras.Model, dict[str, Any]]:
        augment = view()
        batches = stream(task, steps).map(lambda known, pool, hidden: (augment(known[0], training=True), known[1]))
        model = compiled(network(task), steps)
        model.fit(batches, epochs=EPOCHS, verbose=0)
        return model, {}

    return train


def consistent(make: Callable[[keras.Model, int], Any]) -> Callable[[Task, int], tuple[keras.Model, dict[str, Any]]]:
    def train(task: Task, steps: int) -> tuple[keras.Model, dict[str, Any]]:
        ssl = compiled(make(network(task), steps), steps)
        history = ssl.fit(stream(task, steps), epochs=EPOCHS, verbose=0).history
        return ssl.model, {name: history[name][-1] for name in ("mask_rate", "pseudo_accuracy") if name in history}

    return train


def callback(task: Task, steps: int) -> tuple[keras.Model, dict[str, Any]]:
    st = kas.SelfTraining(task.pool, oracle=task.hidden, start_epoch=5)
    made = st.training_set(
        task.x, task.y, LABELED * (1 + RATIO), weak(), augment_pseudo=strong(), steps=steps // 30, seed=task.draw
    )
    model = compiled(network(task), steps)
    history = model.fit(made, epochs=30, callbacks=[st], verbose=0).history
    return model, {"pseudo_accuracy": history["pseudo_accuracy"][-1]}


FAST = {"momentum": 0.99}  # of a few thousand steps, 0.999 would remember the beginning
METHODS: dict[str, Callable[[Task, int], tuple[keras.Model, dict[str, Any]]]] = {
    "supervised, weak": supervised(weak),
    "supervised, strong": supervised(strong),
    "SelfTraining, defaults, strong for pseudo-labeled rows": callback,
    "PseudoLabel": consistent(
        lambda m, n: kas.PseudoLabel(m, weak(), threshold=0.95, ramp_steps=n // 2, start_step=n // 10)
    ),
    "PiModel": consistent(lambda m, n: kas.PiModel(m, weak(), ramp_steps=n // 3)),
    "MeanTeacher": consistent(lambda m, n: kas.MeanTeacher(m, weak(), decay=0.99, ramp_steps=n // 3)),
    "VAT": consistent(lambda m, n: kas.VAT(m, weak(), epsilon=2.0, entropy=1.0)),
    "MixMatch": consistent(lambda m, n: kas.MixMatch(m, weak(), ramp_steps=n // 2)),
    "UDA": consistent(lambda m, n: kas.UDA(m, weak(), strong())),
    "FixMatch": consistent(lambda m, n: kas.FixMatch(m, weak(), strong())),
    "FixMatch, aligned": consistent(
        lambda m, n: kas.FixMatch(m, weak(), strong(), alignment=kas.consistency.Alignment("uniform", 0.99))
    ),
    "FlexMatch": consistent(lambda m, n: kas.FlexMatch(m, weak(), strong(), **FAST)),
    "FreeMatch": consistent(lambda m, n: kas.FreeMatch(m, weak(), strong(), **FAST)),
    "SoftMatch": consistent(lambda m, n: kas.SoftMatch(m, weak(), strong(), **FAST)),
    "AdaMatch": consistent(lambda m, n: kas.AdaMatch(m, weak(), strong(), total_steps=n)),
}


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def run(arguments: argparse.Namespace) -> None:
    """Runs the rows that aren't in the CSV yet, draw by draw, so that a run cut short has all methods."""
    path = Path(arguments.csv)
    done = {(row["method"], row["labels"], row["draw"], row["steps"]) for row in read(path)}
    for labels in arguments.labels:
        for draw in range(arguments.first_draw, arguments.first_draw + arguments.draws):
            task = load("mnist5k", labels, draw)
            task = hold_out(task) if arguments.held_out else task
            for method in arguments.methods:
                if (method, str(labels), str(draw), str(arguments.steps)) in done:
                    continue
                begun = time.perf_counter()
                model, facts = METHODS[method](task, arguments.steps)
                seconds = time.perf_counter() - begun
                predicted = model.predict(task.x_test, batch_size=500, verbose=0).argmax(axis=1)
                errors = float(np.mean(predicted != task.y_test))
                row = {"method": method, "labels": labels, "draw": draw, "steps": arguments.steps}
                append(path, {**row, "errors": errors, "seconds": round(seconds, 1), **facts})
                print(f"{labels} | {draw} | {method}: {100 * errors:.1f} % errors, {seconds:.0f} s", flush=True)


def table(rows: list[dict[str, str]]) -> str:
    lines = ["| labels a class | steps | method | draws | errors, % | seconds |", "|---|---|---|---|---|---|"]
    groups: dict[tuple[int, int, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((int(row["labels"]), int(row["steps"]), row["method"]), []).append(row)
    for (labels, steps, method), some in sorted(groups.items()):
        wrong = [100.0 * float(row["errors"]) for row in some]
        spread = f" ± {statistics.stdev(wrong):.1f}" if len(wrong) > 1 else ""
        seconds = statistics.mean(float(row["seconds"]) for row in some)
        mean = statistics.mean(wrong)
        lines.append(f"| {labels} | {steps} | {method} | {len(some)} | {mean:.1f}{spread} | {seconds:.0f} |")
    return "\n".join(lines)


def step_time(steps: int = 100) -> str:
    """A FixMatch step, views and selection included, beside a plain step on as many images, made beforehand."""
    task = load("mnist5k", 10, 0)
    pairs, plain = [], compiled(network(task), steps)
    ssl = compiled(kas.FixMatch(network(task), weak(), strong()), steps)
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
    parser.add_argument("--labels", nargs="+", type=int, default=[1, 4, 10], help="labeled rows a class")
    parser.add_argument("--draws", type=int, default=5, help="choices of the labeled rows")
    parser.add_argument("--first-draw", type=int, default=0, help="number of the first of them")
    parser.add_argument("--steps", type=int, default=2000, help="training steps of every method")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--held-out", action="store_true", help="errors on a quarter of the pool, not the test set")
    parser.add_argument("--csv", default="benchmarks/results/consistency.csv", help="where rows are kept")
    parser.add_argument("--step-time", action="store_true", help="time a step instead")
    arguments = parser.parse_args()
    if arguments.step_time:
        print(step_time())
        return
    run(arguments)
    print(table(read(Path(arguments.csv))))


if __name__ == "__main__":
    main()
