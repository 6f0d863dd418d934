"""Self-training with few labels: every rule of ours, rounds with fresh weights, scikit-learn, and the two ends.

    python benchmarks/self_training.py [--datasets mnist5k digits] [--labels 10] [--draws 5] [--methods ...]
                                       [--csv benchmarks/results/self_training.csv] [--figure FILE.png]
                                       [--first-draw 0] [--held-out] [--rare 0.1]

One draw chooses the labeled rows, equally many of each class; all methods get the same, and the test set is only ever
used for the figures. The network, the number of steps, the batches (`SelfTraining.training_set`, with no selections for
the supervised lines) and the seeds are the same in every line with the network. `--labels 1 4 10 40` takes a night on
two cores; finished rows are kept in the CSV and not run again.

Reported: errors on the test set in percent, mean and standard deviation over draws; how many rows of the pool had a
label at the end and how many of those labels were right; processor seconds of one training, selections included.

"mild" moves, turns and zooms the digits a little; "strong" also shears them, changes contrast and erases rectangles.
Lines of ours augment labeled rows mildly; pseudo-labeled ones lose a patch besides, which is the default, unless the
line says otherwise. The choice of steps, augmentation, patch and confidence was made on other draws, against rows of
the pool kept back, as `--first-draw 20 --held-out` does; it wants a CSV of its own.

`--rare 0.1` leaves a tenth of the pool's classes 5 to 9; labeled rows and test set stay as they are.
Real pools rarely have the class mix of the labeled rows, and some rules trust that they do.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _rows import append, read
from _self_training_report import figure, tables

import keras_aug_ssl as kas

KEY = ("dataset", "labels", "rare", "draw", "method")
FIELDS = (*KEY, "errors", "rows", "right", "seconds")
EPOCHS, STEPS = 30, 50
CLASSES = 10
rules, layers = kas.rules, kas.layers


@dataclasses.dataclass(frozen=True)
class Task:
    """One draw: labeled rows, the pool with its hidden labels, and the test set."""

    draw: int
    x: np.ndarray
    y: np.ndarray
    pool: np.ndarray
    hidden: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method reached: share of test errors, rows of the pool with a label, share of these that were right."""

    errors: float
    rows: int = 0
    right: float = float("nan")


def load(name: str, labels: int, draw: int) -> Task:
    (x_train, y_train), (x_test, y_test) = kas.data.load(name)
    x_train, x_test = (x.astype("float32") / 255.0 for x in (x_train, x_test))
    x, y, pool, hidden = kas.data.split_labels(x_train, y_train, per_class=labels, seed=draw)
    return Task(draw, x, y, pool, hidden, x_test, y_test)


def hold_out(task: Task) -> Task:
    """A quarter of the pool, kept back, in place of the test set: what choices are made on."""
    rows = np.random.default_rng(1000 + task.draw).permutation(len(task.pool))
    back, kept = np.split(rows, [len(rows) // 4])
    return dataclasses.replace(
        task, pool=task.pool[kept], hidden=task.hidden[kept], x_test=task.pool[back], y_test=task.hidden[back]
    )


def make_rare(task: Task, share: float) -> Task:
    """A pool with `share` of the rows of each class of the upper half."""
    kept = (task.hidden < CLASSES // 2) | (np.random.default_rng(task.draw).random(len(task.hidden)) < share)
    return dataclasses.replace(task, pool=task.pool[kept], hidden=task.hidden[kept])


def network(task: Task, number: int = 0, soft: bool = False, average: bool = False) -> keras.Model:
    """Three small convolutions and a linear layer, the same weights for the same draw."""
    seed = 100 * task.draw + 10 * number
    inputs = x = keras.Input(task.x.shape[1:])
    for index, filters in enumerate((16, 32, 32)):
        start = keras.initializers.HeNormal(seed + index)
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=start)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(keras.layers.ReLU()(x))
    start = keras.initializers.GlorotUniform(seed + 9)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, kernel_initializer=start)(keras.layers.Flatten()(x)))
    kind = keras.losses.CategoricalCrossentropy if soft else keras.losses.SparseCategoricalCrossentropy
    rate = keras.optimizers.schedules.CosineDecay(1e-3, EPOCHS * STEPS)
    model.compile(keras.optimizers.Adam(rate, use_ema=average), kind(from_logits=True), metrics=["accuracy"])
    return model


def mild() -> kas.Pipeline:
    return kas.Pipeline([layers.RandomTranslation(0.08, 0.08), layers.RandomRotation(0.03), layers.RandomZoom(0.1)])


def strong() -> kas.Pipeline:
    changes = [
        layers.RandomShear(0.2, 0.1),
        layers.RandomTranslation(0.15, 0.15),
        layers.RandomRotation(0.08),
        layers.RandomZoom(0.25),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomErasing(0.7, value_range=(0, 1)),
    ]
    return kas.Pipeline(changes)


def errors(task: Task, model: keras.Model) -> float:
    return float(np.mean(model.predict(task.x_test, batch_size=500, verbose=0).argmax(axis=1) != task.y_test))


def supervised(augment: Callable[[], Any] | None, everything: bool = False) -> Callable[[Task], Outcome]:
    """Trains on labeled rows alone; on all of them with their true labels when `everything`."""

    def train(task: Task) -> Outcome:
        if everything:
            x, y = np.concatenate([task.x, task.pool]), np.concatenate([task.y, task.hidden])
        else:
            x, y = task.x, task.y
        st = kas.SelfTraining(task.pool, max_iter=0)
        made = st.training_set(x, y, augment=augment() if augment else None, steps=STEPS, seed=task.draw)
        model = network(task)
        model.fit(made, epochs=EPOCHS, callbacks=[st], verbose=0)
        return Outcome(errors(task, model))

    return train


def callback(
    select: Any,
    augment: Callable[[], Any] = mild,
    harder: Callable[[], Any] | None = None,
    one_view: bool = False,
    known_mix: bool = False,
    **options: Any,
) -> Callable[[Task], Outcome]:
    """The callback: labels rows as they are; learns labeled ones on `augment`, others on `harder` or the default."""

    def train(task: Task) -> Outcome:
        given = dict(options)
        x, y = task.x, task.y
        if known_mix:
            given["prior"] = np.bincount(task.hidden, minlength=CLASSES)
        if getattr(select, "needs_holdout", False):
            held = np.arange(len(y)) % 5 == 0  # rows come sorted by nothing; a fifth of the labels
            given["holdout"], x, y = (x[held], y[held]), x[~held], y[~held]
        st = kas.SelfTraining(task.pool, select, oracle=task.hidden, **given)
        view = augment()
        pseudo_view = view if one_view else harder() if harder else None
        made = st.training_set(x, y, augment=view, augment_pseudo=pseudo_view, steps=STEPS, seed=task.draw)
        model = network(task, soft=given.get("labels") == "soft", average=given.get("teacher") == "average")
        history = model.fit(made, epochs=EPOCHS, callbacks=[st], verbose=0).history
        return Outcome(errors(task, model), int(history["n_pseudo"][-1]), history["pseudo_accuracy"][-1])

    return train


def rounds(select: Any, **options: Any) -> Callable[[Task], Outcome]:
    """`SelfTrainer`: three trainings with fresh weights, each as long as the callback's one."""

    def train(task: Task) -> Outcome:
        soft = options.get("labels") == "soft"
        trainer = kas.SelfTrainer(lambda number: network(task, number, soft=soft), select, rounds=2, **options)
        trainer.fit(
            task.x, task.y, task.pool, epochs=EPOCHS, oracle=task.hidden, augment=mild(), steps=STEPS, seed=task.draw
        )
        last = trainer.history_[-1]
        return Outcome(errors(task, trainer.model_), int(last["n_pseudo"][-1]), last["pseudo_accuracy"][-1])

    return train


def sklearn_self_training(make: Callable[[Task], Any]) -> Callable[[Task], Outcome]:
    def train(task: Task) -> Outcome:
        from sklearn.semi_supervised import SelfTrainingClassifier

        model = SelfTrainingClassifier(make(task), threshold=0.95, max_iter=3)
        model.fit(*_flat_with_unlabeled(task))
        return _transductive(task, model)

    return train


def label_spreading(task: Task) -> Outcome:
    from sklearn.semi_supervised import LabelSpreading

    return _transductive(task, LabelSpreading(kernel="knn", n_neighbors=7).fit(*_flat_with_unlabeled(task)))


def _flat_with_unlabeled(task: Task) -> tuple[np.ndarray, np.ndarray]:
    x = np.concatenate([task.x, task.pool])
    return x.reshape(len(x), -1), np.concatenate([task.y, np.full(len(task.pool), -1)])


def _transductive(task: Task, model: Any) -> Outcome:
    predicted = model.predict(task.x_test.reshape(len(task.x_test), -1))
    labels = model.transduction_[len(task.y) :]
    known = labels != -1
    right = float(np.mean(labels[known] == task.hidden[known])) if known.any() else float("nan")
    return Outcome(float(np.mean(predicted != task.y_test)), int(known.sum()), right)


def wrapped_network(task: Task) -> Any:
    """The network as an estimator of scikit-learn: same weights, steps, feeder, augmentation; anew each round."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Network(ClassifierMixin, BaseEstimator):
        def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
            self.classes_ = np.arange(CLASSES)
            st = kas.SelfTraining(task.pool, max_iter=0)
            images = x.reshape(-1, *task.x.shape[1:])
            self.model_ = network(task)
            made = st.training_set(images, y, augment=strong(), steps=STEPS, seed=task.draw)
            self.model_.fit(made, epochs=EPOCHS, callbacks=[st], verbose=0)
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            logits = self.model_.predict(x.reshape(-1, *task.x.shape[1:]), batch_size=500, verbose=0)
            return keras.ops.convert_to_numpy(keras.ops.softmax(logits))

        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.predict_proba(x).argmax(axis=1)

    return Network()


def logistic_regression(task: Task) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


METHODS: dict[str, Callable[[Task], Outcome]] = {
    "supervised": supervised(None),
    "supervised, mild": supervised(mild),
    "supervised, strong": supervised(strong),
    "SelfTraining, defaults": callback(None),
    "SelfTraining, Threshold(0.95)": callback(rules.Threshold(0.95)),
    "SelfTraining, no patch": callback(None, one_view=True),
    "SelfTraining, strong for pseudo-labeled rows": callback(None, harder=strong),
    "SelfTraining, strong for all": callback(None, strong, one_view=True),
    "SelfTraining, Threshold(0.95), soft": callback(rules.Threshold(0.95), labels="soft"),
    "SelfTraining, Threshold(0.95), averaged teacher": callback(rules.Threshold(0.95), teacher="average"),
    "SelfTraining, Threshold(0.95), kept for good": callback(rules.Threshold(0.95), relabel=False),
    "SelfTraining, TopK(200)": callback(rules.TopK(200)),
    "SelfTraining, TopFraction(0.2, step=0.05)": callback(rules.TopFraction(0.2, step=0.05)),
    "SelfTraining, FlexThreshold(0.95)": callback(rules.FlexThreshold(0.95)),
    "SelfTraining, FreeThreshold()": callback(rules.FreeThreshold()),
    "SelfTraining, SoftWeight()": callback(rules.SoftWeight()),
    "SelfTraining, Margin(0.9)": callback(rules.Margin(0.9)),
    "SelfTraining, Entropy(0.1)": callback(rules.Entropy(0.1)),
    "SelfTraining, Threshold(0.7) & Uncertainty(0.05), views": callback(
        rules.Threshold(0.7) & rules.Uncertainty(0.05, passes=5, view=mild()), every=3
    ),
    "SelfTraining, TargetPrecision(0.99), a fifth of the labels held out": callback(rules.TargetPrecision(0.99)),
    "SelfTrainer, TopFraction(0.5, step=0.3), 3 trainings": rounds(rules.TopFraction(0.5, step=0.3)),
    "SelfTrainer, the same, soft (Noisy Student)": rounds(rules.TopFraction(0.5, step=0.3), labels="soft"),
    "scikit-learn SelfTrainingClassifier, the network, strong": sklearn_self_training(wrapped_network),
    "scikit-learn SelfTrainingClassifier, logistic regression": sklearn_self_training(logistic_regression),
    "scikit-learn LabelSpreading, 7 neighbours": label_spreading,
    "all labels, strong": supervised(strong, everything=True),
}


KNOWN_MIX: dict[str, Callable[[Task], Outcome]] = {
    "SelfTraining, FreeThreshold(), the pool's mix as prior": callback(rules.FreeThreshold(), known_mix=True),
    "SelfTraining, TopFraction(0.2, step=0.05), the pool's mix as prior": callback(
        rules.TopFraction(0.2, step=0.05), known_mix=True
    ),
}
"""For `--rare`; they run when named."""


def run(arguments: argparse.Namespace) -> None:
    """Runs the rows that aren't in the CSV yet, draw by draw, so that a run cut short has all methods."""
    path = Path(arguments.csv)
    done = {tuple(row[field] for field in KEY) for row in read(path)}
    for dataset in arguments.datasets:
        for labels in arguments.labels:
            for draw in range(arguments.first_draw, arguments.first_draw + arguments.draws):
                task = load(dataset, labels, draw)
                task = hold_out(task) if arguments.held_out else task
                task = make_rare(task, arguments.rare)
                for name in arguments.methods:
                    key = dict(zip(KEY, (dataset, labels, arguments.rare, draw, name), strict=True))
                    if tuple(map(str, key.values())) in done:
                        continue
                    start = time.process_time()
                    outcome = (METHODS | KNOWN_MIX)[name](task)
                    seconds = round(time.process_time() - start, 1)
                    append(path, FIELDS, {**key, **dataclasses.asdict(outcome), "seconds": seconds})
                    print(f"{key}: {100 * outcome.errors:.1f} % errors, {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["mnist5k", "digits"], help="names that kas.data.load knows")
    parser.add_argument("--labels", nargs="+", type=int, default=[10], help="labeled rows a class")
    parser.add_argument("--draws", type=int, default=5, help="choices of the labeled rows")
    parser.add_argument("--first-draw", type=int, default=0, help="number of the first of them")
    parser.add_argument("--held-out", action="store_true", help="errors on a quarter of the pool, not the test set")
    parser.add_argument("--rare", type=float, default=1.0, help="share of the pool's classes 5 to 9 that stays")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=[*METHODS, *KNOWN_MIX], metavar="METHOD")
    parser.add_argument("--csv", default="benchmarks/results/self_training.csv", help="where rows are kept")
    parser.add_argument("--figure", help="also draw errors over the number of labels, for several draws")
    arguments = parser.parse_args()
    run(arguments)
    rows = read(Path(arguments.csv))
    print(tables(rows, [*METHODS, *KNOWN_MIX]))
    if arguments.figure:
        figure(rows).savefig(arguments.figure, dpi=120)


if __name__ == "__main__":
    main()
