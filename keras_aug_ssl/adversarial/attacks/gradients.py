"""The gradient with respect to the input, and its use in both directions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks
from keras_aug_ssl.adversarial.attacks.fixed_radius import FGSM
from keras_aug_ssl.adversarial.threat.limits import inside
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.adversarial.victim.model import Victim, several, victim_of
from keras_aug_ssl.meaning import heads, labels, losses
from keras_aug_ssl.meaning.labels import decisions, decisions_in_graph, predicted


def input_gradient(model: keras.Model, x: Any, y: Any = None, loss: Any = None) -> Any:
    """Gradient of each example's own loss with respect to its inputs.

    It says which values matter, and which way to change them for the worse: the first thing to look at in any model.
    The losses of a batch are added, not averaged, so an example has the same gradient alone and in any batch.

    Args:
        model: any Keras model, used in inference mode and not changed.
        x: (N, ...) inputs, or a dict or list of them.
        y: labels; None for the model's own predictions.
        loss: None for the loss that fits the model: cross-entropy for classes and labels, else the compiled loss. Or a
            Keras loss, its name, a callable of (y_true, y_pred), or "margin" or "dlr".

    Returns:
        d loss / d x in the shape and structure of `x`: a NumPy array for an array, a tensor for a tensor. An input that
        the model reads as integers, such as an embedding's, has a gradient of zero.

    Raises:
        ValueError: when the outputs of the model can't be told to be logits or probabilities, or it has no gradient.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.input_gradient(model, np.array([[0.5, 0.5]]), [0])
        array([[-0.5,  0.5]], dtype=float32)
    """
    owner = "input_gradient"
    if isinstance(loss, str) and loss not in objectives.OBJECTIVES:
        loss = losses.resolve(loss, 0, labels.form_of(y) in (labels.CLASS_NUMBERS, labels.ZERO_ONE))
    x = x if several(x) or hasattr(x, "__array__") else np.asarray(x)
    name = None if not several(x) else sorted(x)[0] if isinstance(x, dict) else 0
    victim = victim_of(owner, model, x, loss=loss, input_name=name, y=y)
    inputs = tf.nest.map_structure(_as_float, x)
    gradient = _graph(victim, loss)(inputs, _labels(owner, victim, loss, y, tf.nest.flatten(inputs)[0].shape[0]))
    if tf.is_tensor(tf.nest.flatten(x)[0]):
        return gradient
    return tf.nest.map_structure(lambda part: part.numpy(), gradient)


def _labels(owner: str, victim: Victim, loss: Any, y: Any, size: int) -> Any:
    """Labels as the tensor that the measure takes, checked where their values can be seen."""
    if y is None:
        return None
    symbolic = tf.is_tensor(y) and not tf.executing_eagerly()
    decided = decisions_in_graph(victim.head, y) if symbolic else decisions(owner, victim.head, y, size)
    by_loss = objectives.judged_by_loss("auto" if loss is None else loss, victim.head)
    if not by_loss:
        softened = loss in (None, "crossentropy")
        return tf.convert_to_tensor(labels.softened(victim.head, y, decided) if softened else decided)
    labels.check_judged(owner, victim.head, y, loss)
    return tf.cast(y, tf.float32)


def fgsm(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilon: float = 8 / 255,
    targeted: bool = False,
    *,
    input_name: str | int | None = None,
    norm: str = "linf",
    bounds: tuple[Any, Any] = (0.0, 1.0),
) -> Any:
    """The fast gradient sign method: `x + epsilon * sign(d loss / d x)`, inside the bounds.

    With `targeted=True` it goes the other way, `x - epsilon * sign(...)`: an image the model likes better for `y`. It
    can be part of a `tf.function` or of `Dataset.map`.

    Args:
        model: any Keras model, used in inference mode and not changed.
        x: (N, ...) inputs inside `bounds`, uint8 or float; or a dict or list of them.
        y: class numbers, one-hot labels, or what the model is fitted to; None for the model's own predictions.
        epsilon: length of the step in the unit of the model's input, >= 0.
        targeted: descend towards `y` instead of climbing away from it.
        input_name: key or index of the attacked input of a model with several.
        norm: "linf", "l2" or "l1".
        bounds: (low, high) of valid inputs.

    Returns:
        The inputs with the attacked one changed, float32: NumPy arrays for arrays, tensors for tensors.

    Raises:
        ValueError: as `FGSM` does.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> x = np.array([[0.5, 0.5]])
        >>> kas.fgsm(model, x, [0], epsilon=0.125), kas.fgsm(model, x, [0], epsilon=0.125, targeted=True)
        (array([[0.375, 0.625]], dtype=float32), array([[0.625, 0.375]], dtype=float32))
    """
    backend.require_tensorflow("fgsm")
    attack = FGSM(epsilon, norm, bounds=bounds, targeted=targeted)
    if not tf.executing_eagerly():
        return _fgsm_in_graph(attack, model, x, y, input_name)
    x_adv = attack.inputs(model, x, y, input_name=input_name)
    return tf.nest.map_structure(tf.constant, x_adv) if tf.is_tensor(tf.nest.flatten(x)[0]) else x_adv


def _fgsm_in_graph(attack: FGSM, model: keras.Model, x: Any, y: Any, input_name: str | int | None) -> Any:
    x = tf.nest.map_structure(tf.convert_to_tensor, x)
    victim = victim_of("fgsm", model, x, input_name=input_name, y=y)
    attacked, others = victim.inputs.split(x)
    x = victim.inputs.join(inside("fgsm", attacked, attack.bounds), others)
    return attack.perturb(victim, x, y, tf.constant(0))


def _graph(victim: Victim, loss: Any) -> Any:
    measure = _measure(victim, loss)

    def gradient(x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            scores = victim.head.scores(victim.output(x))
            value = measure(scores, predicted(victim.head, scores) if y is None else y)
        found = tape.gradient(value, tf.nest.flatten(x))
        if all(part is None for part in found):
            checks.fail(
                "input_gradient", "model", "differentiable in its input", victim.model.name,
                "A layer in it isn't, or casts its input to integers.",
            )  # fmt: skip
        parts = zip(tf.nest.flatten(x), found, strict=True)
        return tf.nest.pack_sequence_as(x, [tf.zeros_like(p) if d is None else d for p, d in parts])

    return victim.graph(("input_gradient", loss), lambda: tf.function(gradient, autograph=False, reduce_retracing=True))


def _measure(victim: Victim, loss: Any) -> objectives.Objective:
    head = victim.head
    if loss in (None, "crossentropy") and head.single:
        return lambda scores, y: (
            objectives.cross_entropy(scores, y)
            if y.dtype.is_integer
            else tf.nn.softmax_cross_entropy_with_logits(y, scores)
        )
    if loss in (None, "crossentropy") and head.kind == heads.LABELS:
        return lambda scores, y: tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, scores), axis=1)
    return objectives.choose("input_gradient", "auto" if loss is None else loss, head, victim.compiled_loss)


def _as_float(part: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(part), tf.float32)
