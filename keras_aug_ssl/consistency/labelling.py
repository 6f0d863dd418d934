"""How unlabeled rows get their labels: who is asked, on how many views, and what is made of the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.meaning.heads import LABELS, NUMBERS, Head

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class Guess(NamedTuple):
    """Labels for the unlabeled rows.

    Attributes:
        probabilities: (N, K) what the labeller said, before it was sharpened; numbers (N, D) for regression.
        targets: (N, K) what the student is to say.
        weights: (N,) of the rows, in [0, 1].
    """

    probabilities: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor


@register
class Alignment:
    """Brings the class mix of the guesses to the one expected: p times expected over found, made to sum to 1.

    Keeps a model that has seen one label a class from calling everything by the few names it knows best (ReMixMatch,
    arXiv 1911.09785, section 3.1; AdaMatch, arXiv 2106.04732, eq. 2). It is right where the pool has that mix, and
    harms where it hasn't.

    Args:
        toward: "labels", the mix of the labeled rows; "predictions", that of the predictions on them; "uniform".
            `ConsistencyModel(prior=...)`, where given, takes the place of "labels" and "uniform".
        momentum: of the running averages of both mixes, in [0, 1); 0 takes each batch by itself.
        labels: False aligns for the selector only, and labels stay as they are (SoftMatch's uniform alignment).
    """

    def __init__(self, toward: str = "labels", momentum: float = 0.999, labels: bool = True) -> None:
        self.toward = checks.one_of("Alignment", "toward", toward, ("labels", "predictions", "uniform"))
        self.momentum = checks.number("Alignment", "momentum", momentum, 0.0, 1.0, high_open=True)
        self.labels = bool(labels)

    def initial(self, num_classes: int) -> dict[str, np.ndarray]:
        """Returns the mixes before the first batch: uniform."""
        uniform = np.full(num_classes, 1.0 / num_classes, np.float32)
        return {"expected": uniform, "found": uniform}

    def batch_mix(
        self, probabilities: tf.Tensor, labeled: tf.Tensor | None, decided: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The mixes of one batch over all replicas.

        Args:
            probabilities: (N, K) guesses.
            labeled: (B, K) predictions on labeled rows; None where there are none yet.
            decided: (B, K) their labels, one-hot or soft.
        """
        if labeled is None and self.toward == "predictions":
            checks.fail("Alignment", "toward", '"labels" or "uniform" where labels are guessed first', self.toward)
        expected = {"labels": decided, "predictions": labeled, "uniform": tf.ones_like(probabilities[:1])}[self.toward]
        sums = replicas.total({"expected": tf.reduce_sum(expected, 0), "found": tf.reduce_sum(probabilities, 0)})
        return {name: found / tf.reduce_sum(found) for name, found in sums.items()}

    def align(self, probabilities: tf.Tensor, mix: dict[str, tf.Tensor], prior: Any) -> tf.Tensor:
        """Returns (N, K) aligned probabilities."""
        expected = mix["expected"] if prior is None or self.toward == "predictions" else prior
        aligned = probabilities * (expected / tf.maximum(mix["found"], 1e-6))
        return aligned / tf.maximum(tf.reduce_sum(aligned, axis=-1, keepdims=True), 1e-12)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Alignment:
        """Undoes `get_config`."""
        return cls(**config)


@register
class Labeller:
    """Asks the network itself, or its average, on one or more weak views.

    Args:
        temperature: sharpens the answers, p^(1/T) made to sum to 1; >= 0. 0 is the most probable class alone (hard
            labels), 1 leaves them. Numbers of regression stay as they are.
        views: weak views whose answers are averaged, >= 1.
        decay: of the running average of the weights that is asked, in (0, 1): a mean teacher. None asks the current
            weights, in the same pass.
        alignment: an `Alignment` of the class mix; None for none.
        differentiable: gradients reach the labels too, as in the Pi-model.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        views: int = 1,
        decay: float | None = None,
        alignment: Alignment | None = None,
        differentiable: bool = False,
    ) -> None:
        self.temperature = checks.number("Labeller", "temperature", temperature, 0.0)
        self.views = checks.integer("Labeller", "views", views, 1)
        self.decay = None
        if decay is not None:
            self.decay = checks.number("Labeller", "decay", decay, 0.0, 1.0, high_open=True)
        if alignment is not None and not isinstance(alignment, Alignment):
            checks.fail("Labeller", "alignment", "an Alignment, or None", alignment, error=TypeError)
        self.alignment = alignment
        self.differentiable = bool(differentiable)

    def ask(self, head: Head, answers: list[tf.Tensor], oracle: Any) -> tf.Tensor:
        """Returns (V, N, K) probabilities of V views.

        Args:
            head: what the model puts out.
            answers: V logits (N, K), or numbers.
            oracle: true labels of the rows, for labellers of one's own that are to know them; None without.
        """
        found = tf.stack([probabilities_of(head, scores) for scores in answers])
        return found if self.differentiable else tf.stop_gradient(found)

    def sharpen(self, head: Head, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns (N, K) targets."""
        if head.kind == NUMBERS or self.temperature == 1.0:
            return probabilities
        if self.temperature == 0.0:
            if head.kind == LABELS:
                return tf.cast(probabilities >= 0.5, tf.float32)
            return tf.one_hot(tf.argmax(probabilities, axis=-1), probabilities.shape[-1])
        logs = tf.math.log(tf.maximum(probabilities, 1e-12))
        if head.kind == LABELS:
            rest = tf.math.log(tf.maximum(1.0 - probabilities, 1e-12))
            return tf.sigmoid((logs - rest) / self.temperature)
        return tf.nn.softmax(logs / self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**vars(self), "alignment": keras.saving.serialize_keras_object(self.alignment)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Labeller:
        """Undoes `get_config`."""
        return cls(**{**config, "alignment": keras.saving.deserialize_keras_object(config["alignment"])})


def probabilities_of(head: Head, scores: tf.Tensor) -> tf.Tensor:
    """(N, K) probabilities of logits; numbers stay as they are."""
    if head.kind == NUMBERS:
        return scores if scores.shape.rank == 2 else scores[:, None]
    return tf.sigmoid(scores) if head.kind == LABELS else tf.nn.softmax(scores)
