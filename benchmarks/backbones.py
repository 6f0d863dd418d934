"""A pre-trained backbone and few labels: frozen, with LoRA, fine-tuned, each alone and with the pool, and teachers.

                                   [--csv FILE.csv] [--markdown FILE.md]

The backbone is a small convolutional network that has learned digits 0 to 4 of mnist5k with all their labels; the task
is digits 5 to 9: 2,000 rows, of which so many a class have a label and the others are the pool, and 500 test rows. One
draw chooses the labeled rows and seeds the pre-training; all lines of a draw share both, the steps and the batch size.
Lines on images move, turn and zoom the images a little; lines on features can't.

Reported: errors on the test rows in percent, mean and standard deviation over draws; how many rows of the pool had a
label at the end, how many of those labels were right; processor seconds, selections included and teachers not.

Learning rates and the taught student's rule were chosen among the lines that `--held-out` adds, on another draw with 4
labels a class, against a quarter of the pool kept back: `--labels 4 --first-draw 20 --draws 1 --held-out`.
"""

from __future__ import annotations

import argparse
import csv
import functools
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from _training import Table, mean_and_spread

import keras_aug_ssl as kas

EPOCHS, STEPS, BATCH = 20, 30, 64
OLD = 5  # classes that the backbone has learned; the others are the task


class Task:
    """One draw: labeled rows, the pool with hidden labels, test rows, and a backbone that never saw their classes."""

    def __init__(self, labels, draw, held_out):
        (x, y), (x_test, y_test) = digits(new=True)
        self.labels, self.draw = labels, draw
        self.x, self.y, self.pool, self.hidden = kas.data.split_labels(x, y, per_class=labels, seed=draw)
        self.x_test, self.y_test = x_test, y_test
        if held_out:
            rows = np.random.default_rng(1000 + draw).permutation(len(self.pool))
            back, kept = np.split(rows, [len(rows) // 4])
            self.x_test, self.y_test = self.pool[back], self.hidden[back]
            self.pool, self.hidden = self.pool[kept], self.hidden[kept]
        self.backbone = pretrained(draw)
        self.teachers = {}


@functools.cache
def digits(new):
    """Digits that the backbone learns, or those of the task, counted from 0."""
    parts = []
    for x, y in kas.data.load("mnist5k"):
        rows = (y >= OLD) == new
        parts.append((x[rows].astype("float32"), y[rows] % OLD))
    return parts


def make_backbone(seed):
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 127.5, -1.0)]
    for number, filters in enumerate((16, 32)):
        start = keras.initializers.HeNormal(10 * seed + number)
        layers += [
            keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, kernel_initializer=start),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    start = keras.initializers.HeNormal(10 * seed + 9)
    layers += [keras.layers.Flatten(), keras.layers.Dense(64, "relu", kernel_initializer=start, name="features")]
    return keras.Sequential(layers, name="backbone")


def with_head(body, seed, rate):
    """A classifier of the task over a backbone, or over features where `body` is empty."""
    start = keras.initializers.GlorotUniform(seed)
    model = keras.Sequential([*body, keras.layers.Dropout(0.3, seed=seed)])
    model.add(keras.layers.Dense(OLD, kernel_initializer=start))
    rates = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * STEPS)
    model.compile(keras.optimizers.Adam(rates), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@functools.cache
def pretrained(draw):
    (x, y), _ = digits(new=False)
    backbone = make_backbone(draw)
    feed = kas.SelfTraining(x[:1], max_iter=0).training_set(x, y, BATCH, mild(), steps=STEPS, seed=draw)
    with_head([backbone], draw, 2e-3).fit(feed, epochs=EPOCHS, verbose=0)
    return backbone


def mild():
    layers = kas.layers
    return kas.Pipeline([layers.RandomTranslation(0.08, 0.08), layers.RandomRotation(0.03), layers.RandomZoom(0.1)])


def copied(backbone):
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    return copy


def scratch(task, rate=2e-3):
    return with_head([make_backbone(100 + task.draw)], task.draw, rate)


def fine_tuned(task, rate=1e-3):
    return with_head([copied(task.backbone)], task.draw, rate)


def lora(task, rate=2e-3, rank=4):
    body = copied(task.backbone)
    body.trainable = False
    dense = body.get_layer("features")
    dense.trainable = True
    dense.enable_lora(rank)
    return with_head([body], task.draw, rate)


def head(task, rate=3e-3):
    return with_head([keras.Input((64,))], task.draw, rate)


def images(build):
    """Trains on images: labels alone, or with the pool when `options` of `SelfTraining` are given."""

    def train(task, **options):
        return build(task), task.x, task.pool, task.x_test, {"augment": mild()}, options

    return train


def features(task, **options):
    """Trains a head on the features of the frozen backbone."""
    with tempfile.TemporaryDirectory() as folder:
        pool = np.array(kas.embed(task.backbone, task.pool, Path(folder) / "pool.npy"))
    x, x_test = (kas.embed(task.backbone, each) for each in (task.x, task.x_test))
    return head(task), x, pool, x_test, {}, options


def fitted(task, model, x, pool, x_test, feeding, options):
    st = kas.SelfTraining(pool, **({"oracle": task.hidden} | (options or {"max_iter": 0})))
    made = st.training_set(x, task.y, BATCH, steps=STEPS, seed=task.draw, **feeding)
    model.fit(made, epochs=EPOCHS, callbacks=[st], verbose=0)
    taken = st.table()["selected"]
    right = float(np.mean(st.table()["label"][taken] == task.hidden[taken])) if taken.any() else float("nan")
    return model, errors(task, [model], x_test), int(taken.sum()), right


def errors(task, models, x_test):
    each = [keras.ops.softmax(model.predict(x_test, batch_size=500, verbose=0)) for model in models]
    return float(np.mean(np.mean(each, axis=0).argmax(axis=1) != task.y_test))


def teachers(task):
    """Those of the three ways of adapting the backbone, as models of images."""
    on_features = keras.Sequential([task.backbone, *task.teachers["frozen backbone, head"].layers])
    return [on_features, *(task.teachers[name] for name in ("LoRA on the dense layer", "fine-tuned"))]


def ensemble(task):
    return None, errors(task, teachers(task), task.x_test), 0, float("nan")


def taught(task, **options):
    return fitted(task, *images(fine_tuned)(task, teachers=teachers(task), **options))


def alone(recipe):
    return lambda task: fitted(task, *recipe(task))


def with_pool(recipe, **options):
    return lambda task: fitted(task, *recipe(task, select=None, **options))


METHODS = {
    "from scratch": alone(images(scratch)),
    "frozen backbone, head": alone(features),
    "LoRA on the dense layer": alone(images(lora)),
    "fine-tuned": alone(images(fine_tuned)),
    "mean of the three": ensemble,
    "from scratch + SelfTraining": with_pool(images(scratch)),
    "frozen backbone + SelfTraining": with_pool(features),
    "fine-tuned + SelfTraining": with_pool(images(fine_tuned)),
    "fine-tuned, taught by the three": functools.partial(taught, start_epoch=0),
}
TUNING = {
    "head, 1e-3": lambda t: fitted(t, head(t, 1e-3), *features(t)[1:]),
    "head, 1e-2": lambda t: fitted(t, head(t, 1e-2), *features(t)[1:]),
    "lora, 1e-2": alone(images(functools.partial(lora, rate=1e-2))),
    "lora, 5e-4": alone(images(functools.partial(lora, rate=5e-4))),
    "tuned, 3e-3": alone(images(functools.partial(fine_tuned, rate=3e-3))),
    "tuned, 3e-4": alone(images(functools.partial(fine_tuned, rate=3e-4))),
    "taught, all": functools.partial(taught, start_epoch=0, select=kas.rules.TopFraction(1.0), max_iter=1),
    "taught, agreed": functools.partial(taught, start_epoch=0, select=kas.rules.Uncertainty(0.1), max_iter=1),
    "taught, agreed closely": functools.partial(taught, start_epoch=0, select=kas.rules.Uncertainty(0.03), max_iter=1),
    "taught, later": functools.partial(taught, start_epoch=5),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", nargs="+", type=int, default=[1, 4, 10])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="rows of the pool in place of the test rows")
    parser.add_argument("--csv", help="also write a line for each training to this file")
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    METHODS.update(TUNING if options.held_out else {})
    rows = []
    for labels in options.labels:
        for draw in range(options.first_draw, options.first_draw + options.draws):
            task = Task(labels, draw, options.held_out)
            for name in METHODS:
                begun = time.process_time()
                model, wrong, labeled, right = METHODS[name](task)
                task.teachers[name] = model
                rows.append((labels, draw, name, round(wrong, 6), labeled, round(right, 6),
                             round(time.process_time() - begun, 1)))  # fmt: skip
                print(*rows[-1], sep=" | ", flush=True)
            keras.backend.clear_session()
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("labels", "draw", "method", "errors", "rows", "right", "seconds"), *rows])
    title = f"Errors on test digits 5 to 9 in percent; mean ± standard deviation of {options.draws} draws."
    table = Table(title, ["labels a class", "method", "errors, %", "rows labeled", "of them right, %", "seconds"])
    for labels in options.labels:
        for name in METHODS:
            found = [row for row in rows if row[0] == labels and row[2] == name]
            wrong, labeled, right, seconds = ([row[place] for row in found] for place in (3, 4, 5, 6))
            pseudo = f"{statistics.mean(labeled):.0f}", f"{100 * statistics.mean(right):.1f}"
            pseudo = pseudo if labeled[0] else ("", "")
            table.add(labels, name, mean_and_spread(wrong), *pseudo, f"{statistics.mean(seconds):.0f}")
    table.write(options.markdown)


if __name__ == "__main__":
    main()
