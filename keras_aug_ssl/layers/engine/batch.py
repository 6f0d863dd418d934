"""What every layer works on: one batch, in one shape, whatever the user handed in."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_aug_ssl.kernels.geometry import Size


class Spec(NamedTuple):
    """What a draw may depend on.

    Attributes:
        batch_size: number of images, an int or a scalar tensor.
        height, width: of the images, ints or scalar tensors.
        channels: number of channels.
        dtype: of the images.
        first: position of the first image in the stream of data; draws depend on `first + i` only.
        labels, inputs: what mixing layers choose partners by, or None.
    """

    batch_size: Any
    height: Any
    width: Any
    channels: int
    dtype: tf.DType = tf.float32
    first: Any = 0
    labels: Any = None
    inputs: Any = None

    @property
    def size(self) -> Size:
        return self.height, self.width

    def resized(self, size: Size) -> Spec:
        return self._replace(height=size[0], width=size[1])


@dataclasses.dataclass(frozen=True)
class Boxes:
    """`corners` (B, N, 4): (left, top, right, bottom) edges in pixels; `labels` (B, N) or None; `other` as it came.

    Labels are of a dtype that holds -1.
    """

    corners: tf.Tensor
    labels: tf.Tensor | None
    other: dict[str, tf.Tensor]
    dtype: tf.DType = tf.float32  # the boxes came in it and leave in it
    key: str = "labels"  # what the labels came as

    def only(self, visible: tf.Tensor, corners: tf.Tensor) -> Boxes:
        """Boxes at new `corners`; those not `visible` (B, N) are emptied, as are rows that held none before."""
        if self.labels is None:
            return dataclasses.replace(self, corners=tf.where(visible[..., None], corners, 0.0))
        labels = tf.where(visible, self.labels, tf.cast(-1, self.labels.dtype))
        return dataclasses.replace(self, corners=corners, labels=labels)


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch on its way through the stages.

    Attributes:
        images: (B, H, W, C), or volumes (B, D, H, W, C), in `dtype` or, between stages, float32 on the same scale.
            A family's `run` sees images only: `engine/volumes.py` makes them of volumes.
        dtype: the images came in it and leave in it.
        labels, sample_weight: as they came.
        masks: (B, H, W, K), of volumes (B, D, H, W, K), any dtype.
        boxes: see `Boxes`.
        keypoints: (B, K, 2 or more), x and y of pixel centres first.
        other: inputs named in a mixing layer's `mix=`.
    """

    images: tf.Tensor
    dtype: tf.DType
    labels: Any = None
    sample_weight: Any = None
    masks: tf.Tensor | None = None
    boxes: Boxes | None = None
    keypoints: tf.Tensor | None = None
    other: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> Size:
        return size_of(self.images)

    def spec(self, first: Any = 0) -> Spec:
        """The `Spec` of this batch."""
        batch_size = self.images.shape[0] or tf.shape(self.images)[0]
        return Spec(batch_size, *self.size, self.images.shape[-1], self.dtype, first, self.labels, self.images)

    def replace(self, **changes: Any) -> Batch:
        return dataclasses.replace(self, **changes)


_WHOLE = 1.5 * 2.0**23
"""A float32 with this added is a whole number, and its lowest bits are that number, of either sign."""


class Written(NamedTuple):
    """What images go through as they are written: they leave in `dtype`. As a value, so that equal ones are equal."""

    dtype: tf.DType

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return to_dtype(images, self.dtype)


def size_of(images: tf.Tensor) -> Size:
    """(height, width) of (B, H, W, C) images or (B, D, H, W, C) volumes: ints where known, else scalar tensors."""
    dynamic = tf.shape(images)
    height, width = (images.shape[axis] or dynamic[axis] for axis in (-3, -2))
    return height, width


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds to whole numbers and saturates where `dtype` holds whole numbers; nothing wraps."""
    if values.dtype == dtype:
        return values
    if dtype.is_integer and dtype.size <= 2:
        # On a CPU two thirds of the price of rounding and conversion, and the same numbers, ties to even included.
        saturated = tf.clip_by_value(tf.cast(values, tf.float32), float(dtype.min), float(dtype.max))
        return tf.cast(tf.bitcast(saturated + _WHOLE, tf.int32), dtype)
    if dtype.is_integer:
        # The largest float32 that `dtype` holds: of 32 bits and more, its own largest number is not a float32.
        largest = np.float32(dtype.max)
        largest = largest if int(largest) <= dtype.max else np.nextafter(largest, np.float32(0.0))
        values = tf.clip_by_value(tf.round(tf.cast(values, tf.float32)), float(dtype.min), largest)
    return tf.cast(values, dtype)
