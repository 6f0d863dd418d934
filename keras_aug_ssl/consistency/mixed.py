"""MixMatch's views: labels are guessed first, then all rows are mixed with each other."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.consistency.batches import Batch, Found, Seen, concatenated, rows_of, split
from keras_aug_ssl.consistency.labelling import Guess
from keras_aug_ssl.consistency.losses import cross_entropy
from keras_aug_ssl.consistency.views import View, Views

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class Mixed(Views):
    """Weak views of labeled and unlabeled rows, each mixed with another of either kind (MixMatch, arXiv 1905.02249,
    algorithm 1 and eq. 8-11).

    Labels of labeled rows become shares, so their loss is the cross-entropy, whatever was compiled; of that only
    regularisers count. Inputs must be numbers that can be mixed: of whole numbers images can, tokens can't.

    Args:
        weak: as for `Views`.
        alpha: shares of the row itself are max(l, 1 - l), l from Beta(alpha, alpha); > 0.
    """

    def __init__(self, weak: View | None = None, alpha: float = 0.75) -> None:
        super().__init__(weak, "weak")
        self.alpha = checks.number("Mixed", "alpha", alpha, 0.0, low_open=True)

    def find(self, trainer: Any, batch: Batch, key: tf.Tensor) -> Found:
        """Guesses on the weak views, mixes, and learns."""
        first, order, share, *others = draws.split(key, 3 + trainer.labeller.views)
        labeled, weak = self.weakly(batch.x, first), [self.weakly(batch.unlabeled, other) for other in others]
        guess = self._guess(trainer, batch, weak)
        lesson = Guess(*(tf.concat([part] * len(weak), axis=0) for part in guess))
        rows = concatenated([labeled, *weak])
        targets = tf.concat([trainer.decided(batch.y), lesson.targets], axis=0)
        mixed, targets = mix((rows, targets), order, share, self.alpha)
        parts = _cut(mixed, rows_of(labeled), rows_of(rows))
        known, learned = tf.split(targets, [rows_of(part) for part in parts])
        seen, student = trainer.passes(parts, batch.y)
        supervised = self._supervised(trainer, batch, known, seen)
        return Found(supervised, seen.output, guess, student.scores, lesson._replace(targets=learned))

    def _guess(self, trainer: Any, batch: Batch, weak: list[Any]) -> Guess:
        output = trainer.aside(concatenated(weak), 1)
        scores = split(trainer.scores(output, batch.y), weak)
        if not trainer.head.single:
            checks.fail("Mixed", "model", "a model of classes", trainer.head.kind, "Others have no shares to mix.")
        return trainer.guess(batch, None, scores if trainer.labeller.decay is None else trainer.taught(weak))

    def _supervised(self, trainer: Any, batch: Batch, targets: tf.Tensor, seen: Seen) -> tf.Tensor:
        values = cross_entropy(trainer.head, targets, seen.scores)
        if batch.weight is not None:
            values *= tf.cast(tf.reshape(batch.weight, [-1]), values.dtype)
        return tf.add_n([replicas.mean(values), *(loss / replicas.number() for loss in trainer.losses)])

    def get_config(self) -> dict[str, Any]:
        """Returns view and alpha."""
        config = super().get_config()
        return {"weak": config["weak"], "alpha": self.alpha}


def mix(rows: Any, order: tf.Tensor, share: tf.Tensor, alpha: float) -> Any:
    """Mixes each row with another of the batch, itself being the larger part.

    Args:
        rows: a structure of (N, ...) tensors.
        order, share: keys of who is mixed with whom, and how much.
        alpha: of the Beta distribution.
    """
    count = rows_of(rows)
    other = draws.permutation(order, count)
    part = draws.beta(draws.uniforms(share, count, 1)[0], alpha, alpha)
    part = tf.maximum(part, 1.0 - part)

    def mixed(leaf: tf.Tensor) -> tf.Tensor:
        if not leaf.dtype.is_floating and leaf.dtype != tf.uint8:
            checks.fail("Mixed", "x", "inputs that can be mixed: floats, or images of uint8", leaf.dtype.name)
        leaf = leaf if leaf.dtype.is_floating else tf.cast(leaf, tf.float32)
        own = tf.cast(tf.reshape(part, [-1] + [1] * (leaf.shape.rank - 1)), leaf.dtype)
        return own * leaf + (1.0 - own) * tf.gather(leaf, other)

    return tf.nest.map_structure(mixed, rows)


def _cut(rows: Any, first: Any, count: Any) -> list[Any]:
    """The first rows, and the others."""
    leaves = [tf.split(leaf, [first, count - first]) for leaf in tf.nest.flatten(rows)]
    return [tf.nest.pack_sequence_as(rows, [pair[side] for pair in leaves]) for side in (0, 1)]
