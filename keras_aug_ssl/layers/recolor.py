"""Color changes as a whole: several at once, to grey, or to the negative."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import color
from keras_aug_ssl.layers.color import ColorLayer, RandomBrightness, RandomContrast, RandomHue, RandomSaturation
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class RandomColorJitter(ColorLayer):
    """Brightness, contrast, saturation and hue in one, in an order drawn anew for each image.

    `keras.layers.RandomColorJitter` keeps one order for all, and with its seed draws what the layers of those names do;
    torchvision draws the order per batch.

    Args:
        value_range: (black, white) of the images.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: as in the layers of those names; None leaves
            that change out.
        seed, data_format, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> jitter = kas.layers.RandomColorJitter((0, 1), brightness_factor=0.2, saturation_factor=(0.4, 0.6))
        >>> jitter(np.random.default_rng(0).random((2, 8, 8, 3), "float32")).dtype
        tf.float32
    """

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        wanted: dict[str, tuple[type[ColorLayer], Factor | None]] = {
            "brightness_factor": (RandomBrightness, brightness_factor),
            "contrast_factor": (RandomContrast, contrast_factor),
            "saturation_factor": (RandomSaturation, saturation_factor),
            "hue_factor": (RandomHue, hue_factor),
        }
        self._jitters: dict[str, Any] = {}
        for name, (layer, factor) in wanted.items():
            try:
                if factor is not None:
                    self._jitters[name] = layer(factor=factor, value_range=value_range)
            except (ValueError, TypeError) as error:  # said by the argument's name here
                said = str(error).replace(f"{layer.__name__}: `factor`", f"RandomColorJitter: `{name}`")
                raise type(error)(said) from None

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        keys = draws.split(key, len(self._jitters) + 1)
        changes = [jitter.change(spec, k) for jitter, k in zip(self._jitters.values(), keys, strict=False)]
        if not changes:
            return color.brightness(tf.zeros([spec.batch_size]), spec.channels)
        dice = draws.uniform_array(keys[-1], spec.batch_size, (len(changes),), spec.first)
        order = tf.argsort(dice, axis=1)
        return compiled(color.compose_in_order, not tf.executing_eagerly())(changes, order)

    def get_config(self) -> dict[str, Any]:
        factors = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
        own = {name: self._jitters[name].factor if name in self._jitters else None for name in factors}
        return {**super().get_config(), **own}


@register
class RandomGrayscale(ColorLayer):
    """Turns some images grey, keeping their channels.

    Args:
        factor: chance of each image, in [0, 1].
        data_format, seed, **kwargs: as for `AugmentationLayer`.
        value_range: (black, white) of the images.

    Example:
        >>> grey = kas.layers.RandomGrayscale(1.0)
        >>> grey(np.array([[[[100, 0, 0]]]], "uint8")).numpy().ravel().tolist()
        [30, 30, 30]
    """

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        value_range: tuple[float, float] = (0, 255),
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        self.factor = checks.number("RandomGrayscale", "factor", factor, 0.0, 1.0)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        return color.saturation(tf.where(unit < self.factor, 0.0, 1.0), spec.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomInvert(ColorLayer):
    """Turns some images into their negative.

    Args:
        factor: chance of each image, in [0, 1]; (lower, upper) draws the chance itself. (In Keras one number p stands
            for (0, p), that is, a chance of p / 2.)
        value_range: (black, white) of the images.
        seed, data_format, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> negative = kas.layers.RandomInvert(1.0)
        >>> negative(np.array([0, 55, 255], "uint8").reshape(1, 1, 1, 3)).numpy().ravel().tolist()
        [255, 200, 0]
    """

    any_layout = True

    def __init__(
        self,
        factor: Factor = 1.0,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        self.factor = checks.probability("RandomInvert", "factor", factor)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        chance, coin = draws.uniforms(key, spec.batch_size, 2, spec.first)
        return color.invert(coin < draws.between(chance, *self.factor), spec.channels, *self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
