"""NumPy in, NumPy out: what a call does, for loops over single images."""

from __future__ import annotations

import numpy as np
import pytest

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine import arrays
from keras_aug_ssl.testing.laws import op_by_op

KEY = (3, 4)


def augment(jit_compile=False, **kwargs):
    several = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomBrightness(0.3)]
    return kas.Pipeline(several, seed=7, jit_compile=jit_compile, **kwargs)


def image(size=(12, 10), dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(dtype)


def mask():
    return (image()[..., 0] > 99).astype("int32")


EVERYTHING = {
    "images": image(),
    "segmentation_masks": mask(),
    "bounding_boxes": {"boxes": np.array([[1, 2, 8, 9]], "float32"), "labels": np.array([3])},
    "keypoints": np.array([[4, 5]], "float32"),
    "labels": np.array([0.0, 1.0], "float32"),
}


def test_none_stays_none():
    """In a tuple and in a dict, beside labels or without, and without the slow way."""
    pipeline = augment()
    several, labels = np.stack([image()] * 2), np.arange(2)
    assert pipeline.on_arrays((several, labels, None), seed=KEY)[2] is None
    assert pipeline.on_arrays({"images": several, "labels": None}, seed=KEY)["labels"] is None
    assert np.array_equal(pipeline.on_arrays((several, None), seed=KEY)[0], pipeline.on_arrays(several, seed=KEY))


def equal(found, wanted):
    """Arrays that hold what the tensors of a call hold, but for a level of rounding."""
    assert type(found) is type(wanted) or isinstance(found, (np.ndarray, np.generic))
    if isinstance(found, dict):
        return found.keys() == wanted.keys() and all(equal(found[key], wanted[key]) for key in found)
    if isinstance(found, tuple):
        return len(found) == len(wanted) and all(map(equal, found, wanted))
    wanted = wanted.numpy()
    return found.dtype == wanted.dtype and np.allclose(found.astype("float32"), wanted.astype("float32"), atol=1)


@pytest.mark.parametrize(
    "inputs", [image(), (image(), np.array(2)), EVERYTHING, np.stack([image(), image()]), image(dtype="float32")]
)
def test_it_is_what_a_call_gives(inputs):
    pipeline = augment(bounding_box_format="xyxy")
    with op_by_op():
        wanted = pipeline(inputs, seed=KEY)
    assert equal(pipeline.on_arrays(inputs, seed=KEY), wanted)


def test_compiled_too():
    assert equal(augment("auto").on_arrays(EVERYTHING["images"], seed=KEY), augment()(image(), seed=KEY))


def test_each_call_takes_the_next_key():
    called, on_arrays = augment(), augment()
    several = [on_arrays.on_arrays(image()) for _ in range(3)]
    assert all(equal(found, called(image())) for found in several)
    assert not np.array_equal(several[0], several[1])


def test_a_second_image_of_a_size_is_not_traced_and_a_further_size_goes_another_way(monkeypatch):
    monkeypatch.setattr(arrays, "MOST_GRAPHS", 2)
    pipeline, traces = augment(), []
    draw = pipeline.draw
    pipeline.draw = lambda *args: traces.append(args) or draw(*args)
    for _ in range(3):
        pipeline.on_arrays(image())
        pipeline.on_arrays(image((9, 8)))
    assert len(traces) == 2
    with op_by_op():
        wanted = pipeline(image((7, 6)), seed=KEY)
        assert equal(pipeline.on_arrays(image((7, 6)), seed=KEY), wanted)


def test_a_batch_is_mixed_by_its_labels():
    mix = kas.Pipeline([layers.SameClassMix(seed=1)])
    batch = (np.array([[0.0], [1.0], [10.0], [11.0]], "float32"), np.array([0, 0, 1, 1]))
    mixed, labels = mix.on_arrays(batch)
    assert np.all(mixed[:2] <= 1) and np.all(mixed[2:] >= 10) and np.array_equal(labels, batch[1])


@pytest.mark.parametrize("values", [image() / 100.0, image()])
def test_values_outside_the_range_are_refused(values):
    pipeline = kas.Pipeline([layers.RandomBrightness(0.3, value_range=(0, 1))], jit_compile=False)
    with pytest.raises(ValueError, match=r"within value_range=\(0, 1\)"):
        pipeline.on_arrays(values)
