"""Mirroring, shifting, turning, scaling, shearing and tilting: each layer draws one matrix an image."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import geometry
from keras_aug_ssl.kernels.geometry import Size
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.warp import Copying, Factor, GeometricLayer

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class RandomFlip(GeometricLayer):
    """Mirrors each image, with chance 1/2 along each axis asked for.

    Unlike `keras.layers.RandomFlip`, whose one coin for both axes can only turn by 180 degrees, the two axes are drawn
    independently. Values are never interpolated: the result is bit-equal to a flipped array.

    Args:
        mode: `"horizontal"` (left-right), `"vertical"` (up-down) or `"horizontal_and_vertical"`.
        seed, data_format, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> image = np.arange(6, dtype="uint8").reshape(1, 2, 3, 1)
        >>> flip = kas.layers.RandomFlip("horizontal", seed=1)
        >>> sorted({tuple(np.ravel(flip(image, seed=(0, key))).tolist()) for key in range(20)})
        [(0, 1, 2, 3, 4, 5), (2, 1, 0, 5, 4, 3)]
    """

    mirrors = True

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.mode = checks.one_of("RandomFlip", "mode", mode, ("horizontal", "vertical", "horizontal_and_vertical"))

    @property
    def fill(self) -> None:
        return None

    @property
    def reading(self) -> None:
        return None

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        coins = [unit < 0.5 for unit in draws.uniforms(key, spec.batch_size, 2, spec.first)]
        never = tf.zeros_like(coins[0])
        horizontal, vertical = (
            coin if axis in self.mode else never for coin, axis in zip(coins, ("horizontal", "vertical"), strict=True)
        )
        return {"out_to_in": geometry.about(geometry.centre(spec.size), geometry.flip(horizontal, vertical))}

    def copying(self, parameters: Parameters, size: Size, jit: bool) -> Copying | None:
        if not jit:  # operation by operation, a choice between two images takes longer than looking pixels up
            return None
        across, down = (parameters["out_to_in"][:, i, i] < 0.0 for i in (0, 1))
        tensors = [flipped for flipped, axis in ((across, "horizontal"), (down, "vertical")) if axis in self.mode]
        axes = tuple(number for number, axis in ((2, "horizontal"), (1, "vertical")) if axis in self.mode)
        return Copying(geometry.mirrored, tuple(tensors), {"axes": axes})

    def get_config(self) -> dict[str, Any]:
        inherited = super().get_config()
        for unused in ("fill_mode", "interpolation", "fill_value"):
            inherited.pop(unused)
        return {**inherited, "mode": self.mode}


@register
class RandomTranslation(GeometricLayer):
    """Shifts each image by a random share of its size.

    Args:
        height_factor: share of the height, (lower, upper) in [-1, 1]; positive shifts down. One number f: (-f, f).
        width_factor: share of the width, likewise; positive shifts right.
        fill_mode, interpolation, fill_value, seed, data_format, **kwargs: as for `GeometricLayer`.

    Example:
        >>> shift = kas.layers.RandomTranslation(0.0, (0.25, 0.25), fill_mode="constant")
        >>> np.ravel(shift(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1))).tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        owner = type(self).__name__
        self.height_factor = checks.interval(owner, "height_factor", height_factor, -1.0, 1.0, around=0.0)
        self.width_factor = checks.interval(owner, "width_factor", width_factor, -1.0, 1.0, around=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        down, right = draws.uniforms(key, spec.batch_size, 2, spec.first)
        down = draws.between(down, *self.height_factor) * tf.cast(spec.height, tf.float32)
        right = draws.between(right, *self.width_factor) * tf.cast(spec.width, tf.float32)
        return {"out_to_in": geometry.translation(-right, -down)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


@register
class RandomRotation(GeometricLayer):
    """Turns each image about its centre.

    Args:
        factor: share of a full turn, (lower, upper) in [-1, 1]; positive turns counter-clockwise. One number f: (-f,
            f).
        fill_mode, interpolation, fill_value, seed, data_format, **kwargs: as for `GeometricLayer`.

    Example:
        >>> quarter = kas.layers.RandomRotation((0.25, 0.25))
        >>> quarter(np.array([[1, 2], [3, 4]], "uint8")[..., None])[..., 0].numpy().tolist()
        [[2, 4], [1, 3]]
    """

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        self.factor = checks.interval(type(self).__name__, "factor", factor, -1.0, 1.0, around=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        turn = geometry.rotation(360.0 * draws.between(unit, *self.factor))
        return {"out_to_in": geometry.about(geometry.centre(spec.size), turn)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomZoom(GeometricLayer):
    """Scales each image about its centre and keeps its size.

    Args:
        height_factor: (lower, upper) with lower > -1; positive zooms out: 0.2 shows 20 % more. One number f: (-f, f).
        width_factor: likewise; None zooms both axes alike.
        fill_mode, interpolation, fill_value, seed, data_format, **kwargs: as for `GeometricLayer`.

    Example:
        >>> zoom = kas.layers.RandomZoom((-0.5, -0.5), interpolation="nearest")
        >>> zoom(np.arange(4.0).reshape(1, 1, 4, 1)).numpy().ravel().tolist()
        [1.0, 1.0, 2.0, 2.0]
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        owner = type(self).__name__
        self.height_factor = checks.interval(owner, "height_factor", height_factor, -0.99, 100.0, around=0.0)
        self.width_factor = (
            None
            if width_factor is None
            else checks.interval(owner, "width_factor", width_factor, -0.99, 100.0, around=0.0)
        )

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        tall, wide = draws.uniforms(key, spec.batch_size, 2, spec.first)
        height = 1.0 + draws.between(tall, *self.height_factor)
        width = height if self.width_factor is None else 1.0 + draws.between(wide, *self.width_factor)
        return {"out_to_in": geometry.about(geometry.centre(spec.size), geometry.scaling(width, height))}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


@register
class RandomShear(GeometricLayer):
    """Slants each image about its centre, both axes at once. (Keras, 3.15, slants about the top left corner.)

    Args:
        x_factor: how far a row slides for each row it lies away from the centre, (lower, upper); one number f: (0, f).
            `keras.layers.RandomShear` takes positive values only, and slides both ways by a coin; so do we.
        y_factor: likewise for columns.
        interpolation, fill_mode, fill_value, data_format, seed, **kwargs: as for `GeometricLayer`.

    Example:
        >>> shear = kas.layers.RandomShear(x_factor=0.3, seed=3)
        >>> shear(np.zeros((2, 8, 8, 3), "uint8")).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        x_factor: Factor = 0.0,
        y_factor: Factor = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        owner = type(self).__name__
        self.x_factor = checks.interval(owner, "x_factor", x_factor, 0.0, 1.0, start=0.0)
        self.y_factor = checks.interval(owner, "y_factor", y_factor, 0.0, 1.0, start=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        x, y, sign_x, sign_y = draws.uniforms(key, spec.batch_size, 4, spec.first)
        x = draws.between(x, *self.x_factor) * tf.where(sign_x < 0.5, -1.0, 1.0)
        y = draws.between(y, *self.y_factor) * tf.where(sign_y < 0.5, -1.0, 1.0)
        return {"out_to_in": geometry.about(geometry.centre(spec.size), geometry.shear(x, y))}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "x_factor": self.x_factor, "y_factor": self.y_factor}
