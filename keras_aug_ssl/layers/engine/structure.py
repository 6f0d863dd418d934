"""From any input a user may hand in to a `Batch`, and back to the same structure.

Inside, a batch is always batched and channels last; boxes are corner edges in pixels; what came without a batch axis,
channels first or in another box format returns so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend, checks
from keras_aug_ssl.layers.engine.annotations import read_boxes, with_dense_boxes, write_boxes
from keras_aug_ssl.layers.engine.batch import Batch
from keras_aug_ssl.layers.engine.streams import images_of

KEYS = ("images", "labels", "sample_weight", "segmentation_masks", "bounding_boxes", "keypoints")


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


def unpack(
    inputs: Any,
    owner: str,
    data_format: str = "channels_last",
    box_format: str | None = None,
    mix: tuple[str, ...] = (),
    any_rank: bool = False,
    volumes: bool = False,
) -> tuple[Batch, Layout]:
    """Brings any accepted input into a `Batch`.

    Args:
        inputs: images (B, H, W, C) or (H, W, C), or volumes (B, D, H, W, C); or (images, labels[, sample_weight]); or a
            dict with keys of `KEYS`. A part that is None is as if it weren't there.
        owner: who asks, for errors.
        data_format: where the channels of images and masks are.
        box_format: one of Keras's formats; needed when boxes come.
        mix: further keys that are accepted, at the top or in a dict of inputs x of (x, labels).
        any_rank: also takes what is no image, (B, ...) of any rank: it travels as (B, 1, 1, F), (B, 1, T, F), ...
        volumes: what is of rank 4 is one volume (D, H, W, C), not a batch of images.

    Returns:
        The batch, and the layout to give to `pack`.
    """
    parts, kind, inner = _parts(inputs, owner, mix)
    parts = {key: backend.to_tensorflow(to_tensors(value)) for key, value in parts.items() if value is not None}
    parts = with_dense_boxes(parts)
    _check_dense(parts, owner)
    main = "images" if "images" in parts else mix[0]
    images, shape = parts.pop(main), None
    rank, expected = 3, "(batch, height, width, channels) or (height, width, channels) images"
    if volumes:
        rank, expected = 4, "(batch, depth, height, width, channels) or (depth, height, width, channels) volumes"
    if not tf.is_tensor(images):
        checks.fail(owner, "inputs", expected, f"a {type(images).__name__}", error=TypeError)
    if any_rank and not volumes and _is_no_image(images, parts):
        images, shape = _as_images(images, owner)
        data_format = "channels_last"
    if images.shape.rank not in range(rank, 6):
        checks.fail(owner, "inputs", expected, f"a tensor of shape {images.shape}")
    batched = images.shape.rank > rank
    if not batched:
        images = images[None]
        parts = tf.nest.map_structure(lambda value: value[None], parts)
    _check_rows(parts, images, owner)
    masks = parts.pop("segmentation_masks", None)
    mask_has_channels = masks is not None and masks.shape.rank == images.shape.rank
    if masks is not None and not mask_has_channels:
        masks = masks[..., None] if data_format == "channels_last" else masks[:, None]
    if data_format == "channels_first":
        images, masks = _channels_last(images), None if masks is None else _channels_last(masks)
    _check_pixels(images, masks, owner)
    boxes, keypoints = parts.pop("bounding_boxes", None), parts.pop("keypoints", None)
    alike = keypoints is None or keypoints.shape[:1].is_compatible_with(images.shape[:1])
    if not alike or keypoints is not None and (keypoints.shape.rank not in (3, None) or keypoints.shape[-1] in (0, 1)):
        expected = "of shape (batch, points, 2 or more), or (points, 2 or more) beside one image"
        checks.fail(owner, "keypoints", expected, f"a tensor of shape {keypoints.shape}")
    batch = Batch(
        images,
        images.dtype,
        labels=parts.pop("labels", None),
        sample_weight=parts.pop("sample_weight", None),
        masks=masks,
        boxes=None if boxes is None else read_boxes(boxes, box_format, images, owner),
        keypoints=keypoints,
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
        images, masks = _channels_first(images), None if masks is None else _channels_first(masks)
    if masks is not None and not layout.mask_has_channels:
        masks = tf.squeeze(masks, -1 if layout.data_format == "channels_last" else 1)
    parts = {
        layout.main: images,
        "labels": batch.labels,
        "sample_weight": batch.sample_weight,
        "segmentation_masks": masks,
        "bounding_boxes": None if batch.boxes is None else write_boxes(batch, layout.box_format),
        "keypoints": batch.keypoints,
        **batch.other,
    }
    if layout.inner:
        parts["images"] = {key: parts[key] for key in layout.inner}
    parts = {key: parts.get(key) for key in layout.keys}
    if not layout.batched:
        parts = {key: part if part is None else tf.nest.map_structure(_first, part) for key, part in parts.items()}
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
    return value if value is None or _is_tensor(value) else tf.convert_to_tensor(value)


def holds_arrays(value: Any) -> bool:
    """Whether `value` is data: an array or a tensor, or a structure that holds one."""
    leaves = tf.nest.flatten(value)
    return any(isinstance(leaf, np.ndarray) or _is_tensor(leaf) for leaf in leaves)


def check_arrays(inputs: Any, owner: str) -> None:
    """Refuses what is no data at all, and lists of arrays where one array is meant."""
    named = dict(_by_key(inputs))
    if isinstance(named.get("images"), Mapping):  # in (x, labels)
        named |= named["images"]
    named["images"] = images_of(inputs)
    for name in ("images", "segmentation_masks", "keypoints"):
        part = named.get(name)
        if name == "images" and (part is None or _rank(part) == 0) or part is not None and not _is_tensor(part):
            shown, advice = f"a {type(part).__name__}", "Stack what has one shape: np.stack(...)."
            checks.fail(owner, "inputs" if name == "images" else name, "an array", shown, advice, TypeError)


def _rank(part: Any) -> int | None:
    shape = getattr(part, "shape", None)
    return shape.rank if isinstance(shape, tf.TensorShape) else None if shape is None else len(shape)


def _by_key(inputs: Any) -> Mapping[str, Any]:
    if isinstance(inputs, (tuple, list)):
        return dict(zip(KEYS, inputs, strict=False))
    return inputs if isinstance(inputs, Mapping) else {}


def refuse_places(labels: Any, images: tf.Tensor, owner: str) -> None:
    """Masks and boxes that came as labels would stay where they are while the images move."""
    name, places = "", images.shape[1:-1].as_list()
    if isinstance(labels, Mapping) and "boxes" in labels and {"labels", "classes"} & set(labels):
        name = "bounding_boxes"
    for target in [] if labels is None or name else tf.nest.flatten(labels):
        sizes = target.shape[1:].as_list() if target is not None and target.shape.rank else []
        extra = len(sizes) - len(places)
        known = None not in (*sizes, *places) or extra == 1
        starts = (0, 1) if extra == 1 else (0,) if extra == 0 else ()  # channels last or first, or none
        if known and any(_alike(sizes[start : start + len(places)], places) for start in starts):
            name = "segmentation_masks"
    if name:
        checks.fail(
            owner, "inputs", f'a dict, {{"images": x, "{name}": y}}, where {name.replace("_", " ")} are to follow',
            "(x, y), of which y is left as it is",
            'Where y is to stay, as an image to be restored is, say so: {"images": x, "labels": y}.',
        )  # fmt: skip


def _alike(sizes: list[int | None], others: list[int | None]) -> bool:
    return all(None in pair or pair[0] == pair[1] for pair in zip(sizes, others, strict=True))


def widths(inputs: Any, axis: int) -> tuple[int | None, ...]:
    """The sizes that code depends on, besides ranks: the channels of images and masks, at `axis`, and of labels as long
    as numbers of classes may be, the last axis."""
    named = _by_key(inputs)
    images, masks = images_of(inputs), named.get("segmentation_masks")
    pixels = [part for part in (images, masks) if part is not None and part.shape.rank == images.shape.rank]
    labels = [leaf for leaf in tf.nest.flatten(named.get("labels")) if leaf is not None and leaf.shape.rank == 2]
    return (*(part.shape[axis] for part in pixels), *(leaf.shape[-1] for leaf in labels))


def _is_tensor(value: Any) -> bool:
    """Whether `value` is a tensor: of TensorFlow, of the backend, or a symbolic one."""
    return tf.is_tensor(value) or isinstance(value, keras.KerasTensor) or backend.is_native(value)


def _first(value: tf.Tensor) -> tf.Tensor:
    return value[0]


def _channels_last(images: tf.Tensor) -> tf.Tensor:
    return tf.transpose(images, [0, *range(2, images.shape.rank), 1])


def _channels_first(images: tf.Tensor) -> tf.Tensor:
    return tf.transpose(images, [0, images.shape.rank - 1, *range(1, images.shape.rank - 1)])


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
    """Rank 4 is images, 5 volumes; 3 one image, unless labels or weights, as many as it has rows, say it is a batch."""
    if inputs.shape.rank != 3:
        return bool(inputs.shape.rank) and inputs.shape.rank not in (4, 5)
    beside = tf.nest.flatten([parts.get(name) for name in ("labels", "sample_weight")])
    rows = [part.shape[:1] for part in beside if tf.is_tensor(part)]
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


def _check_dense(parts: Mapping[str, Any], owner: str) -> None:
    """Boxes may be ragged, and what only comes through; pixels can't be worked on before they are an array."""
    for name in set(parts) - {"labels", "sample_weight", "bounding_boxes"}:
        if isinstance(parts[name], (tf.RaggedTensor, tf.SparseTensor)):
            advice = "Resize images to one size before they are batched, or augment them singly and batch them then."
            if isinstance(parts[name], tf.SparseTensor):
                advice = "See `tf.sparse.to_dense`."
            checks.fail(owner, name, "a dense tensor", f"a {type(parts[name]).__name__}", advice, TypeError)


def _check_rows(parts: Mapping[str, Any], images: tf.Tensor, owner: str) -> None:
    for name in set(parts) - {"segmentation_masks", "bounding_boxes", "keypoints"}:
        for leaf in tf.nest.flatten(parts[name]):
            shape = tf.TensorShape(None) if leaf is None else leaf.shape
            if shape.rank and not shape[:1].is_compatible_with(images.shape[:1]):
                checks.fail(owner, name, f"one for each of the {images.shape[0]} images", f"a tensor of shape {shape}")


def _check_pixels(images: tf.Tensor, masks: tf.Tensor | None, owner: str) -> None:
    if not (images.dtype.is_floating or images.dtype.is_integer):
        checks.fail(owner, "inputs", "images of an integer or floating dtype", images.dtype.name, error=TypeError)
    if images.shape[-1] is None:
        checks.fail(owner, "inputs", "images with a known number of channels", f"a tensor of shape {images.shape}")
    if masks is not None and not (masks.dtype.is_floating or masks.dtype.is_integer or masks.dtype.is_bool):
        checks.fail(owner, "segmentation_masks", "numbers or booleans", masks.dtype.name, error=TypeError)
    if masks is not None and not images.shape[:-1].is_compatible_with(masks.shape[:-1]):
        axes = "(batch, depth, height, width)" if images.shape.rank == 5 else "(batch, height, width)"
        expected = f"of the images' {axes} {tuple(images.shape[:-1])}"
        checks.fail(owner, "segmentation_masks", expected, tuple(masks.shape[:-1]))
