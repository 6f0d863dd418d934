"""Adversarial weight perturbation: a step that descends from the worst weights nearby (Wu et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_aug_ssl.consistency import replicas

Pairs = list[tuple[keras.Variable, tf.Tensor]]


def values_of(model: keras.Model) -> Pairs:
    """The trainable weights with what they are, which a tape can watch."""
    return [(variable, tf.convert_to_tensor(variable.value)) for variable in model.trainable_weights]


def perturbed(pairs: Pairs, loss: Callable[[Pairs], tf.Tensor], share: float) -> Pairs:
    """The weights, moved along the gradient of the loss by a share of the length of each kernel.

    Args:
        pairs: the weights as they are. Those of rank 1, biases and what normalizes, stay, as in the authors' code.
        loss: this replica's share of the loss, as a function of such pairs.
        share: |v_l| / |w_l| for each kernel w_l, the paper's gamma (eq. 8 and 9).

    Returns:
        The pairs w + v, where v_l = share |w_l| g_l / |g_l| is one step of eq. 10 that ends on the boundary.
    """
    values = [value for _, value in pairs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        value = loss(pairs)
    gradients = [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(value, values)]
    moved = []
    for (variable, weight), gradient in zip(pairs, gradients, strict=True):
        if gradient is not None and weight.shape.rank > 1:
            weight += share * _length(weight) * _direction(replicas.total(tf.cast(gradient, weight.dtype)))
        moved.append((variable, tf.stop_gradient(weight)))
    return moved


def keep_states(scope: keras.StatelessScope, model: keras.Model, pairs: Pairs) -> None:
    """Gives a model the running averages and random states that a pass in `scope` left, but not its weights `pairs`."""
    lent = {id(variable) for variable, _ in pairs}
    for variable in model.variables:
        value = scope.get_current_value(variable)
        if value is not None and id(variable) not in lent:
            variable.assign(value)


def _direction(gradient: tf.Tensor) -> tf.Tensor:
    """Length 1; zero for a gradient that is zero, or not finite as where the scale of float16 is being found."""
    gradient = tf.where(tf.reduce_all(tf.math.is_finite(gradient)), gradient, tf.zeros_like(gradient))
    gradient /= tf.maximum(tf.reduce_max(tf.abs(gradient)), 1e-30)  # squares neither vanish nor overflow
    return gradient / tf.maximum(_length(gradient), 1e-30)


def _length(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(values)))
