"""Bounding boxes as they come with images, and back: Keras's form and KerasCV's, dense and ragged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import boxes as box_kernels
from keras_aug_ssl.layers.engine.batch import Batch, Boxes, size_of, to_dtype

CLASSES = ("labels", "classes")  # what Keras and KerasCV call the class of each box


def read_boxes(boxes: Any, box_format: str | None, images: tf.Tensor, owner: str) -> Boxes:
    """Brings boxes into edges in pixels.

    Args:
        boxes: a dict with `"boxes"` (B, N, 4), `"labels"` or `"classes"` (B, N), and anything else, which is kept.
        box_format: one of Keras's formats.
        images: (B, H, W, C), whose boxes they are.
        owner: who asks, for errors.
    """
    if box_format is None:
        advice = 'Say how the boxes are written, e.g. bounding_box_format="xyxy".'
        checks.fail(owner, "bounding_box_format", f"one of {', '.join(box_kernels.FORMATS)}", None, advice)
    if not isinstance(boxes, Mapping) or "boxes" not in boxes:
        checks.fail(owner, "bounding_boxes", 'a dict with "boxes" (B, N, 4) and "labels" (B, N)', type(boxes).__name__)
    edges, key = boxes["boxes"], next((name for name in CLASSES if name in boxes), CLASSES[0])
    if edges.shape.rank is not None and not edges.shape[-1:].is_compatible_with([4]):
        checks.fail(owner, 'bounding_boxes["boxes"]', "four numbers a box", f"a tensor of shape {edges.shape}")
    labels = boxes.get(key)
    if labels is not None:
        if not labels.shape.is_compatible_with(edges.shape[:-1]):
            advice = "Take the argmax of one-hot labels, or hand them over by another name, which is left alone."
            expected = f"one number a box, of shape {edges.shape[:-1]}"
            checks.fail(owner, f'bounding_boxes["{key}"]', expected, f"a tensor of shape {labels.shape}", advice)
        labels = _signed(labels, f'bounding_boxes["{key}"]', owner)
    other = {name: value for name, value in boxes.items() if name not in ("boxes", key)}
    return Boxes(box_kernels.to_corners(edges, box_format, size_of(images)), labels, other, edges.dtype, key)


def check_batch(boxes: Boxes, images: tf.Tensor, owner: str) -> None:
    """Raises unless there are boxes (B, N, 4) for images (B, H, W, C)."""
    rows, shape = images.shape[0], boxes.corners.shape
    if not shape.is_compatible_with([rows, None, 4]):
        expected = f"of shape ({rows or 'B'}, N, 4), or (N, 4) beside one image"
        checks.fail(owner, 'bounding_boxes["boxes"]', expected, f"a tensor of shape {shape}")


def write_boxes(batch: Batch, box_format: str | None) -> dict[str, tf.Tensor]:
    """Boxes in the user's format; rows that hold none (label below 0) are -1 throughout, as Keras pads them."""
    assert batch.boxes is not None and box_format is not None  # for the type checker: `read_boxes` saw to it
    written = box_kernels.from_corners(batch.boxes.corners, box_format, batch.size)
    result = dict(batch.boxes.other)
    if batch.boxes.labels is not None:
        written = tf.where((batch.boxes.labels < 0)[..., None], -1.0, written)
        result[batch.boxes.key] = batch.boxes.labels
    return {"boxes": to_dtype(written, batch.boxes.dtype), **result}


def with_dense_boxes(inputs: Any) -> Any:
    """`inputs` with ragged boxes filled up to the most an image has, as Keras does: by the label -1."""
    if not isinstance(inputs, Mapping) or not isinstance(inputs.get("bounding_boxes"), Mapping):
        return inputs
    boxes = inputs["bounding_boxes"]
    dense = {name: _dense(value, -1 if name in CLASSES else 0) for name, value in boxes.items()}
    return {**inputs, "bounding_boxes": dense}


def _dense(value: Any, default: int) -> Any:
    if not isinstance(value, tf.RaggedTensor):
        return value
    value = value.with_values(_widened(value.values)) if default < 0 else value
    return value.to_tensor(tf.cast(default, value.dtype))


def _signed(labels: tf.Tensor, name: str, owner: str) -> tf.Tensor:
    """Labels in a dtype that holds -1, which marks a box that has left."""
    if not (labels.dtype.is_floating or labels.dtype.is_integer or labels.dtype.is_bool):
        advice = "Encode classes as integers."
        checks.fail(owner, name, "integers or floats", labels.dtype.name, advice, TypeError)
    return _widened(labels)


def _widened(labels: tf.Tensor) -> tf.Tensor:
    if labels.dtype.is_bool or labels.dtype.is_unsigned:
        return tf.cast(labels, tf.int64 if labels.dtype.size > 2 else tf.int32)
    return labels
