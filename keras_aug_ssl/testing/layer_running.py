"""Laws about how a layer is run, saved and loaded."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.testing.laws import Law, broken, op_by_op, register, same
from keras_aug_ssl.testing.layer_values import JUMPS
from keras_aug_ssl.testing.subject import HEIGHT, WIDTH, Subject

LAWS: list[Law] = []


@register(LAWS, "eager = graph = tf.data = XLA", graphs=True)
def every_way_to_run_agrees(subject: Subject) -> None:
    """Operation by operation, in the graph of a `tf.data` map and compiled by XLA the layer computes the same."""
    images = subject.images()
    with op_by_op():
        eager = subject.augment()(images)
    layer = subject.make()
    dataset = tf.data.Dataset.from_tensors(images).map(subject.augment(layer))  # a graph whose parts are compiled
    same(next(iter(dataset)), eager, "tf.data and eager", 1e-3 * subject.span, JUMPS)
    compiled = tf.function(subject.augment(layer), autograph=False, jit_compile=True)
    same(compiled(images), eager, "XLA and eager", 1e-3 * subject.span, JUMPS)


@register(LAWS, "no retrace on the second batch", lambda subject: subject.has_parameters, graphs=True)
def second_batch_does_not_retrace(subject: Subject) -> None:
    """Called eagerly on a second batch of the same shape, the layer runs the graph it has."""
    layer = subject.plain()
    traces = []
    draw = layer.draw

    def counted(*args: Any) -> Any:
        traces.append(args)
        return draw(*args)

    layer.draw = counted
    layer(subject.shown(subject.images()), training=True)
    first = len(traces)
    layer(subject.shown(subject.extremes()), training=True)
    if len(traces) > first:
        broken(f"`draw` ran as Python {first} time(s) for the first batch and {len(traces) - first} for the second")


@register(LAWS, "dynamic sizes in tf.data", graphs=True)
def dynamic_sizes_in_data(subject: Subject) -> None:
    """In a `tf.data` map, batches of unknown size and images of unknown height and width give what known ones give."""
    batches = [subject.images(), subject.images(count=3, size=(HEIGHT - 3, WIDTH + 2))]
    spec = tf.TensorSpec([None, None, None, 3], "float32")
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    for images, result in zip(batches, dataset.map(subject.augment()), strict=True):
        with op_by_op():
            known = subject.augment()(images)
        same(result, known, "unknown and known sizes", 1e-3 * subject.span, JUMPS)


@register(LAWS, "parallel map is reproducible", graphs=True)
def parallel_map_is_reproducible(subject: Subject) -> None:
    """A `tf.data` map with four workers and a seed gives the same again."""
    images = np.concatenate([subject.images(), subject.extremes()] * 2)
    runs = subject.mapped_twice(tf.data.Dataset.from_tensor_slices(images).batch(2), workers=4)
    first, second = (np.concatenate([np.asarray(batch) for batch in run]) for run in runs)
    same(second, first, "two runs over the same data")


@register(LAWS, "seeds count in a pipeline", lambda subject: subject.has_parameters)
def seeds_count_in_a_pipeline(subject: Subject) -> None:
    """Two pipelines that hold the layer with one seed, and have none themselves, do the same."""
    images = subject.shown(subject.images())
    first, second = (Pipeline([subject.plain(seed=3)], jit_compile=False)(images, training=True) for _ in range(2))
    same(subject.images_of(first), subject.images_of(second), "two pipelines made alike")


def _has_range(subject: Subject) -> bool:
    return subject.has_parameters and bool(subject.layer._value_ranges())


@register(LAWS, "what would be clipped is said in graphs too", _has_range, graphs=True)
def values_are_checked_in_graphs(subject: Subject) -> None:
    """Whole numbers outside `value_range` are an error in a graph, as they are eagerly, and don't saturate silently."""
    images = (3.0 * subject.images()).astype("uint16")
    for augment in (subject.augment(), tf.function(subject.augment(), autograph=False)):
        try:
            augment(images)
        except (ValueError, tf.errors.InvalidArgumentError):
            continue
        broken(f"images up to {images.max():g} are taken")


@register(LAWS, "channels first = channels last")
def channels_first_is_transposed(subject: Subject) -> None:
    """With `data_format="channels_first"` images and masks are the transposed ones."""

    def turned(parts: Any, source: int, target: int) -> dict[str, Any]:
        return {key: np.moveaxis(np.asarray(parts[key]), source, target) for key in inputs}

    inputs: dict[str, Any] = {"images": subject.images()}
    if subject.takes_annotations:
        inputs["segmentation_masks"] = np.ones((4, HEIGHT, WIDTH, 1), "uint8")
    layer = subject.plain(data_format="channels_first")
    labels = {"labels": np.eye(4, dtype="float32")} if subject.needs_labels else {}
    last = subject.augment()({**inputs, **labels})
    first = turned(subject.augment(layer)({**turned(inputs, -1, 1), **labels}), 1, -1)
    for key in inputs:
        same(first[key], last[key], f"{key}, both ways,", 1e-3 * subject.span, JUMPS)


@register(LAWS, "one image = a batch of one", lambda subject: subject.independent)
def one_image_is_a_batch_of_one(subject: Subject) -> None:
    """An image without a batch axis comes out as the only image of a batch does."""
    images = subject.images(count=1)
    same(subject.augment()(images[0]), subject.augment()(images)[0], "alone and in a batch", 1e-4 * subject.span, JUMPS)


@register(LAWS, "config round trip")
def config_round_trip(subject: Subject) -> None:
    """The config is JSON, and a layer made from it has the same config and does the same."""
    layer = subject.layer
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    other = keras.saving.deserialize_keras_object(stored)
    if json.dumps(other.get_config(), sort_keys=True) != json.dumps(layer.get_config(), sort_keys=True):
        broken(f"the config {layer.get_config()} comes back as {other.get_config()}")
    other.jit_compile = False
    same(subject.augment(other)(subject.images()), subject.augment()(subject.images()), "the new layer and the old")


@register(LAWS, ".keras round trip", lambda subject: not subject.needs_labels)
def saved_model_round_trip(subject: Subject) -> None:
    """A model that holds the layer can be saved, loaded and asked to predict, and the layer does the same."""
    images = subject.images()
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, subject.plain()(inputs, training=False))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    loaded.layers[-1].jit_compile = False
    same(loaded(images, training=False), model(images, training=False), "predictions of the loaded model and the saved")
    same(subject.augment(loaded.layers[-1])(images), subject.augment()(images), "the loaded layer and the saved")
