"""Layers that paint over a part of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import regions
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Boxes, Spec, to_dtype
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class RandomErasing(AugmentationLayer):
    """Paints a rectangle over each image (Zhong et al. 2017).

    Area and shape are drawn as in the paper; the rectangle always lies inside the image, and a side longer than the
    image is cut. Masks get class 0 there, and a box that it covers from side to side is cut to the part still seen, or
    emptied. In `keras.layers.RandomErasing` (3.15) masks and boxes stay, and no shape is drawn.

    Parameters drawn: `box` (B, 4) int32 (top, left, bottom, right), and what is painted, `fill` (B, 1, 1, 1 or C) or
    the noise's `seed` (B, 2) uint32.

    Args:
        factor: chance of each image, in [0, 1]; (lower, upper) draws the chance itself.
        scale: share of the image's area, (lower, upper) in [0, 1]. One number f: (0, f).
        fill_value: what is painted, in the images' own unit, one number or one for each channel; None paints noise,
            each value one of 256 levels from black to white, all equally likely.
        value_range: (black, white) of the images.
        seed, data_format: as for `AugmentationLayer`.
        aspect_ratio: height / width, (lower, upper) > 0, drawn uniformly in its logarithm.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> erase = kas.layers.RandomErasing(scale=(0.25, 0.25), aspect_ratio=(1.0, 1.0), fill_value=9.0)
        >>> int((erase(np.zeros((1, 8, 8, 1), "uint8")).numpy() == 9).sum())
        16
    """

    what = "erase"
    computes = False

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: float | Sequence[float] | None = None,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        *,
        aspect_ratio: tuple[float, float] = (0.3, 1 / 0.3),
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.factor = checks.probability("RandomErasing", "factor", factor)
        self.scale = checks.interval("RandomErasing", "scale", scale, 0.0, 1.0, start=0.0)
        self.fill_value: Any = None
        if fill_value is not None:
            each = checks.as_list(fill_value)
            values = tuple(checks.number("RandomErasing", "fill_value", v) for v in each or [fill_value])
            self.fill_value = values[0] if each is None else values
        self.value_range: tuple[float, float] = checks.value_range("RandomErasing", value_range)
        self.aspect_ratio = checks.interval("RandomErasing", "aspect_ratio", aspect_ratio, 1e-3, 1e3)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        chance, coin, area, aspect, x, y = draws.uniforms(draws.fold_in(key, 0), spec.batch_size, 6, spec.first)
        ratio = tf.exp(draws.between(aspect, *(math.log(end) for end in self.aspect_ratio)))
        box = regions.rectangle(draws.between(area, *self.scale), ratio, x, y, spec.size)
        if self.fill_value is None:
            paint = {"seed": draws.seeds(draws.fold_in(key, 1), spec.batch_size, spec.first)}
        else:
            painted = tf.reshape(tf.constant(self.fill_value, tf.float32), [1, 1, 1, -1])
            if painted.shape[-1] not in (1, spec.channels):
                expected = f"one number, or one for each of {spec.channels} channels"
                checks.fail("RandomErasing", "fill_value", expected, self.fill_value)
            paint = {"fill": tf.tile(painted, [spec.batch_size, 1, 1, 1])}
        return self.keep(coin < draws.between(chance, *self.factor), {"box": box, **paint})

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "box": tf.where(mask[:, None], parameters["box"], 0)}

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        box = parameters["box"]
        batch = batch.replace(images=layer._painted(batch.images, parameters, finish, jit))
        if batch.masks is not None:
            batch = batch.replace(masks=regions.paint(batch.masks, box, 0))
        if batch.boxes is not None:
            batch = batch.replace(boxes=covered(batch.boxes, tf.cast(box, tf.float32)))
        return batch

    def _painted(self, images: tf.Tensor, parameters: Parameters, finish: Finish, jit: bool) -> tf.Tensor:
        box = parameters["box"]
        if "fill" in parameters:
            return compiled(_paint, jit, finish=finish)(images, box, parameters["fill"])
        whole = images.shape[1:].is_fully_defined() and images.shape[2] * images.shape[3] % 4 == 0
        if whole and images.dtype == finish(images).dtype == tf.uint8 and self.value_range == (0.0, 255.0):
            return _paint_bytes(images, box, parameters["seed"], jit)
        paint = compiled(_paint_noise, jit, value_range=self.value_range, finish=finish)
        return paint(images, box, parameters["seed"])

    def _value_ranges(self) -> set[tuple[float, float]]:
        return super()._value_ranges() if self.fill_value is None else set()  # only noise depends on it

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "scale", "fill_value", "value_range", "aspect_ratio")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _paint(images: tf.Tensor, rectangles: tf.Tensor, fill: tf.Tensor, finish: Finish) -> tf.Tensor:
    images = finish(images)
    return regions.paint(images, rectangles, to_dtype(fill, images.dtype))


def _paint_noise(
    images: tf.Tensor, rectangles: tf.Tensor, seed: tf.Tensor, value_range: tuple[float, float], finish: Finish
) -> tf.Tensor:
    """Paints levels 0 .. 255, four of them in each word that is drawn, brought to the value range."""
    images, (low, high) = finish(images), value_range
    shape = tf.shape(images)
    values = math.prod(images.shape[1:]) if images.shape[1:].is_fully_defined() else tf.reduce_prod(shape[1:])
    levels = tf.reshape(tf.bitcast(draws.hashed(seed, (values + 3) // 4), tf.uint8), [shape[0], -1])
    levels = tf.reshape(tf.cast(levels[:, :values], tf.float32), shape)
    return regions.paint(images, rectangles, to_dtype(low + (high - low) * (levels / 255.0), images.dtype))


def _paint_bytes(images: tf.Tensor, rectangles: tf.Tensor, seed: tf.Tensor, jit: bool) -> tf.Tensor:
    """`_paint_noise` where levels are what images are made of, in rows of whole words: for the price of a copy."""
    shape, (height, width, channels) = tf.shape(images), images.shape[1:]
    words = tf.bitcast(tf.reshape(images, [shape[0], height, width * channels // 4, 4]), tf.uint32)
    painted = compiled(_noisy_words, jit)(words, rectangles * [1, channels, 1, channels], seed)
    return tf.reshape(tf.bitcast(painted, tf.uint8), shape)


def _noisy_words(words: tf.Tensor, rectangles: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    noise = draws.hashed(seed, words.shape[1] * words.shape[2])
    return regions.choose_bytes(rectangles, tf.reshape(noise, tf.shape(words)), words)


def covered(boxes: Boxes, erased: tf.Tensor) -> Boxes:
    """What is still seen of boxes behind (B, 4) rectangles (top, left, bottom, right), as a box again."""
    left, top, right, bottom = tf.unstack(boxes.corners, axis=-1)
    e_top, e_left, e_bottom, e_right = (erased[:, side, None] for side in range(4))
    across = (e_left <= left) & (e_right >= right)  # from the left to the right side
    along = (e_top <= top) & (e_bottom >= bottom)
    seen_top = tf.where(across & (e_top <= top) & (e_bottom > top), e_bottom, top)
    seen_bottom = tf.where(across & (e_bottom >= bottom) & (e_top < bottom), e_top, bottom)
    seen_left = tf.where(along & (e_left <= left) & (e_right > left), e_right, left)
    seen_right = tf.where(along & (e_right >= right) & (e_left < right), e_left, right)
    corners = tf.stack([seen_left, seen_top, seen_right, seen_bottom], -1)
    visible = (seen_right > seen_left) & (seen_bottom > seen_top)
    return boxes.only(visible | (right <= left) | (bottom <= top), corners)
