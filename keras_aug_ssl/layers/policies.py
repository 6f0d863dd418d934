"""Policies: operations drawn anew for each image, executed in one pass for each family and not one for each
operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import color, geometry
from keras_aug_ssl.layers.affine import RandomAffine
from keras_aug_ssl.layers.color import RandomContrast
from keras_aug_ssl.layers.engine.base import Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.composite import CompositeLayer
from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.layers.engine.warp import Factor
from keras_aug_ssl.layers.filters import RandomSharpness
from keras_aug_ssl.layers.geometry import RandomFlip, RandomTranslation
from keras_aug_ssl.layers.regions import RandomErasing
from keras_aug_ssl.layers.tone import AutoContrast, Equalization, RandomPosterization, Solarization

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")

GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOR = ("brightness", "color", "contrast")
TONE = ("equalize", "auto_contrast", "solarize", "posterize")
OPERATIONS = ("identity", *GEOMETRY, *COLOR, *TONE, "sharpness")


class Severity(NamedTuple):
    """What strength 1 means; strength 0 leaves the image."""

    shear: float  # a row slides by this share of its distance from the centre
    translate: float  # share of the side; pixels where above 1
    degrees: float
    enhance: float  # the factor of brightness, color, contrast and sharpness is 1 plus or minus this
    bits: int  # posterize takes away so many of 8
    # solarize inverts what lies above 1 - strength


class _Sharpness(RandomSharpness):
    """Sharpness of the few images that drew it; not compiled, since how many there are changes from batch to batch."""

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        images, drew = tf.cast(batch.images, tf.float32), tf.where(parameters["factor"] != 1.0)
        some = batch.replace(images=tf.gather_nd(images, drew))
        factor = tf.gather_nd(parameters["factor"], drew)
        changed = super().run([(layer, {"factor": factor})], some, tf.identity, False).images
        images = tf.tensor_scatter_nd_update(images, drew, changed)
        return batch.replace(images=compiled(finish, jit)(images))


class PolicyLayer(CompositeLayer):
    """Base of the policies: which operations, how strong, in `chosen`; what they amount to, here.

    Parameters drawn: those of one layer for each family, by name. Operations of one image that belong to one family
    become one matrix, table or factor. Families follow one another in one order, whatever was drawn: geometry, color,
    tone, sharpness; within a family, matrices multiply in the order drawn. Values are clipped once behind a family.
    Masks, boxes and keypoints follow the geometry.

    Args:
        severity: what strength 1 means.
        value_range: (black, white) of the images.
        interpolation, fill_mode, fill_value: as for `GeometricLayer`.
        **kwargs: as for `AugmentationLayer`.
    """

    def __init__(
        self,
        severity: Severity,
        value_range: tuple[float, float] = (0, 255),
        *,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        reading: dict[str, Any] = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": fill_value}
        layers = [
            RandomAffine(**reading),
            RandomContrast(0.0, value_range),
            Equalization(value_range),
            AutoContrast(value_range),
            Solarization(value_range=value_range),
            RandomPosterization(8, value_range),
            _Sharpness(0.5, value_range),
        ]
        super().__init__(layers, **kwargs)
        self.severity = severity
        self.value_range: tuple[float, float] = checks.value_range(type(self).__name__, value_range)
        self._reading = reading

    def chosen(self, spec: Spec, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Draws what is done to each image.

        Returns:
            Places in `OPERATIONS`, (B, n) int32; strengths in [0, 1], (B, n); signs 1 or -1, (B, n).
        """
        raise NotImplementedError

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        operation, strength, sign = self.chosen(spec, key)

        def of(name: str) -> tf.Tensor:
            return tf.where(operation == OPERATIONS.index(name), strength, 0.0)

        affine = {"out_to_in": self._matrix({name: sign * of(name) for name in GEOMETRY}, spec)}
        linear = self._linear({name: sign * of(name) for name in COLOR}, spec.channels)
        tone = {name: tf.reduce_max(of(name), 1) for name in TONE}
        never = tf.zeros_like(tone["solarize"])
        return dict(
            zip(
                self.names,
                [
                    affine,
                    linear,
                    {"applies": tone["equalize"] > 0.0},
                    {"applies": tone["auto_contrast"] > 0.0},
                    {"applies": tone["solarize"] > 0.0, "addition": never, "threshold": 1.0 - tone["solarize"]},
                    {
                        "applies": tone["posterize"] > 0.0,
                        "bits": 8.0 - tf.round(self.severity.bits * tone["posterize"]),
                    },
                    {"factor": tf.reduce_prod(1.0 + self.severity.enhance * sign * of("sharpness"), 1)},
                ],
                strict=True,
            )
        )

    def _matrix(self, amount: dict[str, tf.Tensor], spec: Spec) -> tf.Tensor:
        """(B, 3, 3) of (B, n) signed strengths: the product over the n operations, of which each sets one."""
        shape = tf.shape(amount["rotate"])
        flat = {name: tf.reshape(value, [-1]) for name, value in amount.items()}
        reach, side = self.severity.translate, {"x": spec.width, "y": spec.height}
        right, down = (
            flat[f"translate_{axis}"] * (reach if reach > 1.0 else reach * tf.cast(side[axis], tf.float32))
            for axis in "xy"
        )
        shear_x, shear_y = (self.severity.shear * flat[f"shear_{axis}"] for axis in "xy")
        slid = geometry.affine(1.0, shear_x, -right, shear_y, 1.0, -down)
        turned = geometry.rotation(self.severity.degrees * flat["rotate"])
        each = geometry.about(geometry.centre(spec.size), slid @ turned)
        each = tf.unstack(tf.reshape(each, [shape[0], amount["rotate"].shape[1], 3, 3]), axis=1)
        total = each[0]
        for matrix in each[1:]:
            total = total @ matrix
        return total

    def _linear(self, amount: dict[str, tf.Tensor], channels: int) -> Parameters:
        """The color change of (B, n) signed strengths: `matrix` and `of_mean`."""
        black = self.value_range[0]
        changes = []
        for slot in range(amount["contrast"].shape[1]):
            lighter, colorful, harder = (1.0 + self.severity.enhance * amount[name][:, slot] for name in COLOR)
            change = color.compose(color.scale(lighter, channels, black), color.saturation(colorful, channels))
            change = color.compose(change, color.contrast_of_grey(harder, channels))
            changes.append(change)
        return color.compose_all(changes)._asdict()

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "value_range": self.value_range, **self._reading}
        config.pop("layers")
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PolicyLayer:
        return cls(**config)


@register
class RandAugment(PolicyLayer):
    """Operations out of 14, drawn for each image, all of one strength (Cubuk et al. 2020).

    Identity, ShearX, ShearY, TranslateX, TranslateY, Rotate, Brightness, Color, Contrast, Sharpness, Posterize,
    Solarize, AutoContrast and Equalize, each with the same chance and drawn with replacement; signs are a coin.
    Strength 1 shears by 0.3, shifts by 150 / 331 of the side, turns by 30 degrees, enhances by 1 plus or minus 0.9,
    keeps 4 bits and inverts everything, as in torchvision; strength 0 is the identity, AutoContrast and Equalize
    included. The paper's magnitude M of 10 is `factor=M / 10` here.

    Two differences keep it cheap: the operations of an image run in one order (geometry, color, tone, sharpness), in
    one pass a family; and drawn twice, a tone operation is done once. `keras.layers.RandAugment` (3.15) draws for the
    batch, and computes all operations to keep two.

    Args:
        value_range: (black, white) of the images.
        num_ops: operations an image, >= 0.
        factor: strength in [0, 1], the same for all; (lower, upper) draws it for each operation. (In Keras one number f
            stands for (0, f).)
        interpolation: `"bilinear"` or `"nearest"`.
        seed, data_format: as for `AugmentationLayer`.
        fill_mode, fill_value, **kwargs: as for `GeometricLayer`. The paper fills with grey: `"constant"` and 128.

    Example:
        >>> augment = kas.layers.RandAugment(num_ops=2, factor=0.3, seed=1)
        >>> augment(np.full((4, 32, 32, 3), 100, "uint8")).dtype
        tf.uint8
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
        >>> np.array_equal(kas.layers.RandAugment(factor=0.0)(images), images)
        True
    """

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        num_ops: int = 2,
        factor: Factor = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        severity = Severity(shear=0.3, translate=150 / 331, degrees=30.0, enhance=0.9, bits=4)
        super().__init__(
            severity, value_range, interpolation=interpolation, seed=seed, data_format=data_format, **kwargs
        )
        self.num_ops = checks.integer("RandAugment", "num_ops", num_ops, 0)
        self.factor = checks.interval("RandAugment", "factor", factor, 0.0, 1.0, alone=True)

    def chosen(self, spec: Spec, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        units = draws.uniform_array(key, spec.batch_size, (3, max(1, self.num_ops)), spec.first)
        operation = draws.below(units[:, 0], len(OPERATIONS))
        strength = draws.between(units[:, 1], *(self.factor if self.num_ops else (0.0, 0.0)))  # 0 is the identity
        return operation, strength, tf.where(units[:, 2] < 0.5, -1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_ops": self.num_ops, "factor": self.factor}


@register
class TrivialAugment(PolicyLayer):
    """One operation an image, of a strength drawn for it: TrivialAugment Wide (Mueller and Hutter 2021). Nothing to
    tune.

    The operations of `RandAugment`, the strength one of 0, 1/30, ..., 1. Strength 1 shears by 0.99, shifts by 32
    pixels, turns by 135 degrees, enhances by 1 plus or minus 0.99, keeps 2 bits and inverts everything.

    Args:
        value_range: (black, white) of the images.
        interpolation, fill_mode, fill_value: as for `GeometricLayer`.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> augment = kas.layers.TrivialAugment(seed=1)
        >>> images, masks = np.zeros((4, 32, 32, 3), "uint8"), np.zeros((4, 32, 32), "int32")
        >>> augment({"images": images, "segmentation_masks": masks})["segmentation_masks"].dtype
        tf.int32
    """

    strengths = 31

    def __init__(self, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> None:
        severity = Severity(shear=0.99, translate=32.0, degrees=135.0, enhance=0.99, bits=6)
        super().__init__(severity, value_range, **kwargs)

    def chosen(self, spec: Spec, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        which, how, side = (unit[:, None] for unit in draws.uniforms(key, spec.batch_size, 3, spec.first))
        strength = tf.cast(draws.below(how, self.strengths), tf.float32) / (self.strengths - 1.0)
        return draws.below(which, len(OPERATIONS)), strength, tf.where(side < 0.5, -1.0, 1.0)


def weak_augmentation(flip: bool = True, **kwargs: Any) -> Pipeline:
    """The weak view of FixMatch (Sohn et al. 2020): mirrored by a coin, shifted by up to an eighth of each side.

    Args:
        flip: False where left and right mean something, as in digits and text.
        **kwargs: as for `Pipeline`.

    Example:
        >>> print(kas.layers.weak_augmentation().plan())
        1. resample: RandomFlip + RandomTranslation
    """
    mirrors = [RandomFlip("horizontal")] if flip else []
    return Pipeline([*mirrors, RandomTranslation(0.125, 0.125)], **kwargs)


def strong_augmentation(flip: bool = True, value_range: tuple[float, float] = (0, 255), **kwargs: Any) -> Pipeline:
    """The strong view of FixMatch (Sohn et al. 2020): the weak one, RandAugment of any strength, and Cutout.

    The weak view's shift and RandAugment's geometry are one resampling. Cutout paints a grey square of up to half of
    each side.

    Args:
        flip, **kwargs: as for `weak_augmentation`.
        value_range: (black, white) of the images.

    Example:
        >>> strong = kas.layers.strong_augmentation(value_range=(0, 1), seed=1)
        >>> strong(np.zeros((2, 32, 32, 3), "float32")).shape
        TensorShape([2, 32, 32, 3])
    """
    low, high = checks.value_range("strong_augmentation", value_range)
    weak = weak_augmentation(flip)
    cutout = RandomErasing(scale=(0.0, 0.25), fill_value=(low + high) / 2, value_range=value_range, aspect_ratio=(1, 1))
    return Pipeline([*weak.layers, RandAugment(value_range, factor=(0.0, 1.0)), cutout], **kwargs)
