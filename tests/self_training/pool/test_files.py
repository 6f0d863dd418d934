"""What can be wrong with files: the error names the one at fault and says what it is."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.commands.inputs import read_labeled

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)


def png(image):
    return tf.io.encode_png(image).numpy()


@pytest.fixture
def folder(tmp_path):
    for index, image in enumerate(IMAGES):
        (tmp_path / f"{index}.png").write_bytes(png(image))
    return tmp_path


def read(folder, decode=None):
    pool = kas.UnlabeledPool(folder, decode)
    return pool.take(np.arange(len(pool)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty"),
        (b"some text", "It is no image"),
        (png(IMAGES[0])[:60], "It is an image that is cut off or damaged"),
        (tf.io.encode_jpeg(IMAGES[0]).numpy()[:-40], "It is an image that is cut off or damaged"),
        (b"\0\5\26\7Mac OS X", "It is a file of macOS's own"),
        (b"II*\0" + b"\0" * 20, "It is a TIFF image"),
        (png(IMAGES[0].astype("uint16")), "It has 16"),
        (png(IMAGES[0, :4]), r"others have \(6, 5, 3\); received '.*NAME of \(4, 5, 3\)'"),
        (png(IMAGES[0, ..., :1]), r"others have \(6, 5, 3\); received '.*NAME of \(6, 5, 1\)'"),
        (png(IMAGES[0][..., [0, 1, 2, 0]]), r"others have \(6, 5, 3\); received '.*NAME of \(6, 5, 4\)'"),
    ],
)
@pytest.mark.parametrize("name", ["0.png", "5.png"])
def test_the_image_at_fault_is_named_with_what_it_is(folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=said.replace("NAME", name)) as caught:
        read(folder)
    assert "UnlabeledPool: `x` must be" in str(caught.value) and name in str(caught.value)
    assert not any(f"{other}.png" in str(caught.value) for other in range(9) if f"{other}.png" != name)


def test_a_later_block_of_another_size_is_named(folder):
    for index in range(5, 9):
        (folder / f"{index}.png").write_bytes(png(IMAGES[index, :4]))
    pool = kas.UnlabeledPool(folder)
    pool.take(np.arange(5))
    with pytest.raises(ValueError, match=r"others have \(6, 5, 3\); received '.*5.png of \(4, 5, 3\)'"):
        pool.take(np.arange(5, 9))


def test_a_decoder_makes_other_images_equal(folder):
    (folder / "5.png").write_bytes(png(IMAGES[5, :4].astype("uint16")))
    taken = read(folder, lambda file: tf.image.resize(tf.io.decode_image(file, 3, expand_animations=False), (6, 5)))
    assert taken.shape == IMAGES.shape


def test_files_of_macos_are_no_images_and_others_are_not_left_out_silently(folder):
    (folder / "._0.png").write_bytes(b"\0\5\26\7Mac OS X")
    assert len(read(folder)) == 9
    (folder / "a.webp").write_bytes(b"RIFF____WEBP")
    with pytest.warns(UserWarning, match="1 of 10 images in .* are left out, such as 'a.webp'"):
        assert len(read(folder)) == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(folder, lambda file: tf.strings.length(file)[None])) == 10
    for path in folder.glob("[0-9].png"):
        path.unlink()
    with pytest.raises(ValueError, match="PNG, JPEG, BMP or GIF images; received '.*a.webp'. For others pass decode="):
        read(folder)


def test_brackets_in_a_folders_name_are_no_pattern(tmp_path):
    (tmp_path / "part [1]").mkdir()
    (tmp_path / "part [1]" / "a.PNG").write_bytes(png(IMAGES[0]))
    assert len(kas.UnlabeledPool(str(tmp_path / "part [1]" / "*.PNG"))) == 1


def decode(record):
    return tf.io.decode_raw(record, tf.uint8)[:3]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(20):
            writer.write(bytes([index] * (3 + index)))
    return path


def starts():
    return np.cumsum([0, *(12 + 3 + index + 4 for index in range(20))])


@pytest.mark.parametrize("record", [0, 7, 19])
@pytest.mark.parametrize(("place", "read_to_find"), [(0, False), (4, False), (9, False), (13, True), (-2, True)])
def test_a_changed_byte_of_a_record_is_found_and_the_record_named(shard, record, place, read_to_find):
    content = bytearray(shard.read_bytes())
    content[starts()[record] + place if place >= 0 else starts()[record + 1] + place] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"UnlabeledPool: `x` must be .*TFRecord.*; received '.*a.tfrecord:{record}'"):
        pool = kas.UnlabeledPool(shard, decode)
        assert read_to_find
        list(pool.blocks(6))
    if read_to_find and record:  # the others can still be read
        np.testing.assert_array_equal(pool.take([record - 1]), [[record - 1] * 3])


@pytest.mark.parametrize("end", [5, 12, 16, -1])
def test_a_shard_that_is_cut_off_is_named_with_the_record(shard, end):
    shard.write_bytes(shard.read_bytes()[: starts()[7] + end if end > 0 else starts()[8] + end])
    with pytest.raises(ValueError, match="a.tfrecord:7'. Where that record"):
        kas.UnlabeledPool(shard, decode)


def test_a_record_of_an_impossible_length_is_named(shard):
    shard.write_bytes(struct.pack("<Q", 2**63) + shard.read_bytes()[8:])
    with pytest.raises(ValueError, match="a.tfrecord:0"):
        kas.UnlabeledPool(shard, decode)


def saved(array):
    def write(path):
        with path.open("wb") as stream:
            np.save(stream, array, allow_pickle=True)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b""), "The file is empty"),
        (lambda path: path.write_bytes(b"no array"), "It can't be read"),
        (lambda path: (saved(np.zeros((9, 9)))(path), path.write_bytes(path.read_bytes()[:90])), "It can't be read"),
        (lambda path: (saved(np.zeros((9, 9)))(path), path.write_bytes(path.read_bytes()[:300])), "It can't be read"),
        (saved(np.array([{}])), "It can't be read.*objects"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_an_array_file_that_is_no_array_is_named(tmp_path, write, said, several):
    path = tmp_path / "x.npy"
    write(path)
    with pytest.raises(ValueError, match=f"UnlabeledPool: `x` must be a whole .npy file.*x.npy'. {said}"):
        kas.UnlabeledPool({"a": path} if several else path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4half"])
def test_arrays_that_are_no_npz_file_are_named(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(ValueError, match="data.npz is not a whole .npz file with arrays x and y"):
        read_labeled(str(tmp_path / "data.npz"), None, (0, 1))


def test_a_damaged_npz_file_is_named(tmp_path):
    np.savez_compressed(tmp_path / "data.npz", x=np.arange(999), y=np.arange(999))
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[200] ^= 255
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(ValueError, match="data.npz is not a whole"):
        read_labeled(str(tmp_path / "data.npz"), None, (0, 1))


def test_nothing_is_no_pool_and_names_in_an_array_are_told_how():
    with pytest.raises(ValueError, match="`x` must be at least one example"):
        kas.UnlabeledPool([])
    with pytest.raises(TypeError, match="For files pass a list of their paths"):
        kas.UnlabeledPool(np.array(["a.png"]))
