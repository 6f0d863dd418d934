"""Stock Keras layers in a pipeline: translated where we have the same layer, kept in place where we don't."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.layers.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.batch import Batch, Spec


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class StockLayer(AugmentationLayer):
    """A Keras layer as it is, as one pass of a pipeline.

    It draws its own random numbers, so nothing about it can be replayed, and it sees the images only: masks, boxes and
    keypoints next to one of Keras's image layers are an error, since they would be left behind. The images leave in the
    dtype it gives them, and no longer need be in the value range of layers behind it.

    Args:
        layer: any Keras layer that takes an image batch.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> pipeline = kas.Pipeline.from_keras([keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255)])
        >>> float(pipeline(np.full((1, 2, 2, 3), 255, "uint8")).numpy().max())
        1.0
    """

    what = "Keras layer, as it is"
    active_at_inference = True
    rescales = True

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, keras.layers.Layer):
            checks.fail("StockLayer", "layer", "a Keras layer", layer, error=TypeError)
        self.layer = layer

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        return {"applies": tf.ones([spec.batch_size], tf.bool)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {name: applies & mask for name, applies in parameters.items()}

    def at_inference(self, spec: Spec) -> Parameters:
        return {}  # no draw: the layer is called with training=False

    def output_size(self, size: tuple[Any, Any]) -> tuple[Any, Any]:
        static = [n if isinstance(n, int) else None for n in size]
        shape = (3, *static) if self._channels_first else (*static, 3)
        found = self.layer.compute_output_spec(keras.KerasTensor((None, *shape), "float32")).shape[1:]
        found = found[1:] if self._channels_first else found[:-1]
        return tuple(after or before for after, before in zip(found, size, strict=True))  # unknown: as it was

    @property
    def _channels_first(self) -> bool:
        return getattr(self.layer, "data_format", None) == "channels_first"

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((step, parameters),) = steps
        annotated = batch.masks is not None or batch.boxes is not None or batch.keypoints is not None
        if annotated and hasattr(step.layer, "transform_segmentation_masks"):
            advice = "Masks, boxes and keypoints can't follow it: augment them without it."
            name = type(step.layer).__name__
            checks.fail(name, "inputs", "images without annotations, in a pipeline", "annotations", advice)
        keywords = {"training": bool(parameters)} if "training" in inspect.signature(step.layer.call).parameters else {}
        images = tf.cast(batch.images, tf.float32)
        if step._channels_first:
            images = tf.transpose(step.layer(tf.transpose(images, [0, 3, 1, 2]), **keywords), [0, 2, 3, 1])
        else:
            images = step.layer(images, **keywords)
        if parameters and images.shape[1:].is_compatible_with(batch.images.shape[1:]):
            applies = parameters["applies"][:, None, None, None]
            images = tf.where(applies, images, tf.cast(batch.images, images.dtype))
        return batch.replace(images=images, dtype=images.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StockLayer:
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def translate(stock: Any, known: dict[str, type[AugmentationLayer]]) -> list[AugmentationLayer]:
    """Our layers for stock ones, in order.

    Args:
        stock: a Keras layer, a list of them, a `keras.Sequential` or a `keras.layers.Pipeline`, nested as you like.
        known: our layer classes by name.
    """
    if isinstance(stock, (list, tuple)):
        return [layer for part in stock for layer in translate(part, known)]
    if isinstance(stock, AugmentationLayer):
        return [stock]
    if isinstance(stock, (keras.Sequential, keras.layers.Pipeline)):
        return translate([layer for layer in stock.layers if not isinstance(layer, keras.layers.InputLayer)], known)
    if not isinstance(stock, keras.layers.Layer):
        expected = "a Keras layer, a list of them, a keras.Sequential or a keras.layers.Pipeline"
        checks.fail("Pipeline.from_keras", "stock", expected, stock, error=TypeError)
    ours = known.get(type(stock).__name__)
    if ours is None or not type(stock).__module__.startswith("keras."):
        return [StockLayer(stock)]
    accepted = {*inspect.signature(ours.__init__).parameters, "data_format", "bounding_box_format"}
    config = {name: value for name, value in stock.get_config().items() if name in accepted and name != "name"}
    return [ours(**_adjusted(type(stock).__name__, config))]


def shared_settings(layers: Sequence[AugmentationLayer]) -> dict[str, Any]:
    """The data format and box format that all `layers` that have one agree on: a pipeline's hold for its layers."""
    settings = {}
    for name in ("data_format", "bounding_box_format"):
        sources = (layer.layer if isinstance(layer, StockLayer) else layer for layer in layers)
        values = {getattr(source, name, None) for source in sources} - {None}
        if len(values) == 1:
            settings[name] = values.pop()
    return settings


def _adjusted(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Keras stores the one number f of a one-sided factor as (-f, f); the side is drawn by a coin in both libraries."""
    for factor in {"RandomShear": ("x_factor", "y_factor"), "RandomSaturation": ("factor",)}.get(name, ()):
        low, high = config[factor]
        config[factor] = (max(0.0, low), high)
    return config
