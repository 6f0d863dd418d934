"""What a law looks at: a layer that can be made again and again, and pictures to show it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl.layers.augmix import AugMix
from keras_aug_ssl.layers.engine.composite import CompositeLayer
from keras_aug_ssl.layers.engine.pipeline import Pipeline
from keras_aug_ssl.layers.engine.warp import GeometricLayer
from keras_aug_ssl.layers.filters import RandomGaussianBlur, RandomSharpness
from keras_aug_ssl.layers.regions import RandomErasing

KEY = (7, 3)
HEIGHT, WIDTH = 24, 28


class Subject:
    """A layer under test.

    Args:
        make: makes a new layer, the same each time.
        value_range: of the images shown to it; None takes the layer's own, or (0, 255).

    Attributes:
        layer: one of them, not compiled: XLA takes longer than all else on small images, and one law is about it.
        name: its class.
    """

    has_parameters = True  # what is drawn can be sampled, kept and applied; False for layers not of this library

    def __init__(self, make: Callable[[], Any], value_range: tuple[float, float] | None = None) -> None:
        self.make = make
        self.layer = self.plain()
        self.name = type(self.layer).__name__
        self.low: float
        self.high: float
        self.low, self.high = value_range or getattr(self.layer, "value_range", None) or (0.0, 255.0)

    # --- layers ---------------------------------------------------------------------------------------------------

    def plain(self, **changes: Any) -> Any:
        """A new layer that isn't compiled, with some entries of its config changed."""
        layer = self.make()
        if changes:
            layer = type(layer).from_config({**layer.get_config(), **changes})
        layer.jit_compile = False
        return layer

    def augment(self, layer: Any = None, seed: Any = KEY) -> Callable[[Any], Any]:
        """The layer with a fixed key, as a function of images, or of more; it may be called in a graph too."""
        call = functools.partial(self.layer if layer is None else layer, training=True, seed=seed)

        @tf.autograph.experimental.do_not_convert
        def augmented(inputs: Any) -> Any:
            if isinstance(inputs, (tuple, list, dict)):
                return call(inputs)
            return self.images_of(call(self.shown(inputs)))

        return augmented

    def shown(self, images: Any) -> Any:
        """What the layer is called with to see `images`: they alone, or with labels where it needs some."""
        return (images, tf.range(tf.shape(images)[0]) // 2) if self.needs_labels else images

    def images_of(self, outputs: Any) -> Any:
        """The images in what it returns then."""
        return outputs[0] if self.needs_labels else outputs

    def mapped_twice(self, dataset: tf.data.Dataset, workers: int) -> list[tf.data.Dataset]:
        """The layer mapped over batches of images with a seed, for two runs that should be the same."""
        pipeline = self.layer if isinstance(self.layer, Pipeline) else Pipeline([self.layer], jit_compile=False)
        shown = dataset.map(lambda images: self.shown(images))
        mapped = pipeline.map(shown, seed=7, epoch=0, num_parallel_calls=workers)
        return [mapped.map(lambda *parts: parts[0])] * 2

    @functools.cached_property
    def primitives(self) -> list[Any]:
        """The layers that do the work: itself, or those it holds."""
        return self.layer.primitives() if isinstance(self.layer, CompositeLayer) else [self.layer]

    # --- what kind of layer it is -----------------------------------------------------------------------------------

    @property
    def independent(self) -> bool:
        """Whether an image's result doesn't depend on the rest of its batch."""
        return self.layer.independent

    @property
    def active_at_inference(self) -> bool:
        return self.layer.active_at_inference

    @property
    def needs_labels(self) -> bool:
        return any(getattr(layer, "needs_labels", False) for layer in self.primitives)

    @property
    def takes_annotations(self) -> bool:
        """Whether masks, boxes and keypoints may come with the images, and stay one image's own."""
        return self.independent and not any(isinstance(layer, AugMix) for layer in self.primitives)

    @property
    def moves_pixels(self) -> bool:
        """Whether all it does is to move pixels."""
        return all(isinstance(layer, GeometricLayer) for layer in self.primitives)

    @property
    def leaves_pixels(self) -> bool:
        """Whether every pixel stays where it is."""
        moving = (GeometricLayer, RandomErasing)
        return self.takes_annotations and not any(isinstance(layer, moving) for layer in self.primitives)

    @property
    def keeps_flat_images(self) -> bool:
        kinds = (GeometricLayer, RandomGaussianBlur, RandomSharpness)
        return all(isinstance(layer, kinds) for layer in self.primitives)

    # --- pictures ---------------------------------------------------------------------------------------------------

    @property
    def span(self) -> float:
        return self.high - self.low

    def images(self, dtype: str = "float32", count: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
        """`count` different pictures: smooth waves with some noise on them, over the whole value range."""
        y, x = np.mgrid[: size[0], : size[1]] / 12.0
        number, channel = np.ogrid[1 : count + 1, 0:3]
        waves = np.sin(number[..., None, None] * x + channel[..., None, None]) * np.cos(
            channel[..., None, None] + 2 * y
        )
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, waves.shape)
        values = np.clip(0.5 + 0.5 * waves + noise, 0.0, 1.0).transpose(0, 2, 3, 1)
        return self.scaled(values, dtype)

    def extremes(self, dtype: str = "float32") -> Any:
        """Four pictures of nearly black and nearly white pixels."""
        draw = np.random.default_rng(1)
        values = draw.integers(0, 2, (4, HEIGHT, WIDTH, 3)) * 0.99 + draw.uniform(0.0, 0.01, (4, HEIGHT, WIDTH, 3))
        return self.scaled(values, dtype)

    def scaled(self, values: np.ndarray, dtype: str = "float32") -> Any:
        """Values in [0, 1] on the layer's value range, rounded for a dtype of whole numbers; an array."""
        values = self.low + self.span * values
        if dtype == "bfloat16":  # which numpy doesn't have
            return tf.cast(values, dtype)
        return np.round(values).astype(dtype) if "int" in dtype else values.astype(dtype)

    @property
    def holds_bytes(self) -> bool:
        """Whether the value range is that of uint8 images."""
        return (self.low, self.high) == (0, 255)
