"""All of geometry in one layer, and the tilt that only a homography makes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import geometry
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.warp import Factor, GeometricLayer

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")

# The corners of the unit square, (x, y), clockwise from the top left.
_CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
# At scale 1 a corner moves by this share of a side at most: below 1/4, three corners can't fall on one line.
_LARGEST_SHIFT = 0.2


@register
class RandomAffine(GeometricLayer):
    """Turns, shifts, scales and shears each image about its centre, drawn together and read once.

    The same as `RandomShear`, `RandomZoom`, `RandomRotation` and `RandomTranslation` one after the other.

    Args:
        rotation_factor: share of a full turn, counter-clockwise, (lower, upper) in [-1, 1]. One number f: (-f, f).
        translation_factor: share of each side, (lower, upper) in [-1, 1]. One number f: (-f, f).
        zoom_factor: (lower, upper) with lower > -1, both axes alike; positive zooms out. One number f: (-f, f).
        shear_factor: slide a row, and a column, by this share of its distance from the centre. One number f: (-f, f).
        **kwargs: `fill_mode`, `interpolation`, `fill_value`, `seed`, ... as for `GeometricLayer`.

    Example:
        >>> affine = kas.layers.RandomAffine(rotation_factor=0.05, translation_factor=0.1, seed=1)
        >>> affine.sample(np.zeros((4, 8, 8, 3)), seed=1)["out_to_in"].shape
        TensorShape([4, 3, 3])
    """

    def __init__(
        self,
        rotation_factor: Factor = 0.0,
        translation_factor: Factor = 0.0,
        *,
        zoom_factor: Factor = 0.0,
        shear_factor: Factor = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rotation_factor = checks.interval(
            "RandomAffine", "rotation_factor", rotation_factor, -1.0, 1.0, around=0.0
        )
        self.translation_factor = checks.interval(
            "RandomAffine", "translation_factor", translation_factor, -1.0, 1.0, around=0.0
        )
        self.zoom_factor = checks.interval("RandomAffine", "zoom_factor", zoom_factor, -0.99, 100.0, around=0.0)
        self.shear_factor = checks.interval("RandomAffine", "shear_factor", shear_factor, -1.0, 1.0, around=0.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        turn, right, down, zoom, shear_x, shear_y = draws.uniforms(key, spec.batch_size, 6, spec.first)
        height, width = (tf.cast(n, tf.float32) for n in spec.size)
        scale = 1.0 + draws.between(zoom, *self.zoom_factor)
        sheared = geometry.shear(*(draws.between(unit, *self.shear_factor) for unit in (shear_x, shear_y)))
        turned = geometry.rotation(360.0 * draws.between(turn, *self.rotation_factor))
        linear = sheared @ geometry.scaling(scale, scale) @ turned
        right = draws.between(right, *self.translation_factor) * width
        down = draws.between(down, *self.translation_factor) * height
        return {"out_to_in": geometry.about(geometry.centre(spec.size), linear) @ geometry.translation(-right, -down)}

    def get_config(self) -> dict[str, Any]:
        names = ("rotation_factor", "translation_factor", "zoom_factor", "shear_factor")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class RandomPerspective(GeometricLayer):
    """Tilts each image: every corner moves by itself, and the homography through the four moves the rest.

    In `keras.layers.RandomPerspective` (3.15) a corner moves in proportion to its coordinates, so the top left one
    never does.

    Args:
        factor: chance of each image to be tilted, in [0, 1]; (lower, upper) draws the chance itself.
        scale: how far corners move, in [0, 1]; at 1 by up to a fifth of the side along each axis, either way.
        interpolation: `"bilinear"` or `"nearest"`.
        fill_value: what lies outside, in the images' own unit.
        seed, data_format, **kwargs: as for `AugmentationLayer`; `fill_mode` defaults to `"constant"`, as in Keras.

    Example:
        >>> tilt = kas.layers.RandomPerspective(scale=0.5, seed=1)
        >>> tilt(np.full((2, 16, 16, 3), 9, "uint8")).shape
        TensorShape([2, 16, 16, 3])
    """

    projective = True

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        fill_mode: str = "constant",
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed=seed, data_format=data_format, **kwargs)
        self.factor = checks.probability("RandomPerspective", "factor", factor)
        self.scale = checks.number("RandomPerspective", "scale", scale, 0.0, 1.0)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        chance, coin, *moves = draws.uniforms(key, spec.batch_size, 10, spec.first)
        corners = tf.constant(_CORNERS) + tf.zeros_like(chance)[:, None, None]
        shift = tf.reshape(tf.stack(moves, 1), [-1, 4, 2]) * 2.0 - 1.0
        unit = geometry.perspective(corners, corners + self.scale * _LARGEST_SHIFT * shift)
        height, width = (tf.cast(n, tf.float32) - 1.0 + tf.zeros_like(chance) for n in spec.size)
        height, width = tf.maximum(height, 1.0), tf.maximum(width, 1.0)
        matrices = geometry.scaling(width, height) @ unit @ geometry.scaling(1.0 / width, 1.0 / height)
        return self.keep(coin < draws.between(chance, *self.factor), {"out_to_in": matrices})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "scale": self.scale}
