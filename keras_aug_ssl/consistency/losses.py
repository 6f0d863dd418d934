"""What the student is told: how far its answer is from the label, and what else it should keep to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.consistency.labelling import Guess, probabilities_of
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS, Head

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


def cross_entropy(head: Head, targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """(N,) -sum_k t_k log q_k; of several labels the mean of each one's."""
    if head.kind == LABELS:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=scores), axis=-1)
    return -tf.reduce_sum(targets * tf.nn.log_softmax(scores), axis=-1)


def mean_squared_error(head: Head, targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """(N,) mean over classes of (t_k - q_k)^2, or over the numbers of a regression."""
    return tf.reduce_mean(tf.math.squared_difference(targets, probabilities_of(head, scores)), axis=-1)


def divergence(head: Head, targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """(N,) KL(t || q), sum_k t_k (log t_k - log q_k); of several labels the mean of each one's."""
    if head.kind == LABELS:
        negative = tf.math.xlogy(targets, targets) + tf.math.xlogy(1.0 - targets, 1.0 - targets)
        return tf.reduce_mean(negative, axis=-1) + cross_entropy(head, targets, scores)
    return tf.reduce_sum(tf.math.xlogy(targets, targets), axis=-1) + cross_entropy(head, targets, scores)


DISTANCES: dict[str, Callable[[Head, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross_entropy": cross_entropy, "mse": mean_squared_error, "kl": divergence,
}  # fmt: skip


@register
class ConsistencyLoss:
    """The loss on unlabeled rows: the mean over all of them of weight times distance, those not selected included.

    Args:
        distance: "cross_entropy", "mse" (mean squared error of probabilities) or "kl". Numbers of regression are held
            to "mse".
        weight: of the loss, relative to the compiled one; >= 0.
        ramp: a function of the step that multiplies the weight, such as `ramps.Linear(1000)`; None for 1.
        terms: further losses, such as `EntropyMinimization()` and `Fairness()`.
    """

    def __init__(
        self,
        distance: str = "cross_entropy",
        weight: float = 1.0,
        ramp: Callable[[tf.Tensor], tf.Tensor] | None = None,
        terms: Sequence[Any] = (),
    ) -> None:
        owner = "ConsistencyLoss"
        self.distance = checks.one_of(owner, "distance", distance, DISTANCES)
        self.weight = checks.number(owner, "weight", weight, 0.0)
        if ramp is not None and not callable(ramp):
            checks.fail(owner, "ramp", "a function of the step, such as ramps.Linear(1000)", ramp, error=TypeError)
        self.ramp = ramp
        for term in terms:
            if not isinstance(term, Term):
                checks.fail(owner, "terms", "terms such as EntropyMinimization(1.0)", term, error=TypeError)
        self.terms = tuple(terms)

    def factor(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the weight at a step, a float32 scalar."""
        return tf.convert_to_tensor(self.weight if self.ramp is None else self.weight * self.ramp(step), tf.float32)

    def unlabeled(self, head: Head, lesson: Guess, student: tf.Tensor) -> tf.Tensor:
        """Returns this replica's share of the mean distance, before it is weighed."""
        distance = DISTANCES["mse" if head.kind == NUMBERS else self.distance]
        return replicas.mean(lesson.weights * distance(head, lesson.targets, student))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        serialize = keras.saving.serialize_keras_object
        return {**vars(self), "ramp": serialize(self.ramp), "terms": [serialize(term) for term in self.terms]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConsistencyLoss:
        """Undoes `get_config`."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{**config, "ramp": restore(config["ramp"]), "terms": [restore(term) for term in config["terms"]]})


class Term:
    """Base of what is added to the loss for models of classes.

    Args:
        weight: >= 0.
    """

    momentum = 0.0

    def __init__(self, weight: float) -> None:
        self.weight = checks.number(type(self).__name__, "weight", weight, 0.0)

    def initial(self, num_classes: int) -> dict[str, np.ndarray]:
        """Returns the running averages it needs, before the first batch."""
        return {}

    def batch_averages(self, guess: Guess) -> dict[str, tf.Tensor]:
        """Returns what a batch adds to them, over all replicas."""
        return {}

    def value(self, head: Head, guess: Guess, student: tf.Tensor, averages: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns this replica's share of the loss, before it is weighed."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Term:
        """Undoes `get_config`."""
        return cls(**config)


@register
class EntropyMinimization(Term):
    """Mean entropy of the answers on unlabeled rows (Grandvalet and Bengio 2004; VAT+EntMin, arXiv 1704.03976, eq. 10).

    Args:
        weight: >= 0.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def value(self, head: Head, guess: Guess, student: tf.Tensor, averages: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the entropy of the student's answers."""
        return replicas.mean(cross_entropy(head, probabilities_of(head, student), student))


@register
class Fairness(Term):
    """Keeps the classes that the student answers with as frequent as those of the guesses (FreeMatch, arXiv 2205.07246,
    eq. 9-11).

    With p the running mean of the guesses and h that of how often each class is the most probable, and p', h' the same
    of the student on the selected rows of this batch, the loss is sum_k n(p / h)_k log n(p' / h')_k, where n makes sum
    to 1. As in the authors' code a class that is never the most probable counts 0, and a batch without a selected row
    adds nothing.

    Args:
        weight: >= 0; the paper's w_f.
        momentum: of the running averages, in [0, 1).
    """

    def __init__(self, weight: float = 0.01, momentum: float = 0.999) -> None:
        super().__init__(weight)
        self.momentum = checks.number("Fairness", "momentum", momentum, 0.0, 1.0, high_open=True)

    def initial(self, num_classes: int) -> dict[str, np.ndarray]:
        """Returns uniform averages."""
        uniform = np.full(num_classes, 1.0 / num_classes, np.float32)
        return {"mean": uniform, "often": uniform}

    def batch_averages(self, guess: Guess) -> dict[str, tf.Tensor]:
        """Returns the mean guess of a batch, and the share of rows whose most probable class each is."""
        sums = replicas.total(
            {"mean": tf.reduce_sum(guess.probabilities, 0), "often": _votes(guess.probabilities, None)}
        )
        return {name: tf.stop_gradient(found / tf.reduce_sum(found)) for name, found in sums.items()}

    def value(self, head: Head, guess: Guess, student: tf.Tensor, averages: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the negative cross-entropy of the two mixes."""
        answers = probabilities_of(head, student)
        taken = tf.cast(guess.weights > 0.0, tf.float32)
        mean, often, rows = replicas.total(
            (tf.reduce_sum(taken[:, None] * answers, 0), _votes(answers, taken), tf.reduce_sum(taken))
        )
        expected = _normal(tf.math.divide_no_nan(averages["mean"], averages["often"]))
        found = _normal(tf.math.divide_no_nan(mean, tf.stop_gradient(often)))
        loss = tf.reduce_sum(expected * tf.math.log(found + 1e-12))
        return tf.where(rows > 0.0, loss, 0.0) / replicas.number()


def _votes(probabilities: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """(K,) rows whose most probable class each is."""
    votes = tf.one_hot(tf.argmax(probabilities, axis=-1), probabilities.shape[-1])
    return tf.reduce_sum(votes if weights is None else votes * weights[:, None], axis=0)


def _normal(values: tf.Tensor) -> tf.Tensor:
    return values / tf.maximum(tf.reduce_sum(values), 1e-12)
