"""Adversarial examples as an augmentation, in a pipeline with others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks, draws
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.training.methods import Standard
from keras_aug_ssl.adversarial.victim.model import Inputs, Victim, telling
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class AdversarialNoise(AugmentationLayer):
    """Adds to each image the small change that misleads a model: adversarial examples from a `Pipeline`.

    With labels, `(images, labels)` or a dict, the change leads away from the label; without one, or with several
    targets, from what the model says of the image as it is. Labels may be class numbers, one-hot or mixed, of which the
    largest share counts. Training on clean and attacked images at once, as AdvProp does (Xie et al. 2020, eq. 3, but
    without a second set of BatchNormalization statistics), is
    `model.fit(Pipeline([..., AdversarialNoise(model, attack, rate=0.5)]).map(data))`.

    The attack sees the weights as they are when a batch is made, which `tf.data` does some steps ahead. Where that
    matters, or several devices train, use `AdversarialTraining`, which attacks inside the step. Whole numbers are
    rounded, which may move a pixel half a step beyond epsilon.

    Args:
        model: whom to mislead: the model that is trained, or another. It isn't part of what the layer is in: its
            weights are saved with the layer, and trained elsewhere. It takes images as they come, channels first if so.
        attack: with an epsilon, untargeted. Its `bounds` are the range of the images, numbers: (0, 255) for uint8.
            All its steps are taken.
        rate: share of the images that are changed, in [0, 1].
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> layer = kas.AdversarialNoise(model, kas.PGD(8, steps=5, bounds=(0, 255)), seed=0)
        >>> images, labels = layer((np.full((2, 4, 4, 1), 128, "uint8"), np.array([0, 1])))
        >>> int(np.abs(np.asarray(images).astype(int) - 128).max()), np.asarray(labels)
        (8, array([0, 1]))
    """

    what = "attack"
    slices = "volumes"  # the model sees them whole

    def __init__(self, model: keras.Model, attack: Attack, rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        backend.require_tensorflow(owner)
        if not isinstance(model, keras.Model):
            checks.fail(owner, "model", "a keras.Model", type(model).__name__, error=TypeError)
        if not isinstance(attack, Attack):
            checks.fail(owner, "attack", "an attack, such as PGD(epsilon=8 / 255)", attack, error=TypeError)
        if attack.targeted or attack.minimal or attack.epsilon is None:
            checks.fail(owner, "attack", "untargeted and with a fixed epsilon", type(attack).__name__)
        if any(np.ndim(bound) for bound in attack.bounds):
            checks.fail(owner, "attack", "one whose bounds are two numbers, for all pixels", attack.bounds)
        self._held = _Held(model)
        self.attack = attack
        self._attack = Standard().prepare(attack)
        self.rate = checks.number(owner, "rate", rate, 0.0, 1.0)
        low, high = (float(bound) for bound in attack.bounds)
        self.value_range = (low, high)

    @property
    def model(self) -> keras.Model:
        """Who is misled."""
        return self._held.model

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        number, unit = draws.uniforms(key, spec.batch_size, 2, spec.first)
        return {"seed": tf.cast(number * 2.0**24, tf.int64), "chosen": unit < self.rate}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "chosen": parameters["chosen"] & mask}

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        attacked = layer._attacked(tf.cast(batch.images, tf.float32), batch.labels, parameters["seed"])
        chosen = tf.reshape(parameters["chosen"], [-1, *[1] * (batch.images.shape.rank - 1)])
        return batch.replace(images=finish(tf.where(chosen, attacked, tf.cast(batch.images, tf.float32))))

    def _attacked(self, images: tf.Tensor, labels: Any, seed: tf.Tensor) -> tf.Tensor:
        owner = type(self).__name__
        labels = labels if tf.is_tensor(labels) else None
        first = self.data_format == "channels_first"
        axes = list(range(1, images.shape.rank - 1))  # of space
        x = tf.transpose(images, [0, images.shape.rank - 1, *axes]) if first else images
        x = tf.clip_by_value(x, *self.attack.bounds)  # float arithmetic before may overshoot by rounding
        victim = Victim(owner, self.model, Inputs(owner, x, None), x, telling(self.model, self.attack.loss), labels)
        # Some kernels refuse a batch of no images.
        attacked = tf.cond(tf.size(x) > 0, lambda: self._attack.perturb(victim, x, labels, seed), lambda: x)
        x = tf.ensure_shape(attacked, x.shape)
        return tf.transpose(x, [0, *(axis + 1 for axis in axes), 1]) if first else x

    def save_own_variables(self, store: Any) -> None:
        """Keeps the weights of the model."""
        for number, weight in enumerate(self.model.weights):
            store[str(number)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Undoes `save_own_variables`."""
        for number, weight in enumerate(self.model.weights):
            weight.assign(store[str(number)])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; of the model without its weights."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in ("model", "attack")}
        return {**super().get_config(), **parts, "rate": self.rate}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AdversarialNoise:
        """Undoes `get_config`."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{**config, **{name: restore(config[name]) for name in ("model", "attack")}})


class _Held:
    """A model that Keras doesn't take for a part of the layer: it may be the very one that the layer is to be in."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
