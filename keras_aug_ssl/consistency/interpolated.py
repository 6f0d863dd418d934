"""AdaMatch's views: labeled rows are seen strongly too, with and without the unlabeled rows beside them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import draws
from keras_aug_ssl.consistency.batches import Batch, Found, Seen, concatenated, rows_of
from keras_aug_ssl.consistency.views import Views

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class Interpolated(Views):
    """Weak and strong views of both kinds of rows, and logits of the labeled ones between two passes (AdaMatch, arXiv
    2106.04732, section 3.2 and eq. 1).

    One pass is of all rows, the other of the labeled ones alone; each logit is l of the one and 1 - l of the other, l
    uniform in [0, 1]. Only the first moves BatchNormalization's running averages. The compiled loss counts on the weak
    and on the strong view of a labeled row.

    Args:
        weak, strong: as for `Views`.
    """

    def find(self, trainer: Any, batch: Batch, key: tf.Tensor) -> Found:
        """Looks at all views, then at the labeled ones alone."""
        first, second, third, fourth, share = draws.split(key, 5)
        labeled = [self.weakly(batch.x, first), self.strongly(batch.x, second, [])]
        weak = self.weakly(batch.unlabeled, third)
        seen = trainer.passes([*labeled, self.strongly(batch.unlabeled, fourth, [weak]), weak], batch.y)
        together = tf.concat([part.scores for part in seen[:2]], axis=0)
        alone = trainer.head.scores(trainer.aside(concatenated(labeled), 1))
        part = draws.uniform_array(share, rows_of(together), (together.shape[-1],))
        scores = part * together + (1.0 - part) * alone
        outputs = trainer.head.outputs(scores)
        rows = rows_of(labeled[0])
        known = Seen(outputs[:rows], scores[:rows])
        answers = [seen[3].scores] if trainer.labeller.decay is None else trainer.taught([weak])
        guess = trainer.guess(batch, known, answers)
        return Found(self._supervised(trainer, batch, labeled, outputs), known.output, guess, seen[2].scores)

    def _supervised(self, trainer: Any, batch: Batch, labeled: list[Any], outputs: tf.Tensor) -> tf.Tensor:
        """The sum of both views' mean losses, and the regularisers once."""
        weight = tf.ones([rows_of(batch.x)]) if batch.weight is None else tf.reshape(batch.weight, [-1])
        both = batch._replace(
            x=concatenated(labeled), y=tf.concat([batch.y] * 2, axis=0), weight=tf.concat([2.0 * weight] * 2, axis=0)
        )
        return trainer.supervised(both, Seen(outputs, outputs))
