"""Pools from memory and disk give the same rows in blocks, by position and to training."""

from __future__ import annotations

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.self_training.pool import elements

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 6, 5, 3), dtype=np.uint8)


def png_folder(path):
    for index, image in enumerate(IMAGES):
        folder = path / f"part{index % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{index:02d}.png").write_bytes(tf.io.encode_png(image).numpy())
    return path


def records(path, name="{}.tfrecord", parts=3):
    for part, rows in enumerate(np.array_split(np.arange(len(IMAGES)), parts)):
        with tf.io.TFRecordWriter(str(path / name.format(part))) as writer:
            for row in rows:
                writer.write(IMAGES[row].tobytes())
    return path


def decode(record):
    return tf.reshape(tf.io.decode_raw(record, tf.uint8), IMAGES.shape[1:])


def array(path):
    return kas.UnlabeledPool(IMAGES)


def tensor(path):
    return kas.UnlabeledPool(tf.constant(IMAGES))


def memory_map(path):
    np.save(path / "images.npy", IMAGES)
    return kas.UnlabeledPool(np.load(path / "images.npy", mmap_mode="r"))


def npy_file(path):
    np.save(path / "images.npy", IMAGES)
    return kas.UnlabeledPool(path / "images.npy")


def image_files(path):
    folder = png_folder(path)
    return kas.UnlabeledPool(sorted(folder.rglob("*.png"), key=lambda file: file.name))


def shards(path):
    return kas.UnlabeledPool(str(records(path) / "*.tfrecord"), decode=decode)


def dataset(path):
    return kas.UnlabeledPool(tf.data.Dataset.from_tensor_slices(IMAGES))


def batched_dataset(path):
    return kas.UnlabeledPool(tf.data.Dataset.from_tensor_slices(IMAGES).batch(7))


@pytest.mark.parametrize("make", [array, tensor, memory_map, npy_file, image_files, shards, dataset, batched_dataset])
def test_rows_are_the_same_from_everywhere(make, tmp_path):
    pool = make(tmp_path)
    assert len(pool) == 23 and pool.spec == ((6, 5, 3), "uint8")
    rows = np.array([22, 0, 7, 7])
    np.testing.assert_array_equal(pool.take(rows), IMAGES[rows])
    blocks = list(pool.blocks(10))
    assert [len(block) for block in blocks] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate(blocks), IMAGES)


def test_names_are_positions_files_or_places_in_shards(tmp_path):
    assert array(tmp_path).name(3) == 3
    assert kas.UnlabeledPool(png_folder(tmp_path)).name(0).endswith("part0/00.png")
    pool = shards(tmp_path)
    assert pool.name(0).endswith("0.tfrecord:0") and pool.name(22).endswith("2.tfrecord:6")


def test_several_inputs_from_arrays_files_and_data_sets(tmp_path):
    parts = {"a": IMAGES, "b": np.arange(23.0)}
    for name, part in parts.items():
        np.save(tmp_path / f"{name}.npy", part)
    files = {name: tmp_path / f"{name}.npy" for name in parts}
    for x in (parts, files, tf.data.Dataset.from_tensor_slices(parts)):
        taken = kas.UnlabeledPool(x).take([4, 2])
        np.testing.assert_array_equal(taken["a"], IMAGES[[4, 2]])
        np.testing.assert_array_equal(taken["b"], [4.0, 2.0])
    pair = kas.UnlabeledPool(tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(23.0))))
    assert isinstance(pair.take([1]), tuple) and len(pair) == 23


def test_a_data_sets_file_goes_with_its_pool():
    pool = dataset(None)
    path = pool._source.arrays.filename
    del pool
    gc.collect()
    with pytest.raises(FileNotFoundError):
        open(path)


def test_a_data_set_of_unknown_length_and_one_read_in_another_order_each_time():
    shuffled = (
        tf.data.Dataset.range(40).shuffle(40).filter(lambda i: i % 2 == 0).map(lambda i: tf.cast([i], tf.float32))
    )
    pool = kas.UnlabeledPool(shuffled)
    assert len(pool) == 20
    np.testing.assert_array_equal(np.concatenate(list(pool.blocks(7))), pool.take(np.arange(20)))


@pytest.mark.parametrize("make", [shards, image_files, dataset])
def test_fit_trains_on_a_pool_from_disk_as_from_memory(make, tmp_path):
    def fit(pool):
        start = keras.initializers.GlorotUniform(1)
        layers = [keras.Input((6, 5, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(2, "softmax", kernel_initializer=start)])
        model.compile("adam", "sparse_categorical_crossentropy")
        st = kas.SelfTraining(pool, kas.rules.TopK(4), start_epoch=1)
        model.fit(st.training_set(IMAGES[:6], [0, 1] * 3, 4, steps=3), epochs=3, callbacks=[st], verbose=0)
        return st.transduction_, model.get_weights()

    (labels, weights), (expected, expected_weights) = fit(make(tmp_path)), fit(kas.UnlabeledPool(IMAGES))
    np.testing.assert_array_equal(labels, expected)
    for a, b in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_private_memory_map_keeps_what_was_written_to_it(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 2)))
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[3] = 7.0
    pool = kas.UnlabeledPool(x)
    list(pool.blocks(4))
    np.testing.assert_array_equal(pool.take([3]), [[7.0, 7.0]])


def truncated(path):
    file = records(path, parts=1) / "0.tfrecord"
    file.write_bytes(file.read_bytes()[:-7])
    return kas.UnlabeledPool(file, decode=decode)


def compressed(path):
    with tf.io.TFRecordWriter(str(path / "0.tfrecord"), "GZIP") as writer:
        writer.write(b"0" * 50)
    return kas.UnlabeledPool(path / "0.tfrecord", decode=decode)


def two_sizes(path):
    (path / "a.png").write_bytes(tf.io.encode_png(IMAGES[0]).numpy())
    (path / "b.png").write_bytes(tf.io.encode_png(IMAGES[0][:4]).numpy())
    return kas.UnlabeledPool(path).take([0, 1])


def some_file(path):
    (path / "a.txt").write_text("x")
    return kas.UnlabeledPool(path / "a.txt")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: kas.UnlabeledPool(np.empty((0, 3))),
        lambda path: kas.UnlabeledPool({"a": np.zeros(3), "b": np.zeros(4)}),
        lambda path: kas.UnlabeledPool(3.0),
        lambda path: kas.UnlabeledPool({}),
        lambda path: kas.UnlabeledPool(path),
        lambda path: kas.UnlabeledPool(path / "no such file.npy"),
        lambda path: kas.UnlabeledPool([path / "no such file.png"]),
        lambda path: kas.UnlabeledPool({"a": "no such file.npy"}),
        lambda path: kas.UnlabeledPool(tf.data.Dataset.range(0)),
        lambda path: kas.UnlabeledPool(tf.data.Dataset.range(5).map(lambda i: [i]).repeat()),
        lambda path: kas.UnlabeledPool(records(path) / "0.tfrecord"),
        truncated,
        compressed,
        two_sizes,
        some_file,
    ],
)
def test_bad_pools_are_named(make, tmp_path):
    with pytest.raises(ValueError, match="UnlabeledPool: `(x|decode)` must be"):
        make(tmp_path)


def test_strings_are_no_pool():
    with pytest.raises(TypeError, match="must be an array of numbers"):
        kas.UnlabeledPool(np.array(["a", "b"]))


def generator(values, shape):
    signature = tf.TensorSpec(shape, values.dtype)
    return tf.data.Dataset.from_generator(lambda: iter(values), output_signature=signature)


SQUARES = np.arange(5 * 4 * 4 * 3, dtype="uint8").reshape(5, 4, 4, 3)
TOKENS = np.arange(35, dtype="int32").reshape(5, 7)


@pytest.mark.parametrize(("values", "shape"), [(SQUARES, (None, None, 3)), (TOKENS, (None,))])
def test_examples_of_unknown_size_are_not_taken_for_batches(values, shape):
    examples = generator(values, shape)
    if shape[0] is None:
        with pytest.raises(ValueError, match=r"dataset.batch\(256\) if they are examples, dataset.unbatch\(\) if"):
            kas.UnlabeledPool(examples)
    for told in (examples.batch(2), examples.batch(3).prefetch(1).unbatch(), examples.batch(2, drop_remainder=False)):
        pool = kas.UnlabeledPool(told)
        assert len(pool) == 5
        np.testing.assert_array_equal(pool.take(np.arange(5)), values)


def test_batches_of_one_size_are_batches():
    pool = kas.UnlabeledPool(tf.data.Dataset.from_tensor_slices(TOKENS).batch(2, drop_remainder=True).map(lambda x: x))
    assert len(pool) == 4 and pool.take([3]).tolist() == TOKENS[3:4].tolist()


def test_data_sets_without_an_end_are_refused_or_asked_about(monkeypatch):
    numbers = tf.data.Dataset.from_tensor_slices(TOKENS)
    for endless in (numbers.repeat(), numbers.repeat().filter(lambda row: True).prefetch(1)):
        with pytest.raises(ValueError, match="Leave out its repeat"):
            kas.UnlabeledPool(endless)
    assert len(kas.UnlabeledPool(numbers.repeat().take(8))) == 8
    monkeypatch.setattr(elements, "MANY", 3)
    with pytest.warns(UserWarning, match=r"has given 5 examples.*dataset.take\(n\)"):
        assert len(kas.UnlabeledPool(numbers.filter(lambda row: True))) == 5
    monkeypatch.setattr(elements, "LEAST_FREE", 2**70)
    with pytest.warns(UserWarning, match="has given"), pytest.raises(ValueError, match="no end so far"):
        kas.UnlabeledPool(numbers.filter(lambda row: True))
    assert len(kas.UnlabeledPool(numbers)) == 5


def test_a_data_set_of_strings_is_named():
    with pytest.raises(ValueError, match="dense tensors of numbers"):
        kas.UnlabeledPool(tf.data.Dataset.from_tensor_slices(["good film", "bad film"]))


def test_rows_written_as_lists_are_an_array():
    pool = kas.UnlabeledPool([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(pool) == 3 and pool.take([2]).tolist() == [[5.0, 6.0]]


def test_a_pool_and_a_training_say_what_they_are():
    images, table = np.zeros((1200, 4, 5, 3), np.uint8), np.zeros((1200, 2), np.float32)
    assert repr(kas.UnlabeledPool(images)) == "UnlabeledPool of 1,200 examples of (4, 5, 3) uint8"
    both = kas.UnlabeledPool({"image": images, "table": table})
    assert repr(both) == "UnlabeledPool of 1,200 examples of 'image': (4, 5, 3) uint8, 'table': (2,) float32"
    assert repr(kas.UnlabeledPool((images, table))).endswith("of (4, 5, 3) uint8 and (2,) float32")
    training = kas.SelfTraining(both, select=kas.rules.Threshold(0.9))
    assert repr(training) == "SelfTraining by Threshold(confidence=0.9): 0 of 1,200 rows in use after 0 selections"
