"""The loss that AugMix is made for: cross-entropy on the clean image, and one prediction for all its views."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_aug_ssl import checks, draws
from keras_aug_ssl.layers.engine.base import AugmentationLayer
from keras_aug_ssl.layers.engine.streams import placed

_SMALLEST = 1e-7  # a probability's logarithm is taken of no less, as in the paper's code


def jensen_shannon(log_probabilities: Any) -> Any:
    """The Jensen-Shannon divergence of several distributions each (AugMix, eq. 1): how far they are from their mean.

    Args:
        log_probabilities: (B, n, K) logarithms of n distributions over K classes, of any backend.

    Returns:
        (B,) mean Kullback-Leibler divergences from the mixture to them, 0 (all equal) to log n (no class shared).
    """
    probabilities = ops.exp(log_probabilities)
    mixture = ops.log(ops.maximum(ops.mean(probabilities, 1, keepdims=True), _SMALLEST))
    return ops.mean(ops.sum(probabilities * (log_probabilities - mixture), 2), 1)


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class AugMixLoss(keras.losses.Loss):
    """Cross-entropy of the clean image plus 12 times the Jensen-Shannon divergence of its views (AugMix, eq. 2).

    Makes a classifier answer alike for an image and its augmented views; labels are compared with the clean image only.
    Train on batches from `augmented_views`. A batch without `sample_weight`, as validation data are, is taken as plain
    images and gets `loss` alone; one with `sample_weight` as views. Metrics passed as `weighted_metrics` count the
    clean images only.

    Args:
        loss: a loss of class probabilities or logits, one number a row; None is
            `keras.losses.SparseCategoricalCrossentropy()`. Its `from_logits` tells how predictions are meant.
        weight: of the divergence, >= 0.
        views: rows an image, the clean one included, >= 2.
        reduction, name: as for any Keras loss; the mean is taken over images.

    Example:
        >>> loss = kas.AugMixLoss(weight=12.0, views=2)
        >>> alike, apart = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[0.5, 0.5], [0.9, 0.1]])
        >>> labels, first_row = np.array([0, 0]), np.array([1.0, 0.0])
        >>> bool(np.isclose(loss(labels, alike, first_row), np.log(2))), bool(loss(labels, apart, first_row) > 1.5)
        (True, True)
        >>> round(float(loss(labels, apart)), 3)  # no views: cross-entropy of the rows
        0.399
    """

    def __init__(
        self,
        loss: keras.losses.Loss | None = None,
        weight: float = 12.0,
        *,
        views: int = 3,
        reduction: str = "sum_over_batch_size",
        name: str = "aug_mix_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.loss = keras.losses.SparseCategoricalCrossentropy() if loss is None else loss
        if not isinstance(self.loss, keras.losses.Loss):
            advice = "Such as keras.losses.CategoricalCrossentropy(from_logits=True)."
            checks.fail("AugMixLoss", "loss", "a keras.losses.Loss", loss, advice, TypeError)
        self.weight = checks.number("AugMixLoss", "weight", weight, 0.0)
        self.views = checks.integer("AugMixLoss", "views", views, 2)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        y_true, y_pred, sample_weight = (ops.convert_to_tensor(part) for part in (y_true, y_pred, sample_weight))
        rows = y_pred.shape[0]
        if len(y_pred.shape) != 2 or rows is not None and rows % self.views:
            expected = f"(images * {self.views}, classes), a batch of views, since it has sample weights"
            checks.fail("AugMixLoss", "y_pred", expected, y_pred.shape, "`augmented_views` makes such batches.")
        grouped = ops.reshape(y_pred, [-1, self.views, y_pred.shape[1]])
        return super().__call__(y_true[:: self.views], grouped, sample_weight[:: self.views])

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One number an image: of plain predictions (B, K) the loss, of the views' (B, n, K) with the divergence."""
        if len(y_pred.shape) != 3:
            return self.loss.call(y_true, y_pred)
        if self.loss.get_config().get("from_logits", False):
            logarithms = ops.log_softmax(y_pred)
        else:
            logarithms = ops.log(ops.maximum(y_pred, _SMALLEST))
        return self.loss.call(y_true, y_pred[:, 0]) + self.weight * jensen_shannon(logarithms)

    def get_config(self) -> dict[str, Any]:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss, "weight": self.weight, "views": self.views}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AugMixLoss:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def augmented_views(
    dataset: tf.data.Dataset, augment: AugmentationLayer, views: int = 3, *, seed: int = 0, epoch: Any = None
) -> tf.data.Dataset:
    """Batches of clean images and augmented views of them, for `AugMixLoss`.

    Row n * i is image i as it is, the n - 1 rows behind it are views of it, each drawn for itself. Labels are repeated;
    the sample weight of the clean row is the image's own, or 1, and that of its views 0.

    Args:
        dataset: batches of (images, labels) or (images, labels, sample_weight).
        augment: an augmentation layer or `Pipeline`, that keeps the images' size.
        views: rows an image, n >= 2.
        seed: int; what happens to a view is a function of (seed, epoch, position of its batch).
        epoch: as for `Pipeline.map`.

    Returns:
        A data set of (images, labels, sample_weight) with n times as many rows a batch.

    Example:
        >>> images = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 3), "uint8"), np.arange(4))).batch(2)
        >>> x, y, weight = next(iter(kas.losses.augmented_views(images, kas.layers.RandomFlip(), views=3)))
        >>> x.shape, y.numpy().tolist(), weight.numpy().tolist()
        (TensorShape([6, 8, 8, 3]), [0, 0, 0, 1, 1, 1], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    """
    owner = "augmented_views"
    views = checks.integer(owner, "views", views, 2)
    seed = checks.integer(owner, "seed", seed)
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or spec[0].shape.rank != 4:
        checks.fail(owner, "dataset", "batches of (images, labels) or (images, labels, sample_weight)", spec)

    @tf.autograph.experimental.do_not_convert
    def spread(place: Any, element: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels, *rest = element
        key = draws.fold_in(draws.fold_in(draws.as_key(seed), place.epoch), place.first)
        drawn = [augment(images, training=True, seed=own) for own in draws.split(key, views - 1)]
        rows = tf.reshape(tf.stack([images, *drawn], 1), tf.concat([[-1], tf.shape(images)[1:]], 0))
        own = tf.cast(rest[0], tf.float32) if rest else tf.ones(tf.shape(images)[:1])
        weights = tf.stack([own] + [tf.zeros_like(own)] * (views - 1), 1)
        return tf.ensure_shape(rows, [None, *images.shape[1:]]), tf.repeat(labels, views, 0), tf.reshape(weights, [-1])

    places = placed(dataset, epoch, seed, batched=True)
    return places.map(spread, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
