"""Color layers: each draws one linear color change an image, and any run of them is one product a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import color
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class ColorLayer(AugmentationLayer):
    """Base of the layers that change colors linearly.

    Parameters drawn: `matrix` (B, C+1, C+1) on (channels, 1), and, where contrast is involved, `of_mean` (B, C, C),
    which multiplies the image's mean color. Neighbours with the same value range fuse into one product, and values are
    clipped to the range once, behind it: what one layer brightens out of range the next can bring back.

    Args:
        value_range: (black, white) of the images; the result is clipped to it.
        **kwargs: as for `AugmentationLayer`.
    """

    what = "color"
    pointwise = True

    def __init__(self, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range: tuple[float, float] = checks.value_range(type(self).__name__, value_range)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        """Draws the color change of each image."""
        raise NotImplementedError

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        change = self.change(spec, key)._asdict()
        return {name: value for name, value in change.items() if value is not None}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        kept = color.keep(mask, color.Linear(**parameters))._asdict()
        return {name: value for name, value in kept.items() if value is not None}

    def fuses_with(self, other: AugmentationLayer) -> bool:
        return isinstance(other, ColorLayer) and self.value_range == other.value_range

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        changes = [color.Linear(**parameters) for _, parameters in steps]
        total = compiled(color.compose_all, jit and len(changes) > 1)(changes)
        matrices = total.matrix
        if total.of_mean is not None:
            matrices = color.with_mean(total, compiled(color.mean_color, jit)(batch.images))
        write = compiled(_write, jit, value_range=steps[0][0].value_range, finish=finish)
        return batch.replace(images=write(batch.images, matrices))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range}


def _write(images: tf.Tensor, matrices: tf.Tensor, value_range: tuple[float, float], finish: Finish) -> tf.Tensor:
    return finish(color.apply(images, matrices, value_range))


@register
class RandomBrightness(ColorLayer):
    """Makes each image lighter or darker by adding one number to every channel.

    Args:
        factor: (lower, upper) in [-1, 1], as a share of the value range: -1 is black, 1 white. One number f: (-f, f).
        value_range: (black, white) of the images.
        seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> lighter = kas.layers.RandomBrightness((0.1, 0.1))
        >>> int(lighter(np.full((1, 2, 2, 3), 250, "uint8")).numpy().max())
        255
    """

    any_layout = True

    def __init__(
        self, factor: Factor, value_range: tuple[float, float] = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        self.factor = checks.interval("RandomBrightness", "factor", factor, -1.0, 1.0, around=0.0)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        low, high = self.value_range
        return color.brightness((high - low) * draws.between(unit, *self.factor), spec.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomContrast(ColorLayer):
    """Moves the values of each channel away from, or towards, the channel's mean over the image.

    `keras.layers.RandomContrast` documents the range [1 - lower, 1 + upper] and draws from [1, 1 + upper] only (3.15);
    here the documented range is drawn from.

    Args:
        factor: (lower, upper), both >= 0: the contrast is multiplied by a number in [1 - lower, 1 + upper]. One number
            f stands for (f, f). Two amounts, not two ends: they aren't put in order, as Keras does.
        value_range: (black, white) of the images.
        seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> flatten = kas.layers.RandomContrast((1.0, 0.0), seed=1)
        >>> bool(np.ptp(flatten(np.arange(4.0).reshape(1, 2, 2, 1))) <= 3.0)
        True
    """

    def __init__(
        self, factor: Factor, value_range: tuple[float, float] = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        pair = checks.as_list(factor) or [factor, factor]
        amounts = [checks.number("RandomContrast", "factor", amount) for amount in pair]
        if len(amounts) != 2 or min(amounts) < 0.0 or amounts[0] > 1.0:
            expected = "one number in [0, 1], or (lower, upper) with 0 <= lower <= 1 and 0 <= upper"
            advice = "Both are amounts: the contrast is drawn from [1 - lower, 1 + upper]."
            checks.fail("RandomContrast", "factor", expected, factor, advice)
        self.factor = amounts[0], amounts[1]

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        lower, upper = self.factor
        return color.contrast(draws.between(unit, 1.0 - lower, 1.0 + upper), spec.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomSaturation(ColorLayer):
    """Moves colors away from, or towards, their grey.

    Args:
        factor: (lower, upper) in [0, 1]: 0 is grey, 0.5 leaves the image, towards 1 the colors grow without bound: the
            distance from grey is multiplied by factor / (1 - factor), as in `keras.layers.RandomSaturation`, which
            scales HSV's saturation instead. One number f: (0, f). Images of fewer than 3 channels stay as they are, and
            so does a fourth channel.
        value_range: (black, white) of the images.
        data_format, seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> grey = kas.layers.RandomSaturation((0.0, 0.0))
        >>> bool(np.ptp(grey(np.array([10.0, 20.0, 60.0]).reshape(1, 1, 1, 3))) < 1e-4)
        True
    """

    def __init__(
        self,
        factor: Factor,
        value_range: tuple[float, float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        self.factor = checks.interval("RandomSaturation", "factor", factor, 0.0, 1.0, start=0.0)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        (unit,) = draws.uniforms(key, spec.batch_size, 1, spec.first)
        factor = draws.between(unit, *self.factor)
        # 1e-3 below infinite: everything but grey is clipped to the range by then.
        return color.saturation(factor / tf.maximum(1.0 - factor, 1e-3), spec.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@register
class RandomHue(ColorLayer):
    """Turns the hues of each image, one way or the other.

    The turn is a rotation about the grey axis of YIQ: it keeps luma and greys, and is linear, so that it fuses.
    `keras.layers.RandomHue` turns the hue of HSV, which keeps the largest channel instead.

    Args:
        factor: (lower, upper) in [0, 1], as a share of half a turn, to either side. One number f: (0, f).
        value_range: (black, white) of the images.
        data_format, seed, **kwargs: as for `AugmentationLayer`.

    Example:
        >>> hue = kas.layers.RandomHue(0.5, seed=1)
        >>> int(hue(np.full((1, 4, 4, 3), 77, "uint8")).numpy().max())
        77
    """

    def __init__(
        self,
        factor: Factor,
        value_range: tuple[float, float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, seed=seed, **kwargs)
        self.factor = checks.interval("RandomHue", "factor", factor, 0.0, 1.0, start=0.0)

    def change(self, spec: Spec, key: tf.Tensor) -> color.Linear:
        unit, side = draws.uniforms(key, spec.batch_size, 2, spec.first)
        turns = 0.5 * draws.between(unit, *self.factor)
        return color.hue(tf.where(side < 0.5, -turns, turns), spec.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
