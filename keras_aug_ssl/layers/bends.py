"""Warps that no matrix makes: each layer draws a displacement field, which still shares the run's one resampling."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import fields
from keras_aug_ssl.kernels.geometry import Size
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor, GeometricLayer

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


def _in_static_graph(spec: Spec) -> bool:
    """Whether a field of this size can be drawn by a compiled unit."""
    return not tf.executing_eagerly() and all(isinstance(n, int) for n in spec.size)


def _white(seeds: tf.Tensor, strength: tf.Tensor, size: Size) -> tf.Tensor:
    """Two independent uniforms in [-1, 1) a pixel, times an image's (B,) strength: (B, H, W * 2)."""
    height, width = size
    noise = strength[:, None] * (2.0 * draws.hashed_uniforms(seeds, height * width * 2) - 1.0)
    return tf.reshape(noise, [-1, height, width * 2])


@register
class RandomElasticTransform(GeometricLayer):
    """Distorts each image by a smooth random field (Simard, Steinkraus and Platt 2003).

    Two independent fields of uniform noise in [-1, 1], for x and for y, are smoothed by a Gaussian and multiplied by a
    strength; both defaults are the paper's for handwritten digits. In `keras.layers.RandomElasticTransform` (3.15) the
    two are the same field, so it distorts along the diagonal only, and masks get another one than images.

    Args:
        factor: chance of each image to be distorted, in [0, 1]; (lower, upper) draws the chance itself.
        scale: multiplies `alpha`, (lower, upper) >= 0. One number f: (0, f).
        interpolation, fill_mode, fill_value, value_range, seed, data_format: as in Keras; the value range is not
            needed.
        alpha: strength in pixels, before the scale.
        sigma: standard deviation of the Gaussian in pixels, > 0; cut off at three of them.
        **kwargs: as for `GeometricLayer`.

    Example:
        >>> bend = kas.layers.RandomElasticTransform(scale=(1.0, 1.0), seed=1)
        >>> bend.sample(np.zeros((2, 28, 28, 1)), seed=1)["field"].shape
        TensorShape([2, 28, 28, 2])
    """

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        *,
        alpha: float = 34.0,
        sigma: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        owner = "RandomElasticTransform"
        checks.value_range(owner, value_range)
        self.factor = checks.probability(owner, "factor", factor)
        self.scale = checks.interval(owner, "scale", scale, 0.0, start=0.0)
        self.alpha = checks.number(owner, "alpha", alpha, 0.0)
        self.sigma = checks.number(owner, "sigma", sigma, 0.0, low_open=True)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        chance, coin, scale = draws.uniforms(draws.fold_in(key, 0), spec.batch_size, 3, spec.first)
        alpha = self.alpha * draws.between(scale, *self.scale)
        alpha = tf.where(coin < draws.between(chance, *self.factor), alpha, 0.0)
        radius = max(1, math.ceil(3.0 * self.sigma))

        unit = functools.partial(compiled, wanted=_in_static_graph(spec))
        seeds = draws.seeds(draws.fold_in(key, 1), spec.batch_size, spec.first)
        noise = unit(_white, size=tuple(side + 2 * radius for side in spec.size))(seeds, alpha)
        return {"field": fields.elastic(noise, self.sigma, radius, unit)}

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "scale", "alpha", "sigma")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class RandomThinPlateSpline(GeometricLayer):
    """Bends each image like a thin metal plate pinned at a grid of points (Bookstein 1989).

    Every control point of a regular grid over the image moves by itself; between them the bending energy is least.

    Args:
        scale: how far a control point moves along each axis, either way, as a share of the side, (lower, upper) in [0,
            1]. One number f: (0, f).
        points_per_side: control points along each side, 2 to 8.
        **kwargs: `fill_mode`, `interpolation`, `fill_value`, `seed`, ... as for `GeometricLayer`.

    Example:
        >>> bend = kas.layers.RandomThinPlateSpline(scale=0.05, seed=1)
        >>> bend(np.zeros((2, 20, 20, 3), "uint8")).shape
        TensorShape([2, 20, 20, 3])
    """

    def __init__(self, scale: Factor = 0.05, points_per_side: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = checks.interval("RandomThinPlateSpline", "scale", scale, 0.0, 1.0, start=0.0)
        self.points_per_side = checks.integer("RandomThinPlateSpline", "points_per_side", points_per_side, 2, 8)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        points = self.points_per_side**2
        unit, *moves = draws.uniforms(key, spec.batch_size, 1 + 2 * points, spec.first)
        sides = tf.stack([tf.cast(spec.width, tf.float32), tf.cast(spec.height, tf.float32)])
        reach = draws.between(unit, *self.scale)[:, None, None] * sides
        displacements = (2.0 * tf.reshape(tf.stack(moves, 1), [-1, points, 2]) - 1.0) * reach
        bend = compiled(fields.thin_plate, _in_static_graph(spec), points_per_side=self.points_per_side, size=spec.size)
        return {"field": bend(displacements)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "points_per_side": self.points_per_side}
