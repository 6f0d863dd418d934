"""How the weight of the unlabeled loss grows: functions of the step, each from 0 to 1."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class Ramp:
    """Base of the ramps. A network that knows nothing yet shouldn't be held to its own guesses.

    Any function of the step, an int64 scalar tensor, serves as well.

    Args:
        steps: gradient steps that the rise takes, >= 1.
    """

    def __init__(self, steps: int) -> None:
        self.steps = checks.integer(type(self).__name__, "steps", steps, 1)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the factor at a step, a float32 scalar in [0, 1]."""
        return self.rise(self._part(step))

    def rise(self, part: tf.Tensor) -> tf.Tensor:
        """Returns the factor when `part` of the steps, in [0, 1], have been made."""
        raise NotImplementedError

    def _part(self, step: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(tf.cast(step, tf.float32) / self.steps, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Ramp:
        """Undoes `get_config`."""
        return cls(**config)


@register
class Linear(Ramp):
    """Rises evenly, from step `start` on (Lee 2013, eq. 16; MixMatch with start 0).

    Args:
        steps: gradient steps that the rise takes, >= 1.
        start: steps before it, >= 0.

    Example:
        >>> ramp = kas.consistency.ramps.Linear(10, start=5)
        >>> [float(ramp(step)) for step in (0, 10, 20)]
        [0.0, 0.5, 1.0]
    """

    def __init__(self, steps: int, start: int = 0) -> None:
        super().__init__(steps)
        self.start = checks.integer("Linear", "start", start, 0)

    def _part(self, step: tf.Tensor) -> tf.Tensor:
        return super()._part(tf.cast(step, tf.float32) - self.start)

    def rise(self, part: tf.Tensor) -> tf.Tensor:
        """Returns the part."""
        return part


@register
class Sigmoid(Ramp):
    """exp(-5 (1 - t)^2): slow at first (Laine and Aila 2017, section 2.3; Mean Teacher).

    Args:
        steps: gradient steps that the rise takes, >= 1.

    Example:
        >>> [round(float(kas.consistency.ramps.Sigmoid(10)(step)), 3) for step in (0, 5, 10)]
        [0.007, 0.287, 1.0]
    """

    def rise(self, part: tf.Tensor) -> tf.Tensor:
        """Returns exp(-5 (1 - t)^2)."""
        return tf.exp(-5.0 * (1.0 - part) ** 2)


@register
class Cosine(Ramp):
    """(1 - cos(pi t)) / 2 over half of all steps (AdaMatch, section 3.4: 1/2 - cos(min(pi, 2 pi t / T)) / 2).

    Args:
        steps: T, all gradient steps of the training, >= 1; the rise takes half of them.

    Example:
        >>> [round(float(kas.consistency.ramps.Cosine(100)(step)), 3) for step in (0, 25, 50, 99)]
        [0.0, 0.5, 1.0, 1.0]
    """

    def rise(self, part: tf.Tensor) -> tf.Tensor:
        """Returns the raised cosine."""
        return 0.5 - 0.5 * tf.cos(tf.minimum(math.pi, 2.0 * math.pi * part))
