"""Tone layers: each draws a curve an image."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import tone
from keras_aug_ssl.layers.engine.base import Parameters
from keras_aug_ssl.layers.engine.batch import Spec
from keras_aug_ssl.layers.engine.table import ToneLayer
from keras_aug_ssl.layers.engine.warp import Factor

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


@register
class RandomPosterization(ToneLayer):
    """Keeps the highest bits of every value.

    Args:
        factor: bits to keep of 8, a whole number 1 .. 8, or (lower, upper) to draw it. (In Keras, 3.15, one number n
            draws from 1 .. n - 1, and a pair never draws its upper end.)
        value_range: (black, white) of the images.
        data_format, seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> posterize = kas.layers.RandomPosterization(1)
        >>> posterize(np.array([3, 127, 128, 255], "uint8").reshape(1, 1, 4, 1)).numpy().ravel().tolist()
        [0, 0, 128, 128]
    """

    any_layout = True
    arithmetic = True

    def __init__(
        self,
        factor: int | tuple[int, int],
        value_range: tuple[float, float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        owner = "RandomPosterization"
        low, high = checks.interval(owner, "factor", factor, 1, 8, alone=True)
        self.factor = checks.integer(owner, "factor", low), checks.integer(owner, "factor", high)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        low, high = self.factor
        bits = low + draws.below(unit, high - low + 1)
        return {**super().draw(spec, key), "bits": tf.cast(bits, tf.float32)}

    @staticmethod
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        return tone.posterize(values, parameters["bits"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class Solarization(ToneLayer):
    """Adds to every value, then inverts those from a threshold on, as overexposed film does.

    `keras.layers.Solarization` (3.15) takes the lower ends of both ranges for levels instead of shares.

    Args:
        addition_factor: share of the value range that is added, (lower, upper) in [0, 1]. One number f: (0, f).
        threshold_factor: values from this share of the value range on are inverted, likewise; 0 inverts all.
        value_range: (black, white) of the images.
        seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> solarize = kas.layers.Solarization(threshold_factor=(0.5, 0.5))
        >>> solarize(np.array([0, 100, 200], "uint8").reshape(1, 1, 1, 3)).numpy().ravel().tolist()
        [0, 100, 55]
    """

    any_layout = True
    arithmetic = True

    def __init__(
        self,
        addition_factor: Factor = 0.0,
        threshold_factor: Factor = 0.0,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        self.addition_factor = checks.interval("Solarization", "addition_factor", addition_factor, 0.0, 1.0, start=0.0)
        self.threshold_factor = checks.interval(
            "Solarization", "threshold_factor", threshold_factor, 0.0, 1.0, start=0.0
        )

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        addition, threshold = draws.uniforms(key, spec.batch_size, 2, spec.first)
        drawn = {
            "addition": draws.between(addition, *self.addition_factor),
            "threshold": draws.between(threshold, *self.threshold_factor),
        }
        return {**super().draw(spec, key), **drawn}

    @staticmethod
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        return tone.solarize(values, parameters["addition"], parameters["threshold"])

    def get_config(self) -> dict[str, Any]:
        own = {"addition_factor": self.addition_factor, "threshold_factor": self.threshold_factor}
        return {**super().get_config(), **own}


@register
class RandomGamma(ToneLayer):
    """Bends the tones of each image by a power: black and white stay.

    Args:
        factor: the exponent, (lower, upper) > 0; below 1 brightens, above 1 darkens; drawn uniformly.
        value_range: (black, white) of the images.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> darken = kas.layers.RandomGamma((2.0, 2.0), value_range=(0, 1))
        >>> darken(np.full((1, 1, 1, 1), 0.5, "float32")).numpy().item()
        0.25
    """

    def __init__(
        self, factor: tuple[float, float] = (0.7, 1.5), value_range: tuple[float, float] = (0, 255), **kwargs: Any
    ) -> None:
        super().__init__(value_range, **kwargs)
        self.factor = checks.interval("RandomGamma", "factor", factor, 1e-3, 1e3)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        return {**super().draw(spec, key), "exponent": draws.between(unit, *self.factor)}

    @staticmethod
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        return tone.gamma(values, parameters["exponent"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class Equalization(ToneLayer):
    """Spreads each channel's values evenly over the range, every image by its own histogram.

    `keras.layers.Equalization` (3.15) takes one histogram for the whole batch, and rounds floats to whole levels; here
    floats are interpolated between them.

    Args:
        value_range: (black, white) of the images.
        bins: levels of the histogram, 2 to 256.
        data_format, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> equalize = kas.layers.Equalization()
        >>> equalize(np.array([10, 10, 12, 14], "uint8").reshape(1, 2, 2, 1)).numpy().ravel().tolist()
        [0, 0, 128, 255]
    """

    reads = "counts"
    random = False

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        bins: int = tone.LEVELS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, **kwargs)
        self.bins = checks.integer("Equalization", "bins", bins, 2, tone.LEVELS)

    @staticmethod
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        return tone.interpolate(values, image)

    def prepared(self, image: Any) -> Any:
        return tone.equalize_table(image, self.bins)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}


@register
class AutoContrast(ToneLayer):
    """Stretches each channel of each image to the whole range.

    Unlike `keras.layers.AutoContrast` (3.15) it leaves images alone with `training=False`, as every layer here does.

    Args:
        value_range: (black, white) of the images.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> stretch = kas.layers.AutoContrast()
        >>> stretch(np.array([50, 110, 150], "uint8").reshape(1, 1, 3, 1)).numpy().ravel().tolist()
        [0, 153, 255]
    """

    arithmetic = True
    reads = "extremes"
    random = False

    @staticmethod
    def curve(values: tf.Tensor, parameters: Parameters, image: Any) -> tf.Tensor:
        return tone.autocontrast(values, *image)
