"""The same rows from every kind of file, whole row groups of Parquet, names that find the rows again."""

from __future__ import annotations

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf

import keras_aug_ssl as kas

X = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")


def read(shards):
    """All rows and ids, shard by shard."""
    opened = [shards.open(shard) for shard in shards]
    rows = [np.concatenate(list(each.blocks(16))) for each in opened]
    assert [len(each) for each in rows] == [len(each) for each in opened] == [shard.rows for shard in shards]
    assert [shard.first for shard in shards] == np.cumsum([0, *map(len, rows[:-1])]).tolist()
    return np.concatenate(rows), np.concatenate([each.ids() for each in opened])


def write_table(file, columns, group):
    parquet.write_table(pyarrow.table(columns), file, row_group_size=group)


def columns_of(x):
    return {"name": [f"row {i}" for i in range(len(x))], **{f"x{i}": column for i, column in enumerate(x.T)}}


def test_a_numpy_file(tmp_path):
    np.save(tmp_path / "x.npy", X)
    shards = kas.scale.Shards(tmp_path / "x.npy", rows=32)
    rows, ids = read(shards)
    assert len(shards) == 4 and shards.total == 100
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(ids, np.arange(100))


@pytest.mark.parametrize("rows, sizes", [(1, [7] * 7 + [1, 25, 25]), (30, [35, 40, 25]), (10**6, [100])])
def test_parquet_is_cut_between_row_groups(rows, sizes, tmp_path):
    write_table(tmp_path / "a.parquet", columns_of(X[:50]), group=7)
    write_table(tmp_path / "b.parquet", columns_of(X[50:]), group=25)
    shards = kas.scale.Shards(tmp_path, columns=["x0", "x1", "x2"], id="name", rows=rows)
    found, ids = read(shards)
    assert [shard.rows for shard in shards] == sizes
    np.testing.assert_array_equal(found, X)
    assert ids[:2].tolist() == ["row 0", "row 1"] and len(ids) == 100
    blocks = list(shards.open(shards[0]).blocks(16))
    assert {len(block) for block in blocks[:-1]} <= {16}  # whatever the groups are
    picked = shards.open(shards[0]).take(np.array([1, 5]))
    np.testing.assert_array_equal(picked, X[[1, 5]])


def test_parquet_of_lists_tensors_and_bytes(tmp_path):
    tensors = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(X.reshape(100, 3, 1).copy())
    cells = [row.tobytes() for row in X]
    for name, column in (("lists", X.tolist()), ("tensors", tensors), ("bytes", cells)):
        write_table(tmp_path / f"{name}.parquet", {"x": column}, group=30)
    decode = {"bytes": lambda cell: tf.io.decode_raw(cell, tf.float32)}
    for name in ("lists", "tensors", "bytes"):
        rows, ids = read(kas.scale.Shards(tmp_path / f"{name}.parquet", decode.get(name)))
        np.testing.assert_array_equal(rows.reshape(100, 3).astype("float32"), X)
        np.testing.assert_array_equal(ids, np.arange(100))


def test_records_and_images_have_the_names_a_pool_gives_them(tmp_path):
    (tmp_path / "images").mkdir()
    images = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    for number, image in enumerate(images):
        (tmp_path / "images" / f"{number:03}.png").write_bytes(tf.io.encode_png(image).numpy())
    for name, part in (("a", images[:60]), ("b", images[60:])):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as writer:
            for image in part:
                writer.write(tf.io.encode_png(image).numpy())
    for x, decode, count in ((tmp_path / "images", None, 4), (tmp_path / "*.tfrecord", tf.io.decode_png, 4)):
        pool, shards = kas.UnlabeledPool(x, decode), kas.scale.Shards(x, decode, rows=32)
        rows, ids = read(shards)
        assert len(shards) == count
        np.testing.assert_array_equal(rows, images)
        assert ids.tolist() == [pool.name(row) for row in range(100)]


def test_what_is_no_shard_is_refused(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    write_table(tmp_path / "texts.parquet", {"x": ["a", "b"]}, group=2)
    np.save(tmp_path / "x.npy", X)
    for x, options, message in (
        (tmp_path / "cut.parquet", {}, "whole Parquet files; received .*cut.parquet"),
        (tmp_path / "texts.parquet", {"columns": ["y"]}, "columns of the files"),
        (tmp_path / "x.npy", {"id": "name"}, "None beside files without columns"),
        (X, {}, "a path, a pattern, or a list of paths"),
        (tmp_path / "x.npy", {"rows": 0}, "`rows` must be a whole number >= 1"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            kas.scale.Shards(x, **options)
    texts = kas.scale.Shards(tmp_path / "texts.parquet")
    with pytest.raises(ValueError, match="columns of numbers, or one column of lists"):
        read(texts)
