"""What belongs to an image is drawn where it is: masks on their pixels, boxes around, points on, labels under them."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from matplotlib.image import imread

import keras_aug_ssl as kas
from keras_aug_ssl import plots
from keras_aug_ssl.kernels import boxes as box_kernels

GREY = np.full((1, 16, 16, 3), 128, np.uint8)


def drawn(samples):
    """The pixels of one sample's cell, 10 of them for each of the image's 16."""
    figure = plots.image_grid([samples], cell_inches=1.0)
    figure.set_size_inches(1.6, 1.6)
    figure.axes[0].set_position([0, 0, 1, 1])
    return imread(io.BytesIO(plots.to_png(figure, 100)))[..., :3]


def colored(pixels):
    """(16, 16): which cells hold anything but grey."""
    other = np.abs(pixels - pixels.mean(axis=-1, keepdims=True)).max(axis=-1) > 0.1
    return other.reshape(16, 10, 16, 10).mean(axis=(1, 3))


def test_a_mask_is_drawn_on_its_pixels_and_no_others():
    mask = np.zeros((1, 16, 16, 1), np.uint8)
    mask[0, 3:6, 8:12] = 2
    found = colored(drawn(plots.samples({"images": GREY, "segmentation_masks": mask}))) > 0.5
    assert np.array_equal(found, mask[0, ..., 0] > 0)


@pytest.mark.parametrize("box_format", box_kernels.FORMATS)
def test_a_box_is_drawn_along_its_edges_in_every_format(box_format):
    corners = np.array([[4.0, 2.0, 12.0, 9.0]], np.float32)
    boxes = np.asarray(box_kernels.from_corners(corners, box_format, (16, 16)))
    padded = np.concatenate([boxes, -np.ones((1, 4), np.float32)])[None]
    batch = {"images": GREY, "bounding_boxes": {"boxes": padded, "labels": np.array([[0, -1]])}}
    (sample,) = plots.samples(batch, bounding_box_format=box_format)
    assert sample.corners == pytest.approx(corners, abs=1e-4) and sample.names == ["0"]
    found = colored(drawn([sample._replace(names=[""])])) > 0.01
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert (rows.min(), rows.max()) == (1, 9) and (columns.min(), columns.max()) == (3, 12)
    assert not found[4:7, 6:10].any(), "nothing inside"


def test_a_point_is_drawn_on_its_pixel():
    found = colored(drawn(plots.samples({"images": GREY, "keypoints": np.array([[[11.0, 5.0]]])})))
    assert np.unravel_index(found.argmax(), found.shape) == (5, 11)


def test_labels_are_names_shares_or_numbers():
    def labels(y, **options):
        return [sample.label for sample in plots.samples((np.repeat(GREY, len(y), 0), np.array(y)), **options)]

    assert labels([1, 0]) == ["1", "0"]
    assert labels([1, 0], class_names=["cat", "dog"]) == ["dog", "cat"]
    assert labels([[0.0, 1.0], [0.75, 0.25]], class_names=["cat", "dog"]) == ["dog", "cat 75%, dog 25%"]
    assert labels([0.123456, 7.0]) == ["0.123", "7"]


def test_what_a_pipeline_gives_can_be_drawn():
    batch = {
        "images": np.repeat(GREY, 2, 0),
        "labels": np.eye(2, dtype="float32"),
        "segmentation_masks": np.ones((2, 16, 16, 1), np.uint8),
        "bounding_boxes": {"boxes": np.tile([[[2.0, 2.0, 8.0, 8.0]]], (2, 1, 1)), "labels": np.zeros((2, 1), int)},
        "keypoints": np.full((2, 1, 2), 5.0, np.float32),
    }
    augment = kas.Pipeline([kas.layers.RandomFlip(), kas.layers.RandomRotation(0.1)], bounding_box_format="xyxy")
    figure = plots.image_grid([plots.samples(batch), plots.samples(augment(batch))])
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.texts] == ["0", "1", "0", "1"]


def test_pseudo_labels_are_shown_by_selection_from_the_surest():
    x = np.linspace(0, 1, 8)[:, None, None, None] * np.ones((8, 4, 4, 1))
    table = {
        "label": np.array([0, 1, 1, 0, -1, 1, 0, 0]),
        "confidence": np.array([0.9, 0.99, 0.5, 0.8, 0.3, 0.7, 0.6, 0.95]),
        "round_entered": np.array([2, 1, 1, 2, -1, 2, 2, 1]),
        "round_left": np.array([-1, -1, 3, -1, -1, -1, -1, -1]),
    }
    truth = np.array([0, 1, 0, 0, 0, 0, 0, 0])
    figure = plots.pseudo_labels(x, table, class_names=["cat", "dog"], truth=truth, each=3)
    texts = [(text.get_text(), text.get_weight()) for text in figure.texts]
    assert texts[:4] == [
        ("dog 99%", "normal"),
        ("cat 95%", "normal"),
        ("dog 50% left", "bold"),
        ("selection 1\n3 added", "normal"),
    ]
    assert [text for text, _ in texts[4:]] == ["cat 90%", "dog 70%", "cat 60%", "selection 2\n4 added"]
    shown = [axes.images[0].get_array().mean() for axes in figure.axes]
    assert shown == pytest.approx(np.array([1, 7, 2, 0, 5, 6]) / 7)


def test_pseudo_labels_of_a_run():
    (x, y), _ = kas.data.load("digits")
    pool = kas.UnlabeledPool(x[100:150])
    training = kas.SelfTraining(pool, start_epoch=1)
    with pytest.raises(ValueError, match="no row that was ever added"):
        plots.pseudo_labels(pool, training.table())
    model = keras.Sequential(
        [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(training.training_set(x[:100], y[:100], batch_size=50), epochs=3, callbacks=[training], verbose=0)
    figure = plots.pseudo_labels(pool, training.table())
    assert len(figure.axes) == sum(training.table()["round_entered"] >= 0)
