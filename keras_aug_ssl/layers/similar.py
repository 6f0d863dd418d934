"""Mixing layers that choose partners by their labels: of one class, of like targets, of rare classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import mixing
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.mixing import MixingLayer, missing, without_label

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


def _classes(labels: Any) -> tf.Tensor:
    """(B,) int32 numbers, the same for labels that are equal in every target; -1 for those without one."""
    targets = [tf.cast(y, tf.float32 if y.dtype.is_floating else tf.int64) for y in tf.nest.flatten(labels)]
    groups = [mixing.groups_of(target) for target in targets]
    together = groups[0] if len(groups) == 1 else mixing.groups_of(tf.stack(groups, 1))
    return tf.where(missing(labels) > 0, -1, together)


@register
class SameClassMix(MixingLayer):
    """Interpolates each example with another one of its class in the batch: x1 * w + x2 * (1 - w). Labels stay.

    What SMOTE (Chawla et al. 2002) does to a table, on the fly and for inputs of any rank: images, sequences, rows. New
    examples lie on the segment between two of one class. Where the classes of an image data set overlap in pixel
    space, a nearest partner (`neighbours`) stays closer to what the class looks like; any partner (None) varies more.

    Two examples are of one class when their labels are equal throughout: integers, one-hot or several of K. One that is
    alone in its class, or has no label, stays as it is. To make more of a rare class, see `kas.data.balanced`.

    Args:
        alpha: w is drawn from Beta(alpha, alpha), > 0; 1 is uniform, as in SMOTE.
        neighbours: the partner is drawn among so many nearest ones of the class in the batch, by the Euclidean
            distance of the inputs; None takes any, each once.
        mix, per_batch, seed, **kwargs: as for `MixingLayer`. Labels are not mixed, so `num_classes` is not needed.

    Returns:
        When called: the structure of the inputs, every part in its dtype.

    Raises:
        ValueError: no labels, a single image, keypoints, or an input not named in `mix`.
        TypeError: inputs or masks of integers that have nothing between them.

    Example:
        >>> mix = kas.layers.SameClassMix(seed=1)
        >>> rows, classes = np.array([[0.0], [1.0], [10.0], [11.0]], "float32"), np.array([0, 0, 1, 1])
        >>> mixed, labels = mix((rows, classes))
        >>> bool(np.all((mixed[:2] >= 0) & (mixed[:2] <= 1))), labels.numpy().tolist()
        (True, [0, 0, 1, 1])
    """

    needs_labels = True

    def __init__(self, alpha: float = 1.0, neighbours: int | None = None, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)
        self.neighbours = None if neighbours is None else checks.integer("SameClassMix", "neighbours", neighbours, 1)

    def partners(self, spec: Spec, key: tf.Tensor) -> tf.Tensor:
        classes = _classes(spec.labels)
        place = tf.range(spec.batch_size)
        alone = classes < 0
        if self.neighbours is None:
            return mixing.next_in_group(tf.where(alone, -1 - place, classes), draws.permutation(key, spec.batch_size))
        if spec.inputs is None:
            checks.fail("SameClassMix", "inputs", "the examples themselves, to find the nearest", "a Spec")
        allowed = (classes[:, None] == classes) & (place[:, None] != place) & ~alone
        near = mixing.nearest(mixing.squared_distances(spec.inputs), allowed, self.neighbours)
        (unit,) = draws.uniforms(key, spec.batch_size, 1)
        return mixing.choose(tf.cast(near, tf.float32), unit)

    def mix_labels(self, labels: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return labels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "neighbours": self.neighbours}


@register
class SimilarTargetMix(MixingLayer):
    """Interpolates each example and its target with one of a similar target: C-Mixup (Yao et al. 2022), for regression.

    The partner j of i is drawn with a chance in proportion to exp(-|y_i - y_j|^2 / (2 sigma^2)) (eq. 6), i itself left
    out, within the batch. An example that no other resembles (further than about 13 sigma the chance is 0 in float32)
    stays as it is: with sigma to infinity the layer is MixUp, with sigma to 0 the identity. The paper draws one
    weight for a batch (`per_batch=True`) and, in one of its variants, partners from the whole set.

    Args:
        alpha: the weight is drawn from Beta(alpha, alpha), > 0; the paper takes 0.5 to 2.
        sigma: in the unit of the targets, > 0, `math.inf` included. None takes half the standard deviation of the
            batch's targets.
        mix, per_batch, seed, **kwargs: as for `MixingLayer`. Targets (B, ...) may be of any rank; the distance is
            Euclidean over a target's entries. Integers are taken as numbers, not classes, and become float32. Of
            several targets, all entries count alike.

    Returns:
        When called: the structure of the inputs.

    Raises:
        ValueError: no labels, a single image, keypoints, or an input not named in `mix`.

    Example:
        >>> mix = kas.layers.SimilarTargetMix(sigma=1.0, seed=1)
        >>> x = np.array([[0.0], [1.0], [100.0], [101.0]], "float32")
        >>> mixed, targets = mix((x, 2 * x[:, 0]))
        >>> np.allclose(mixed[:, 0] * 2, targets), bool(np.all((mixed < 2) | (mixed > 99)))
        (True, True)
    """

    needs_labels = True

    def __init__(self, alpha: float = 2.0, sigma: float | None = None, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)
        if sigma is not None and sigma != math.inf:
            sigma = checks.number("SimilarTargetMix", "sigma", sigma, 0.0, low_open=True)
        self.sigma = sigma

    def partners(self, spec: Spec, key: tf.Tensor) -> tf.Tensor:
        numbers = [tf.cast(target, tf.float32) for target in tf.nest.flatten(spec.labels)]
        place, unknown = tf.range(spec.batch_size), missing(numbers)
        targets = tf.concat([tf.reshape(target, [spec.batch_size, -1]) for target in numbers], 1)
        targets = tf.where(tf.math.is_nan(targets), 0.0, targets)
        allowed = (unknown[:, None] == unknown) & (place[:, None] != place)
        squared = mixing.squared_distances(targets)
        if self.sigma == math.inf:
            exponent = tf.zeros_like(squared)
        else:
            variance = (
                0.25 * _variance(squared, unknown > 0) if self.sigma is None else tf.square(tf.constant(self.sigma))
            )
            # Where all targets are equal the variance is 0, and so are the distances.
            exponent = tf.math.divide_no_nan(squared, -2.0 * variance)
        (unit,) = draws.uniforms(key, spec.batch_size, 1)
        return mixing.choose(tf.where(allowed, tf.exp(exponent), 0.0), unit)

    def unknown(self, target: tf.Tensor) -> tf.Tensor:
        return without_label(tf.cast(target, tf.float32))  # a number may be negative

    def mix_labels(self, labels: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return super().mix_labels(labels if labels.dtype.is_floating else tf.cast(labels, tf.float32), parameters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma}


def _variance(squared: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
    """The variance of the known targets, from their (B, B) squared distances: half the mean over all pairs."""
    both = tf.cast(~unknown[:, None] & ~unknown, tf.float32)
    return 0.5 * tf.math.divide_no_nan(tf.reduce_sum(both * squared), tf.reduce_sum(both))


@register
class BalancedMixUp(MixingLayer):
    """Interpolates each example with one drawn evenly over the classes, for unbalanced sets (Galdran et al. 2021).

    The paper mixes a batch sampled by instance with one sampled by class, x = (1 - u) x_instance + u x_class with u
    from Beta(alpha, 1), so mostly near 0: every batch shows rare classes, seldom unmixed. Here the second batch is
    drawn from the first: a class among those present, each with the same chance, then one of its examples.

    Args:
        alpha: > 0; the paper takes 0.1 to 0.3. Larger gives the rare classes more weight.
        num_classes, mix, per_batch, seed, **kwargs: as for `MixingLayer`.

    Returns:
        When called: the structure of the inputs; labels as with `MixUp`.

    Raises:
        ValueError: no labels, and what `MixUp` raises.

    Example:
        >>> mix = kas.layers.BalancedMixUp(num_classes=2, seed=1)
        >>> labels = np.array([0] * 63 + [1])
        >>> partner = mix.sample((np.zeros((64, 3)), labels), seed=1)["partner"]
        >>> bool(20 < np.sum(labels[partner]) < 44)
        True
    """

    needs_labels = True

    def __init__(self, alpha: float = 0.2, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)

    def partners(self, spec: Spec, key: tf.Tensor) -> tf.Tensor:
        classes = _classes(spec.labels)
        same = tf.cast(classes[:, None] == classes, tf.float32)
        with_label = classes >= 0
        chance = tf.where(with_label[:, None] == with_label, 1.0 / tf.reduce_sum(same, 0), 0.0)
        (unit,) = draws.uniforms(key, spec.batch_size, 1)
        return mixing.choose(chance, unit)

    def shares(self, key: tf.Tensor, count: Any) -> tf.Tensor:
        (unit,) = draws.uniforms(key, count, 1)
        return 1.0 - tf.pow(unit, 1.0 / self.alpha)  # the distribution function of Beta(alpha, 1) is u ** alpha


@register
class Remix(MixingLayer):
    """MixUp that gives the whole label to the rarer class where the counts are far apart (Chou et al. 2020, eq. 8).

    With w the weight of example i, j its partner and n the number of examples of each one's class, the label's
    weight is 0 if n_i / n_j >= kappa and w < tau; 1 if n_j / n_i >= kappa and 1 - w < tau; else w. Inputs are mixed
    by w.

    Parameters drawn: besides those of `MixingLayer`, `label_weight` (B,) float32.

    Args:
        alpha: w is drawn from Beta(alpha, alpha), > 0.
        class_counts: examples of each class in the training set. None counts the labels the layer is called with, from
            the first batch on, and saves the counts with the model; `sample` reads them and counts nothing.
        kappa: ratio of two classes' counts from which on one is rare, >= 1.
        tau: an example may lose its label as long as its weight is below, in [0, 1].
        num_classes: needed where `class_counts` is None.
        mix, per_batch, seed, **kwargs: as for `MixingLayer`. Labels are integers or one-hot.

    Returns:
        When called: the structure of the inputs; labels as with `MixUp`.

    Raises:
        ValueError: no labels, neither `class_counts` nor `num_classes`, and what `MixUp` raises.

    Example:
        >>> remix = kas.layers.Remix(class_counts=[1000, 10], seed=1)
        >>> drawn = remix.sample((np.zeros((2, 3)), np.array([0, 1])), seed=4)
        >>> bool(drawn["label_weight"][0] == 0.0) == bool(drawn["weight"][0] < 0.5)
        True
    """

    needs_labels = True

    def __init__(
        self,
        alpha: float = 1.0,
        class_counts: Sequence[float] | None = None,
        *,
        kappa: float = 3.0,
        tau: float = 0.5,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        if class_counts is not None:
            class_counts = [checks.number("Remix", "class_counts", count, 0.0) for count in class_counts]
            if num_classes not in (None, len(class_counts)):
                checks.fail("Remix", "num_classes", f"the length of `class_counts`, {len(class_counts)}", num_classes)
            num_classes = len(class_counts)
        elif num_classes is None:
            checks.fail("Remix", "num_classes", "given where `class_counts` is not", None)
        super().__init__(alpha, num_classes=num_classes, **kwargs)
        self.class_counts = class_counts
        self.kappa = checks.number("Remix", "kappa", kappa, 1.0)
        self.tau = checks.number("Remix", "tau", tau, 0.0, 1.0)
        if class_counts is None:
            with tf.device("CPU:0"):  # tf.data runs there and can't capture a variable that lives on a GPU
                self.seen = self.add_weight(
                    shape=(num_classes,), initializer="zeros", dtype="int64", trainable=False, name="seen"
                )

    def observe(self, spec: Spec) -> None:
        if self.class_counts is None and spec.labels is not None:
            self.seen.assign_add(tf.cast(tf.reduce_sum(self._one_hot(spec), 0), tf.int64))

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        drawn = super().draw(spec, key)
        counts = self.seen.value if self.class_counts is None else tf.constant(self.class_counts)
        own = tf.linalg.matvec(self._one_hot(spec), tf.cast(counts, tf.float32))
        theirs, weight = tf.gather(own, drawn["partner"]), drawn["weight"]
        loses = (own >= self.kappa * theirs) & (weight < self.tau)
        wins = (theirs >= self.kappa * own) & (1.0 - weight < self.tau)
        settled = tf.where(own == theirs, weight, tf.where(loses, 0.0, tf.where(wins, 1.0, weight)))
        return {**drawn, "label_weight": settled}

    def _one_hot(self, spec: Spec) -> tf.Tensor:
        if not tf.is_tensor(spec.labels):
            advice = "Which class is rare is said of one target; mix several by MixUp."
            checks.fail("Remix", "labels", "one target", f"{len(tf.nest.flatten(spec.labels))} targets", advice)
        self._check_width(spec.labels)
        scores = tf.cast(self._as_scores(spec.labels), tf.float32)
        return tf.where(without_label(spec.labels)[:, None], 0.0, scores)

    def get_config(self) -> dict[str, Any]:
        names = ("class_counts", "kappa", "tau")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
