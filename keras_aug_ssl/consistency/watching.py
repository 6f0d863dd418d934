"""What is told of a training: metrics for the logs, and alarms when the model teaches itself mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.consistency.batches import Batch, Found
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS, Head
from keras_aug_ssl.meaning.labels import decisions_in_graph
from keras_aug_ssl.teaching import guards
from keras_aug_ssl.teaching.printing import log_unprinted

MOST_CLASSES = 20
"""Up to this many classes the logs have the threshold of each."""

PROBED = 8
"""Labeled rows of each batch that are predicted in inference mode too, where the model has BatchNormalization."""


class Sums(keras.metrics.Metric):
    """Sums of vectors over an epoch."""

    def __init__(self, size: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((size,), initializer="zeros", name="total")

    def update_state(self, values: Any) -> None:
        """Adds."""
        self.total.assign_add(tf.cast(values, tf.float32))

    def result(self) -> tf.Tensor:
        """The sums."""
        return tf.convert_to_tensor(self.total.value)


class Watch:
    """Metrics of an epoch of training; apart from the model's own, which `evaluate` reports too.

    Args:
        model: the wrapped model.
        classes: number of classes, 2 for yes or no.
    """

    def __init__(self, model: keras.Model, classes: int) -> None:
        self.classes = classes
        self.has_oracle = False
        self._compared = "pseudo_accuracy"
        self.has_norm = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers())
        self.mask_rate = keras.metrics.Mean("mask_rate")
        self.unlabeled_loss = keras.metrics.Mean("unlabeled_loss")
        # weight of all guesses and of right ones; rows probed, right in training mode, right in inference mode
        self.shares = Sums(5, "shares")
        self.spoiled = Sums(1, "spoiled")  # unlabeled rows that aren't finite
        # unlabeled rows guessed, selected; labeled rows guessed, labeled: as each class
        self.counts = [Sums(classes, name) for name in ("pool", "selected", "labeled_guess", "labeled")]

    def update(
        self, head: Head, batch: Batch, found: Found, unlabeled_loss: tf.Tensor, infer: Callable[[Any], Any]
    ) -> None:
        """Counts a batch; `infer` predicts inputs in inference mode."""
        guess = found.guess
        self.mask_rate.update_state(guess.weights)
        self.unlabeled_loss.update_state(unlabeled_loss)
        if head.single:
            self._count_classes(head, batch, found)
        self.has_oracle = batch.oracle is not None
        if self.has_oracle:
            if head.kind == NUMBERS:
                self._compared = "pseudo_mean_absolute_error"
            right = tf.cast(_right(head, guess.probabilities, batch.oracle), tf.float32)
            zeros = tf.zeros([3])
            both = tf.stack([tf.reduce_sum(guess.weights), tf.reduce_sum(guess.weights * right)])
            self.shares.update_state(tf.concat([both, zeros], 0))
        if self.has_norm and head.single:
            few = tf.nest.map_structure(lambda part: part[:PROBED], (batch.x, batch.y, found.predictions))
            training, inference = (
                tf.cast(_right(head, head.scores(output), few[1]), tf.float32) for output in (few[2], infer(few[0]))
            )
            size = tf.cast(tf.shape(training)[0], tf.float32)
            sums = [0.0, 0.0, size, tf.reduce_sum(training), tf.reduce_sum(inference)]
            self.shares.update_state(tf.stack(sums))

    def count_spoiled(self, finite: tf.Tensor | None) -> None:
        """Counts unlabeled rows that others took the place of; (N,) bool, None for none."""
        if finite is not None:
            self.spoiled.update_state(tf.reduce_sum(tf.cast(~finite, tf.float32))[None])

    def _count_classes(self, head: Head, batch: Batch, found: Found) -> None:
        votes = tf.one_hot(tf.argmax(found.guess.probabilities, axis=-1), self.classes)
        labeled = tf.one_hot(tf.argmax(head.scores(found.predictions), axis=-1), self.classes)
        known = tf.one_hot(decisions_in_graph(head, batch.y), self.classes)
        rows = (votes, votes * found.guess.weights[:, None], labeled, known)
        for metric, values in zip(self.counts, rows, strict=True):
            metric.update_state(tf.reduce_sum(values, axis=0))

    def results(self) -> dict[str, float]:
        """What the logs get at the end of an epoch."""
        logs = {metric.name: float(metric.result()) for metric in (self.mask_rate, self.unlabeled_loss)}
        if self.has_oracle:
            weight, right, *_ = np.asarray(self.shares.result())
            # NaN where no row was selected.
            logs[self._compared] = float(right / weight) if weight else float("nan")
        return logs

    def reset(self) -> None:
        """Begins an epoch."""
        for metric in (self.mask_rate, self.unlabeled_loss, self.shares, self.spoiled, *self.counts):
            metric.reset_state()

    def alarms(self, epoch: int) -> list[tuple[str, str]]:
        """Kinds and texts of what the user is to hear about the epoch, a number from 1."""
        found = [(alarm.kind, alarm.message) for alarm in guards.alarms(epoch, self._facts(), None)]
        count = int(np.asarray(self.spoiled.result())[0])
        if count:
            text = "unlabeled rows had NaN or infinity among their features; others of their batches stood in for them."
            found.append(("not finite", f"{count} {text}"))
        return found

    def _facts(self) -> guards.Facts:
        """What the epoch says to the guards."""
        pool, selected, guessed, labeled = (np.asarray(metric.result()) for metric in self.counts)
        _, _, rows, training, inference = np.asarray(self.shares.result())
        facts: dict[str, Any] = {"rows": int(pool.sum()), "accepted": int(selected.sum()), "kept": 0, "relabelled": 0}
        if selected.sum() and labeled.sum():
            prior = labeled / labeled.sum()
            skewed = guards.is_skewed_pool(pool, guessed, prior)
            facts |= {"mix": selected / selected.sum(), "prior": prior, "skewed_pool": skewed}
        if rows:
            facts |= {"inference": inference / rows, "training": training / rows, "labeled": int(rows)}
        return guards.Facts(**facts)


class Watching(keras.callbacks.Callback):
    """Keeps the metrics of a `ConsistencyModel` by epoch, adds the thresholds to the logs, and raises alarms.

    Args:
        trainer: the model.
    """

    def __init__(self, trainer: Any) -> None:
        super().__init__()
        self._trainer = trainer
        self._said: set[str] = set()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """An average of no step is what the weights are now, wherever they come from."""
        if self._trainer._average is not None and not self._trainer.steps_made:
            self._trainer._average.restart()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trainer._watch.reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            logs = {}
        # Keras takes the epoch's metrics from the model, not from the last step, only where steps report no others.
        logs.update(self._trainer._watch.results())
        levels = self._trainer.thresholds()
        if levels is not None and len(levels) <= MOST_CLASSES:
            found = {f"threshold_{number}": float(level) for number, level in enumerate(levels)}
            log_unprinted(self.model, logs, found)
        for kind, message in self._trainer._watch.alarms(epoch + 1):
            if kind not in self._said:
                self._said.add(kind)
                warnings.warn(f"{self._trainer.name}, epoch {epoch + 1}: {message}", stacklevel=2)


def first_of(callback: keras.callbacks.Callback, callbacks: Any) -> Any:
    """A callback before those of the user, which are to see what it adds to the logs."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.callbacks.insert(0, callback)
        return callbacks
    if callbacks is None:
        return [callback]
    return [callback, *(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])]


def _right(head: Head, guesses: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """(N,) whether guesses (N, K), probabilities or logits of single classes, are the labels; of numbers, how far."""
    truth = decisions_in_graph(head, y)
    if head.single:
        return tf.argmax(guesses, axis=-1, output_type=tf.int32) == truth
    if head.kind == LABELS:
        return tf.reduce_all((guesses >= 0.5) == (truth >= 0.5), axis=-1)
    return tf.reduce_mean(tf.abs(guesses - tf.reshape(tf.cast(truth, guesses.dtype), tf.shape(guesses))), axis=-1)
