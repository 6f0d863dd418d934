"""Layers that hold layers: a chance for some, a choice among several. What they hold runs fused with its neighbours."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Parameters
from keras_aug_ssl.layers.engine.batch import Spec

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class CompositeLayer(AugmentationLayer):
    """Base of the layers that hold others, in order.

    Parameters drawn: those of each layer held, by name (`"0_random_flip"`, ...). A layer that changes nothing for some
    images gets the identity's parameters for them, so every image goes through the same fused run.

    Args:
        layers: augmentation layers.
        seed: int. None takes one made of the layers' own seeds where all that draw have one: like the layers by
            themselves, two made alike then give the same bits. (Where only some have one, they count for nothing, with
            a warning.) The layers draw from the keys of the whole, so what they give here is not what they give alone.
        data_format: of the batch. None takes the one of all layers that were made for one; it is an error if they
            differ.
        **kwargs: as for `AugmentationLayer`. Without a box format, that of the layers.
    """

    def __init__(
        self,
        layers: Sequence[AugmentationLayer],
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        held: list[Any] = list(layers) if isinstance(layers, (list, tuple)) else [layers]
        for layer in held:
            if not isinstance(layer, AugmentationLayer):
                advice = "Stock Keras layers come in through `Pipeline.from_keras`."
                checks.fail(owner, "layers", "augmentation layers of this package", layer, advice, TypeError)
        formats = {layer.bounding_box_format for layer in held} - {None}
        if len(formats) == 1:
            kwargs.setdefault("bounding_box_format", *formats)
        seed = _joint_seed(owner, held) if seed is None else seed
        super().__init__(seed=seed, data_format=data_format or _common_layout(owner, held), **kwargs)
        self.layers = held

    @property
    def names(self) -> list[str]:
        """The name each held layer's parameters go by."""
        words = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower() for layer in self.layers]
        return [f"{place}_{word}" for place, word in enumerate(words)]

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        parameters, touched = {}, self.touched(spec, key)
        keys = draws.split(key, len(self.layers))
        for name, layer, own, mask in zip(self.names, self.layers, keys, touched, strict=True):
            drawn = layer.draw(spec, own)
            parameters[name] = drawn if mask is None else layer.keep(mask, drawn)
            spec = layer.output_spec(spec, parameters[name])
        return parameters

    def touched(self, spec: Spec, key: tf.Tensor) -> list[tf.Tensor | None]:
        """Which images each layer held changes, (B,) booleans; None for all."""
        return [None] * len(self.layers)

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {name: layer.keep(mask, parameters[name]) for name, layer in zip(self.names, self.layers, strict=True)}

    def observe(self, spec: Spec) -> None:
        for layer in self.layers:
            layer.observe(spec)

    @property
    def active_at_inference(self) -> bool:  # type: ignore[override]
        return any(layer.active_at_inference for layer in self.layers)

    @property
    def independent(self) -> bool:  # type: ignore[override]
        return all(layer.independent for layer in self.layers)

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return any(layer.moves for layer in self.layers)

    @property
    def any_rank(self) -> bool:  # type: ignore[override]
        return bool(self.layers) and all(layer.any_rank for layer in self.layers)

    @property
    def mix(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.mix))

    def at_inference(self, spec: Spec) -> Parameters:
        parameters = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            parameters[name] = layer.at_inference(spec)
            spec = layer.output_spec(spec, parameters[name])
        return parameters

    def output_spec(self, spec: Spec, parameters: Parameters | None = None) -> Spec:
        for name, layer in zip(self.names, self.layers, strict=True):
            spec = layer.output_spec(spec, None if parameters is None else parameters[name])
        return spec

    def output_size(self, size: tuple[Any, Any]) -> tuple[Any, Any]:
        for layer in self.layers:
            size = layer.output_size(size)
        return size

    def parts(self, parameters: Parameters) -> list[tuple[AugmentationLayer, Parameters]]:
        held = [layer.parts(parameters[name]) for name, layer in zip(self.names, self.layers, strict=True)]
        return [part for parts in held for part in parts]

    def primitives(self) -> list[AugmentationLayer]:
        """The layers that will be executed, in the user's order."""
        held = [layer.primitives() if isinstance(layer, CompositeLayer) else [layer] for layer in self.layers]
        return [layer for layers in held for layer in layers]

    def _value_ranges(self) -> set[tuple[float, float]]:
        seen = itertools.takewhile(lambda layer: not layer.rescales, self.primitives())
        return set().union(*(layer._value_ranges() for layer in seen))

    def get_config(self) -> dict[str, Any]:
        serialized = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": serialized}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CompositeLayer:
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def _keeps_size(self) -> None:
        """Raises for held layers that change the size: an image they leave alone would not fit the batch."""
        for layer in self.layers:
            if layer.output_size((None, None)) != (None, None):
                checks.fail(type(self).__name__, "layers", "layers that keep the image's size", type(layer).__name__)


def _joint_seed(owner: str, layers: Sequence[AugmentationLayer]) -> int | None:
    """The seed that those of `layers` make together, so that layers with seeds repeat themselves; None without any."""
    seeds = [layer.seed for layer in layers if layer.random]
    given = [seed for seed in seeds if seed is not None]
    if given and len(given) == len(seeds):
        return draws.joint_seed(given)
    if given:
        warnings.warn(
            f"{owner}: {len(given)} of {len(seeds)} layers have a seed, which count for nothing unless all have one. "
            f"Give it to the whole: {owner}(..., seed={given[0]}).",
            stacklevel=4,
        )
    return None


def _common_layout(owner: str, layers: Sequence[AugmentationLayer]) -> str | None:
    """The data format of all `layers` that were made for one; None without any."""
    layouts = {layer.layout: type(layer).__name__ for layer in layers if layer.layout is not None}
    if len(layouts) > 1:
        expected = "given where layers differ: one batch has one"
        seen = ", ".join(f"{name} in {layout}" for layout, name in layouts.items())
        advice = f"The layers are made for both: {seen}. A layer that isn't told takes Keras's own setting."
        checks.fail(owner, "data_format", expected, None, advice)
    return next(iter(layouts), None)


@register
class RandomApply(CompositeLayer):
    """Applies layers to some images and leaves the others: one coin an image for all of them together.

    Args:
        layers: one layer or several, applied in order.
        rate: chance of each image to be changed, in [0, 1].
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> sometimes = kas.layers.RandomApply([kas.layers.RandomInvert(1.0)], rate=0.5, seed=0)
        >>> flat = sometimes(np.zeros((100, 2, 2, 1), "uint8")).numpy().reshape(100, -1)
        >>> np.unique(flat), bool((flat.min(1) == flat.max(1)).all())
        (array([  0, 255], dtype=uint8), True)
    """

    def __init__(self, layers: Sequence[AugmentationLayer], rate: float = 0.5, **kwargs: Any) -> None:
        super().__init__(layers, **kwargs)
        self.rate = checks.number("RandomApply", "rate", rate, 0.0, 1.0)
        self._keeps_size()

    def touched(self, spec: Spec, key: tf.Tensor) -> list[tf.Tensor | None]:
        (unit,) = draws.uniforms(draws.fold_in(key, len(self.layers)), spec.batch_size, 1, spec.first)
        return [unit < self.rate] * len(self.layers)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@register
class RandomChoice(CompositeLayer):
    """Applies one layer of several to each image, chosen anew for each.

    Args:
        layers: what to choose from, a layer or a `Pipeline` each.
        probabilities: one weight a layer, >= 0; None gives all the same chance.
        **kwargs: as for `AugmentationLayer`.

    Example:
        >>> layers = [kas.layers.RandomInvert(1.0), kas.layers.RandomBrightness((0.2, 0.2))]
        >>> either = kas.layers.RandomChoice(layers, seed=0)
        >>> np.unique(either(np.zeros((64, 1, 1, 3), "uint8")))
        array([ 51, 255], dtype=uint8)
    """

    def __init__(
        self, layers: Sequence[AugmentationLayer], probabilities: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(layers, **kwargs)
        weights = [1.0] * len(self.layers) if probabilities is None else list(probabilities)
        if len(weights) != len(self.layers) or min(weights, default=0.0) < 0.0 or sum(weights) <= 0.0:
            expected = f"{len(self.layers)} weights >= 0 that are not all 0, one a layer"
            checks.fail("RandomChoice", "probabilities", expected, probabilities)
        self.probabilities = None if probabilities is None else [float(weight) for weight in weights]
        self._upper = [sum(weights[: i + 1]) / sum(weights) for i in range(len(weights))]
        self._keeps_size()

    def touched(self, spec: Spec, key: tf.Tensor) -> list[tf.Tensor | None]:
        (unit,) = draws.uniforms(draws.fold_in(key, len(self.layers)), spec.batch_size, 1, spec.first)
        ends = zip([0.0, *self._upper], self._upper, strict=False)
        return [(unit >= low) & (unit < high) for low, high in ends]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "probabilities": self.probabilities}
