"""The laws of an augmentation layer as small named checks, for our own layers and for a user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_aug_ssl import checks
from keras_aug_ssl.layers.engine.base import AugmentationLayer
from keras_aug_ssl.testing import (
    layer_annotations,
    layer_models,
    layer_running,
    layer_strain,
    layer_values,
    layer_volumes,
)
from keras_aug_ssl.testing.laws import Law, held
from keras_aug_ssl.testing.subject import Subject

MODULES = (layer_values, layer_annotations, layer_running, layer_models, layer_strain, layer_volumes)
LAYER_LAWS: dict[str, Law] = {law.name: law for module in MODULES for law in module.LAWS}


def check_layer(
    make: Callable[[], Any],
    value_range: tuple[float, float] | None = None,
    *,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> list[str]:
    """Checks that a layer keeps the laws every augmentation layer has to keep.

    Run it over a layer of your own, in a test. The laws are in `LAYER_LAWS`: each is a name, a sentence, a condition on
    the layers it is about, and a check. Give the layer moderate strengths, under which most of the middle of an image
    of 24 x 28 pixels stays in view: what has left can't be compared.

    Args:
        make: makes a new layer, the same each time: a class, or a function without arguments.
        value_range: (black, white) of the images that the layer is shown; None takes the layer's own, or (0, 255).
        only: names of the laws to check; None checks all.
        skip: names of laws to leave out.

    Returns:
        The names of the laws checked: those that are about this kind of layer.

    Raises:
        AssertionError: a law is broken; it says which, and how.
        TypeError: `make` makes something else than a layer of this library or on its base.

    Example:
        >>> import keras_aug_ssl as kas
        >>> make = lambda: kas.layers.RandomInvert(0.5)
        >>> kas.testing.check_layer(make, only=["same key, same output", "values stay in range"])
        ['same key, same output', 'values stay in range']
    """
    made = make() if callable(make) and not isinstance(make, keras.layers.Layer) else None
    if not isinstance(made, AugmentationLayer):
        checks.fail(
            "check_layer", "make", "a class or a function that makes a layer derived from AugmentationLayer",
            make if made is None else made, "Pass the class, or `lambda: MyLayer(0.5)`.", TypeError,
        )  # fmt: skip
    return held("check_layer", LAYER_LAWS, lambda: Subject(make, value_range), only, skip)
