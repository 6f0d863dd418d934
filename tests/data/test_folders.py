"""A folder of class folders is a data set: every image once, under the number of its folder's sorted name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import data


def save(file, image):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture
def folder(tmp_path):
    """Three classes of ten images of 4 x 6; the value of a pixel tells class and number."""
    for number, name in enumerate(["ant", "bee", "cat"]):
        for index in range(10):
            save(
                tmp_path / name / ("deep" if index == 3 else "") / f"{index}.png",
                np.full((4, 6, 3), 10 * number + index, np.uint8),
            )
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    return tmp_path


def test_every_image_is_there_once_under_its_class(folder):
    dataset = data.load(str(folder))
    assert dataset.class_names == ("ant", "bee", "cat")
    assert dataset.train.x.shape == (24, 4, 6, 3) and dataset.test.x.shape == (6, 4, 6, 3)
    x, y = (np.concatenate(parts) for parts in zip(*dataset, strict=True))
    assert x.dtype == np.uint8 and y.dtype == np.int64
    assert sorted(x[:, 0, 0, 0]) == list(range(30))
    assert np.array_equal(x[:, 2, 1, 2] // 10, y)
    assert np.bincount(dataset.test.y).tolist() == [2, 2, 2]


def test_labels_are_those_of_keras(folder):
    made = keras.utils.image_dataset_from_directory(
        folder, shuffle=False, batch_size=None, image_size=(4, 6), verbose=False
    )
    of_keras = {int(image[0, 0, 0]): int(label) for image, label in made}
    dataset = data.load(str(folder))
    for x, y in dataset:
        assert [of_keras[int(value)] for value in x[:, 0, 0, 0]] == y.tolist()


def test_grey_images_keep_one_channel_unless_others_have_color(folder, tmp_path_factory):
    grey = tmp_path_factory.mktemp("grey")
    for name in "ab":
        for index in range(5):
            save(grey / name / f"{index}.png", np.full((2, 2, 1), index, np.uint8))
    assert data.load(str(grey)).train.x.shape[-1] == 1
    save(folder / "bee" / "grey.png", np.full((4, 6, 1), 99, np.uint8))
    assert data.load(str(folder)).train.x.shape[-1] == 3


def test_images_of_several_sizes_need_a_size(folder):
    save(folder / "cat" / "large.png", np.full((40, 60, 3), 200, np.uint8))
    with pytest.raises(ValueError, match="4 x 6 and 40 x 60.*image_size"):
        data.load(str(folder))
    assert data.load(str(folder), image_size=(8, 8)).train.x.shape[1:] == (8, 8, 3)


def test_sixteen_bits_are_not_cut_to_eight(folder):
    save(folder / "ant" / "scan.png", np.arange(24, dtype=np.uint16).reshape(4, 6, 1) * 100)
    with pytest.raises(ValueError, match="scan.png' has 16 bits"):
        data.load(str(folder))


@pytest.mark.parametrize("size", [32, "ab", (0, 5), (3, 4, 5), (8.5, 8.5)])
def test_a_size_is_two_whole_numbers(folder, size):
    assert data.load(folder, image_size=(2, 3)).train.x.shape[1:] == (2, 3, 3)
    with pytest.raises(ValueError, match="`image_size`"):
        data.load(folder, image_size=size)
    with pytest.raises(ValueError, match="`image_size` must be None but for a folder"):
        data.load("digits", image_size=(4, 4))


def test_what_is_wrong_with_a_folder_is_said(folder):
    (folder / "dog").mkdir()
    with pytest.raises(ValueError, match="'dog' holds none"):
        data.load(str(folder))
    with pytest.raises(ValueError, match="it has 0"):
        data.load(str(folder / "bee" / "deep"))
    save(folder / "dog" / "a.png", np.zeros((4, 6, 3), np.uint8))
    (folder / "dog" / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match="b.png.*The file is empty"):
        data.load(str(folder))
