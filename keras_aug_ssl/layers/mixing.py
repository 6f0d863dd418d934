"""The mixing family: each example and a partner of its batch become one, pixels, labels and all else alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.kernels import mixing, regions
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Boxes, Spec, to_dtype
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.structure import to_tensors
from keras_aug_ssl.layers.regions import covered

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class MixingLayer(AugmentationLayer):
    """Base of the layers that mix examples of a batch.

    Parameters drawn: `partner` (B,) int32, and `weight` (B,) float32, the share an example keeps of itself. The same
    two numbers mix the images, the labels, `sample_weight`, floating masks, boxes and every input named in `mix=`.
    Boxes of both are kept, and `"weights"` (B, 2 N) next to them says how much of each is seen. Keypoints can't be
    mixed.

    Inputs are a batch: images, or numbers (B, ...) of any rank (of rank 3 together with labels only: alone it would be
    one image). A dict may hold further inputs when they are named in `mix=`, at the top or in (x, labels)
    in place of x.

    | labels | become |
    |---|---|
    | integers (B,) or (B, 1) | float32 (B, num_classes): `num_classes` is needed |
    | integers or booleans (B, ..., K): one-hot, several of K, counts | float32, shape as before |
    | floats of any rank: one-hot, regression targets | mixed, dtype as before |

    Several targets, in a dict, tuple or list as for a model of several outputs, are mixed by the same weight, each in
    its place (`num_classes` then is that of the integer ones), and so are several `sample_weight`.

    An example without a label is marked by a negative integer (a row of them), or by NaN among floats. Its partner
    has no label either, so that nothing leaks from one part into the other; as an integer it comes out as a row of
    zeros. A batch of one, and whoever finds no partner, stays as it is.

    Args:
        alpha: `weight` is drawn from Beta(alpha, alpha), alpha > 0: 1 is uniform, below it mostly near 0 and 1.
        num_classes: length of the one-hot labels made of integers.
        mix: names of further inputs to mix, besides `"images"`.
        per_batch: True draws one weight for the whole batch, as most reference code does; partners still differ.
        **kwargs: as for `AugmentationLayer`.
    """

    what = "mix"
    slices = "channels"
    independent = False
    any_rank = True
    any_layout = True
    needs_labels = False  # True: partners are chosen by their labels

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        num_classes: int | None = None,
        mix: str | Sequence[str] = (),
        per_batch: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.alpha = checks.number(owner, "alpha", alpha, 0.0, low_open=True)
        self.num_classes = None if num_classes is None else checks.integer(owner, "num_classes", num_classes, 1)
        self.mix = (mix,) if isinstance(mix, str) else tuple(mix)
        if not all(isinstance(name, str) for name in self.mix):
            checks.fail(owner, "mix", "names of inputs", mix, error=TypeError)
        self.per_batch = bool(per_batch)

    # --- what a subclass may say ----------------------------------------------------------------------------------

    def partners(self, spec: Spec, key: tf.Tensor) -> tf.Tensor:
        """Draws (B,) int32 partners: here each once, and nobody itself, in two parts if some have no label."""
        groups = tf.zeros([spec.batch_size], tf.int32) if spec.labels is None else missing(spec.labels)
        return mixing.next_in_group(groups, draws.permutation(key, spec.batch_size))

    def shares(self, key: tf.Tensor, count: Any) -> tf.Tensor:
        """Draws (count,) shares that an example keeps of itself."""
        (unit,) = draws.uniforms(key, count, 1)
        return unit if self.alpha == 1.0 else draws.beta(unit, self.alpha, self.alpha)

    @staticmethod  # what depends on no layer is compiled once for all
    def mix_pixels(images: tf.Tensor, partner: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        """Mixes (B, H, W, C) images."""
        return mixing.blend(images, partner, parameters["weight"])

    def mix_masks(self, masks: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        """Mixes (B, H, W, K) masks."""
        if not masks.dtype.is_floating:
            advice = "There is no class between two: make them one-hot, or use CutMix, which pastes them."
            checks.fail(type(self).__name__, "segmentation_masks", "floating", masks.dtype.name, advice, TypeError)
        return tf.cast(mixing.blend(masks, parameters["partner"], parameters["weight"]), masks.dtype)

    def mix_labels(self, labels: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        """Mixes labels of any form; called for each target where there are several."""
        scores = self._as_scores(labels)
        mixed = mixing.blend(scores, parameters["partner"], parameters.get("label_weight", parameters["weight"]))
        return tf.cast(mixed, scores.dtype)

    def mix_corners(self, boxes: Boxes, parameters: Parameters) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Corners (B, N, 4) of an example's own boxes and of its partner's, each with the share of them seen (B, N)."""
        theirs = tf.gather(boxes.corners, parameters["partner"])
        weight = parameters["weight"][:, None] + tf.zeros_like(theirs[..., 0])
        return [(boxes.corners, weight), (theirs, 1.0 - weight)]

    # --- how it comes about ---------------------------------------------------------------------------------------

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        if self.needs_labels and spec.labels is None:
            advice = "Partners are chosen by them: call the layer with (x, labels)."
            checks.fail(type(self).__name__, "inputs", "examples with their labels", "no labels", advice)
        if spec.labels is not None:
            spec = spec._replace(labels=to_tensors(spec.labels))
        # By the batch, not by the image: who is whose partner can't be said of one image alone.
        partner_key, weight_key = draws.split(draws.fold_in(key, spec.first), 2)
        partner = self.partners(spec, partner_key)
        weight = self.shares(weight_key, 1 if self.per_batch else spec.batch_size)
        return {"partner": partner, "weight": tf.where(partner == tf.range(spec.batch_size), 1.0, weight)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        partner = parameters["partner"]
        kept = {name: tf.where(mask, value, 1.0) for name, value in parameters.items() if value.dtype.is_floating}
        return {**parameters, **kept, "partner": tf.where(mask, partner, tf.range(tf.size(partner)))}

    def output_spec(self, spec: Spec, parameters: Parameters | None = None) -> Spec:
        """Whoever mixes next goes by labels as they then are; NaN for those without."""
        if not parameters or spec.labels is None:
            return spec
        labels = to_tensors(spec.labels)
        mixed = self._mix_targets(labels, parameters)
        unknown = tf.nest.map_structure(self.unknown, labels)
        return spec._replace(labels=tf.nest.map_structure(_without, mixed, unknown))

    def unknown(self, target: tf.Tensor) -> tf.Tensor:
        """Which examples are without this target, (B,) booleans."""
        return without_label(target)

    def at_inference(self, spec: Spec) -> Parameters:
        return {}  # nothing to mix, and labels in the form they came

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        if not parameters:
            return batch.replace(images=finish(batch.images))
        if batch.keypoints is not None:
            checks.fail(cls.__name__, "inputs", "without keypoints", "keypoints", "Two examples' can't be told apart.")
        write = compiled(_write, jit, mix_pixels=layer.mix_pixels, finish=finish)
        return batch.replace(
            images=tf.ensure_shape(write(batch.images, parameters), batch.images.shape),
            labels=None if batch.labels is None else layer._mix_targets(batch.labels, parameters),
            sample_weight=tf.nest.map_structure(
                lambda weights: None if weights is None else layer._blend(weights, parameters), batch.sample_weight
            ),
            masks=None if batch.masks is None else layer.mix_masks(batch.masks, parameters),
            boxes=None if batch.boxes is None else layer._mix_boxes(batch.boxes, parameters),
            other={name: layer.mix_other(name, value, parameters, batch) for name, value in batch.other.items()},
        )

    def mix_other(self, name: str, values: tf.Tensor, parameters: Parameters, batch: Batch) -> tf.Tensor:
        """Mixes a further input, (B, ...)."""
        if name not in self.mix:
            return values
        if values.dtype.is_integer and values.dtype.size > 2:
            advice = "Codes have nothing between them: cast measured numbers to float32."
            checks.fail(
                type(self).__name__, name, "floating, or 8 or 16 bit levels", values.dtype.name, advice, TypeError
            )
        return to_dtype(mixing.blend(values, parameters["partner"], parameters["weight"]), values.dtype)

    def _mix_targets(self, labels: Any, parameters: Parameters) -> Any:
        if tf.is_tensor(labels):
            self._check_width(labels)
        return tf.nest.map_structure(lambda target: self.mix_labels(target, parameters), labels)

    def _blend(self, values: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        mixed = mixing.blend(values, parameters["partner"], parameters["weight"])
        return tf.cast(mixed, values.dtype) if values.dtype.is_floating else mixed

    def _mix_boxes(self, boxes: Boxes, parameters: Parameters) -> Boxes:
        partner = parameters["partner"]

        def both(values: tf.Tensor | None) -> tf.Tensor | None:
            return None if values is None else tf.concat([values, tf.gather(values, partner)], 1)

        corners, weights = (tf.concat(parts, 1) for parts in zip(*self.mix_corners(boxes, parameters), strict=True))
        other = {name: both(values) for name, values in boxes.other.items()}
        if "weights" in other:  # mixed before
            weights *= tf.cast(other["weights"], tf.float32)
        labels = both(boxes.labels)
        if labels is not None:
            weights = tf.where(labels < 0, 0.0, weights)
        result = dataclasses.replace(boxes, labels=labels, other={**other, "weights": weights})
        return result.only(weights > 0.0, corners)

    def _check_width(self, labels: tf.Tensor) -> None:
        wanted, classes = self.num_classes, _are_classes(labels)
        if labels.dtype == tf.string:
            advice = "For names of classes: keras.layers.StringLookup, or np.unique(names, return_inverse=True)."
            checks.fail(type(self).__name__, "labels", "numbers", "strings", advice, error=TypeError)
        fits = labels.shape.rank != 1 and labels.shape[-1] == wanted
        if wanted is not None and not fits and (not classes or labels.dtype.is_floating):
            expected = f"integers (B,) or (B, 1), or (B, {wanted}) as `num_classes` says"
            checks.fail(type(self).__name__, "labels", expected, f"{labels.dtype.name} of shape {labels.shape}")

    def _as_scores(self, labels: tf.Tensor) -> tf.Tensor:
        """Labels as floats that may be added: integers become one-hot."""
        owner, wanted = type(self).__name__, self.num_classes
        if labels.dtype.is_floating:
            return labels
        if not _are_classes(labels) or labels.dtype == tf.bool and wanted is None:
            return tf.cast(labels, tf.float32)
        if wanted is None:
            advice = "Or cast the labels to float32 if they are numbers to predict, not classes."
            checks.fail(owner, "num_classes", "given to mix integer labels", None, advice)
        labels = tf.reshape(tf.cast(labels, tf.int64), [-1])
        known = tf.debugging.assert_less(
            labels, tf.cast(wanted, labels.dtype), f"{owner}: `num_classes` must be above every label; it is {wanted}."
        )
        with tf.control_dependencies([known]):
            return tf.one_hot(labels, wanted)

    def get_config(self) -> dict[str, Any]:
        names = ("alpha", "num_classes", "mix", "per_batch")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _are_classes(labels: tf.Tensor) -> bool:
    return labels.shape.rank == 1 or labels.shape[-1] == 1


def missing(labels: Any) -> tf.Tensor:
    """(B,) int32: which of an example's targets are without a label, in binary; 0 where all have one."""
    targets = tf.nest.flatten(labels)
    return tf.add_n([2**place * tf.cast(without_label(target), tf.int32) for place, target in enumerate(targets)])


def _write(images: tf.Tensor, drawn: Parameters, mix_pixels: Any, finish: Finish) -> tf.Tensor:
    return finish(mix_pixels(images, drawn["partner"], drawn))


def _without(labels: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
    """Mixed labels with NaN where there were none, which of integers have come out as zeros."""
    if not labels.dtype.is_floating:
        return labels
    rows = tf.reshape(unknown, [-1] + [1] * (labels.shape.rank - 1))
    return tf.where(rows, tf.constant(np.nan, labels.dtype), labels)


def without_label(labels: tf.Tensor) -> tf.Tensor:
    """(B,) booleans: integers that are negative, or floats with a NaN among them, throughout the row."""
    rows = tf.reshape(labels, [tf.shape(labels)[0], -1])
    if labels.dtype.is_floating:
        return tf.reduce_any(tf.math.is_nan(rows), 1)
    return tf.reduce_all(tf.cast(rows, tf.int64) < 0, 1)


@register
class MixUp(MixingLayer):
    """Interpolates each example with another one of its batch, and their labels alike (Zhang et al. 2018, eq. 1).

    x = w x_i + (1 - w) x_j and y = w y_i + (1 - w) y_j, with w from Beta(alpha, alpha) for each example. The
    partners are one cyclic permutation of the batch: everyone is used twice, and nobody with itself.

    Args:
        alpha: > 0; the paper takes 0.2 to 0.4 on ImageNet, 1 on CIFAR.
        data_format, seed: as for `AugmentationLayer`.
        num_classes, mix, per_batch, **kwargs: as for `MixingLayer`, which says what inputs and labels may be.

    Returns:
        When called: the structure of the inputs. Images keep their dtype; labels of integers become float32 one-hot.

    Raises:
        ValueError: a single image; integer labels without `num_classes`; keypoints; an input not named in `mix`.
        TypeError: masks or further inputs of integers that have nothing between them.

    Example:
        >>> mix_up = kas.layers.MixUp(alpha=1.0, num_classes=3, seed=1)
        >>> images, labels = mix_up((np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 1, 2, 2])))
        >>> labels.shape, bool(np.allclose(np.sum(labels, 1), 1.0))
        (TensorShape([4, 3]), True)
    """

    def __init__(
        self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(alpha, data_format=data_format, seed=seed, **kwargs)


@register
class CutMix(MixingLayer):
    """Pastes a rectangle of another image of the batch over each image, and mixes labels by area (Yun et al. 2019).

    The weight of a label is the share of pixels that were kept, counted: kept / (height * width) in float32. The
    paper's rectangle may hang over the border and is cut; here, as in Keras, it lies inside, so that the weight follows
    Beta(alpha, alpha) but for rounding to whole pixels. Its sides are sqrt(1 - weight) of the image's.

    Masks of any dtype are pasted, and so is a further input of the images' height and width; other inputs and
    `sample_weight` are interpolated by the same weight. A box comes out with the share of it that is seen; one of the
    image's own that the rectangle covers from side to side is cut to what is left.

    Parameters drawn: besides those of `MixingLayer`, `box` (B, 4) int32 (top, left, bottom, right).

    Args:
        factor: the alpha of Beta(alpha, alpha), > 0; (lower, upper) draws alpha itself, uniformly. In
            `keras.layers.CutMix` one number f stands for (0, f), drawn once a batch.
        seed, data_format: as for `AugmentationLayer`.
        num_classes, mix, per_batch, **kwargs: as for `MixingLayer`. `per_batch=True` shares the rectangle too.

    Example:
        >>> cut_mix = kas.layers.CutMix(num_classes=2, seed=1)
        >>> black_and_white = np.repeat([0, 255], 8 * 8).reshape(2, 8, 8, 1).astype("uint8")
        >>> images, labels = cut_mix((black_and_white, np.array([0, 1])))
        >>> bool(np.isclose(np.mean(images[0]) / 255, labels[0, 1]))
        True
    """

    what = "cut and paste"
    any_rank = False
    any_layout = False
    moves = True
    computes = False

    def __init__(
        self,
        factor: float | tuple[float, float] = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(1.0, seed=seed, data_format=data_format, **kwargs)
        self.factor = checks.interval("CutMix", "factor", factor, 0.0, alone=True)
        checks.number("CutMix", "factor", self.factor[1], 0.0, low_open=True)

    def shares(self, key: tf.Tensor, count: Any) -> tf.Tensor:
        unit, exponent = draws.uniforms(key, count, 2)
        if self.factor == (1.0, 1.0):
            return unit
        alpha = tf.maximum(draws.between(exponent, *self.factor), 1e-6)
        return draws.beta(unit, alpha, alpha)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        drawn = super().draw(spec, key)
        place_key = draws.fold_in(draws.fold_in(key, spec.first), 2)
        each = tf.zeros([spec.batch_size])
        x, y = (unit + each for unit in draws.uniforms(place_key, 1 if self.per_batch else spec.batch_size, 2))
        height, width = (tf.cast(n, tf.float32) for n in spec.size)
        box = regions.rectangle(1.0 - drawn["weight"], height / width + each, x, y, spec.size)
        return {**drawn, "weight": mixing.share_outside(box, spec.size), "box": box}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**super().keep(mask, parameters), "box": tf.where(mask[:, None], parameters["box"], 0)}

    @staticmethod
    def mix_pixels(images: tf.Tensor, partner: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return mixing.paste(images, partner, parameters["box"])

    def mix_masks(self, masks: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        return mixing.paste(masks, parameters["partner"], parameters["box"])

    def mix_other(self, name: str, values: tf.Tensor, parameters: Parameters, batch: Batch) -> tf.Tensor:
        size = batch.images.shape[1:3]
        if name in self.mix and values.shape.rank == 4 and size.is_fully_defined() and values.shape[1:3] == size:
            return mixing.paste(values, parameters["partner"], parameters["box"])
        return super().mix_other(name, values, parameters, batch)

    def mix_corners(self, boxes: Boxes, parameters: Parameters) -> list[tuple[tf.Tensor, tf.Tensor]]:
        box = parameters["box"]
        _, hidden = mixing.share_of_boxes(boxes.corners, box)
        corners, seen = mixing.share_of_boxes(tf.gather(boxes.corners, parameters["partner"]), box)
        return [(covered(boxes, tf.cast(box, tf.float32)).corners, 1.0 - hidden), (corners, seen)]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "factor": self.factor}
        config.pop("alpha")
        return config
