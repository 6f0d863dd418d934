"""Layers that mix a pixel with its neighbours or with noise; each is a pass of its own."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import filters
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class FilterLayer(AugmentationLayer):
    """Base of the layers that filter images: one pass a layer, clipped to the value range.

    Args:
        value_range: (black, white) of the images.
        **kwargs: as for `AugmentationLayer`.
    """

    what = "filter"

    def __init__(self, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range: tuple[float, float] = checks.value_range(type(self).__name__, value_range)

    def filtered(self, images: tf.Tensor, parameters: Parameters, unit: filters.Unit, finish: Finish) -> tf.Tensor:
        """(B, H, W, C) images, filtered and through `finish`. `unit` wraps what is to be compiled by itself."""
        raise NotImplementedError

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        unit, written = functools.partial(compiled, wanted=jit), _Clipped(layer.value_range, finish)
        return batch.replace(images=layer.filtered(batch.images, parameters, unit, written))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range}


class _Clipped(NamedTuple):
    """What filtered images go through as they are written: clipped, then `finish`. A value, so equal ones are equal."""

    value_range: tuple[float, float]
    finish: Finish

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.finish(tf.clip_by_value(images, *self.value_range))


@register
class RandomGaussianBlur(FilterLayer):
    """Blurs each image by a Gaussian of its own width, computed along rows and then along columns.

    Borders are mirrored, so a constant image stays; `keras.layers.RandomGaussianBlur` (3.15) darkens them and draws one
    width for the whole batch.

    Args:
        factor: multiplies sigma, (lower, upper) in [0, 1]; 0 changes nothing. One number f: (0, f). So Keras documents
            it; in its code (3.15) it is the chance to be blurred.
        kernel_size: taps along each axis, odd, or (height, width).
        sigma: standard deviation in pixels, >= 0, or (lower, upper) to draw it. (In Keras one number s stands for
            (0, s).)
        value_range: (black, white) of the images.
        data_format, seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> blur = kas.layers.RandomGaussianBlur((1.0, 1.0), kernel_size=5, sigma=1.0)
        >>> np.unique(blur(np.full((1, 9, 9, 1), 100, "uint8"))).tolist()
        [100]
    """

    what = "blur"

    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: int | tuple[int, int] = 3,
        sigma: Factor = 1.0,
        value_range: tuple[float, float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        owner = "RandomGaussianBlur"
        self.factor = checks.interval(owner, "factor", factor, 0.0, 1.0, start=0.0)
        pair = checks.as_list(kernel_size) or [kernel_size, kernel_size]
        self.kernel_size: Any = tuple(checks.integer(owner, "kernel_size", taps, 1) for taps in pair)
        if len(self.kernel_size) != 2 or any(taps % 2 == 0 for taps in self.kernel_size):
            checks.fail(owner, "kernel_size", "an odd number of taps, or (height, width) of them", kernel_size)
        self.sigma = checks.interval(owner, "sigma", sigma, 0.0, alone=True)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        factor, sigma = draws.uniforms(key, spec.batch_size, 2, spec.first)
        return {"sigma": draws.between(factor, *self.factor) * draws.between(sigma, *self.sigma)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {"sigma": tf.where(mask, parameters["sigma"], 0.0)}

    def filtered(self, images: tf.Tensor, parameters: Parameters, unit: filters.Unit, finish: Finish) -> tf.Tensor:
        return filters.blur(images, parameters["sigma"], self.kernel_size, unit, finish)

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "kernel_size", "sigma")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class RandomSharpness(FilterLayer):
    """Moves each image away from, or towards, its smoothed copy (Pillow's 3 x 3 kernel).

    Args:
        factor: (lower, upper) in [0, 1]: 0 smooths, 0.5 leaves the image, 1 sharpens. One number f: (0, f).
        value_range: (black, white) of the images.
        data_format, seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> sharpen = kas.layers.RandomSharpness((0.5, 0.5))
        >>> image = np.arange(27, dtype="uint8").reshape(1, 3, 3, 3)
        >>> np.array_equal(sharpen(image), image)
        True
    """

    what = "sharpen"

    def __init__(
        self,
        factor: Factor,
        value_range: tuple[float, float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        self.factor = checks.interval("RandomSharpness", "factor", factor, 0.0, 1.0, start=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        return {"factor": 2.0 * draws.between(unit, *self.factor)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {"factor": tf.where(mask, parameters["factor"], 1.0)}

    def filtered(self, images: tf.Tensor, parameters: Parameters, unit: filters.Unit, finish: Finish) -> tf.Tensor:
        return filters.sharpen(images, parameters["factor"], unit, finish)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomNoise(FilterLayer):
    """Adds white Gaussian noise, of a strength of its own to each image.

    Parameters drawn: `strength` (B,), the standard deviation in the images' own unit, and the noise's `seed` (B, 2)
    uint32.

    Args:
        factor: standard deviation as a share of the value range, (lower, upper) >= 0. One number f: (0, f).
        value_range: (black, white) of the images.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> noisy = kas.layers.RandomNoise((0.1, 0.1), value_range=(0, 1), seed=0)
        >>> bool(0.09 < np.std(noisy(np.full((1, 64, 64, 3), 0.5, "float32"))) < 0.11)
        True
    """

    what = "noise"

    def __init__(self, factor: Factor = 0.1, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(value_range, **kwargs)
        self.factor = checks.interval("RandomNoise", "factor", factor, 0.0, start=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        (unit,) = draws.uniforms(draws.fold_in(key, 0), spec.batch_size, 1, spec.first)
        low, high = self.value_range
        strength = (high - low) * draws.between(unit, *self.factor)
        return {"strength": strength, "seed": draws.seeds(draws.fold_in(key, 1), spec.batch_size, spec.first)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "strength": tf.where(mask, parameters["strength"], 0.0)}

    def filtered(self, images: tf.Tensor, parameters: Parameters, unit: filters.Unit, finish: Finish) -> tf.Tensor:
        noisy = unit(_noisy, finish=finish)(images, parameters["strength"], parameters["seed"])
        return tf.ensure_shape(noisy, images.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def _noisy(images: tf.Tensor, strength: tf.Tensor, seed: tf.Tensor, finish: Finish) -> tf.Tensor:
    shape = tf.shape(images)
    values = math.prod(images.shape[1:]) if images.shape[1:].is_fully_defined() else tf.reduce_prod(shape[1:])
    flat = tf.cast(tf.reshape(images, [shape[0], values]), tf.float32)
    return tf.reshape(finish(flat + strength[:, None] * draws.white_noise(seed, values)), shape)
