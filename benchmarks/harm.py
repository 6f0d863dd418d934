"""Does self-training say beforehand where it would do harm? On a hard task and on easy ones.

    python benchmarks/harm.py [--draws 3] [--csv benchmarks/results/harm.csv]
    python benchmarks/harm.py --report       the table from the rows kept, no training

Each line has the network, steps and batches of `self_training.py`, a task, and 100 labeled rows kept back for
`holdout=`, on which nothing is trained. Reported: test errors with labels alone (augmented mildly) and with
`SelfTraining` with its defaults, the share of its labels that were right at the end, and whether an alarm of the kind
"precision" came, at which selection. The alarm only warns here, so that the harm can be seen. `cifar10` is left out
where TensorFlow Datasets doesn't find it.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _rows import append, read
from _training import mean_and_spread
from self_training import EPOCHS, STEPS, Task, errors, load, mild, network

import keras_aug_ssl as kas

TASKS = (("cifar10", 10), ("cifar10", 40), ("mnist5k", 1), ("digits", 1))
KEY = ("dataset", "labels", "draw")
FIELDS = (*KEY, "alone", "self_trained", "right", "alarm")
HELD = 100
HEADING = """\
2 cores, x86_64, Python 3.11.7, Keras 3.15.1, TensorFlow 2.21.0. Made by `python benchmarks/harm.py --report` from
`harm.csv`, which holds the raw rows: shares in percent, mean and standard deviation over draws of the labeled rows.

"""


def keep_back(task: Task) -> tuple[Task, tuple[np.ndarray, np.ndarray]]:
    """The task without 100 rows of its pool, and these with their labels."""
    rows = np.random.default_rng(task.draw).permutation(len(task.pool))
    back, kept = rows[:HELD], rows[HELD:]
    smaller = dataclasses.replace(task, pool=task.pool[kept], hidden=task.hidden[kept])
    return smaller, (task.pool[back], task.hidden[back])


def run(task: Task) -> dict[str, Any]:
    """Trains twice, without and with selections."""
    task, holdout = keep_back(task)
    found = {}
    for name, options in {"alone": {"max_iter": 0}, "self_trained": {"holdout": holdout}}.items():
        training, model = kas.SelfTraining(task.pool, oracle=task.hidden, **options), network(task)
        made = training.training_set(task.x, task.y, augment=mild(), steps=STEPS, seed=task.draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # alarms are kept in `alarms_`
            history = model.fit(made, epochs=EPOCHS, callbacks=[training], verbose=0).history
        found[name] = round(errors(task, model), 4)
    alarms = [alarm.round for alarm in training.alarms_ if alarm.kind == "precision"]
    return {**found, "right": round(history["pseudo_accuracy"][-1], 4), "alarm": min(alarms, default="")}


def table(rows: list[dict[str, str]]) -> str:
    heads = ("task, labels a class", "draws", "errors, labels alone", "errors, self-training", "labels right", "alarms")
    lines = [f"| {' | '.join(heads)} | at selection |", "|---|---|---|---|---|---|---|"]
    for name, labels in TASKS:
        some = [row for row in rows if (row["dataset"], row["labels"]) == (name, str(labels))]
        if some:
            columns = [
                mean_and_spread(float(row[field]) for row in some) for field in ("alone", "self_trained", "right")
            ]
            alarms = [row["alarm"] for row in some if row["alarm"]]
            cells = [f"{name}, {labels}", str(len(some)), *columns, f"{len(alarms)} of {len(some)}", ", ".join(alarms)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3, help="choices of the labeled rows")
    parser.add_argument("--csv", default="benchmarks/results/harm.csv", help="where rows are kept")
    parser.add_argument("--report", action="store_true", help="only write the table beside the CSV")
    arguments = parser.parse_args()
    path = Path(arguments.csv)
    if arguments.report:
        path.with_suffix(".md").write_text(HEADING + table(read(path)) + "\n", encoding="utf-8")
        return
    done = {tuple(row[field] for field in KEY) for row in read(path)}
    for draw in range(arguments.draws):
        for name, labels in TASKS:
            row = {"dataset": name, "labels": labels, "draw": draw}
            if tuple(map(str, row.values())) in done:
                continue
            try:
                task = load(name, labels, draw)
            except RuntimeError as error:  # it isn't there and can't be had
                print(f"{name}: {error}")
                continue
            append(path, FIELDS, {**row, **run(task)})
    print(table(read(path)))


if __name__ == "__main__":
    main()
