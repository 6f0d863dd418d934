"""What a model looks at: maps of how its score for a class depends on the input."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import flat, spread
from keras_aug_ssl.adversarial.victim.model import Victim, victim_of
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.labels import decisions, predicted

METHODS = ("gradient", "integrated", "smooth")


def saliency(
    model: keras.Model,
    x: Any,
    y: Any = None,
    method: str = "gradient",
    *,
    baseline: Any = 0.0,
    noise_level: float = 0.15,
    steps: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """How the score f of a class depends on each value of the input: the logit, where the model has one; of a model of
    yes and no by one unit, its logit for yes and minus that for no.

    * "gradient": df/dx (Simonyan et al. 2014, arXiv 1312.6034, section 3).
    * "integrated": (x - b) times the mean gradient on the way from the baseline b to x, which adds up to f(x) - f(b)
      (Sundararajan et al. 2017, arXiv 1703.01365, eq. 1).
    * "smooth": the mean gradient at noisy copies of x (Smilkov et al. 2017, arXiv 1706.03825, section 2).

    The gradient of a robust model follows the edges of what is seen, that of a plain one looks like noise: draw both
    with `kas.plots.saliency(images, {"plain": ..., "robust": ...})`.

    Args:
        model: of classes or yes and no, used in inference mode and not changed.
        x: (N, ...) inputs.
        y: the classes, numbers or one-hot; None for those that the model chooses.
        method: one of these.
        baseline: for "integrated", an input without information: a number, or an array that broadcasts to `x`.
        noise_level: for "smooth", standard deviation as a share of the span of values of each input, >= 0.
        steps: points on the way ("integrated", in the middle of equal parts) or copies ("smooth"), >= 1.
        seed: of the noise; an example gets the same alone and in any batch.

    Returns:
        Signed maps in the shape of `x`, float32.

    Raises:
        ValueError: for a model of several labels or of numbers.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.saliency(model, np.array([[0.75, 0.5]]), [0]), kas.saliency(model, [[0.75, 0.5]], [0], "integrated")
        (array([[1., 0.]], dtype=float32), array([[0.75, 0.  ]], dtype=float32))
    """
    owner = "saliency"
    method = checks.one_of(owner, "method", method, METHODS)
    steps = checks.integer(owner, "steps", steps, 1)
    level = checks.number(owner, "noise_level", noise_level, 0.0)
    x = np.asarray(x)
    victim = victim_of(owner, model, x, y=y)
    if not victim.head.single:
        checks.fail(owner, "model", "a model of classes, of which one is looked at", victim.head.kind)
    inputs = tf.convert_to_tensor(x, tf.float32)
    if y is None:
        chosen = predicted(victim.head, victim.scores(inputs, []))
    else:
        chosen = tf.convert_to_tensor(decisions(owner, victim.head, y, len(x)))
    gradient = functools.partial(_graph(victim), y=chosen)
    if method == "gradient":
        return gradient(inputs).numpy()
    if method == "smooth":
        rows = flat(inputs)
        width = level * (tf.reduce_max(rows, axis=1) - tf.reduce_min(rows, axis=1))
        keys = noise.example_keys(inputs, tf.constant(checks.integer(owner, "seed", seed, 0, 2**32 - 1), tf.int64))
        draws = (noise.normal(noise.fold(keys, number), tf.shape(inputs)[1:]) for number in range(steps))
        return (sum(gradient(inputs + spread(width, inputs) * draw) for draw in draws) / steps).numpy()
    change = inputs - tf.cast(baseline, tf.float32)
    places = ((number + 0.5) / steps for number in range(steps))
    return (change * sum(gradient(inputs - (1.0 - place) * change) for place in places) / steps).numpy()


def _graph(victim: Victim) -> Any:
    def gradient(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            scores = victim.scores(x, [])
            score = tf.gather(scores, y, axis=1, batch_dims=1)
            if victim.head.kind == heads.BINARY:  # "no" has no logit of its own: it is what speaks against "yes"
                score -= tf.gather(scores, 1 - y, axis=1, batch_dims=1)
        found = tape.gradient(score, x)
        return tf.zeros_like(x) if found is None else found

    return victim.graph(("saliency",), lambda: tf.function(gradient, autograph=False, reduce_retracing=True))
