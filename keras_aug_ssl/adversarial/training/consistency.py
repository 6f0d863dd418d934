"""Robust self-training inside the step: any consistency method, with an adversarial term on both kinds of rows."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.threat.limits import inside
from keras_aug_ssl.adversarial.training.methods import Trades, divergence
from keras_aug_ssl.adversarial.victim.model import Inputs, Victim, telling
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.consistency.batches import Batch, Found, concatenated, split
from keras_aug_ssl.consistency.model import ConsistencyModel
from keras_aug_ssl.consistency.views import Views
from keras_aug_ssl.teaching.teachers import steps_made


def robust(
    ssl: ConsistencyModel, attack: Attack, beta: float = 6.0, *, input_name: str | int | None = None
) -> ConsistencyModel:
    """Makes a consistency method train a robust model: robust self-training in one `fit` (arXiv 1905.13736, eq. 4-6).

    The method's own loss stays as it is: labels of unlabeled rows are made on images that nobody attacked, and learned
    on its views. To it comes the term of TRADES on the weak views of labeled and unlabeled rows alike,

        beta mean_i max_{|d| <= epsilon} KL(p(x_i) || p(x_i + d)),

    which needs no labels. In the paper the labels come from a model trained before, here from the one in training.
    BatchNormalization: the attack is in inference mode; the attacked rows make one more pass in training mode, which
    moves the running averages, as in TRADES.

    Args:
        ssl: from a recipe, such as `FixMatch(model, ...)`, not yet compiled. Of one class a row.
        attack: with an epsilon, untargeted. Its `bounds` must hold for the weak views.
        beta: weight of the term, >= 0.
        input_name: which of several inputs is attacked.

    Returns:
        A `ConsistencyModel` of the same model and parts, to compile and `fit` on the same stream, with the same entries
        in `History`; it resumes as exactly.

    Raises:
        ValueError: for a model of several labels or of numbers, in `fit`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        >>> ssl = kas.robust(kas.PseudoLabel(model, weak=kas.consistency.unchanged), kas.PGD(0.1, steps=3))
        >>> ssl.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> stream = kas.data.labeled_unlabeled((x, y), np.tile(x, (4, 1)), batch_size=4, ratio=2)
        >>> sorted(ssl.fit(stream, epochs=1, verbose=0).history)[:2]
        ['loss', 'mask_rate']
    """
    if not isinstance(ssl, ConsistencyModel):
        expected = "a consistency method, such as FixMatch(model, ...)"
        checks.fail("robust", "ssl", expected, type(ssl).__name__, error=TypeError)
    return ConsistencyModel(
        ssl.model, ssl.labeller, ssl.selector, Attacked(ssl.views, attack, beta, input_name), ssl.consistency,
        joint=ssl.joint, prior=ssl.prior, seed=ssl.seed, name=f"robust_{ssl.name}",
    )  # fmt: skip


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Attacked(Views):
    """The views of a method, and the attacked weak views on which TRADES's term is.

    Args:
        views: of the method.
        attack: with an epsilon, untargeted.
        beta: weight of the term, >= 0.
        input_name: which of several inputs is attacked.
    """

    def __init__(self, views: Views, attack: Attack, beta: float = 6.0, input_name: str | int | None = None) -> None:
        super().__init__(views.weak, views.strong)
        if not isinstance(attack, Attack):
            checks.fail("robust", "attack", "an attack, such as PGD(epsilon=8 / 255)", attack, error=TypeError)
        if attack.targeted or attack.minimal or attack.epsilon is None:
            checks.fail("robust", "attack", "untargeted and with a fixed epsilon", type(attack).__name__)
        self.views, self.attack = views, attack
        self.beta = checks.number("robust", "beta", beta, 0.0)
        self.input_name = input_name

    def find(self, trainer: Any, batch: Batch, key: tf.Tensor) -> Found:
        """Looks at the batch as the method does, then at attacked weak views."""
        found = self.views.find(trainer, batch, key)
        first, second = draws.split(draws.fold_in(key, 1), 2)
        parts = [self.views.weakly(batch.x, first), self.views.weakly(batch.unlabeled, second)]
        x = concatenated(parts)
        inputs = Inputs("robust", x, self.input_name)
        attacked, others = inputs.split(x)
        x = inputs.join(inside("robust", attacked, self.attack.bounds), others)
        victim = Victim("robust", trainer.model, inputs, x, telling(trainer, self.attack.loss), batch.y)
        trades = Trades(self.beta)
        trades.check(victim.head)
        step = tf.cast(steps_made(trainer.optimizer), tf.int64)
        x_adv = trades.prepare(self.attack).perturb(victim, x, None, step)
        clean = victim.head.scores(trainer.aside(x, _PASS))
        moved = victim.head.scores(trainer(x_adv, training=True))
        values = divergence(clean, moved)
        if batch.weight is not None:
            labeled, unlabeled = split(values, parts)
            labeled *= tf.cast(tf.reshape(batch.weight, [-1]), labeled.dtype)
            values = tf.concat([labeled, unlabeled], axis=0)
        return found._replace(supervised=found.supervised + self.beta * replicas.mean(values))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        serialize = keras.saving.serialize_keras_object
        own = {"views": serialize(self.views), "attack": serialize(self.attack)}
        return {**own, "beta": self.beta, "input_name": self.input_name}


_PASS = 7  # of the passes aside in a step, unlike those of any method's views
