"""Stock Keras layers in a pipeline: translated where we have the same layer, kept in place where we don't."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Spec


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
    random = False  # not by our keys

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        if not isinstance(layer, keras.layers.Layer):
            checks.fail("StockLayer", "layer", "a Keras layer", layer, error=TypeError)
        super().__init__(**{"bounding_box_format": getattr(layer, "bounding_box_format", None), **kwargs})
        self.layer = layer

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        return {"applies": tf.ones([spec.batch_size], tf.bool)}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {name: applies & mask for name, applies in parameters.items()}

    def at_inference(self, spec: Spec) -> Parameters:
        return {}  # no draw: the layer is called with training=False

    def output_size(self, size: tuple[Any, Any]) -> tuple[Any, Any]:
        return self.output_spec(Spec(None, *size, channels=3)).size

    def output_spec(self, spec: Spec, parameters: Parameters | None = None) -> Spec:
        static = [n if isinstance(n, int) else None for n in spec.size]
        shape = (spec.channels, *static) if self._channels_first else (*static, spec.channels)
        found = self.layer.compute_output_spec(keras.KerasTensor((None, *shape), "float32"))
        if len(getattr(found, "shape", ())) != 4:
            name = type(self.layer).__name__
            checks.fail("Pipeline", "layers", "layers that turn images into images", f"{name}, which gives {found}")
        channels, *size = found.shape[1:] if self._channels_first else (found.shape[3], *found.shape[1:3])
        # What the layer doesn't say is as it was.
        size = [after or before for after, before in zip(size, spec.size, strict=True)]
        return spec.resized((size[0], size[1]))._replace(channels=channels or spec.channels)

    @property
    def layout(self) -> str | None:
        return getattr(self.layer, "data_format", None)

    @property
    def slices(self) -> str | None:  # type: ignore[override]
        """None where it draws: for each slice of a volume apart, as nobody can tell it not to."""
        draws_itself = any(hasattr(self.layer, name) for name in ("generator", "seed_generator"))
        return None if draws_itself else "batch"

    @property
    def _channels_first(self) -> bool:
        return (self.layout or self.data_format) == "channels_first"

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


def translate(stock: Any) -> list[AugmentationLayer]:
    """Our layers for stock ones, in order.

    Args:
        stock: a Keras layer, a list of them, a `keras.Sequential` or a `keras.layers.Pipeline`, nested as you like.
    """
    if isinstance(stock, (list, tuple)):
        return [layer for part in stock for layer in translate(part)]
    if isinstance(stock, AugmentationLayer):
        return [stock]
    if isinstance(stock, (keras.Sequential, keras.layers.Pipeline)):
        return translate([layer for layer in stock.layers if not isinstance(layer, keras.layers.InputLayer)])
    if not isinstance(stock, keras.layers.Layer):
        expected = "a Keras layer, a list of them, a keras.Sequential or a keras.layers.Pipeline"
        checks.fail("Pipeline.from_keras", "stock", expected, stock, error=TypeError)
    # Ours by the name it is registered under, so that the engine knows no family of layers; attacks are registered too.
    ours = keras.saving.get_registered_object(f"keras_aug_ssl>{type(stock).__name__}")
    known = isinstance(ours, type) and issubclass(ours, AugmentationLayer)
    if not (known and type(stock).__module__.startswith("keras.")):
        return [StockLayer(stock)]
    accepted = {*inspect.signature(ours.__init__).parameters, "data_format", "bounding_box_format"}
    config = {name: value for name, value in stock.get_config().items() if name in accepted and name != "name"}
    return [ours(**_adjusted(stock, config))]


def _adjusted(stock: keras.layers.Layer, config: dict[str, Any]) -> dict[str, Any]:
    """`config` with what its owner's documentation says, where Keras stores something else."""
    written = getattr(getattr(stock, "_auto_config", None), "config", {})  # the arguments as the user wrote them
    name = type(stock).__name__
    # The one number f of a one-sided factor becomes (-f, f); the side is drawn by a coin in both libraries.
    for factor in {"RandomShear": ("x_factor", "y_factor"), "RandomSaturation": ("factor",)}.get(name, ()):
        low, high = config[factor]
        config[factor] = (max(0.0, low), high)
    # One number f becomes (0, f), of which Keras 3.15 makes a contrast that never falls; a pair may mean just that,
    # if a user wrote it (a loaded layer, which is told `trainable`, has been given its own config).
    pair = isinstance(written.get("factor"), (tuple, list)) and "trainable" not in written
    if name == "RandomContrast" and config["factor"][0] == 0 and not pair:
        config["factor"] = config["factor"][1]
    if name == "RandomCrop":  # which stores the seed it drew where it got none; its generator knows better
        config["seed"] = stock.generator.get_config()["seed"]
    return config
