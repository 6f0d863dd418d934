"""Every law of a layer catches a layer that breaks it."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import draws, layers
from keras_aug_ssl.kernels import color
from keras_aug_ssl.layers.engine.base import AugmentationLayer
from keras_aug_ssl.layers.engine.batch import Boxes
from keras_aug_ssl.testing import LAYER_LAWS
from keras_aug_ssl.testing.subject import Subject

register = keras.saving.register_keras_serializable(package="broken")


class Brighter(layers.RandomBrightness):
    def __init__(self, factor=0.3, **kwargs):
        super().__init__(factor, **kwargs)


class Shift(layers.RandomTranslation):
    def __init__(self, **kwargs):
        super().__init__(0.1, 0.2, **{"fill_mode": "nearest", **kwargs})

    @classmethod
    def from_config(cls, config):
        return cls(**{name: value for name, value in config.items() if not name.endswith("_factor")})


class WorksAtInference(Brighter):
    def _infer(self, inputs):
        return inputs + 1


class KeepsNothing(Brighter):
    def keep(self, mask, parameters):
        return parameters


class CountsItsCalls(Brighter):
    def draw(self, spec, key):
        return super().draw(spec, draws.as_key(self.seed_generator.next()))


class SamplesAnotherKey(Brighter):
    def sample(self, inputs, seed, first=0):
        return super().sample(inputs, (seed[0], seed[1] + 1), first)


class LooksAtTheBatch(Brighter):
    def _execute(self, batch, layout, parameters):
        mean = tf.reduce_mean(tf.cast(batch.images, tf.float32))
        return super()._execute(batch.replace(images=tf.cast(batch.images, tf.float32) - mean), layout, parameters)


class ForgetsThePosition(Brighter):
    def draw(self, spec, key):
        return super().draw(spec._replace(first=0), key)


class DrawsOnceForAll(Brighter):
    def change(self, spec, key):
        delta = tf.repeat(50.0 * draws.uniforms(key, 1, 1)[0], spec.batch_size)
        return color.brightness(delta, spec.channels)


class ReturnsFloats(Brighter):
    def _execute(self, batch, layout, parameters):
        return tf.nest.map_structure(
            lambda part: tf.cast(part, tf.float32), super()._execute(batch, layout, parameters)
        )


class Wraps(Brighter):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        return batch.replace(images=tf.cast(tf.cast(batch.images, tf.int32) + 9, batch.dtype))


class LeavesTheRange(Brighter):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        return batch.replace(images=batch.images + tf.cast(9, batch.dtype))


class DarkensBorders(Shift):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        inner = tf.pad(batch.images[:, 1:-1, 1:-1], [[0, 0], [1, 1], [1, 1], [0, 0]])
        return super().run(steps, batch.replace(images=inner), finish, jit)


class WritesIntoItsInput(Brighter):
    def __call__(self, inputs, *more, **keywords):
        if isinstance(inputs, dict):
            inputs["labels"] += 1
        return super().__call__(inputs, *more, **keywords)


class ReturnsTuples(Brighter):
    def _execute(self, batch, layout, parameters):
        result = super()._execute(batch, layout, parameters)
        return tuple(result) if isinstance(result, list) else result


class CastsLabels(Brighter):
    def _unpack(self, inputs):
        if isinstance(inputs, dict):
            inputs = {**inputs, "labels": tf.cast(inputs["labels"], self.compute_dtype)}
        return super()._unpack(inputs)


class MovesImagesOnly(Shift):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        return batch.replace(images=super().run(steps, batch, finish, jit).images)


class ReadsCorners(Shift):
    def _unpack(self, inputs):
        batch, layout = super()._unpack(inputs)
        if batch.boxes is None:
            return batch, layout
        corners = inputs["bounding_boxes"]["boxes"]
        return batch.replace(boxes=Boxes(corners, batch.boxes.labels, {})), layout._replace(box_format="xyxy")


class MixesTheFirstTarget(layers.MixUp):
    def _mix_targets(self, labels, parameters):
        mixed = super()._mix_targets(labels, parameters)
        return {**labels, "a": mixed["a"]} if isinstance(labels, dict) else mixed


class KeepsUnsignedLabels(Shift):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        batch = super().run(steps, batch, finish, jit)
        boxes = batch.boxes and dataclasses.replace(batch.boxes, labels=tf.cast(batch.boxes.labels, tf.uint8))
        return batch.replace(boxes=boxes)


class ForgetsItsSeed(Brighter):
    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "seed": None})


class ClipsInGraphs(Brighter):
    def _check_values(self, inputs):
        if tf.executing_eagerly():
            super()._check_values(inputs)


class DiffersWhenCompiled(Brighter):
    def _execute(self, batch, layout, parameters):
        if self._jit(batch):
            parameters = {"matrix": parameters["matrix"] * 0.9}
        return super()._execute(batch, layout, parameters)


class RunsWithoutGraph(Brighter):
    def _in_graph(self, function, *arguments):
        return function(*arguments)


class GuessesTheHeight(Shift):
    def draw(self, spec, key):
        height = spec.height if isinstance(spec.height, int) else 99
        return super().draw(spec._replace(height=height), key)


class DrawsFromAState(Brighter):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.state = tf.Variable(0.0, trainable=False)

    def change(self, spec, key):
        return color.brightness(tf.fill([spec.batch_size], self.state.assign_add(1.0)), spec.channels)


class TurnsChannelsWrong(Shift):
    def _unpack(self, inputs):
        batch, layout = super()._unpack(inputs)
        if self.data_format == "channels_first":
            batch = batch.replace(images=tf.reverse(batch.images, [1]))
        return batch, layout


class DarkensSingleImages(Brighter):
    def _execute(self, batch, layout, parameters):
        result = super()._execute(batch, layout, parameters)
        return result if layout.batched else 0.9 * result


@register
class ForgetsItsFactor(Brighter):
    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "factor"}


@register
class LearnsAfterwards(Brighter):
    offset = 0.0

    def _infer(self, inputs):
        return inputs + self.offset


def learned() -> Any:
    layer = LearnsAfterwards()
    layer.offset = 9.0
    return layer


class HidesWeights(Brighter):
    def weights(self, key, count):
        return draws.uniforms(key, count, 1)


class CountsThePixels(Brighter):
    def draw(self, spec, key):
        tf.debugging.assert_positive(spec.batch_size)
        return super().draw(spec, key)


class ReadsThenAdvances(keras.random.SeedGenerator):
    """Keras's own order of the two, with time for another thread between them."""

    def next(self, ordered=True):
        key = self.state.value * 1
        time.sleep(0.001)
        self.state.assign(key + [0, 1])
        return key


class SharesKeys(Brighter):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = ReadsThenAdvances(1)


class CompilesForItself(Brighter):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        images = tf.function(lambda images: images + 0, jit_compile=jit or None)(batch.images)
        return super().run(steps, batch.replace(images=images), finish, jit)


class DrawsForEachSlice(Brighter):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        faded = tf.linspace(1.0, 0.5, tf.shape(batch.images)[0])[:, None, None, None] * tf.cast(batch.images, "float32")
        return super().run(steps, batch.replace(images=faded), finish, jit)


class MixesSlices(Brighter):
    @classmethod
    def run(cls, steps, batch, finish, jit):
        return super().run(steps, batch.replace(images=tf.roll(batch.images, 1, 0)), finish, jit)


class LosesMasksOfVolumes(Shift):
    def _execute(self, batch, layout, parameters):
        if batch.images.shape.rank == 5 and batch.masks is not None:
            batch = batch.replace(masks=tf.reverse(batch.masks, [1]))
        return super()._execute(batch, layout, parameters)


class RemembersTheFirstCall(layers.RandomInvert):
    calls = []

    @classmethod
    def run(cls, steps, batch, finish, jit):
        if tf.executing_eagerly():
            return super().run(steps, batch, finish, jit)
        cls.calls.append(batch)
        return super().run(steps, batch, finish, jit) if len(cls.calls) == 1 else batch


BROKEN = {
    "inference is the identity": WorksAtInference,
    "neutral parameters are the identity": KeepsNothing,
    "same key, same output": CountsItsCalls,
    "sample, then apply": SamplesAnotherKey,
    "batch-mates don't matter": LooksAtTheBatch,
    "draws follow the position": ForgetsThePosition,
    "images draw for themselves": DrawsOnceForAll,
    "dtypes are kept": ReturnsFloats,
    "uint8 never wraps": Wraps,
    "values stay in range": LeavesTheRange,
    "flat images stay flat": DarkensBorders,
    "inputs are left alone": WritesIntoItsInput,
    "structures are kept": ReturnsTuples,
    "labels and masks keep their dtype": CastsLabels,
    "masks follow the pixels": MovesImagesOnly,
    "boxes follow the pixels": MovesImagesOnly,
    "boxes agree in every format": ReadsCorners,
    "keypoints follow the pixels": MovesImagesOnly,
    "several targets are treated alike": MixesTheFirstTarget,
    "box labels can say that a box has left": KeepsUnsignedLabels,
    "seeds count in a pipeline": ForgetsItsSeed,
    "what would be clipped is said in graphs too": ClipsInGraphs,
    "eager = graph = tf.data = XLA": DiffersWhenCompiled,
    "no retrace on the second batch": RunsWithoutGraph,
    "dynamic sizes in tf.data": GuessesTheHeight,
    "parallel map is reproducible": DrawsFromAState,
    "channels first = channels last": TurnsChannelsWrong,
    "one image = a batch of one": DarkensSingleImages,
    "config round trip": lambda: ForgetsItsFactor(0.5),
    ".keras round trip": learned,
    "nothing of Keras's is hidden": HidesWeights,
    "lives inside a model": HidesWeights,
    "an empty batch comes out empty": CountsThePixels,
    "earlier calls don't matter": RemembersTheFirstCall,
    "a broken pixel is its own image's": LooksAtTheBatch,
    "threads draw for themselves": SharesKeys,
    "an equal layer compiles nothing anew": CompilesForItself,
    "one draw for all slices": DrawsForEachSlice,
    "a volume is its slices": MixesSlices,
    "masks of volumes follow": LosesMasksOfVolumes,
}


@pytest.mark.parametrize("name", LAYER_LAWS)
def test_law_catches_who_breaks_it(name):
    with pytest.raises(AssertionError, match=re.escape(f"breaks the law {name!r}")):
        LAYER_LAWS[name](Subject(BROKEN[name]))


@pytest.mark.parametrize("make", [Brighter, Shift])
def test_the_layers_that_were_broken_keep_all_laws_but_for_saving(make):
    subject = Subject(make)
    for law in LAYER_LAWS.values():
        if law.concerns(subject) and not law.name.endswith("round trip") and not law.graphs:
            law(subject)


def test_a_broken_layer_is_still_a_layer():
    images = np.zeros((4, 6, 6, 3), "float32")
    for make in BROKEN.values():
        assert isinstance(make(), AugmentationLayer) and make()(images).shape == images.shape
