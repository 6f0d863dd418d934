"""Scans and videos: however they come and are run, a volume gets one draw."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.testing.laws import op_by_op

SHAPE = (3, 16, 20, 2)
KEY = (7, 1)


def volumes(count=4, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(dtype)


def masks(count=4):
    return np.random.default_rng(1).integers(0, 4, (count, *SHAPE[:-1])).astype("uint8")


def augment(**kwargs):
    several = [
        layers.RandomFlip(),
        layers.RandomRotation(0.05, fill_mode="constant"),
        layers.RandomBrightness(0.2),
        layers.RandomGaussianBlur(),
        layers.RandomErasing(scale=(0.05, 0.1)),
    ]
    return kas.Pipeline(several, seed=7, **kwargs)


def close(one, other):
    """Equal but for a level of rounding, between what is compiled and what isn't."""
    assert np.asarray(one).dtype == np.asarray(other).dtype
    far = np.abs(np.asarray(one, "float32") - np.asarray(other, "float32")) > 1
    assert far.mean() < 1e-3


def test_eager_graph_compiled_and_of_unknown_sizes():
    pipeline, inputs = augment(), {"images": volumes(), "segmentation_masks": masks()}
    with op_by_op():
        wanted = pipeline(inputs, seed=KEY)
    assert wanted["images"].dtype == tf.uint8 and wanted["images"].shape == (4, *SHAPE)
    specs = [tf.nest.map_structure(tf.TensorSpec.from_tensor, tf.nest.map_structure(tf.constant, inputs))]
    specs.append({key: tf.TensorSpec([None] * (spec.shape.rank - 1) + [2], "uint8") for key, spec in specs[0].items()})
    specs[1]["segmentation_masks"] = tf.TensorSpec([None] * 4, "uint8")
    for spec in specs:
        run = tf.function(lambda parts: pipeline(parts, seed=KEY), input_signature=[spec], autograph=False)
        for key, found in run(inputs).items():
            close(found, wanted[key])
    compiled = tf.function(lambda parts: pipeline(parts, seed=KEY), jit_compile=True, autograph=False)
    for key, found in compiled(inputs).items():
        close(found, wanted[key])


def test_a_data_set_of_volumes_gives_what_batches_of_them_give():
    single = tf.data.Dataset.from_tensor_slices((volumes(), np.arange(4)))
    wanted = list(augment(volumes=True).map(single).as_numpy_iterator())
    found = list(augment().map(single.batch(3)).unbatch().as_numpy_iterator())
    for (one, number), (other, again) in zip(wanted, found, strict=True):
        close(one, other)
        assert one.shape == SHAPE and number == again


@op_by_op()
def test_one_volume_is_a_batch_of_one():
    alone = augment(volumes=True)(volumes()[0], seed=KEY)
    close(alone, augment()(volumes()[:1], seed=KEY)[0])
    assert alone.shape == SHAPE


@op_by_op()
def test_rank_four_is_images_unless_told():
    frames = np.stack([volumes()[0, 0]] * 8)
    by_image, as_volume = (augment(volumes=volume)(frames, seed=KEY).numpy() for volume in (False, True))
    assert any(not np.array_equal(by_image[0], image) for image in by_image[1:])
    assert all(np.array_equal(as_volume[0], image) for image in as_volume[1:])
    with pytest.raises(ValueError, match=r"\(depth, height, width, channels\) volumes"):
        augment(volumes=True)(frames[0])


def test_volumes_is_kept_in_the_config():
    stored = keras.saving.serialize_keras_object(augment(volumes=True))
    assert keras.saving.deserialize_keras_object(stored).volumes is True


@op_by_op()
def test_channels_first():
    last = augment()({"images": volumes(), "segmentation_masks": masks()}, seed=KEY)
    turned = {"images": np.moveaxis(volumes(), -1, 1), "segmentation_masks": masks()}
    first = augment(data_format="channels_first")(turned, seed=KEY)
    assert np.array_equal(np.moveaxis(first["images"], 1, -1), last["images"])
    assert np.array_equal(first["segmentation_masks"], last["segmentation_masks"])
    one = augment(data_format="channels_first", volumes=True)(turned["images"][0], seed=KEY)
    close(np.moveaxis(one, 0, -1), last["images"][0])


def test_a_model_of_volumes_learns_and_its_crop_holds_at_inference():
    crop = kas.Pipeline([layers.RandomCrop(12, 12), layers.RandomContrast(0.2)], seed=1)
    head = [keras.layers.Rescaling(1 / 255), keras.layers.Conv3D(2, 3), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input(SHAPE, dtype="uint8"), crop, *head])
    model.compile("adam", "mse")
    model.fit(volumes(), np.zeros(4), batch_size=2, verbose=0)
    of_slices = np.stack([crop(volumes()[:, place], training=False) for place in range(SHAPE[0])], 1)
    assert np.array_equal(crop(volumes(), training=False), of_slices)


@op_by_op()
def test_whole_volumes_are_mixed():
    black_and_white = np.stack([np.zeros(SHAPE), np.full(SHAPE, 255)]).astype("uint8")
    for layer in (layers.MixUp(1.0, seed=3), layers.CutMix(seed=3)):
        images, labels = layer((black_and_white, np.eye(2, dtype="float32")), seed=KEY)
        shares = np.asarray(images, "float32").mean((2, 3, 4)) / 255
        assert np.allclose(shares, np.asarray(labels)[:, 1:], atol=0.003)


@op_by_op()
def test_further_volumes_are_cut_like_the_images():
    inputs = {"images": volumes(), "depth": volumes(), "labels": np.eye(4, dtype="float32")}
    outputs = layers.CutMix(mix="depth", seed=3)(inputs, seed=KEY)
    assert np.array_equal(outputs["images"], outputs["depth"])


@op_by_op()
def test_boxes_and_keypoints_go_through_all_slices():
    boxes = {"boxes": np.array([[[2, 3, 9, 12]]] * 4, "float32"), "labels": np.ones((4, 1), "int32")}
    beside = {"bounding_boxes": boxes, "keypoints": np.array([[[4, 5, 2]]] * 4, "float32")}  # in slice 2
    pipeline = augment(bounding_box_format="xyxy")
    of_volumes = pipeline({"images": volumes(), **beside}, seed=KEY)
    of_images = pipeline({"images": volumes()[:, 0], **beside}, seed=KEY)
    tf.nest.map_structure(
        np.testing.assert_array_equal,
        {key: of_volumes[key] for key in beside},
        {key: of_images[key] for key in beside},
    )


@op_by_op()
def test_stock_layers_that_draw_are_refused():
    with pytest.raises(ValueError, match="RandomColorDegeneration: .*draws for each slice"):
        kas.Pipeline.from_keras([keras.layers.RandomColorDegeneration(0.5)])(np.zeros((2, 3, 8, 8, 3)))
    scaled = kas.Pipeline.from_keras([keras.layers.Rescaling(1 / 255)])(volumes())
    assert scaled.shape == (4, *SHAPE) and float(tf.reduce_max(scaled)) <= 1.0


def test_masks_of_other_volumes_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, depth, height, width\) \(4, 3, 16, 20\)"):
        augment()({"images": volumes(), "segmentation_masks": masks()[:, :2]})


@pytest.mark.parametrize("make", [lambda: layers.RandomCrop(4, 7), lambda: layers.CutMix(num_classes=2)])
def test_the_depth_may_vary_from_batch_to_batch(make):
    layer, batches = make(), [np.full((2, depth, 9, 11, 1), depth, "uint8") for depth in (3, 4, 5)]
    labels = np.array([0, 1])
    shapes = [(2, depth, *((4, 7) if isinstance(layer, layers.RandomCrop) else (9, 11)), 1) for depth in (3, 4, 5)]
    assert [layer((batch, labels), training=True)[0].shape for batch in batches] == shapes
    spec = (tf.TensorSpec([2, None, 9, 11, 1], "uint8"), tf.TensorSpec([2], "int64"))
    source = tf.data.Dataset.from_generator(lambda: ((batch, labels) for batch in batches), output_signature=spec)
    assert [batch.shape for batch, _ in kas.Pipeline([make()]).map(source)] == shapes
