"""The tone family: any run of its layers is one table look-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import tone
from keras_aug_ssl.layers.base import AugmentationLayer, Finish, Parameters, compiled
from keras_aug_ssl.layers.batch import Batch, Spec


class Statistics(Protocol):
    """What a curve may ask of the image it is drawn through, as it is before the curve; values in [0, 1]."""

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The lowest and the highest value of each channel, (B, C) each."""

    def counts(self) -> tf.Tensor:
        """Pixels at each of 256 levels, (B, 256, C)."""


class _OfTable:
    """Statistics of an image of 256 levels that went through a table, from the histogram it had before."""

    def __init__(self, histogram: Any, table: tf.Tensor) -> None:
        self._histogram, self._table = histogram, table

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        seen = self._histogram > 0.0
        low = tf.reduce_min(tf.where(seen, self._table, 1.0), 1)
        return low, tf.reduce_max(tf.where(seen, self._table, 0.0), 1)

    def counts(self) -> tf.Tensor:
        return tone.push(self._histogram, self._table)


class _OfPixels:
    """Statistics of an image itself."""

    def __init__(self, values: tf.Tensor) -> None:
        self._values = values

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.reduce_min(self._values, [1, 2]), tf.reduce_max(self._values, [1, 2])

    def counts(self) -> tf.Tensor:
        return tone.histogram(tone.levels(self._values))


class ToneLayer(AugmentationLayer):
    """Base of the layers that send every channel value through a curve.

    Parameters drawn: those of the curve, (B,) each, and `applies` (B,), False where the image stays as it is. On uint8
    images each curve is rounded to the 256 levels, and a run of layers with one value range is one table: the same,
    bit for bit, as one after the other. On other images the curves are evaluated pixel by pixel.

    Args:
        value_range: (black, white) of the images.
        **kwargs: as for `AugmentationLayer`.
    """

    what = "table"
    pointwise = True
    reads_image = False  # True: the curve depends on the image's `Statistics`

    def __init__(self, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range: tuple[float, float] = checks.value_range(type(self).__name__, value_range)

    def curve(self, values: tf.Tensor, parameters: Parameters, statistics: Statistics) -> tf.Tensor:
        """Values (B, ..., C) in [0, 1] through the curve of each image."""
        raise NotImplementedError

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        return {"applies": tf.ones([spec.batch_size], tf.bool)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "applies": parameters["applies"] & mask}

    def fuses_with(self, other: AugmentationLayer) -> bool:
        return isinstance(other, ToneLayer) and self.value_range == other.value_range

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        low, high = steps[0][0].value_range
        by_table = batch.dtype == tf.uint8

        def through_curves(images: tf.Tensor) -> tf.Tensor:
            values = (tf.cast(images, tf.float32) - low) / (high - low)
            for layer, parameters in steps:
                values = _bent(layer, values, parameters, _OfPixels(values))
            return finish(low + (high - low) * values)

        def through_table(images: tf.Tensor) -> tf.Tensor:
            level = tone.levels((tf.cast(images, tf.float32) - low) / (high - low))
            histogram = None
            if any(layer.reads_image for layer, _ in steps):
                histogram = tone.histogram(level)  # plain: XLA's scatter is slow on a CPU
            return compiled(looked_up, jit)(level, histogram)

        def looked_up(level: tf.Tensor, histogram: tf.Tensor | None) -> tf.Tensor:
            table = tf.range(tone.LEVELS, dtype=tf.float32)[None, :, None] / (tone.LEVELS - 1.0)
            table = tf.tile(table, [tf.shape(level)[0], 1, level.shape[-1]])
            for layer, parameters in steps:
                bent = _bent(layer, table, parameters, _OfTable(histogram, table))
                table = tf.round(bent * (tone.LEVELS - 1.0)) / (tone.LEVELS - 1.0)
            return tone.look_up(level, finish(low + (high - low) * table))

        images = through_table(batch.images) if by_table else through_curves(batch.images)
        return batch.replace(images=tf.ensure_shape(images, batch.images.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range}


def _bent(layer: ToneLayer, values: tf.Tensor, parameters: Parameters, statistics: Statistics) -> tf.Tensor:
    applies = tf.reshape(parameters["applies"], [-1] + [1] * (values.shape.rank - 1))
    return tf.where(applies, layer.curve(values, parameters, statistics), values)
