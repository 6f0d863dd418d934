"""Laws of geometry: what is read where, against scipy, flipped arrays and arithmetic done by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import keras_aug_ssl as kas
from keras_aug_ssl import draws, layers
from keras_aug_ssl.kernels import geometry, matrices, resample
from keras_aug_ssl.layers.engine.base import execute
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.warp import GeometricLayer
from tests.layers.cases import plain

RANDOM = np.random.default_rng(0)
SCIPY_MODES = {"reflect": "reflect", "nearest": "nearest", "constant": "grid-constant", "wrap": "grid-wrap"}
SIZES = [(9, 13), (12, 7), (1, 8), (8, 1), (1, 1), (2, 2)]


def warp(images, matrices, fill_mode="reflect", interpolation="bilinear", fill_value=0.0):
    """Images (B, H, W, C) read through (B, 3, 3) matrices, as a geometric layer would."""
    layer = GeometricLayer(fill_mode, interpolation, fill_value)
    batch = Batch(tf.constant(images), tf.as_dtype(images.dtype))
    matrices = tf.constant(matrices, tf.float32) + tf.zeros([len(images), 1, 1])
    return execute([(layer, {"out_to_in": matrices})], batch, jit=False).images.numpy()


def bend(images, field, **kwargs):
    """Images read through a (B, H, W, 2) displacement field."""
    batch = Batch(tf.constant(images), tf.as_dtype(images.dtype))
    return execute([(GeometricLayer(**kwargs), {"field": tf.constant(field)})], batch, jit=False).images.numpy()


def random_affine(size, strength=0.4):
    """A matrix that turns, scales, shears and shifts about the middle; moves some of every border out of view."""
    linear = np.eye(2) + RANDOM.uniform(-strength, strength, (2, 2))
    centre = np.array([size[1] - 1, size[0] - 1]) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre + RANDOM.uniform(-1.5, 1.5, 2)
    return matrix


def by_scipy(image, matrix, order, mode, value):
    """What `warp` computes, by scipy: which speaks of (row, column), we of (x, y)."""
    swap = np.array([1, 0])
    linear, offset = matrix[:2, :2][swap][:, swap], matrix[:2, 2][swap]
    return ndimage.affine_transform(image.astype("float64"), linear, offset, order=order, mode=mode, cval=value)


# --- one resampling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill_mode", SCIPY_MODES)
def test_bilinear_reading_agrees_with_scipy_up_to_and_beyond_the_border(fill_mode, size):
    images = RANDOM.uniform(0, 255, (3, *size, 1)).astype("float32")
    for _ in range(3):
        matrix = random_affine(size)
        ours = warp(images, matrix, fill_mode, fill_value=77.0)
        for image, result in zip(images, ours, strict=True):
            expected = by_scipy(image[..., 0], matrix, 1, SCIPY_MODES[fill_mode], 77.0)
            np.testing.assert_allclose(result[..., 0], expected, atol=1e-3 * 255)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill_mode", SCIPY_MODES)
def test_nearest_reading_agrees_with_scipy(fill_mode, size):
    images = RANDOM.integers(1, 99, (2, *size, 1)).astype("int32")
    matrix = random_affine(size)
    ours = warp(images, matrix, fill_mode, "nearest", fill_value=7)
    mode = {"constant": "constant"}.get(fill_mode, SCIPY_MODES[fill_mode])
    for image, result in zip(images, ours, strict=True):
        padded = np.pad(image[..., 0], 1, constant_values=7) if fill_mode == "constant" else image[..., 0]
        shifted = matrix.copy()
        if fill_mode == "constant":  # scipy calls what is less than half a pixel outside outside already
            back, forth = np.eye(3), np.eye(3)
            back[:2, 2], forth[:2, 2] = -1, 1
            shifted = forth @ matrix @ back
        expected = by_scipy(padded, shifted, 0, mode, 7)
        expected = expected[1:-1, 1:-1] if fill_mode == "constant" else expected
        assert np.array_equal(result[..., 0], expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_are_read_alike(channels):
    image = RANDOM.uniform(0, 1, (1, 6, 5, 1)).astype("float32")
    matrix = random_affine((6, 5))
    many = warp(np.repeat(image, channels, axis=-1), matrix)
    assert np.array_equal(many, np.repeat(warp(image, matrix), channels, axis=-1))


def test_each_image_goes_through_its_own_matrix():
    images = RANDOM.uniform(0, 1, (2, 6, 5, 1)).astype("float32")
    one, other = random_affine((6, 5)), random_affine((6, 5))
    both = warp(images, np.stack([one, other]))
    np.testing.assert_allclose(both[0], warp(images[:1], one)[0], atol=1e-6)
    np.testing.assert_allclose(both[1], warp(images[1:], other)[0], atol=1e-6)


def test_an_empty_batch_stays_empty():
    assert plain(layers.RandomAffine(0.1))(np.zeros((0, 6, 5, 3), "uint8")).shape == (0, 6, 5, 3)


# --- exact moves ------------------------------------------------------------------------------------------------------

FIXED = {
    "left-right": (geometry.flip([True], [False]), lambda x: x[:, :, ::-1]),
    "up-down": (geometry.flip([False], [True]), lambda x: x[:, ::-1]),
    "quarter": (geometry.rotation(tf.constant([90.0])), lambda x: np.rot90(x, 1, (1, 2))),
    "half": (geometry.rotation(tf.constant([-180.0])), lambda x: np.rot90(x, 2, (1, 2))),
    "three quarters": (geometry.rotation(tf.constant([270.0])), lambda x: np.rot90(x, 3, (1, 2))),
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int32"])
@pytest.mark.parametrize("size", [(5, 5), (6, 6), (224, 224)])
def test_flips_and_quarter_turns_are_bit_equal(name, dtype, size):
    matrix, move = FIXED[name]
    images = RANDOM.integers(0, 255, (1, *size, 2)).astype(dtype)
    images = images + RANDOM.random(images.shape).astype(dtype) if dtype == "float32" else images
    for interpolation in resample.INTERPOLATIONS:
        moved = warp(images, geometry.about(geometry.centre(size), matrix), "constant", interpolation)
        assert np.array_equal(moved, move(images))


def test_a_flip_draws_all_four_outcomes():
    flip = plain(layers.RandomFlip())
    image = np.arange(6, dtype="uint8").reshape(1, 2, 3, 1)
    outcomes = {tuple(np.ravel(result)) for result in flip(image.repeat(64, axis=0), seed=1)}
    moves = [lambda x: x, FIXED["left-right"][1], FIXED["up-down"][1], FIXED["half"][1]]
    assert outcomes == {tuple(move(image).ravel()) for move in moves}


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_whole_pixels_are_copied(size):
    images = RANDOM.integers(0, 256, (1, *size, 3), dtype=np.uint8)
    moved = warp(images, geometry.translation(tf.constant([-2.0]), tf.constant([3.0])), "wrap")
    assert np.array_equal(moved, np.roll(images, (-3, 2), (1, 2)))


@pytest.mark.parametrize("size", [(12, 10), (20, 9)])
def test_crops_copy_whole_pixels_and_all_places_occur(size):
    images = np.arange(np.prod(size), dtype="int32").reshape(1, *size, 1).repeat(300, axis=0)
    crops = plain(layers.RandomCrop(size[0] - 2, size[1] - 1))(images, seed=1).numpy()[..., 0]
    places = {divmod(int(crop[0, 0]), size[1]) for crop in crops}
    assert places == set(itertools.product(range(3), range(2)))
    for crop in crops[:20]:
        top, left = divmod(int(crop[0, 0]), size[1])
        assert np.array_equal(crop, images[0, top : top + size[0] - 2, left : left + size[1] - 1, 0])


def test_crops_copy_whole_pixels_of_whatever_size_comes():
    """Where sizes are known at running time only, and at the second and third size of a layer: no pixel is computed."""
    crop = layers.RandomCrop(7, 7)
    whole = (2**24 + np.arange(100)).reshape(1, 10, 10, 1)
    holed = np.zeros((1, 10, 10, 1), "float32")
    holed[0, 4, 4] = np.nan
    for size in (10, 9, 8, 10):
        cut = crop(whole[:, :size, :size].astype("int32"), seed=(1, 1)).numpy()[0, ..., 0]
        assert np.array_equal(np.diff(cut, axis=1), np.ones((7, 6))) and np.array_equal(
            np.diff(cut, axis=0) - 10, 0 * cut[1:]
        )
        cut = crop({"images": holed[:, :size, :size], "segmentation_masks": holed[:, :size, :size]}, seed=(1, 1))
        assert np.array_equal(np.isnan(cut["images"]), np.isnan(cut["segmentation_masks"]))
    sizes = tf.data.Dataset.from_generator(
        lambda: (whole[0, :size, :size].astype("float64") for size in (10, 6, 9)),
        output_signature=tf.TensorSpec([None, None, 1], tf.float64),
    )
    large, small, other = (image.numpy() for image in kas.Pipeline([layers.RandomCrop(7, 7)], seed=1).map(sizes))
    assert np.all(np.diff(large, axis=1) == 1) and np.all(np.diff(other, axis=1) == 1) and small.shape == (7, 7, 1)


def test_a_crop_larger_than_the_image_resizes_the_middle():
    images = RANDOM.uniform(0, 255, (2, 6, 5, 3)).astype("float32")
    crop = plain(layers.RandomCrop(12, 10))
    expected = tf.image.resize(images, (12, 10)).numpy()
    np.testing.assert_allclose(crop(images, seed=1), expected, atol=1e-3)
    np.testing.assert_allclose(crop(images, training=False), expected, atol=1e-3)


def test_a_resized_crop_of_everything_is_a_resize():
    images = RANDOM.uniform(0, 255, (2, 6, 5, 3)).astype("float32")
    crop = plain(layers.RandomResizedCrop(9, 8, area_factor=(1.0, 1.0), aspect_ratio_factor=(5 / 6, 5 / 6)))
    np.testing.assert_allclose(crop(images, seed=1), tf.image.resize(images, (9, 8)), atol=1e-2)


def test_resized_crops_have_the_areas_and_shapes_asked_for():
    crop = layers.RandomResizedCrop(10, 10, area_factor=(0.1, 0.4), aspect_ratio_factor=(0.5, 2.0))
    matrices = crop.sample(Spec(4000, 100, 100, 3), 1)["out_to_in"].numpy()
    wide, tall = 10 * matrices[:, 0, 0], 10 * matrices[:, 1, 1]
    area, aspect = wide * tall / 1e4, np.log2(wide / tall)
    assert area.min() >= 0.0999 and area.max() <= 0.4001 and abs(area.mean() - 0.25) < 0.005
    assert aspect.min() >= -1.001 and aspect.max() <= 1.001 and abs(aspect.mean()) < 0.03
    left, top = matrices[:, 0, 2] - 0.5 * (wide / 10 - 1), matrices[:, 1, 2] - 0.5 * (tall / 10 - 1)
    assert left.min() > -1e-3 and (left + wide).max() < 100.001 and top.min() > -1e-3 and (top + tall).max() < 100.001


# --- matrices ---------------------------------------------------------------------------------------------------------


def test_the_inverse_undoes_and_points_go_where_pixels_go():
    there = np.stack([random_affine((9, 9)) for _ in range(5)]).astype("float32")
    there[:, 2, :2] = RANDOM.uniform(-0.02, 0.02, (5, 2))
    back = matrices.inverse(tf.constant(there))
    np.testing.assert_allclose(there @ back.numpy(), np.eye(3)[None].repeat(5, 0), atol=1e-4)
    points = RANDOM.uniform(0, 9, (5, 4, 2)).astype("float32")
    moved = geometry.transform(tf.constant(there), points)
    np.testing.assert_allclose(geometry.transform(back, moved), points, atol=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_every_corner_of_a_tilt_moves_by_itself(scale):
    tilt = layers.RandomPerspective(scale=scale)
    drawn = tilt.sample(Spec(50, 15, 22, 3), 3)["out_to_in"]
    corners = np.array([[0, 0], [21, 0], [21, 14], [0, 14]], "float32")
    moved = geometry.transform(drawn, np.repeat(corners[None], 50, axis=0)).numpy()
    shifts = (moved - corners) / [21, 14]
    assert np.abs(shifts).max() <= 0.2 * scale + 1e-4
    assert (shifts.std(0) > 0.08 * scale).all()
    assert abs(np.corrcoef(shifts.reshape(50, 8).T) - np.eye(8)).max() < 0.5


def test_a_homography_goes_through_its_corners():
    corners = np.array([[[0, 0], [21, 0], [21, 14], [0, 14]]], "float32")
    goals = corners + np.array([[1, 2], [-2, 1], [0, 3], [2, -1]], "float32")
    homography = geometry.perspective(tf.constant(corners), tf.constant(goals))
    np.testing.assert_allclose(geometry.transform(homography, corners), goals, atol=1e-3)


def test_no_tilt_folds_the_picture():
    matrices = layers.RandomPerspective(scale=1.0).sample(Spec(2000, 30, 30, 3), 3)["out_to_in"].numpy()
    corners = np.array([[-0.5, -0.5, 1], [29.5, -0.5, 1], [29.5, 29.5, 1], [-0.5, 29.5, 1]])
    assert (matrices[:, 2] @ corners.T > 0.1).all()
    assert (np.linalg.inv(matrices.astype("float64"))[:, 2] @ corners.T > 0.05).all()


def test_an_affine_layer_is_its_four_parts_in_order():
    affine = layers.RandomAffine(0.1, 0.2, zoom_factor=0.3, shear_factor=0.2)
    spec = Spec(6, 12, 17, 3)
    turn, right, down, zoom, shear_x, shear_y = draws.uniforms(draws.as_key(5), 6, 6)
    centre = geometry.centre(spec.size)
    scale = 1.0 + draws.between(zoom, -0.3, 0.3)
    parts = [
        geometry.about(centre, geometry.shear(draws.between(shear_x, -0.2, 0.2), draws.between(shear_y, -0.2, 0.2))),
        geometry.about(centre, geometry.scaling(scale, scale)),
        geometry.about(centre, geometry.rotation(360.0 * draws.between(turn, -0.1, 0.1))),
        geometry.translation(-17 * draws.between(right, -0.2, 0.2), -12 * draws.between(down, -0.2, 0.2)),
    ]
    product = parts[0] @ parts[1] @ parts[2] @ parts[3]
    np.testing.assert_allclose(affine.sample(spec, 5)["out_to_in"], product, atol=1e-4)


def test_factors_have_their_documented_direction():
    """Down, right, counter-clockwise; a positive zoom shrinks."""
    image = np.zeros((1, 9, 9, 1), "float32")
    image[0, 4, 6] = 1.0  # two to the right of the middle

    def spot(layer):
        result = plain(layer)(image, seed=1).numpy()[0, ..., 0]
        return tuple(int(n) for n in np.unravel_index(result.argmax(), result.shape))

    constant = {"fill_mode": "constant"}
    assert spot(layers.RandomTranslation((2 / 9, 2 / 9), (1 / 9, 1 / 9), **constant)) == (6, 7)
    assert spot(layers.RandomRotation((0.25, 0.25), **constant)) == (2, 4)
    assert spot(layers.RandomZoom((1.0, 1.0), **constant)) == (4, 5)
    assert spot(layers.RandomZoom(0.0, (-0.5, -0.5), **constant)) == (4, 8)
    assert spot(layers.RandomAffine((0.25, 0.25), (1 / 9, 1 / 9), **constant)) == (3, 5)


# --- fusing -----------------------------------------------------------------------------------------------------------


def ramp(size):
    y, x = np.mgrid[: size[0], : size[1]].astype("float32")
    return np.stack([3 * x + 2 * y, 100 - x, 5 * y], -1)[None].repeat(4, axis=0)


def gentle():
    return [
        layers.RandomTranslation(0.05, 0.05),
        layers.RandomRotation(0.03),
        layers.RandomPerspective(scale=0.1, fill_mode="reflect"),
        layers.RandomThinPlateSpline(0.01),
        layers.RandomZoom((-0.3, -0.2)),
        layers.RandomElasticTransform(alpha=6.0, sigma=4.0),
        layers.RandomShear(0.05, 0.05),
    ]


def test_fused_equals_sequential_on_a_linear_ramp():
    """Bilinear sampling reproduces a linear ramp, so that one reading or seven give the same away from the border."""
    parts, images = gentle(), ramp((40, 44))
    pipeline = plain(kas.Pipeline(parts))
    assert len(pipeline.plan()) == 1
    drawn = pipeline.sample(images, 5)
    fused, one_by_one = pipeline.apply(images, drawn), images
    for name, layer in zip(pipeline.names, parts, strict=True):
        one_by_one = plain(layer).apply(one_by_one, drawn[name])
    middle = np.s_[:, 14:26, 14:30]
    distance = np.abs(np.asarray(fused) - np.asarray(one_by_one))[middle]
    assert np.median(distance) < 0.02 and distance.max() < 0.6  # bilinear fields are linear between pixels only


def test_fused_matrices_equal_sequential_readings_on_a_ramp():
    parts = [layer for layer in gentle() if "field" not in layer.sample(Spec(1, 9, 9, 3), 1)]
    images = ramp((40, 44))
    pipeline = plain(kas.Pipeline(parts))
    drawn, one_by_one = pipeline.sample(images, 5), images
    for name, layer in zip(pipeline.names, parts, strict=True):
        one_by_one = plain(layer).apply(one_by_one, drawn[name])
    middle = np.s_[:, 14:26, 14:30]
    np.testing.assert_allclose(pipeline.apply(images, drawn)[middle], np.asarray(one_by_one)[middle], atol=0.02)


def test_fused_points_go_through_all_layers():
    parts, images = gentle(), ramp((40, 44))
    points = np.array([[[20.0, 18.0], [15.0, 22.0]]] * 4, "float32")
    pipeline = plain(kas.Pipeline(parts))
    drawn = pipeline.sample(images, 5)
    inputs = {"images": images, "keypoints": points}
    fused = pipeline.apply(inputs, drawn)
    one_by_one = inputs
    for name, layer in zip(pipeline.names, parts, strict=True):
        one_by_one = plain(layer).apply(one_by_one, drawn[name])
    np.testing.assert_allclose(fused["keypoints"], one_by_one["keypoints"], atol=1e-3)
    for image, (at, _) in zip(fused["images"].numpy(), fused["keypoints"].numpy(), strict=True):
        x, y = np.round(at).astype(int)
        assert abs(image[y, x, 1] - 80) < 1.5 and abs(image[y, x, 2] - 90) < 5, "the ramp's own coordinates follow"


def test_what_leaves_and_comes_back_is_still_there():
    away, back = layers.RandomTranslation(0.0, (0.5, 0.5)), layers.RandomTranslation(0.0, (-0.5, -0.5))
    images = RANDOM.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    assert np.array_equal(plain(kas.Pipeline([away, back]))(images), images)


def test_size_changes_inside_a_fused_run():
    images = RANDOM.uniform(0, 255, (3, 20, 24, 3)).astype("float32")
    masks = (images[..., :1] > 128).astype("uint8")
    parts = [layers.RandomFlip(), layers.RandomCrop(16, 18), layers.RandomResizedCrop(8, 10, area_factor=(0.9, 1.0))]
    pipeline = plain(kas.Pipeline(parts))
    assert len(pipeline.plan()) == 1
    drawn = pipeline.sample(images, 2)
    fused = pipeline.apply({"images": images, "segmentation_masks": masks}, drawn)
    assert fused["images"].shape == (3, 8, 10, 3) and fused["segmentation_masks"].shape == (3, 8, 10, 1)
    one_by_one = images
    for name, layer in zip(pipeline.names, parts, strict=True):
        one_by_one = plain(layer).apply(one_by_one, drawn[name])
    inner = np.s_[:, 1:-1, 1:-1]
    np.testing.assert_allclose(fused["images"][inner], np.asarray(one_by_one)[inner], atol=0.05)


@pytest.mark.parametrize("other", [{"fill_mode": "wrap"}, {"fill_value": 3.0}, {"interpolation": "nearest"}])
def test_layers_that_fill_or_interpolate_differently_do_not_fuse(other):
    base = {"fill_mode": "constant"}
    pipeline = kas.Pipeline([layers.RandomRotation(0.1, **base), layers.RandomZoom(0.1, **{**base, **other})])
    assert len(pipeline.plan()) == 2


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_boxes_are_hulls_of_their_moved_corners():
    layer = plain(layers.RandomAffine(0.2, 0.1, zoom_factor=0.2, shear_factor=0.2, bounding_box_format="xyxy"))
    images, corners = np.zeros((6, 30, 40, 1), "float32"), (12.0, 10.0, 25.0, 18.0)
    inputs = {"images": images, "bounding_boxes": {"boxes": np.array([[corners]] * 6, "float32")}}
    drawn = layer.sample(images, 3)
    found = layer.apply(inputs, drawn)["bounding_boxes"]["boxes"].numpy()[:, 0]
    inverse = np.linalg.inv(drawn["out_to_in"].numpy().astype("float64"))
    outline = np.array([[x - 0.5, y - 0.5, 1] for x in corners[::2] for y in corners[1::2]]).T
    moved = (inverse @ outline)[:, :2] + 0.5
    expected = np.concatenate([moved.min(-1), moved.max(-1)], -1).clip(0, [40, 30, 40, 30])
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_a_crop_takes_masks_whose_channels_nobody_knows():
    """As `tf.numpy_function` hands them over."""
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3)).astype("uint8")

    def read(images):
        masks = tf.numpy_function(lambda part: part[..., :1], [images], tf.uint8)
        return {"images": images, "segmentation_masks": tf.ensure_shape(masks, [None, 12, 10, None])}

    source = tf.data.Dataset.from_tensor_slices(images).batch(2).map(read)
    for cut in kas.Pipeline([layers.RandomCrop(5, 6)]).map(source):
        np.testing.assert_array_equal(cut["segmentation_masks"], cut["images"][..., :1])
