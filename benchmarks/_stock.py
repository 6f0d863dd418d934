"""What the conformance table is about: our layers, and the stock Keras layers as subjects of the same laws."""

from __future__ import annotations

import functools
import time

import keras
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.testing.subject import KEY, Subject

# Every public layer, with strengths under which the middle of a small image stays in view. The same names and arguments
# in both libraries, where both have the layer: `make` is `keras_aug_ssl.layers` or `keras.layers`.
LAYERS = {
    "RandomFlip": lambda make: make.RandomFlip("horizontal_and_vertical"),
    "RandomTranslation": lambda make: make.RandomTranslation(0.1, 0.15),
    "RandomRotation": lambda make: make.RandomRotation(0.1),
    "RandomZoom": lambda make: make.RandomZoom(0.2),
    "RandomShear": lambda make: make.RandomShear(0.2, 0.2),
    "RandomPerspective": lambda make: make.RandomPerspective(scale=0.4),
    "RandomElasticTransform": lambda make: make.RandomElasticTransform(scale=(0.3, 0.3)),
    "RandomCrop": lambda make: make.RandomCrop(20, 22),
    "RandomBrightness": lambda make: make.RandomBrightness(0.3),
    "RandomContrast": lambda make: make.RandomContrast(0.4),
    "RandomSaturation": lambda make: make.RandomSaturation(0.8),
    "RandomHue": lambda make: make.RandomHue(0.5),
    "RandomColorJitter": lambda make: make.RandomColorJitter((0, 255), 0.2, 0.3, (0.3, 0.7), 0.2),
    "RandomGrayscale": lambda make: make.RandomGrayscale(0.5),
    "RandomInvert": lambda make: make.RandomInvert(0.5),
    "RandomPosterization": lambda make: make.RandomPosterization(4),
    "Solarization": lambda make: make.Solarization(0.3, 0.8),
    "Equalization": lambda make: make.Equalization(),
    "AutoContrast": lambda make: make.AutoContrast(),
    "RandomGaussianBlur": lambda make: make.RandomGaussianBlur(kernel_size=5, sigma=(0.5, 1.0)),
    "RandomSharpness": lambda make: make.RandomSharpness(1.0),
    "RandomErasing": lambda make: make.RandomErasing(0.8),
    "MixUp": lambda make: make.MixUp(0.4),
    "CutMix": lambda make: make.CutMix(),
    "RandAugment": lambda make: make.RandAugment(factor=0.4),
    "AugMix": lambda make: make.AugMix(num_chains=2, chain_depth=1),
    "Pipeline": lambda make: make.Pipeline([make.RandomFlip(), make.RandomRotation(0.05), make.RandomZoom(0.1)]),
    "RandomAffine": lambda make: make.RandomAffine(0.05, 0.05, zoom_factor=0.1, shear_factor=0.1),
    "RandomResizedCrop": lambda make: make.RandomResizedCrop(22, 26, area_factor=(0.6, 1.0)),
    "RandomThinPlateSpline": lambda make: make.RandomThinPlateSpline(0.05),
    "RandomGamma": lambda make: make.RandomGamma((0.5, 2.0)),
    "RandomNoise": lambda make: make.RandomNoise(0.1),
    "TrivialAugment": lambda make: make.TrivialAugment(),
    "RandomApply": lambda make: make.RandomApply([make.RandomInvert(1.0), make.RandomRotation(0.1)], rate=0.5),
    "RandomChoice": lambda make: make.RandomChoice([make.RandomRotation(0.1), make.RandomFlip()]),
    "SameClassMix": lambda make: make.SameClassMix(),
    "SimilarTargetMix": lambda make: make.SimilarTargetMix(),
    "BalancedMixUp": lambda make: make.BalancedMixUp(num_classes=4),
    "Remix": lambda make: make.Remix(class_counts=[100, 1, 50, 3]),
}


class _Changed:
    """`keras.layers` with further arguments for every layer made."""

    def __init__(self, **changes):
        self.changes = changes

    def __getattr__(self, name):
        return functools.partial(getattr(keras.layers, name), **self.changes)


class StockSubject(Subject):
    """A stock layer as a subject.

    It has neither `sample` nor `apply`, nor a key to be called with: laws about the former aren't asked, and a key
    becomes the states in which its generators start. All else is as for our layer of the same name.

    Args:
        build: one of `LAYERS`.
        twin: the subject that is our layer, which says what kind of layer it is.
    """

    has_parameters = False

    def __init__(self, build, twin):
        self.build, self.twin = build, twin
        super().__init__(lambda: build(keras.layers), (twin.low, twin.high))

    def plain(self, **changes):
        """A new layer; raises `NotImplementedError` when it has no such setting."""
        try:
            return self.build(_Changed(**changes))
        except (TypeError, ValueError) as error:
            raise NotImplementedError(f"no such setting: {', '.join(changes)}") from error

    def augment(self, layer=None, seed=KEY):
        layer = self.plain() if layer is None else layer

        @tf.autograph.experimental.do_not_convert
        def augmented(inputs):
            start(layer, 1000 * seed[0] + seed[1])
            if any(tf.is_tensor(part) for part in tf.nest.flatten(inputs)):  # arrays beside tensors are refused
                inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
            return layer(inputs, training=True)

        return augmented

    def mapped_twice(self, dataset, workers):
        """New layers of one seed in a parallel map that keeps the order, behind work that takes some batches longer."""

        def mapped(run):
            layer = self.plain()
            start(layer, seed=7)

            def augment(place, images):
                waited = tf.numpy_function(lambda place: _wait(place + run), [place], tf.int64)
                with tf.control_dependencies([waited]):
                    return layer(tf.identity(images), training=True)

            return dataset.enumerate().map(augment, num_parallel_calls=workers, deterministic=True)

        return [mapped(run) for run in range(2)]

    @property
    def primitives(self):
        return self.twin.primitives

    @property
    def independent(self):
        return self.twin.independent

    @property
    def active_at_inference(self):
        return self.twin.active_at_inference


def start(layer, seed):
    """Starts the generators of a stock layer, and of those it holds, at seeds of their own; it has no other state."""
    for place, state in enumerate(layer.variables):
        state.assign([seed + place, 0])


def _wait(place):
    """Holds up every second batch for a moment."""
    time.sleep(0.02 * (place % 2))
    return place


def subjects(name):
    """(ours, stock) of the layer `name`; stock is None where Keras has none."""
    ours = Subject(lambda: LAYERS[name](kas.layers))
    return ours, StockSubject(LAYERS[name], ours) if hasattr(keras.layers, name) else None
