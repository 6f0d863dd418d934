"""The tone family: any run of its layers is one table look-up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import tone
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.compiling import compiled


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
    arithmetic = False  # True: the curve is a few operations, so that pixels go through it faster than through a table
    reads = ""  # what the curve must know of the image it is drawn through: "extremes" or "counts"

    def __init__(self, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range: tuple[float, float] = checks.value_range(type(self).__name__, value_range)

    @staticmethod  # what depends on no layer is compiled once for all
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        """Sends values through the curve of each image.

        Args:
            values: (B, ..., C) in [0, 1].
            parameters: as drawn.
            image: what `reads` asks of the image as it is before the curve, `prepared`: its channels' lowest and
                highest values, (B, C) each, or the pixels at each of 256 levels, (B, 256, C); None for nothing.
        """
        raise NotImplementedError

    def prepared(self, image: Any) -> Any:
        """What is to be computed once an image, not once a pixel."""
        return image

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        return {"applies": tf.ones([spec.batch_size], tf.bool)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "applies": parameters["applies"] & mask}

    def fuses_with(self, other: AugmentationLayer) -> bool:
        return isinstance(other, ToneLayer) and self.value_range == other.value_range

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        through = _through_curves
        if batch.dtype == tf.uint8:
            read_late = any(layer.reads for layer, _ in steps[1:]) or steps[0][0].reads not in ("", "extremes")
            direct = jit and not read_late and all(layer.arithmetic for layer, _ in steps)
            through = _through_levels if direct else _through_table
        images = through(steps, batch.images, finish, jit)
        return batch.replace(images=tf.ensure_shape(images, batch.images.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range}


def _through_table(steps: Sequence[tuple[Any, Parameters]], images: tf.Tensor, finish: Finish, jit: bool) -> tf.Tensor:
    low, high = value_range = steps[0][0].value_range
    table = tf.range(tone.LEVELS, dtype=tf.float32)[None, :, None] / (tone.LEVELS - 1.0)
    table = tf.tile(table, [tf.shape(images)[0], 1, images.shape[-1]])
    for place, (layer, parameters) in enumerate(steps):

        def seen(jit: bool, some: tf.Tensor, tables: tf.Tensor, layer: Any = layer, first: bool = place == 0) -> Any:
            counts = tone.histogram(compiled(_places, jit, value_range=value_range)(some), some.shape[-1])
            return layer.prepared(_read_table(layer.reads, counts, None if first else tables))

        image = _of_some(parameters["applies"], seen, jit, images, table) if layer.reads else None
        table = compiled(_bent_levels, jit, curve=layer.curve)(table, parameters, image)
    # A unit of its own: XLA would compute the table's entries anew for each pixel.
    return compiled(_looked_up, jit, value_range=value_range)(images, finish(low + (high - low) * table))


def _through_levels(steps: Sequence[tuple[Any, Parameters]], images: tf.Tensor, finish: Finish, jit: bool) -> tf.Tensor:
    """`_through_table` without the table, in the same bits. The channels are a part of the width, to vectorize."""
    value_range, image = steps[0][0].value_range, None
    shape, (width, channels) = tf.shape(images), images.shape[2:]
    if steps[0][0].reads:
        ends = compiled(_extremes_by_row, jit)(images)
        image = [tf.tile(end, [1, width]) for end in ends]
    curves = tuple(layer.curve for layer, _ in steps)
    bend = compiled(_bent_pixels, jit, curves=curves, value_range=value_range, finish=finish)
    flat = tf.reshape(images, [shape[0], images.shape[1], width * channels])
    white = tf.constant(tone.LEVELS - 1.0)
    return tf.reshape(bend(flat, [parameters for _, parameters in steps], image, white), shape)


def _bent_pixels(
    images: tf.Tensor,
    parameters: list[Parameters],
    image: Any,
    white: tf.Tensor,
    curves: tuple[Callable[..., tf.Tensor], ...],
    value_range: tuple[float, float],
    finish: Finish,
) -> tf.Tensor:
    """`white` is a tensor, since XLA would multiply by a constant's inverse, and a table's first levels are divided."""

    def scaled(levels: tf.Tensor) -> tf.Tensor:
        return tf.cast(_levels(levels, value_range), tf.float32) / white

    values, image = scaled(images), None if image is None else [scaled(end) for end in image]
    for curve, drawn in zip(curves, parameters, strict=True):
        values, image = _bent_levels(values, drawn, image, curve), None
    low, high = value_range
    return finish(low + (high - low) * values)


def _through_curves(steps: Sequence[tuple[Any, Parameters]], images: tf.Tensor, finish: Finish, jit: bool) -> tf.Tensor:
    value_range = steps[0][0].value_range
    values = compiled(_scaled, jit, value_range=value_range)(images)
    for layer, parameters in steps:

        def seen(jit: bool, some: tf.Tensor, layer: Any = layer) -> Any:
            return layer.prepared(_READERS[layer.reads](some))

        image = _of_some(parameters["applies"], seen, jit, values) if layer.reads else None
        values = compiled(_bent, jit, curve=layer.curve)(values, parameters, image)
    touched = functools.reduce(tf.logical_or, [parameters["applies"] for _, parameters in steps])
    return compiled(_scaled_back, jit, value_range=value_range, finish=finish)(values, images, touched)


def _levels(images: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    low, high = value_range
    if images.dtype == tf.uint8 and (low, high) == (0.0, 255.0):
        return tf.cast(images, tf.int32)
    return tone.levels((tf.cast(images, tf.float32) - low) / (high - low))


def _places(images: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    return tone.places(_levels(images, value_range))


def _looked_up(images: tf.Tensor, table: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    return tone.look_up(_levels(images, value_range), table)


def _scaled(images: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    """Clipped, too: outside the range a curve need not be defined, as a power isn't."""
    low, high = value_range
    return tf.clip_by_value((tf.cast(images, tf.float32) - low) / (high - low), 0.0, 1.0)


def _scaled_back(
    bent: tf.Tensor, before: tf.Tensor, touched: tf.Tensor, value_range: tuple[float, float], finish: Finish
) -> tf.Tensor:
    """On the scale of the images before; those that no curve touched, bit for bit."""
    low, high = value_range
    return finish(tf.where(touched[:, None, None, None], low + (high - low) * bent, tf.cast(before, tf.float32)))


def _extremes(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.reduce_min(values, [1, 2]), tf.reduce_max(values, [1, 2])


def _extremes_by_row(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`_extremes` of (B, H, W, C) images of static size: first down the columns, along which loops vectorize."""
    batch, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    flat = tf.reshape(images, [batch, height, width * channels])
    low, high = (tf.reshape(end, [batch, width, channels]) for end in (tf.reduce_min(flat, 1), tf.reduce_max(flat, 1)))
    return tf.reduce_min(low, 1), tf.reduce_max(high, 1)


_READERS: dict[str, Callable[[tf.Tensor], Any]] = {
    "extremes": _extremes,
    "counts": lambda values: tone.histogram(tone.places(tone.levels(values)), values.shape[-1]),
}


def _read_table(reads: str, histogram: tf.Tensor, table: tf.Tensor | None) -> Any:
    """What a curve asks of an image of 256 levels, from its histogram before the `table`, if any, it went through."""
    if reads == "counts":
        return histogram if table is None else tone.push(histogram, table)
    values = tf.range(tone.LEVELS, dtype=tf.float32)[:, None] / (tone.LEVELS - 1.0) if table is None else table
    seen = histogram > 0.0
    return tf.reduce_min(tf.where(seen, values, 1.0), 1), tf.reduce_max(tf.where(seen, values, 0.0), 1)


def _of_some(wanted: tf.Tensor, function: Callable[..., Any], jit: bool, *parts: tf.Tensor) -> Any:
    """`function` of the images that the (B,) booleans want, zeros for the others: reading an image is slow.

    Args:
        wanted: which.
        function: of whether it may compile and of (n, ...) parts. It may where all are wanted: else how many there are
            changes from batch to batch, and XLA's scatter is slow on a CPU.
        jit: whether anything is compiled.
        parts: (B, ...) each.
    """

    def some() -> Any:
        index = tf.where(wanted)

        def spread(found: tf.Tensor) -> tf.Tensor:
            shapes = [tf.shape(part, tf.int64) for part in (wanted, found)]
            return tf.scatter_nd(index, found, tf.concat([shapes[0], shapes[1][1:]], 0))

        return tf.nest.map_structure(spread, function(False, *(tf.gather_nd(part, index) for part in parts)))

    return tf.cond(tf.reduce_all(wanted), lambda: function(jit, *parts), some)


def _bent(values: tf.Tensor, parameters: Parameters, image: Any, curve: Callable[..., tf.Tensor]) -> tf.Tensor:
    applies = tf.reshape(parameters["applies"], [-1] + [1] * (values.shape.rank - 1))
    return tf.where(applies, curve(values, parameters, image), values)


def _bent_levels(table: tf.Tensor, parameters: Parameters, image: Any, curve: Callable[..., tf.Tensor]) -> tf.Tensor:
    return tf.round(_bent(table, parameters, image, curve) * (tone.LEVELS - 1.0)) / (tone.LEVELS - 1.0)
