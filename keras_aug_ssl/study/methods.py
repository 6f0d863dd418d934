"""The rows of the table: one recipe, in which augmentation, self-training and attacks are switched on in turn, and the
methods that label inside the step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras

from keras_aug_ssl import data, rules
from keras_aug_ssl.adversarial import PGD, AdversarialTraining
from keras_aug_ssl.consistency import ConsistencyModel
from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.self_training import SelfTraining, UnlabeledPool
from keras_aug_ssl.study import views
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

Make = Callable[[keras.Model, Pipeline, Pipeline, int, int], ConsistencyModel]
"""From a network, the weak and the strong view, the number of steps and the seed to a consistency method."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        name: in file names and `results.json`.
        title: for readers.
        about: what it does, in a sentence for readers who don't know the field.
        train: see `Train`.
    """

    name: str
    title: str
    about: str
    train: Train


def recipe(*, augmented: bool, self_trained: bool, attacked: str | None) -> Train:
    """The training of a row.

    Every row is fed by the same `SelfTraining.training_set`, with no selections where `self_trained` is False: on
    another feeder, rows would differ by the order of their batches too.

    Args:
        augmented: batches pass through `views.strong`, or `views.gentle` when attacked.
        self_trained: the network labels the unlabeled images from 30 % of the steps on, and learns from those it is
            95 % sure of; a quarter of every batch stays labeled.
        attacked: a method of `AdversarialTraining`, by which the network learns from PGD's images; None for clean ones.
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
        view = views.gentle if attacked else views.strong
        feeder = self_training.training_set(
            task.x_labeled,
            task.y_labeled,
            batch_size=BATCH_SIZE,
            augment=view(task.x_labeled) if augmented else None,
            labeled_fraction=LABELED_FRACTION,
            steps=steps_per_epoch,
            seed=task.seed,
        )
        model = small_network(task.x_labeled.shape[1:], task.num_classes, task.seed)
        attack = PGD(epsilon=settings.epsilon, steps=ATTACK_STEPS, seed=task.seed)
        learner = AdversarialTraining(model, attack, attacked) if attacked else model
        learner.compile(**compile_arguments(epochs * steps_per_epoch))
        callbacks = [self_training, ShowEpochs(display, steps_per_epoch)]
        history = learner.fit(feeder, epochs=epochs, callbacks=callbacks, verbose=0).history
        counts, accuracies = history["n_pseudo"], history["pseudo_accuracy"]
        return model, rounds(counts, accuracies, steps_per_epoch) if self_trained else []

    return train


def consistent(make: Make) -> Train:
    """The training by a method that labels inside the step, on as many labeled and unlabeled images as the other rows.

    Its views are `views.weak`, to be labeled, and `views.strong`, to learn. Guesses of FixMatch aren't aligned to a
    class mix, which a data set chosen by name may not have.

    Args:
        make: see `Make`.
    """

    def train(task: Task, settings: Settings, display: Progress) -> tuple[keras.Model, Sequence[Round]]:
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
        steps = epochs * steps_per_epoch
        learner = make(model, views.weak(task.x_labeled), views.strong(task.x_labeled), steps, task.seed)
        learner.compile(**compile_arguments(steps))
        callbacks = [ShowEpochs(display, steps_per_epoch)]
        history = learner.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0).history
        counts = [rate * len(task.x_unlabeled) for rate in history["mask_rate"]]
        return model, rounds(counts, history["pseudo_accuracy"], steps_per_epoch)

    return train


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
