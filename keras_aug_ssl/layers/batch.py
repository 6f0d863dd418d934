"""What reaches a layer, in one shape: `unpack` takes any input a user may hand in, `pack` gives the same structure
back.

Inside, a batch is always batched and channels last; boxes are corner edges in pixels; what came without a batch axis,
channels first or in another box format returns so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import boxes as box_kernels
from keras_aug_ssl.kernels.geometry import Size

KEYS = ("images", "labels", "sample_weight", "segmentation_masks", "bounding_boxes", "keypoints")


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
    """`corners` (B, N, 4) as (left, top, right, bottom) edges in pixels; `labels` (B, N) or None; `other` keys as they
    came."""

    corners: tf.Tensor
    labels: tf.Tensor | None
    other: dict[str, tf.Tensor]
    dtype: tf.DType = tf.float32  # the boxes came in it and leave in it

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
        images: (B, H, W, C), in `dtype` or, between stages, float32 on the same scale.
        dtype: the images came in it and leave in it.
        labels, sample_weight: as they came.
        masks: (B, H, W, K), any dtype.
        boxes: see `Boxes`.
        keypoints: (B, K, 2 or more), x and y of pixel centres first.
        other: inputs named in a mixing layer's `mix=`.
    """

    images: tf.Tensor
    dtype: tf.DType
    labels: Any = None
    sample_weight: tf.Tensor | None = None
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


class Layout(NamedTuple):
    """How an input was laid out, so that the output can be laid out alike."""

    kind: type  # dict, tf.Tensor, or what kind of tuple or list
    batched: bool
    data_format: str
    box_format: str | None
    mask_has_channels: bool
    keys: tuple[str, ...]
    main: str = "images"  # the key of what travels as the images
    inner: tuple[str, ...] = ()  # the keys of x in (x, labels), where x is a dict itself
    shape: tuple[Any, ...] | None = None  # of an example that is no image


def size_of(images: tf.Tensor) -> Size:
    """(height, width) of (B, H, W, C) images: ints where known, else scalar tensors."""
    dynamic = tf.shape(images)
    height, width = (images.shape[axis] or dynamic[axis] for axis in (1, 2))
    return height, width


def unpack(
    inputs: Any,
    owner: str,
    data_format: str = "channels_last",
    box_format: str | None = None,
    mix: tuple[str, ...] = (),
    any_rank: bool = False,
) -> tuple[Batch, Layout]:
    """Brings any accepted input into a `Batch`.

    Args:
        inputs: images (B, H, W, C) or (H, W, C); or (images, labels[, sample_weight]); or a dict with keys of `KEYS`.
        owner: who asks, for errors.
        data_format: where the channels of images and masks are.
        box_format: one of Keras's formats; needed when boxes come.
        mix: further keys that are accepted, at the top or in a dict of inputs x of (x, labels).
        any_rank: also takes what is no image, (B, ...) of any rank: it travels as (B, 1, 1, F), (B, 1, T, F), ...

    Returns:
        The batch, and the layout to give to `pack`.
    """
    parts, kind, inner = _parts(inputs, owner, mix)
    parts = {key: to_tensors(value) for key, value in parts.items()}
    main = "images" if "images" in parts else mix[0]
    images, shape = parts.pop(main), None
    expected = "(batch, height, width, channels) or (height, width, channels) images"
    if not tf.is_tensor(images):
        checks.fail(owner, "inputs", expected, f"a {type(images).__name__}", error=TypeError)
    if any_rank and _is_no_image(images, parts):
        images, shape = _as_images(images, owner)
        data_format = "channels_last"
    if images.shape.rank not in (3, 4):
        checks.fail(owner, "inputs", expected, f"a tensor of shape {images.shape}")
    batched = images.shape.rank == 4
    if not batched:
        images = images[None]
        parts = tf.nest.map_structure(lambda value: value[None], parts)
    masks = parts.pop("segmentation_masks", None)
    mask_has_channels = masks is not None and masks.shape.rank == 4
    if masks is not None and not mask_has_channels:
        masks = masks[..., None] if data_format == "channels_last" else masks[:, None]
    if data_format == "channels_first":
        images = tf.transpose(images, [0, 2, 3, 1])
        masks = None if masks is None else tf.transpose(masks, [0, 2, 3, 1])
    _check_pixels(images, masks, owner)
    boxes = parts.pop("bounding_boxes", None)
    batch = Batch(
        images,
        images.dtype,
        labels=parts.pop("labels", None),
        sample_weight=parts.pop("sample_weight", None),
        masks=masks,
        boxes=None if boxes is None else _read_boxes(boxes, box_format, size_of(images), owner),
        keypoints=parts.pop("keypoints", None),
        other=parts,
    )
    keys = tuple(inputs) if kind is dict else KEYS[: len(inputs)] if kind is not tf.Tensor else ("images",)
    return batch, Layout(kind, batched, data_format, box_format, mask_has_channels, keys, main, inner, shape)


def pack(batch: Batch, layout: Layout) -> Any:
    """The inverse of `unpack`."""
    images, masks = batch.images, batch.masks
    if layout.shape is not None:
        images = tf.reshape(images, [tf.shape(images)[0], *layout.shape])
    if layout.data_format == "channels_first":
        images = tf.transpose(images, [0, 3, 1, 2])
        masks = None if masks is None else tf.transpose(masks, [0, 3, 1, 2])
    if masks is not None and not layout.mask_has_channels:
        masks = tf.squeeze(masks, -1 if layout.data_format == "channels_last" else 1)
    parts = {
        layout.main: images,
        "labels": batch.labels,
        "sample_weight": batch.sample_weight,
        "segmentation_masks": masks,
        "bounding_boxes": None if batch.boxes is None else _write_boxes(batch, layout),
        "keypoints": batch.keypoints,
        **batch.other,
    }
    if layout.inner:
        parts["images"] = {key: parts[key] for key in layout.inner}
    parts = {key: parts[key] for key in layout.keys}
    if not layout.batched:
        parts = tf.nest.map_structure(lambda value: value[0], parts)
    if layout.kind is dict:
        return parts
    if layout.kind is tf.Tensor:
        return parts["images"]
    return _rebuilt(layout.kind, parts.values())


def to_tensors(value: Any) -> Any:
    """Arrays as tensors, in the structure they came in; a list of numbers is one array."""
    if isinstance(value, Mapping):
        return {key: to_tensors(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)) and holds_arrays(value):
        return _rebuilt(type(value), [to_tensors(part) for part in value])
    return value if tf.is_tensor(value) or isinstance(value, keras.KerasTensor) else tf.convert_to_tensor(value)


def holds_arrays(value: Any) -> bool:
    """Whether `value` is data: an array or a tensor, or a structure that holds one."""
    leaves = tf.nest.flatten(value)
    return any(tf.is_tensor(leaf) or isinstance(leaf, (np.ndarray, keras.KerasTensor)) for leaf in leaves)


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds to whole numbers and saturates where `dtype` holds whole numbers; nothing wraps."""
    if values.dtype == dtype:
        return values
    if dtype.is_integer:
        # The largest float32 that `dtype` holds: of 32 bits and more, its own largest number is not a float32.
        largest = np.float32(dtype.max)
        largest = largest if int(largest) <= dtype.max else np.nextafter(largest, np.float32(0.0))
        values = tf.clip_by_value(tf.round(tf.cast(values, tf.float32)), float(dtype.min), largest)
    return tf.cast(values, dtype)


def _rebuilt(kind: type, parts: Any) -> Any:
    """A tuple, list or named tuple of `parts`."""
    return kind._make(parts) if hasattr(kind, "_make") else kind(parts)


def _parts(inputs: Any, owner: str, mix: tuple[str, ...]) -> tuple[dict[str, Any], type, tuple[str, ...]]:
    """The inputs by key, the kind of container they came in, and the keys of x in (x, labels) where x is a dict."""
    if isinstance(inputs, Mapping):
        return _named(inputs, (*KEYS, *mix), owner, mix), dict, ()
    if not isinstance(inputs, (tuple, list)):
        return {"images": inputs}, tf.Tensor, ()
    if len(inputs) not in (1, 2, 3):
        checks.fail(owner, "inputs", "(images, labels) or (images, labels, sample_weight)", f"{len(inputs)} elements")
    parts = dict(zip(KEYS, inputs, strict=False))
    if not isinstance(inputs[0], Mapping):
        return parts, type(inputs), ()
    held = _named(parts.pop("images"), ("images", *mix), owner, mix)
    return {**held, **parts}, type(inputs), tuple(held)


def _named(inputs: Mapping[str, Any], known: tuple[str, ...], owner: str, mix: tuple[str, ...]) -> dict[str, Any]:
    unknown = sorted(set(inputs) - set(known))
    if unknown:
        advice = "Drop or rename the others, or name what is to be mixed in `mix=` of a mixing layer."
        checks.fail(owner, "inputs", f"a dict with keys among {', '.join(known)}", unknown, advice)
    if not {"images", *mix[:1]} & set(inputs):
        checks.fail(owner, "inputs", 'a dict with the key "images"', sorted(inputs))
    return dict(inputs)


def _is_no_image(inputs: tf.Tensor, parts: Mapping[str, Any]) -> bool:
    """Rank 4 is images; rank 3 one image, unless labels or weights, as many as it has rows, say it is a batch."""
    if inputs.shape.rank != 3:
        return bool(inputs.shape.rank) and inputs.shape.rank != 4
    rows = [parts[name].shape[:1] for name in ("labels", "sample_weight") if tf.is_tensor(parts.get(name))]
    return bool(rows) and all(row.rank == 1 and row.is_compatible_with(inputs.shape[:1]) for row in rows)


def _as_images(inputs: tf.Tensor, owner: str) -> tuple[tf.Tensor, tuple[Any, ...]]:
    """(B, ...) as (B, height, width, channels), its last two axes kept; and the shape of an example to go back to."""
    if inputs.dtype.is_integer and inputs.dtype.size > 2:
        advice = "Codes have nothing between them: mix embeddings instead, or cast measured numbers to float32."
        checks.fail(owner, "inputs", "floating numbers, or 8 or 16 bit levels", inputs.dtype.name, advice, TypeError)
    dynamic = tf.shape(inputs)
    shape = tuple(n or dynamic[axis] for axis, n in enumerate(inputs.shape[1:], 1))
    rows = math.prod(inputs.shape[1:-2]) if inputs.shape[1:-2].is_fully_defined() else -1
    return tf.reshape(inputs, [dynamic[0], rows if len(shape) > 2 else 1, *(1, 1, *shape)[-2:]]), shape


def _check_pixels(images: tf.Tensor, masks: tf.Tensor | None, owner: str) -> None:
    if not (images.dtype.is_floating or images.dtype.is_integer):
        checks.fail(owner, "inputs", "images of an integer or floating dtype", images.dtype.name, error=TypeError)
    if images.shape[-1] is None:
        checks.fail(owner, "inputs", "images with a known number of channels", f"a tensor of shape {images.shape}")
    if masks is not None and not images.shape[1:3].is_compatible_with(masks.shape[1:3]):
        checks.fail(
            owner, "segmentation_masks", f"of the images' size {tuple(images.shape[1:3])}", tuple(masks.shape[1:3])
        )


def _read_boxes(boxes: Any, box_format: str | None, size: Size, owner: str) -> Boxes:
    if box_format is None:
        advice = 'Say how the boxes are written, e.g. bounding_box_format="xyxy".'
        checks.fail(owner, "bounding_box_format", f"one of {', '.join(box_kernels.FORMATS)}", None, advice)
    if not isinstance(boxes, Mapping) or "boxes" not in boxes:
        checks.fail(owner, "bounding_boxes", 'a dict with "boxes" (B, N, 4) and "labels" (B, N)', type(boxes).__name__)
    other = {key: value for key, value in boxes.items() if key not in ("boxes", "labels")}
    edges = boxes["boxes"]
    return Boxes(box_kernels.to_corners(edges, box_format, size), boxes.get("labels"), other, edges.dtype)


def _write_boxes(batch: Batch, layout: Layout) -> dict[str, tf.Tensor]:
    """Boxes in the user's format; rows that hold none (label below 0) are -1 throughout, as Keras pads them."""
    assert batch.boxes is not None and layout.box_format is not None  # for the type checker: `unpack` saw to it
    written = box_kernels.from_corners(batch.boxes.corners, layout.box_format, batch.size)
    result = dict(batch.boxes.other)
    if batch.boxes.labels is not None:
        written = tf.where((batch.boxes.labels < 0)[..., None], -1.0, written)
        result["labels"] = batch.boxes.labels
    return {"boxes": to_dtype(written, batch.boxes.dtype), **result}
