"""What can't be mixed is an error that says what to do, never mixed in part."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from tests.layers.mixing.cases import IMAGES, LABELS, MIXING, ROWS


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("inputs", [IMAGES[0], (IMAGES[0], LABELS[0]), (IMAGES[0], np.eye(4)[0])])
def test_a_single_image_has_nobody_to_be_mixed_with(name, inputs):
    with pytest.raises(ValueError, match="must be a batch of examples"):
        MIXING[name]()(inputs)
    with pytest.raises(ValueError, match="must be a batch of examples"):
        kas.Pipeline([layers.RandomFlip(), MIXING[name]()])(inputs)


@pytest.mark.parametrize("name", MIXING)
def test_an_input_not_named_is_refused(name):
    with pytest.raises(ValueError, match="`mix=`"):
        MIXING[name]()({"images": IMAGES, "labels": LABELS, "table": ROWS})
    with pytest.raises(ValueError, match="`mix=`"):
        MIXING[name](mix="other")(({"images": IMAGES, "table": ROWS}, LABELS))


@pytest.mark.parametrize(
    "make, inputs, error, words",
    [
        (layers.MixUp, (IMAGES, LABELS), ValueError, "`num_classes` must be given"),
        (lambda: layers.MixUp(num_classes=4), (IMAGES, LABELS.astype("float32")), ValueError, "`labels` must be"),
        (lambda: layers.MixUp(num_classes=4), (IMAGES, np.eye(5)[LABELS]), ValueError, "`labels` must be"),
        (lambda: layers.MixUp(num_classes=2), (IMAGES, LABELS), tf.errors.InvalidArgumentError, "above every label"),
        (layers.SameClassMix, IMAGES, ValueError, "with their labels"),
        (layers.SimilarTargetMix, ROWS, ValueError, "with their labels"),
        (layers.MixUp, {"images": IMAGES, "segmentation_masks": IMAGES[..., :1]}, TypeError, "must be floating"),
        (layers.MixUp, {"images": IMAGES, "keypoints": np.zeros((8, 2, 2), "float32")}, ValueError, "keypoints"),
        (layers.CutMix, (ROWS, LABELS), ValueError, "images"),
        (layers.SameClassMix, (np.ones((8, 5), "int64"), LABELS), TypeError, "mix embeddings"),
        (lambda: layers.MixUp(mix="codes"), {"images": IMAGES, "codes": LABELS}, TypeError, "cast measured numbers"),
    ],
)
def test_what_has_no_meaning_is_an_error(make, inputs, error, words):
    with pytest.raises(error, match=words):
        make()(inputs)


def test_drawing_the_nearest_needs_the_examples():
    with pytest.raises(ValueError, match="the examples themselves"):
        layers.SameClassMix(neighbours=1).sample(layers.Spec(8, 6, 10, 3, labels=LABELS), 1)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: layers.MixUp(0.0), "alpha"),
        (lambda: layers.MixUp(num_classes=0), "num_classes"),
        (lambda: layers.MixUp(mix=(1,)), "mix"),
        (lambda: layers.CutMix(0.0), "factor"),
        (lambda: layers.CutMix((-1.0, 1.0)), "factor"),
        (lambda: layers.SameClassMix(neighbours=0), "neighbours"),
        (lambda: layers.SimilarTargetMix(sigma=0.0), "sigma"),
        (lambda: layers.Remix(), "num_classes"),
        (lambda: layers.Remix(class_counts=[1, 2], num_classes=3), "num_classes"),
        (lambda: layers.Remix(class_counts=[1, -2]), "class_counts"),
        (lambda: layers.Remix(num_classes=2, kappa=0.5), "kappa"),
        (lambda: layers.Remix(num_classes=2, tau=1.5), "tau"),
    ],
)
def test_arguments_are_checked(make, argument):
    with pytest.raises((ValueError, TypeError), match=f"`{argument}` must be"):
        make()
