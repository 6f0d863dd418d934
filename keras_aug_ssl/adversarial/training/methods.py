"""Recipes of adversarial training: which examples a step makes, and which loss it descends."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.fixed_radius import RandomFGSM
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.labels import decisions_in_graph

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class Batch(NamedTuple):
    """What a training step gets: inputs, labels as the model is fitted to, and weights (B,) or None."""

    x: Any
    y: Any
    weight: Any


class Method:
    """Base of the recipes. `loss` is called under a tape, with the examples `prepare`d attack made."""

    replays = 1
    needs_classes = False
    """The loss compares predictions of classes."""

    def prepare(self, attack: Attack) -> Attack:
        """The attack to train with: the user's, taking all its steps. Stopping early would train on weaker examples."""
        return _changed(attack, early_stop=False) if "early_stop" in attack.get_config() else attack

    def check(self, head: heads.Head) -> None:
        """Raises where the method makes no sense for a model with this head."""
        if self.needs_classes and head.kind not in (heads.CLASSES, heads.BINARY):
            expected = '"standard", "fast" or "free" for a model without classes'
            checks.fail("AdversarialTraining", "method", expected, type(self).__name__)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss to descend, a scalar, and the predictions the metrics see."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Method:
        """Undoes `get_config`."""
        return cls(**config)


@register
class Standard(Method):
    """The compiled loss on adversarial examples alone (Madry et al. 2018, eq. 2.1)."""

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        predictions = trainer(x_adv, training=True)
        return trainer.compute_loss(x_adv, batch.y, predictions, batch.weight, training=True), predictions


@register
class Fast(Standard):
    """One random step in place of the attack (Wong et al. 2020): nearly as cheap as plain training.

    It may collapse: the model learns to fool the one-step attack alone, and its accuracy under PGD drops to zero within
    an epoch. Watch that accuracy: call `PGD` on some validation data after each epoch, in a `keras.callbacks.Callback`.
    """

    def prepare(self, attack: Attack) -> Attack:
        config = attack.get_config()
        return RandomFGSM.from_config({name: config[name] for name in Attack.arguments})


@register
class Trades(Method):
    """The compiled loss on clean examples, plus how far adversarial ones move the prediction.

    Zhang et al. 2019, eq. 5. The attack raises that divergence instead of its own loss. For models of classes.

    Args:
        beta: weight of the divergence, >= 0; larger trades clean accuracy for robustness. The paper's 1 / lambda.
    """

    needs_classes = True

    def __init__(self, beta: float = 6.0):
        self.beta = checks.number("Trades", "beta", beta, 0.0)

    def prepare(self, attack: Attack) -> Attack:
        return _changed(super().prepare(attack), loss="kl")

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        natural = trainer(batch.x, training=True)
        loss = trainer.compute_loss(batch.x, batch.y, natural, batch.weight, training=True)
        predictions = trainer(x_adv, training=True)
        clean, moved = (_class_scores(trainer, batch, output) for output in (natural, predictions))
        return loss + self.beta * _mean(_divergence(clean, moved), batch.weight), predictions


@register
class Mart(Method):
    """Boosted cross-entropy on adversarial examples, plus their divergence where the clean one is not sure (Wang et al.
    2020, eq. 11). For models of classes; the compiled loss is used for its regularisers only.

    Args:
        beta: weight of the divergence, >= 0; the paper's lambda.
    """

    needs_classes = True

    def __init__(self, beta: float = 5.0):
        self.beta = checks.number("Mart", "beta", beta, 0.0)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        natural = trainer(batch.x, training=True)
        predictions = trainer(x_adv, training=True)
        clean, moved = (_class_scores(trainer, batch, output) for output in (natural, predictions))
        y = decisions_in_graph(trainer.victim(batch.x, batch.y).head, batch.y)
        boosted = objectives.cross_entropy(moved, y) + _runner_up_loss(moved, y)
        unsure = -tf.math.expm1(-objectives.cross_entropy(clean, y))
        values = boosted + self.beta * _divergence(clean, moved) * unsure
        # The strategy adds up what the replicas return, and each of them has the same regularisers.
        regularisers = [loss / tf.distribute.get_strategy().num_replicas_in_sync for loss in trainer.losses]
        return tf.add_n([_mean(values, batch.weight), *regularisers]), predictions


@register
class Free(Method):
    """Several updates on each batch: one backward pass serves both weights and perturbation (Shafahi et al. 2019).

    Cut the number of epochs by `replays`. The perturbation starts at random in every batch; the paper keeps that of the
    last batch, made for other images, which Wong et al. (2020) found to be worth no more.

    Args:
        replays: updates on each batch, >= 1; the paper's m.
    """

    def __init__(self, replays: int = 4):
        self.replays = checks.integer("Free", "replays", replays, 1)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return Standard().loss(trainer, batch, x_adv)


METHODS: dict[str, type[Method]] = {
    "standard": Standard, "trades": Trades, "free": Free, "fast": Fast, "mart": Mart,
}  # fmt: skip


def named(method: Any) -> Method:
    """Returns the method that `method` names, or itself when it is one."""
    if isinstance(method, Method):
        return method
    return METHODS[checks.one_of("AdversarialTraining", "method", method, METHODS)]()


def _changed(attack: Attack, **arguments: Any) -> Attack:
    return type(attack).from_config({**attack.get_config(), **arguments})


def _class_scores(trainer: Any, batch: Batch, output: tf.Tensor) -> tf.Tensor:
    return trainer.victim(batch.x, batch.y).head.scores(output)


def _divergence(clean: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
    """KL(clean || moved), (B,), with gradients to both: the model may give in on either side."""
    log_clean, log_moved = tf.nn.log_softmax(clean), tf.nn.log_softmax(moved)
    return tf.reduce_sum(tf.exp(log_clean) * (log_clean - log_moved), axis=-1)


def _runner_up_loss(scores: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """-log(1 - p) of the most probable wrong class, from logits, so that it stays finite as p goes to 1."""
    best_wrong = tf.argmax(objectives.without(scores, y), axis=1, output_type=tf.int32)
    rest = tf.reduce_logsumexp(objectives.without(scores, best_wrong), axis=1)
    return tf.reduce_logsumexp(scores, axis=1) - rest


def _mean(values: tf.Tensor, weight: Any) -> tf.Tensor:
    """Mean over the batch of all replicas, weighted as Keras weights its losses: divided by the number of examples."""
    if weight is not None:
        values = values * tf.cast(tf.reshape(weight, [-1]), values.dtype)
    return tf.reduce_mean(values) / tf.distribute.get_strategy().num_replicas_in_sync
