"""Adversarial training inside `model.fit`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.steps import steepest
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.threat.limits import check_inputs, inside
from keras_aug_ssl.adversarial.training import methods
from keras_aug_ssl.adversarial.training.methods import Batch, Method
from keras_aug_ssl.adversarial.training.robust_accuracy import check_attack, check_classifier, robust_accuracy
from keras_aug_ssl.adversarial.training.weights import Pairs, keep_states, perturbed, values_of
from keras_aug_ssl.adversarial.victim.model import Inputs, Victim, telling
from keras_aug_ssl.consistency.batches import shifted_seeds
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.meaning.wrapping import Wrapper
from keras_aug_ssl.teaching.teachers import steps_made


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class AdversarialTraining(Wrapper):
    """A model that trains on adversarial examples of itself, and is the wrapped model in everything else.

    `compile` and `fit` it like any Keras model; callbacks, validation data, sample weights, `tf.data` and `PyDataset`
    work as ever. In training, loss and metrics are those on adversarial examples; `evaluate`, `predict` and validation
    use the inputs as they are, and `evaluate(x, y, attack=...)` adds the accuracy under an attack. `RobustAccuracy` has
    that in every epoch. The wrapper calls, saves, loads and exports as the wrapped model, whose weights it shares.

    Args:
        model: the model to train. The wrapper compiles it too, with the same optimizer, loss and metrics.
        attack: makes the examples, with all its steps. Its `bounds` must hold for the training inputs.
        method: "standard" (Madry et al. 2018), "trades" (Zhang et al. 2019), "ikl" (Cui et al. 2024), "mart" (Wang et
            al. 2020), "free" (Shafahi et al. 2019), "fast" (Wong et al. 2020), "n-fgsm" (after de Jorge et al. 2022) or
            "virtual" (Miyato et al. 2018, which takes unlabeled rows too); or one with arguments, such as
            `kas.adversarial.training.methods.Trades(beta=3.0)`. "free", "fast", "n-fgsm" and "virtual" use the attack's
            ball, not its steps.
        clean_fraction: a in the loss a J(x) + (1 - a) J(x_adv), in [0, 1), where J is the compiled loss (Goodfellow et
            al. 2015, section 6, who take 0.5). For "standard", "free", "fast" and "n-fgsm"; others see them
            anyway.
        warmup_steps: the radius rises evenly from 0 in the first update to epsilon in the update of this number. It is
            `optimizer.iterations` that counts, so that a resumed training goes on where it was.
        budget: a function of a batch (x, y) that returns for each example its share of epsilon, (B,) in [0, 1]; None
            is all of it. For budgets by class: `lambda x, y: tf.gather([1.0, 0.5], y)`.
        weight_perturbation: gamma of adversarial weight perturbation (Wu et al. 2020, eq. 7-12; they take 0.005): each
            kernel w is moved by gamma |w| to where the method's loss rises most, the gradient is taken there, and
            changes w itself, so optimizer and weight decay never see the perturbed one. Twice the passes; 0 is off.
        input_name: which of several inputs is attacked.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> x, y = np.random.default_rng(0).uniform(size=(32, 4)), np.arange(32) % 2
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> robust = kas.AdversarialTraining(model, attack=kas.PGD(epsilon=0.05, steps=3))
        >>> robust.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        >>> sorted(robust.fit(x, y, epochs=1, verbose=0).history)
        ['accuracy', 'loss']
    """

    def __init__(
        self,
        model: keras.Model,
        attack: Attack,
        method: str | Method = "standard",
        *,
        clean_fraction: float = 0.0,
        warmup_steps: int = 0,
        budget: Callable[[Any, Any], tf.Tensor] | None = None,
        weight_perturbation: float = 0.0,
        input_name: str | int | None = None,
        **kwargs: Any,
    ):
        super().__init__(model, **kwargs)
        owner = "AdversarialTraining"
        if not isinstance(attack, Attack):
            checks.fail(owner, "attack", "an attack, such as PGD(epsilon=8 / 255)", attack, error=TypeError)
        if attack.targeted or attack.minimal:
            checks.fail(owner, "attack", "untargeted and with a fixed epsilon", type(attack).__name__)
        self.attack = attack
        self.method = methods.named(method)
        self.clean_fraction = checks.number(owner, "clean_fraction", clean_fraction, 0.0, 1.0, high_open=True)
        if self.clean_fraction and not self.method.mixes:
            names = ", ".join(f'"{name}"' for name, make in methods.METHODS.items() if make().mixes)
            expected = f"0 for a method that sees clean examples anyway; {names} take it"
            checks.fail(owner, "clean_fraction", expected, clean_fraction)
        self.warmup_steps = checks.integer(owner, "warmup_steps", warmup_steps, 0)
        if budget is not None and not callable(budget):
            expected = "a function of (x, y) that returns shares of epsilon (B,)"
            checks.fail(owner, "budget", expected, budget, error=TypeError)
        self.budget = budget
        if attack.epsilon is None and (self.warmup_steps or budget is not None):
            checks.fail(owner, "attack", "one with an epsilon, of which to take a share", type(attack).__name__)
        self.weight_perturbation = checks.number(owner, "weight_perturbation", weight_perturbation, 0.0)
        self.input_name = input_name
        self.training_attack = self.method.prepare(attack)
        self._moment = _Moment()

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains like `keras.Model.fit`, on adversarial examples; arrays are checked against the attack's bounds."""
        if x is not None and all(hasattr(part, "__array__") for part in tf.nest.flatten(x)):
            attacked, _ = Inputs("AdversarialTraining", x, self.input_name).split(x)
            check_inputs("AdversarialTraining", np.asarray(attacked), self.attack.bounds)
        if calling.route_of(self.model) is not calling.directly:  # one look at the data, before all runs in graphs
            calling.graph_route("AdversarialTraining", self.model, _first_inputs(x), training=True)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, attack: Attack | None = None, **kwargs: Any) -> Any:
        """Evaluates like `keras.Model.evaluate`, and under an attack when one is given.

        Args:
            x: the data.
            y: the labels.
            *args: of `keras.Model.evaluate`.
            attack: adds `robust_accuracy`, the share of examples it can't turn, as the last of the results. Weights of
                examples don't count in it.
            **kwargs: of `keras.Model.evaluate`.

        Returns:
            What `keras.Model.evaluate` returns.
        """
        if attack is None:
            return super().evaluate(x, y, *args, **kwargs)
        as_dict = kwargs.pop("return_dict", False)
        check_attack("AdversarialTraining.evaluate", attack)
        check_classifier("AdversarialTraining.evaluate", self.model, x, y, self.input_name)
        found = super().evaluate(x, y, *args, return_dict=True, **kwargs)
        found["robust_accuracy"] = robust_accuracy(self.model, attack, x, y, input_name=self.input_name)
        return found if as_dict else list(found.values())

    def victim(self, x: Any, y: Any) -> Victim:
        """The wrapped model as attacks see it; `x` and `y` are a batch."""
        owner = "AdversarialTraining"
        loss = telling(self, self.attack.loss)
        return Victim(owner, self.model, Inputs(owner, x, self.input_name), x, loss, y)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One batch: the attack, then the method's loss; several times for "free"."""
        batch = self._batch(data)
        victim = self.victim(batch.x, batch.y)
        self.method.check(victim.head)
        batch = batch._replace(x=self._checked(victim, batch.x))
        if batch.unlabeled is not None:
            batch = batch._replace(unlabeled=self._checked(victim, batch.unlabeled))
        self._moment = _Moment(seeds=shifted_seeds(self.model, 1))
        step = tf.cast(steps_made(self.optimizer), tf.int64)
        share = self._share(batch, step)
        if self.budget is not None:
            batch = batch._replace(x=_spoiled(victim, batch.x, tf.math.is_nan(share)))
        if isinstance(self.method, methods.Free):
            predictions = self._replay(victim, batch, step, share)
        else:
            x_adv = self.method.examples(self, victim, batch, step, share)
            predictions, _ = self._descend(batch, x_adv, [])
        return self.compute_metrics(batch.x, batch.y, predictions, sample_weight=batch.weight)

    def aside(self, x: Any) -> Any:
        """The outputs in training mode of a pass that leaves no trace, and drops the same units each time in a step."""
        with keras.StatelessScope(state_mapping=[*self._moment.seeds, *self._moment.weights]):
            return self(x, training=True)

    def _batch(self, data: Any) -> Batch:
        """Reads what `fit` hands to a step: (x, y, weight), or ((x, y, weight), x_unlabeled)."""
        if not _is_stream(self.model, data):
            return Batch(*keras.utils.unpack_x_y_sample_weight(data))
        if not self.method.reads_unlabeled or self.budget is not None:
            checks.fail(
                "AdversarialTraining", "x", "(x, y) or (x, y, sample_weight)", "a stream of ((x, y), x_unlabeled)",
                'Only "virtual", without `budget`, learns from rows without labels. The other methods need labels for '
                "them: `kas.SelfTraining` in this `fit` makes such.",
            )  # fmt: skip
        return Batch(*keras.utils.unpack_x_y_sample_weight(tuple(data[0])))._replace(unlabeled=data[1])

    def _checked(self, victim: Victim, x: Any) -> Any:
        """Inputs whose attacked part is floats inside the bounds."""
        x, others = victim.inputs.split(x)
        return victim.inputs.join(inside("AdversarialTraining", x, self.attack.bounds), others)

    def _share(self, batch: Batch, step: tf.Tensor) -> tf.Tensor:
        """The share of epsilon that is the radius now: a scalar, or (B,) with a budget."""
        share = tf.constant(1.0)
        if self.warmup_steps:
            share = tf.minimum(tf.cast(step, tf.float32) / self.warmup_steps, 1.0)
        if self.budget is None:
            return share
        budget = tf.cast(self.budget(batch.x, batch.y), tf.float32)
        if budget.shape.rank != 1:
            checks.fail(
                "AdversarialTraining", "budget", "such that it returns one share an example, (B,)", budget.shape
            )
        message = "AdversarialTraining: `budget` must return shares of epsilon, in [0, 1]."
        allowed = (budget >= 0.0) & (budget <= 1.0)
        tf.debugging.Assert(tf.reduce_all(allowed), [message, budget])
        return share * tf.where(allowed, budget, np.nan)  # for `_spoiled`, as XLA leaves assertions out

    def _descend(self, batch: Batch, x_adv: Any, watched: list[tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        """One update of the weights; returns the predictions and the gradients of the loss for `watched`."""
        if self.weight_perturbation:

            def raised(weights: Pairs) -> tf.Tensor:
                with self._at(weights, kept=False):
                    loss, _ = self.method.loss(self, batch, _still_nan(x_adv, batch.inputs))
                return self.optimizer.scale_loss(loss)

            pairs = perturbed(values_of(self.model), raised, self.weight_perturbation)
            weights, watched_too = [value for _, value in pairs], [value for _, value in pairs]
        else:
            pairs, watched_too = [], []
            weights = [variable.value for variable in self.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch([watched, watched_too])
            with self._at(pairs, kept=True):
                loss, predictions = self.method.loss(self, batch, _still_nan(x_adv, batch.inputs))
            scaled = self.optimizer.scale_loss(loss)
        gradients, inputs = tape.gradient(scaled, (weights, watched))
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        size = tf.shape(tf.nest.flatten(x_adv)[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss * tf.distribute.get_strategy().num_replicas_in_sync, sample_weight=size)
        return predictions, inputs

    @contextlib.contextmanager
    def _at(self, weights: Pairs, kept: bool) -> Iterator[None]:
        """Calls the model at other weights, which it never holds; what else a pass changes is `kept` or forgotten."""
        if not weights:
            yield
            return
        self._moment = dataclasses.replace(self._moment, weights=weights)
        with keras.StatelessScope(state_mapping=weights, collect_losses=True) as scope:
            yield
        self._moment = dataclasses.replace(self._moment, weights=[])
        if kept:
            keep_states(scope, self.model, weights)

    def _replay(self, victim: Victim, batch: Batch, step: tf.Tensor, share: tf.Tensor) -> Any:
        """The updates of "free": every backward pass moves the weights and the perturbation."""
        problem = self.attack.problem(victim, batch.x, batch.y, step, share)
        x, others = problem.x, problem.rows["others"]
        x_adv = problem.project(x + problem.ball.random(problem.rows["keys"], x, problem.radius))
        for _ in range(self.method.replays):
            predictions, (gradient,) = self._descend(batch, victim.inputs.join(x_adv, others), [x_adv])
            x_adv = problem.project(x_adv + problem.span * steepest(problem, x_adv, gradient))
        return predictions

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Under a strategy Keras builds metrics and losses by a batch (x, y) beforehand: that of the labeled rows."""
        if data_batch is not None and _is_stream(self.model, data_batch):
            data_batch = tuple(data_batch[0])
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def save_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Saves the weights of the wrapped model and the state of the optimizer."""
        self.model.save_weights(filepath, **kwargs)

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Loads what `save_weights` of this or of the wrapped model saved."""
        self.model.load_weights(filepath, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The wrapped model, attack and method, for `keras.models.clone_model` and the like."""
        config = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _PARTS}
        plain = ("clean_fraction", "warmup_steps", "weight_perturbation", "input_name", "name")
        return {**config, **{name: getattr(self, name) for name in plain}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdversarialTraining:
        """Undoes `get_config`."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{**config, **{name: restore(config[name], custom_objects=custom_objects) for name in _PARTS}})


_PARTS = ("model", "attack", "method", "budget")


@dataclasses.dataclass(frozen=True)
class _Moment:
    """What a step lends to the passes it makes; Keras would track a list of variables as the wrapper's own.

    Attributes:
        seeds: random states with the values that passes aside see.
        weights: weights with the values at which the loss is taken.
    """

    seeds: Pairs = dataclasses.field(default_factory=list)
    weights: Pairs = dataclasses.field(default_factory=list)


def _spoiled(victim: Victim, x: Any, wrong: tf.Tensor) -> Any:
    """Inputs that are NaN in the (B,) wrong examples, and so is a loss that has seen them."""
    x, others = victim.inputs.split(x)
    return victim.inputs.join(tf.where(spread(wrong, x), np.nan, x), others)


def _still_nan(x_adv: Any, x: Any) -> Any:
    """Adversarial inputs that are NaN where the clean ones are: XLA's clipping may have hidden it."""

    def kept(moved: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.math.is_nan(clean), np.nan, moved) if moved.dtype.is_floating else moved

    return tf.nest.map_structure(kept, x_adv, x)


def _is_stream(model: keras.Model, data: Any) -> bool:
    """Whether data are ((x, y), x_unlabeled), and not (x, y) of a model whose x has parts."""
    first = data[0] if isinstance(data, (tuple, list)) and len(data) == 2 else None
    if not isinstance(first, (tuple, list)) or len(first) not in (2, 3):
        return False
    inputs = getattr(model, "inputs", None) or [None]
    return len(inputs) == 1 or isinstance(first[0], (tuple, list, dict))


def _first_inputs(data: Any) -> Any:
    """The inputs of the first batch; None where looking would use it up."""
    if isinstance(data, tf.data.Dataset):
        data = next(iter(data))
    elif isinstance(data, keras.utils.PyDataset):
        data = data[0]
    elif hasattr(data, "__next__"):
        return None
    else:
        return data
    return keras.utils.unpack_x_y_sample_weight(data)[0]
