"""Layers that cut a rectangle out: the only ones that change an image's size."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import geometry
from keras_aug_ssl.kernels.geometry import Size
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.warp import Copying, GeometricLayer

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class _Crop(GeometricLayer):
    """Base of the two crops: with `training=False` both read the largest centred rectangle of the output's shape."""

    active_at_inference = True

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height = checks.integer(type(self).__name__, "height", height, 1)
        self.width = checks.integer(type(self).__name__, "width", width, 1)

    @property
    def fill(self) -> None:
        return None

    def output_size(self, size: Size) -> Size:
        return self.height, self.width

    def at_inference(self, spec: Spec) -> Parameters:
        return self._centred(spec)

    def _centred(self, spec: Spec) -> Parameters:
        height, width = (tf.cast(n, tf.float32) for n in spec.size)
        shrink = tf.minimum(height / self.height, width / self.width)
        tall, wide = shrink * self.height, shrink * self.width
        each = tf.zeros([spec.batch_size])
        place = ((width - wide) / 2.0 + each, (height - tall) / 2.0 + each, wide + each, tall + each)
        return {"out_to_in": geometry.crop(*place, self.output_size(spec.size))}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


@register
class RandomCrop(_Crop):
    """Cuts a rectangle of whole pixels out of each image, at a place of its own.

    An image smaller than the rectangle, and every image with `training=False`, gives the largest centred rectangle of
    that shape, resized, as `keras.layers.RandomCrop` documents. Whole pixels are copied, bit for bit.

    Parameters drawn: `out_to_in`, and, unless images are known to be too small, `corner` (B, 2) int32 (top, left),
    from which pixels are copied where they are large enough. Who changes the one by hand changes the other, or drops
    `corner`.

    Args:
        height, width: of the rectangle, in pixels.
        seed, data_format, name, **kwargs: as for `GeometricLayer`.

    Example:
        >>> crop = kas.layers.RandomCrop(2, 2, seed=3)
        >>> crop(np.arange(32, dtype="uint8").reshape(2, 4, 4, 1)).shape
        TensorShape([2, 2, 2, 1])
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, seed=seed, data_format=data_format, name=name, **kwargs)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        x, y = draws.uniforms(key, spec.batch_size, 2, spec.first)
        room_down, room_right = spec.height - self.height, spec.width - self.width
        left = draws.below(x, tf.maximum(room_right, 0) + 1)
        top = draws.below(y, tf.maximum(room_down, 0) + 1)
        whole = geometry.translation(tf.cast(left, tf.float32), tf.cast(top, tf.float32))
        fits = self._fits(spec.size)
        if fits is False:
            return self._centred(spec)
        corner = tf.stack([top, left], 1)
        if fits is True:
            return {"out_to_in": whole, "corner": corner}
        return {"out_to_in": tf.where(fits, whole, self._centred(spec)["out_to_in"]), "corner": corner}

    def copying(self, parameters: Parameters, size: Size, jit: bool) -> Copying | None:
        fits = self._fits(size)
        if "corner" not in parameters or fits is False:
            return None
        kernel, settings = geometry.cut_windows if jit else geometry.cut, {"size": (self.height, self.width)}
        return Copying(kernel, (parameters["corner"],), settings, None if fits is True else fits)

    def _fits(self, size: Size) -> Any:
        """Whether an image of `size` holds the rectangle: a bool where it is known, else a scalar tensor."""
        rooms = [whole - part for whole, part in zip(size, (self.height, self.width), strict=True)]
        if any(isinstance(room, int) and room < 0 for room in rooms):
            return False
        unknown = [room >= 0 for room in rooms if not isinstance(room, int)]
        return tf.reduce_all(unknown) if unknown else True


@register
class RandomResizedCrop(_Crop):
    """Cuts a rectangle of random area and shape out of each image and resizes it (Szegedy et al. 2015, "Inception").

    The resizing is part of the one resampling (bilinear, without an anti-aliasing filter). Keras has no such layer;
    arguments and defaults follow torchvision's, with one draw instead of ten attempts: a side that would leave the
    image is cut to it.

    Args:
        height, width: of the output, in pixels.
        area_factor: share of the image's area, (lower, upper) in (0, 1].
        aspect_ratio_factor: width / height of the rectangle, (lower, upper) > 0, drawn uniformly in its logarithm.
        **kwargs: `interpolation`, `seed`, ... as for `GeometricLayer`.

    Example:
        >>> crop = kas.layers.RandomResizedCrop(8, 8, area_factor=(0.5, 1.0), seed=3)
        >>> crop(np.full((2, 20, 30, 3), 5, "uint8")).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        area_factor: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_factor: tuple[float, float] = (3 / 4, 4 / 3),
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, **kwargs)
        owner = "RandomResizedCrop"
        self.area_factor = checks.interval(owner, "area_factor", area_factor, 1e-6, 1.0)
        self.aspect_ratio_factor = checks.interval(owner, "aspect_ratio_factor", aspect_ratio_factor, 1e-3, 1e3)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        area, aspect, x, y = draws.uniforms(key, spec.batch_size, 4, spec.first)
        height, width = (tf.cast(n, tf.float32) for n in spec.size)
        pixels = draws.between(area, *self.area_factor) * height * width
        ratio = tf.exp(draws.between(aspect, *(math.log(end) for end in self.aspect_ratio_factor)))
        wide, tall = tf.minimum(tf.sqrt(pixels * ratio), width), tf.minimum(tf.sqrt(pixels / ratio), height)
        place = (x * (width - wide), y * (height - tall), wide, tall)
        return {"out_to_in": geometry.crop(*place, self.output_size(spec.size))}

    def get_config(self) -> dict[str, Any]:
        own = {"area_factor": self.area_factor, "aspect_ratio_factor": self.aspect_ratio_factor}
        return {**super().get_config(), **own}
