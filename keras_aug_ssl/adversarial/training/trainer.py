"""Adversarial training inside `model.fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.steps import steepest
from keras_aug_ssl.adversarial.threat.limits import assert_inside, check_inputs
from keras_aug_ssl.adversarial.training import methods
from keras_aug_ssl.adversarial.training.methods import Batch, Method
from keras_aug_ssl.adversarial.victim.model import Inputs, Victim, telling
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.meaning.wrapping import Wrapper


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class AdversarialTraining(Wrapper):
    """A model that trains on adversarial examples of itself, and is the wrapped model in everything else.

    `compile` and `fit` it like any Keras model; callbacks, validation data, sample weights, `tf.data` and `PyDataset`
    work as ever. In training, loss and metrics are those on adversarial examples; `evaluate`, `predict` and validation
    use the inputs as they are. It calls, saves, loads and exports as the wrapped model, whose weights it shares.

    Args:
        model: the model to train. The wrapper compiles it too, with the same optimizer, loss and metrics.
        attack: makes the examples, with all its steps. Its `bounds` must hold for the training inputs.
        method: "standard" (Madry et al. 2018), "trades" (Zhang et al. 2019), "mart" (Wang et al. 2020), "free" (Shafahi
            et al. 2019) or "fast" (Wong et al. 2020); or an instance of `methods.Trades` and so on, which have
            arguments. "free" and "fast" use the attack's ball, not its steps.
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
        self.input_name = input_name
        self._training_attack = self.method.prepare(attack)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains like `keras.Model.fit`, on adversarial examples; arrays are checked against the attack's bounds."""
        if x is not None and all(hasattr(part, "__array__") for part in tf.nest.flatten(x)):
            attacked, _ = Inputs("AdversarialTraining", x, self.input_name).split(x)
            check_inputs("AdversarialTraining", np.asarray(attacked), self.attack.bounds)
        if calling.route_of(self.model) is not calling.directly:  # one look at the data, before all runs in graphs
            calling.graph_route("AdversarialTraining", self.model, _first_inputs(x), training=True)
        return super().fit(x, *args, **kwargs)

    def victim(self, x: Any, y: Any) -> Victim:
        """The wrapped model as attacks see it; `x` and `y` are a batch."""
        owner = "AdversarialTraining"
        loss = telling(self, self.attack.loss)
        return Victim(owner, self.model, Inputs(owner, x, self.input_name), x, loss, y)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One batch: the attack, then the method's loss; several times for "free"."""
        batch = Batch(*keras.utils.unpack_x_y_sample_weight(data))
        victim = self.victim(batch.x, batch.y)
        self.method.check(victim.head)
        x, others = victim.inputs.split(batch.x)
        x = tf.cast(x, tf.float32)
        assert_inside("AdversarialTraining", x, self.attack.bounds)
        batch = batch._replace(x=victim.inputs.join(x, others))
        if isinstance(self.method, methods.Free):
            predictions = self._replay(victim, batch, x, others)
        else:
            seed = tf.cast(self.optimizer.iterations.value, tf.int64)
            x_adv = self._training_attack.perturb(victim, batch.x, batch.y, seed)
            predictions, _ = self._descend(batch, x_adv, [])
        return self.compute_metrics(batch.x, batch.y, predictions, sample_weight=batch.weight)

    def _descend(self, batch: Batch, x_adv: Any, watched: list[tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        """One update of the weights; returns the predictions and the gradients of the loss for `watched`."""
        with tf.GradientTape() as tape:
            tape.watch(watched)
            loss, predictions = self.method.loss(self, batch, x_adv)
            scaled = self.optimizer.scale_loss(loss)
        weights = [variable.value for variable in self.trainable_weights]
        gradients, inputs = tape.gradient(scaled, (weights, watched))
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        size = tf.shape(tf.nest.flatten(x_adv)[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss * tf.distribute.get_strategy().num_replicas_in_sync, sample_weight=size)
        return predictions, inputs

    def _replay(self, victim: Victim, batch: Batch, x: tf.Tensor, others: list[Any]) -> Any:
        """The updates of "free": every backward pass moves the weights and the perturbation."""
        seed = tf.cast(self.optimizer.iterations.value, tf.int64)
        problem = self.attack.problem(victim, batch.x, batch.y, seed)
        x_adv = problem.project(x + problem.ball.random(problem.rows["keys"], x, problem.radius))
        for _ in range(self.method.replays):
            predictions, (gradient,) = self._descend(batch, victim.inputs.join(x_adv, others), [x_adv])
            x_adv = problem.project(x_adv + problem.radius * steepest(problem, x_adv, gradient))
        return predictions

    def save_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Saves the weights of the wrapped model and the state of the optimizer."""
        self.model.save_weights(filepath, **kwargs)

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Loads what `save_weights` of this or of the wrapped model saved."""
        self.model.load_weights(filepath, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The wrapped model, attack and method, for `keras.models.clone_model` and the like."""
        parts = {"model": self.model, "attack": self.attack, "method": self.method}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**config, "input_name": self.input_name, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdversarialTraining:
        """Undoes `get_config`."""
        parts = ("model", "attack", "method")
        built = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects) for name in parts
        }
        return cls(**{**config, **built})


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
