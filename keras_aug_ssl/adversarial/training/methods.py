"""Recipes of adversarial training: which examples a step makes, and which loss it descends.

BatchNormalization. Examples are made in inference mode, "virtual" ones excepted. In the loss each pass is in training
mode: it normalizes by the statistics of its own batch and moves the running averages, as in the papers' codes. That is
one pass of adversarial examples for "standard", "fast" and "free" (Madry et al. 2018); with `clean_fraction` one pass
of clean and adversarial ones together (Kurakin et al. 2017, section 3); one of each for "trades", "ikl" and "mart"; and
one of clean ones for "virtual", whose further passes leave no trace. Statistics of their own for adversarial examples
(AdvProp, Xie et al. 2020) would be layers of the model, and are not made here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.fixed_radius import RandomFGSM
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.adversarial.victim.model import Victim
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.consistency.batches import concatenated, random_states, rows_of
from keras_aug_ssl.consistency.labelling import probabilities_of
from keras_aug_ssl.consistency.losses import DISTANCES
from keras_aug_ssl.consistency.virtual import worst_direction
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.labels import decisions_in_graph

__all__ = ["Fast", "Free", "Ikl", "Mart", "Method", "Standard", "Trades", "Virtual"]

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class Batch(NamedTuple):
    """What a training step gets: inputs, labels as the model is fitted to, weights (B,) or None, and inputs without
    labels or None."""

    x: Any
    y: Any
    weight: Any
    unlabeled: Any = None

    @property
    def inputs(self) -> Any:
        """All inputs, the labeled ones first."""
        return self.x if self.unlabeled is None else concatenated([self.x, self.unlabeled])


class Method:
    """Base of the recipes. `loss` is called under a tape, with examples of the attack that `prepare` returns."""

    replays = 1
    needs_classes = False
    """The loss compares predictions of classes."""
    mixes = False
    """The loss sees adversarial examples alone, so that clean ones can be mixed in by `clean_fraction`."""
    reads_unlabeled = False
    """The loss has a part without labels."""

    def prepare(self, attack: Attack) -> Attack:
        """The attack to train with: the user's, taking all its steps. Stopping early would train on weaker examples."""
        return _changed(attack, early_stop=False) if "early_stop" in attack.get_config() else attack

    def check(self, head: heads.Head) -> None:
        """Raises where the method makes no sense for a model with this head."""
        if self.needs_classes and head.kind not in (heads.CLASSES, heads.BINARY):
            names = ", ".join(f'"{name}"' for name, make in METHODS.items() if not make().needs_classes)
            expected = f"one of {names} for a model without classes"
            checks.fail("AdversarialTraining", "method", expected, type(self).__name__)

    def examples(self, trainer: Any, victim: Victim, batch: Batch, seed: tf.Tensor, share: tf.Tensor) -> Any:
        """The adversarial inputs of a step; `share` of epsilon is the radius, a scalar or (B,)."""
        return trainer.training_attack.perturb(victim, batch.x, batch.y, seed, share)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss to descend, this replica's share of it, and the predictions the metrics see."""
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
    """The compiled loss on adversarial examples alone (Madry et al. 2018, eq. 2.1), or with a share of clean ones.

    With `clean_fraction` a it is a J(x) + (1 - a) J(x_adv) (Goodfellow et al. 2015, section 6), where both are in one
    batch (Kurakin et al. 2017), and so share its statistics. Every example is seen both ways; Kurakin et al. show some
    clean and others attacked.
    """

    mixes = True

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        share = trainer.clean_fraction
        if not share:
            predictions = trainer(x_adv, training=True)
            return trainer.compute_loss(x_adv, batch.y, predictions, batch.weight, training=True), predictions
        together = trainer(concatenated([batch.x, x_adv]), training=True)
        clean, predictions = _apart(trainer, batch, together, 2 * [rows_of(batch.x)])
        natural, moved = (
            trainer.compute_loss(x, batch.y, output, batch.weight, training=True)
            for x, output in ((batch.x, clean), (x_adv, predictions))
        )
        return share * natural + (1.0 - share) * moved, predictions


@register
class Fast(Standard):
    """One random step in place of the attack (Wong et al. 2020): nearly as cheap as plain training.

    It may collapse: the model learns to fool the one-step attack alone, and its accuracy under PGD drops to zero within
    an epoch. `kas.RobustAccuracy` measures that accuracy after each epoch, says so when it happens, and can stop or go
    back to the weights before. A start from farther away keeps the model from it: `Fast(1.5)` withstood most on digits,
    `Fast(2.0)` is "n-fgsm".

    Args:
        noise: see `RandomFGSM`; 1 is the paper's.
    """

    def __init__(self, noise: float = 1.0):
        self.noise = checks.number("Fast", "noise", noise, 0.0)

    def prepare(self, attack: Attack) -> Attack:
        config = {name: value for name, value in attack.get_config().items() if name in Attack.arguments}
        return RandomFGSM.from_config({**config, "noise": self.noise})


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
        return loss + _mean(self.distance(trainer, batch, clean, moved), batch.weight), predictions

    def distance(self, trainer: Any, batch: Batch, clean: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        """What is added for how far the logits of a batch were moved, (B,)."""
        return self.beta * divergence(clean, moved)


@register
class Ikl(Trades):
    """TRADES with the improved divergence of Cui et al. 2024 (arXiv 2305.13948, section 3.3).

    KL(p || q) of clean and attacked logits z, z' has the gradients of 1/4 sum_jk p_j p_k (d_j - d_k)^2, d = z - z', of
    which only z learns, minus sum_j p_j log q_j, of which only q does. Here both sides learn from the squares, and the
    weights p_j p_k in them are those of the example's class, the mean prediction on its clean examples. The paper takes
    that mean over the last epoch; here it is over the batch. The attack raises the divergence itself, as the paper's.

    Args:
        squares: weight of the squared differences, >= 0.
        cross_entropy: weight of the other part, >= 0.
    """

    def __init__(self, squares: float = 20.0, cross_entropy: float = 4.0):
        self.squares = checks.number("Ikl", "squares", squares, 0.0)
        self.cross_entropy = checks.number("Ikl", "cross_entropy", cross_entropy, 0.0)

    def distance(self, trainer: Any, batch: Batch, clean: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        expected = tf.stop_gradient(tf.nn.softmax(clean))
        head = trainer.victim(batch.x, batch.y).head
        member = tf.one_hot(decisions_in_graph(head, batch.y), head.num_classes)
        counted = member if batch.weight is None else member * tf.cast(tf.reshape(batch.weight, [-1, 1]), tf.float32)
        sums, counts = replicas.total((tf.matmul(counted, expected, transpose_a=True), tf.reduce_sum(counted, axis=0)))
        usual = tf.matmul(member, tf.math.divide_no_nan(sums, counts[:, None]))
        # sum_jk p_j p_k (d_j - d_k)^2 is twice the variance of d under p.
        change = clean - moved
        change -= tf.reduce_sum(usual * change, axis=-1, keepdims=True)
        squares = 0.5 * tf.reduce_sum(usual * tf.square(change), axis=-1)
        crossed = -tf.reduce_sum(expected * tf.nn.log_softmax(moved), axis=-1)
        return self.squares * squares + self.cross_entropy * crossed


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
        values = boosted + self.beta * divergence(clean, moved) * unsure
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

    mixes = True

    def __init__(self, replays: int = 4):
        self.replays = checks.integer("Free", "replays", replays, 1)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return Standard().loss(trainer, batch, x_adv)


@register
class Virtual(Method):
    """The compiled loss on clean examples, plus how far the answer can be turned nearby (VAT, Miyato et al. 2018, arXiv
    1704.03976, eq. 5-8), which needs no labels.

    Data may also be the stream `((x, y), x_unlabeled)` of `kas.data.labeled_unlabeled`: the divergence is the mean over
    all rows. Examples lie at the radius of the attack's ball, and inside its bounds, along the direction that the power
    method finds; of the attack only ball, bounds and seed are used. `kas.VAT` is the same without bounds, for inputs of
    any kind, with views and rules. All passes are in training mode and drop the same units, as the paper's.

    Args:
        alpha: weight of the divergence, >= 0.
        xi: Euclidean length of the trial step, > 0. The paper's 1e-6 is lost in the rounding of float32.
        iterations: of the power method, >= 1.
    """

    reads_unlabeled = True

    def __init__(self, alpha: float = 1.0, xi: float = 1e-2, iterations: int = 1):
        self.alpha = checks.number("Virtual", "alpha", alpha, 0.0)
        self.xi = checks.number("Virtual", "xi", xi, 0.0, low_open=True)
        self.iterations = checks.integer("Virtual", "iterations", iterations, 1)

    def prepare(self, attack: Attack) -> Attack:
        return attack

    def examples(self, trainer: Any, victim: Victim, batch: Batch, seed: tf.Tensor, share: tf.Tensor) -> Any:
        problem = trainer.training_attack.problem(victim, batch.inputs, None, seed, share)
        others = problem.rows["others"]

        def scores(x: tf.Tensor) -> tf.Tensor:
            return victim.head.scores(trainer.aside(victim.inputs.join(x, others)))

        answer = tf.stop_gradient(scores(problem.x))

        def distance(direction: list[tf.Tensor]) -> tf.Tensor:
            return _turned(victim.head, answer, scores(problem.x + self.xi * problem.masked(direction[0])))

        start = noise.normal(problem.rows["keys"], tf.shape(problem.x)[1:])
        (direction,) = worst_direction(distance, [start], self.iterations)
        x_adv = problem.reached(problem.ball.steepest(problem.masked(direction)))
        return victim.inputs.join(tf.stop_gradient(x_adv), others)

    def loss(self, trainer: Any, batch: Batch, x_adv: Any) -> tuple[tf.Tensor, tf.Tensor]:
        head, output = trainer.victim(batch.x, batch.y).head, trainer(batch.inputs, training=True)
        predictions, weight = output, batch.weight
        if batch.unlabeled is not None:
            sizes = [rows_of(batch.x), rows_of(batch.unlabeled)]
            predictions, _ = _apart(trainer, batch, output, sizes)
            if weight is not None:
                weight = tf.concat([tf.reshape(weight, [-1]), tf.ones(sizes[1:], weight.dtype)], axis=0)
        loss = trainer.compute_loss(batch.x, batch.y, predictions, batch.weight, training=True)
        answer = trainer.aside(batch.inputs) if random_states(trainer.model) else output
        turned = _turned(head, tf.stop_gradient(head.scores(answer)), head.scores(trainer.aside(x_adv)))
        return loss + self.alpha * _mean(turned, weight), predictions


METHODS: dict[str, Callable[[], Method]] = {
    "standard": Standard, "trades": Trades, "ikl": Ikl, "mart": Mart, "free": Free, "fast": Fast,
    "n-fgsm": functools.partial(Fast, noise=2.0), "virtual": Virtual,
}  # fmt: skip


def named(method: Any) -> Method:
    """Returns the method that `method` names, or itself when it is one."""
    if isinstance(method, Method):
        return method
    return METHODS[checks.one_of("AdversarialTraining", "method", method, METHODS)]()


def _changed(attack: Attack, **arguments: Any) -> Attack:
    return type(attack).from_config({**attack.get_config(), **arguments})


def _apart(trainer: Any, batch: Batch, output: tf.Tensor, sizes: list[Any]) -> list[tf.Tensor]:
    """The outputs for the parts of a joint batch, as a loss takes them."""
    head = trainer.victim(batch.x, batch.y).head
    if head.kind == heads.NUMBERS or head.logits or head.activation is None:
        return tf.split(output, sizes)
    # Slices have lost the logits that Keras's losses look for on probabilities.
    return [head.outputs(scores) for scores in tf.split(head.scores(output), sizes)]


def _turned(head: heads.Head, answer: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """D(answer, scores), (B,): the divergence of classes or labels, the mean square of numbers."""
    return DISTANCES["mse" if head.kind == heads.NUMBERS else "kl"](head, probabilities_of(head, answer), scores)


def _class_scores(trainer: Any, batch: Batch, output: tf.Tensor) -> tf.Tensor:
    return trainer.victim(batch.x, batch.y).head.scores(output)


def divergence(clean: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
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
