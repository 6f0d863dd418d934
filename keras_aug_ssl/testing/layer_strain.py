"""Laws about what a long run brings: batches of nothing, broken pixels, many threads, one new layer after another."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from keras_aug_ssl.layers.mixing import MixingLayer
from keras_aug_ssl.testing.laws import Law, broken, op_by_op, register, same
from keras_aug_ssl.testing.layer_values import JUMPS
from keras_aug_ssl.testing.subject import HEIGHT, KEY, WIDTH, Subject

LAWS: list[Law] = []
LABELS = np.eye(4, dtype="float32")
THREADS, CALLS = 8, 3


def _takes_tuples(subject: Subject) -> bool:
    """As layers of this library do; stock ones don't."""
    return subject.has_parameters


@register(LAWS, "an empty batch comes out empty", _takes_tuples, graphs=True)
def empty_batch_comes_out_empty(subject: Subject) -> None:
    """A batch of no images, of a size known or not, comes out as one, of the size and dtype that images come out in."""
    images = subject.images("uint8" if subject.holds_bytes else "float32")
    with op_by_op():
        full, _ = subject.augment(subject.plain())((images, LABELS))
    for how, layer in (("eagerly", _eager), ("in tf.data", _mapped)):
        try:
            result, labels = layer(subject, images[:0], LABELS[:0])
        except (ValueError, tf.errors.OpError) as error:
            broken(f"called {how} it fails: {type(error).__name__}: {str(error)[:300]}")
        if result.shape != (0, *full.shape[1:]) or result.dtype != full.dtype or labels.shape != (0, 4):
            broken(f"called {how} it returns {result.dtype.name} {result.shape} and labels {labels.shape}")


def _eager(subject: Subject, images: Any, labels: Any) -> Any:
    return subject.augment(subject.plain())((images, labels))


def _mapped(subject: Subject, images: Any, labels: Any) -> Any:
    sizes = (tf.TensorSpec([None, *images.shape[1:]], images.dtype), tf.TensorSpec([None, 4], "float32"))
    dataset = tf.data.Dataset.from_generator(lambda: iter([(images, labels)]), output_signature=sizes)
    augmented = subject.augment(subject.plain())
    return next(iter(dataset.map(lambda x, y: augmented((x, y)))))


@register(
    LAWS,
    "earlier calls don't matter",
    lambda subject: _takes_tuples(subject) and subject.takes_annotations,
    graphs=True,
)
def earlier_calls_dont_matter(subject: Subject) -> None:
    """What a call gives is the same whatever was called before: masks of other channels, labels, or None for them."""
    images, masks = subject.images(), np.random.default_rng(2).integers(0, 5, (4, HEIGHT, WIDTH, 2)).astype("uint8")
    calls: list[Any] = [{"images": images, "segmentation_masks": masks[..., :count]} for count in (1, 2)]
    calls += [(images, LABELS), (images, LABELS, None)]
    with op_by_op():
        expected = [subject.augment(subject.plain())(inputs) for inputs in calls]
    for inputs, wanted in zip(calls, expected, strict=True):
        try:
            found = subject.augment(subject.plain())(inputs)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            broken(f"after other calls it fails: {type(error).__name__}: {str(error)[:300]}")
        for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
            if (one is None) != (other is None):
                broken("None doesn't stay None")
            if one is not None:
                same(one, other, "what comes out after other calls and by itself", 1e-3 * subject.span, JUMPS)


@register(LAWS, "a broken pixel is its own image's", lambda subject: subject.independent or _mixes(subject))
def broken_pixel_is_its_own_images(subject: Subject) -> None:
    """A pixel that is NaN or infinite ends nothing, and changes no image but its own and those mixed with it."""
    images = subject.images()
    clean, others = np.asarray(subject.augment()(images)), np.arange(4) != 1
    for value in (np.nan, np.inf, -np.inf):
        images[1, 9, 9, 1] = value
        try:
            result = np.asarray(subject.augment()(images))
        except (ValueError, tf.errors.OpError) as error:
            broken(f"a pixel of {value} ends it with {type(error).__name__}: {str(error)[:300]}")
        if _mixes(subject):
            others &= np.asarray(subject.layer.sample(subject.shown(images), KEY)["partner"]) != 1
        same(result[others], clean[others], f"images beside one with a pixel of {value}, and as before,")


def _mixes(subject: Subject) -> bool:
    return isinstance(subject.layer, MixingLayer)


@register(LAWS, "threads draw for themselves", lambda subject: subject.has_parameters)
def threads_draw_for_themselves(subject: Subject) -> None:
    """Each call draws with a key of its own, also when several threads call one layer at once."""
    layer, keys = subject.plain(), []
    images, draw = subject.shown(subject.images(count=2, size=(8, 8))), layer.draw

    def noted(spec: Any, key: tf.Tensor) -> Any:
        keys.append(tuple(key.numpy().tolist()))
        return draw(spec, key)

    def call() -> None:
        for _ in range(CALLS):
            layer(images, training=True)

    layer.draw = noted
    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(set(keys)) < THREADS * CALLS:
        broken(f"{THREADS * CALLS} calls from {THREADS} threads draw with {len(set(keys))} different keys")


@register(LAWS, "an equal layer compiles nothing anew", _takes_tuples, graphs=True)
def equal_layer_compiles_nothing_anew(subject: Subject) -> None:
    """A layer made anew uses what XLA compiled for the one before, since what is compiled is never freed."""
    units: list[Any] = []
    function = tf.function

    def counted(*args: Any, **keywords: Any) -> Any:
        units.extend([keywords] if keywords.get("jit_compile") else [])
        return function(*args, **keywords)

    images = (tf.TensorSpec([4, 16, 16, 3], "float32"), tf.TensorSpec([4, 4], "float32"))
    with mock.patch.object(tf, "function", counted):
        for _ in range(2):
            units.clear()
            augmented = subject.augment(subject.make())
            function(lambda x, y, run=augmented: run((x, y)), autograph=False).get_concrete_function(*images)
    if units:
        broken(f"the second of two equal layers makes {len(units)} new units for XLA")
