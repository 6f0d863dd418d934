"""The rows of the table: one recipe, in which augmentation, self-training and attacks are switched on in turn, and
FixMatch, which has a step of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras

from keras_aug_ssl import data, layers, rules
from keras_aug_ssl.adversarial import PGD, AdversarialTraining
from keras_aug_ssl.consistency import FixMatch
from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.self_training import SelfTraining, UnlabeledPool
from keras_aug_ssl.study.networks import compile_arguments, small_network
from keras_aug_ssl.study.progress import Progress, ShowEpochs
from keras_aug_ssl.study.results import Round, Settings
from keras_aug_ssl.study.tasks import Task

EPOCHS = 20
BATCH_SIZE = 64
START = 0.3
"""Share of the epochs before the first pseudo-labels: a network that has seen less is sure of wrong ones."""
LABELED_FRACTION = 0.25
CONFIDENCE = 0.95
ATTACK_STEPS = 3


Train = Callable[[Task, Settings, Progress], tuple[keras.Model, Sequence[Round]]]
"""From a task, the settings and a progress display to a trained, compiled model and its pseudo-labels over time."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        name: in file names and `results.json`.
        title: for readers.
        train: see `Train`.
    """

    name: str
    title: str
    train: Train


def augmentation() -> Pipeline:
    """Changes that leave a digit the digit it is: no flips, which turn 2 into no digit, and no turns of 6 into 9.

    Strong ones: on a part of the training images that was kept back they were half a point better than the geometry
    alone, and self-training on them no longer fell below its start.
    """
    return Pipeline([
        layers.RandomShear(0.2, 0.1),
        layers.RandomTranslation(0.15, 0.15),
        layers.RandomRotation(0.08),
        layers.RandomZoom(0.25),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomErasing(0.7, value_range=(0, 1)),
    ])  # fmt: skip


def gentle_augmentation() -> Pipeline:
    """Geometry alone, for images that are attacked besides: half erased and attacked, too little of a digit is left."""
    return Pipeline([
        layers.RandomTranslation(0.15, 0.15, fill_mode="constant"),
        layers.RandomRotation(0.05, fill_mode="constant"),
        layers.RandomZoom(0.2, fill_mode="constant"),
        layers.RandomShear(0.2, 0.2, fill_mode="constant"),
        layers.RandomElasticTransform(0.3, fill_mode="constant"),
    ])  # fmt: skip


def weak_augmentation() -> Pipeline:
    """The view on which FixMatch guesses labels."""
    return Pipeline([layers.RandomTranslation(0.1, 0.1, fill_mode="constant")])


def recipe(*, augmented: bool, self_trained: bool, attacked: bool) -> Train:
    """The training of a row.

    Every row is fed by the same `SelfTraining.training_set`, with no selections where `self_trained` is False: on
    another feeder, rows would differ by the order of their batches too.

    Args:
        augmented: batches pass through `augmentation()`, or `gentle_augmentation()` when attacked.
        self_trained: the network labels the unlabeled images from 30 % of the steps on, and learns from those it is
            95 % sure of; a quarter of every batch stays labeled.
        attacked: the network learns from PGD's images in place of the clean ones.
    """

    def train(task: Task, settings: Settings, display: Progress) -> tuple[keras.Model, Sequence[Round]]:
        epochs, steps_per_epoch = _schedule(settings)
        self_training = SelfTraining(
            UnlabeledPool(task.x_unlabeled),
            select=rules.Threshold(CONFIDENCE),
            start_epoch=round(START * epochs),
            max_iter=None if self_trained else 0,
            oracle=task.y_hidden,
        )
        augment = gentle_augmentation() if attacked else augmentation()
        feeder = self_training.training_set(
            task.x_labeled,
            task.y_labeled,
            batch_size=BATCH_SIZE,
            augment=augment if augmented else None,
            labeled_fraction=LABELED_FRACTION,
            steps=steps_per_epoch,
            seed=task.seed,
        )
        model = small_network(task.x_labeled.shape[1:], task.num_classes, task.seed)
        attack = PGD(epsilon=settings.epsilon, steps=ATTACK_STEPS, seed=task.seed)
        learner = AdversarialTraining(model, attack) if attacked else model
        learner.compile(**compile_arguments(epochs * steps_per_epoch))
        callbacks = [self_training, ShowEpochs(display, steps_per_epoch)]
        history = learner.fit(feeder, epochs=epochs, callbacks=callbacks, verbose=0).history
        counts, accuracies = history["n_pseudo"], history["pseudo_accuracy"]
        return model, rounds(counts, accuracies, steps_per_epoch) if self_trained else []

    return train


def fixmatch(task: Task, settings: Settings, display: Progress) -> tuple[keras.Model, Sequence[Round]]:
    """The training of FixMatch, on as many labeled and unlabeled images a step as the other rows.

    It sees the latter twice, weakly augmented to be labeled and strongly to learn. Its guesses aren't aligned to a
    class mix, which a data set chosen by name may not have.
    """
    epochs, steps_per_epoch = _schedule(settings)
    labeled = round(BATCH_SIZE * LABELED_FRACTION)
    batches = data.labeled_unlabeled(
        (task.x_labeled, task.y_labeled),
        task.x_unlabeled,
        labeled,
        BATCH_SIZE // labeled - 1,
        seed=task.seed,
        steps=steps_per_epoch,
        oracle=task.y_hidden,
    )
    model = small_network(task.x_labeled.shape[1:], task.num_classes, task.seed)
    learner = FixMatch(model, weak_augmentation(), augmentation(), seed=task.seed)
    learner.compile(**compile_arguments(epochs * steps_per_epoch))
    callbacks = [ShowEpochs(display, steps_per_epoch)]
    history = learner.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0).history
    counts = [rate * len(task.x_unlabeled) for rate in history["mask_rate"]]
    return model, rounds(counts, history["pseudo_accuracy"], steps_per_epoch)


def rounds(counts: Sequence[float], accuracies: Sequence[float], steps_per_epoch: int) -> list[Round]:
    """The pseudo-labels of each epoch, from what was logged."""
    return [
        Round(epoch * steps_per_epoch, round(count), accuracy if count else None)
        for epoch, (count, accuracy) in enumerate(zip(counts, accuracies, strict=True))
    ]


def _schedule(settings: Settings) -> tuple[int, int]:
    """Epochs, and steps in each."""
    steps_per_epoch = math.ceil(settings.steps / EPOCHS)
    return math.ceil(settings.steps / steps_per_epoch), steps_per_epoch


METHODS = (
    Method("supervised", "labels only", recipe(augmented=False, self_trained=False, attacked=False)),
    Method("augmentation", "+ augmentation", recipe(augmented=True, self_trained=False, attacked=False)),
    Method("self_training", "+ self-training", recipe(augmented=True, self_trained=True, attacked=False)),
    Method("fixmatch", "+ FixMatch", fixmatch),
    Method("adversarial", "+ PGD training", recipe(augmented=True, self_trained=True, attacked=True)),
)
