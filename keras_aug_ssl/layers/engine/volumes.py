"""Volumes (B, D, H, W, C), scans and videos, through families that know images: one draw for all slices of a volume.

A family says in `AugmentationLayer.slices` how they go through its `run`:

* as `"channels"`, (B, H, W, D * C): each row of parameters finds its place once for all slices. For what treats all
  channels alike: moving pixels, mixing examples.
* in the `"batch"`, (B * D, H, W, C), with each row of parameters D times. For all else.
* as `"volumes"`: `run` takes them itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.layers.engine.batch import Batch


def run(family: Any, steps: Sequence[tuple[Any, Any]], batch: Batch, finish: Any, jit: bool) -> Batch:
    """`family.run`, for a batch whose images are volumes too."""
    if batch.images.shape.rank != 5 or family.slices == "volumes":
        return family.run(steps, batch, finish, jit)
    for layer, _ in steps:
        if layer.slices is None:
            name = type(getattr(layer, "layer", layer)).__name__
            advice = "It draws for each slice apart: leave it out, or put a layer of kas.layers in its place."
            checks.fail(name, "inputs", "images, not volumes,", f"shape {batch.images.shape}", advice)
    if family.slices == "channels":
        return _as_channels(family, steps, batch, finish, jit)
    return _as_images(family, steps, batch, finish, jit)


def _as_channels(family: Any, steps: Sequence[tuple[Any, Any]], batch: Batch, finish: Any, jit: bool) -> Batch:
    whole = batch.images.shape[1:4]
    beside = {  # further inputs that are volumes of the same size may be cut like the images
        name: part
        for name, part in batch.other.items()
        if tf.is_tensor(part) and part.shape.rank == 5 and part.shape[1:4].is_compatible_with(whole)
    }
    folded = {name: _folded(part) for name, part in beside.items()}
    masks = None if batch.masks is None else _folded(batch.masks)
    flat = batch.replace(images=_folded(batch.images), masks=masks, other={**batch.other, **folded})
    result = family.run(steps, flat, finish, jit)
    unfolded = {name: _unfolded(result.other[name], part) for name, part in beside.items()}
    return result.replace(
        images=_unfolded(result.images, batch.images),
        masks=None if batch.masks is None else _unfolded(result.masks, batch.masks),
        other={**result.other, **unfolded},
    )


def _as_images(family: Any, steps: Sequence[tuple[Any, Any]], batch: Batch, finish: Any, jit: bool) -> Batch:
    count, depth, *_ = _shape(batch.images)

    def repeated(part: Any) -> Any:
        return tf.nest.map_structure(lambda rows: tf.repeat(rows, depth, axis=0), part)

    def first(part: Any) -> Any:  # what is said of a volume was said of each of its slices alike
        return tf.nest.map_structure(lambda rows: rows[::depth], part)

    def slices(volumes: tf.Tensor) -> tf.Tensor:
        return tf.reshape(volumes, [count * depth, *_shape(volumes)[2:]])

    def volumes(images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images, [count, depth, *_shape(images)[1:]])

    masks = None if batch.masks is None else slices(batch.masks)
    flat = _annotated(batch.replace(images=slices(batch.images), masks=masks), repeated)
    result = family.run([(layer, repeated(drawn)) for layer, drawn in steps], flat, finish, jit)
    masks = None if result.masks is None else volumes(result.masks)
    return _annotated(result.replace(images=volumes(result.images), masks=masks), first)


def _annotated(batch: Batch, function: Callable[[Any], Any]) -> Batch:
    """`batch` with its boxes and keypoints through `function`."""
    boxes, keypoints = batch.boxes, batch.keypoints
    if boxes is not None:
        labels = None if boxes.labels is None else function(boxes.labels)
        corners, other = function(boxes.corners), function(boxes.other)
        boxes = dataclasses.replace(boxes, corners=corners, labels=labels, other=other)
    return batch.replace(boxes=boxes, keypoints=None if keypoints is None else function(keypoints))


def _folded(volumes: tf.Tensor) -> tf.Tensor:
    """(B, D, H, W, C) as (B, H, W, D * C)."""
    count, depth, height, width, channels = _shape(volumes)
    return tf.reshape(tf.transpose(volumes, [0, 2, 3, 1, 4]), [count, height, width, depth * channels])


def _unfolded(images: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """The inverse of `_folded`: as many slices and channels as `like` has."""
    _, depth, _, _, channels = _shape(like)
    return tf.transpose(tf.reshape(images, [*_shape(images)[:3], depth, channels]), [0, 3, 1, 2, 4])


def _shape(tensor: tf.Tensor) -> list[Any]:
    """The shape: ints where known, else scalar tensors."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if length is None else length for axis, length in enumerate(tensor.shape)]
