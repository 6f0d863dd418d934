"""Pools on disk: images, TFRecord shards, and data sets, written to disk once so that they can be read in any order."""

from __future__ import annotations

import struct
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.self_training.sources import ArraySource, digest, sampled

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
RECORD_HEADER, RECORD_FOOTER = 12, 4  # length and its checksum before the bytes of a record, their checksum after

Decode = Callable[[tf.Tensor], Any]


class EncodedSource:
    """Rows that are bytes until they are decoded, many at once.

    Args:
        owner: the class a user called, for errors.
        read: from a row's number to its bytes.
        names: what a person knows each row by.
        decode: from a scalar string tensor to one example, in TensorFlow operations.
    """

    def __init__(self, owner: str, read: Callable[[int], bytes], names: Sequence[Any], decode: Decode) -> None:
        self._owner, self._read, self._names = owner, read, names
        traced = tf.function(decode, autograph=False).get_concrete_function(tf.TensorSpec([], tf.string))
        signature = keras.tree.map_structure(lambda out: tf.TensorSpec(out.shape, out.dtype), traced.structured_outputs)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def decode_all(encoded: tf.Tensor) -> Any:
            return tf.map_fn(decode, encoded, fn_output_signature=signature)

        self._decode = decode_all

    def __len__(self) -> int:
        return len(self._names)

    def take(self, rows: np.ndarray) -> Any:
        """Reads and decodes the given rows."""
        encoded = tf.constant([self._read(int(row)) for row in rows], tf.string)
        try:
            return keras.tree.map_structure(lambda part: part.numpy(), self._decode(encoded))
        except tf.errors.InvalidArgumentError as error:
            names = ", ".join(str(self.name(row)) for row in rows[:3])
            checks.fail(
                self._owner, "decode", "a function that gives every row one shape", str(error).splitlines()[0],
                f"It failed among {names}, ... Pass decode= that resizes, as tf.image.resize does.",
            )  # fmt: skip

    def blocks(self, size: int) -> Iterator[Any]:
        """Reads and decodes all rows in order."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))

    def name(self, row: int) -> Any:
        """Returns file, or shard and place in it."""
        return self._names[int(row)]

    def fingerprint(self) -> Any:
        """Returns a digest of some rows' bytes, wherever their files lie."""
        return digest(b"".join(digest(self._read(int(row))).encode() for row in sampled(len(self))))


def image_source(owner: str, files: Sequence[Path], decode: Decode | None) -> EncodedSource:
    """Returns a source of image files.

    Args:
        owner: the class a user called, for errors.
        files: their paths.
        decode: from a file's bytes to an image; None decodes to uint8 of the size and channels it has.
    """
    names = [path.as_posix() for path in files]
    return EncodedSource(owner, lambda row: files[row].read_bytes(), names, decode or _decode_image)


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, expand_animations=False)


def record_source(owner: str, files: Sequence[Path], decode: Decode | None) -> EncodedSource:
    """Returns a source of uncompressed TFRecord shards; where each record begins is found once, in 8 bytes a row.

    Args:
        owner: the class a user called, for errors.
        files: their paths.
        decode: from a record's bytes to one example, as `tf.io.parse_single_example` makes it.
    """
    if decode is None:
        checks.fail(
            owner, "decode", "given for TFRecords, whose bytes mean nothing by themselves", None,
            "Pass decode=lambda record: tf.io.parse_single_example(record, features)['image'].",
        )  # fmt: skip
    offsets = [_record_offsets(owner, path) for path in files]
    ends = np.cumsum([len(found) for found in offsets])

    def place(row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(ends, row, side="right"))
        return shard, row - (int(ends[shard - 1]) if shard else 0)

    def read(row: int) -> bytes:
        shard, index = place(row)
        with files[shard].open("rb") as stream:
            stream.seek(int(offsets[shard][index]))
            (length,) = struct.unpack("<Q", stream.read(RECORD_HEADER)[:8])
            return stream.read(length)

    return EncodedSource(owner, read, _RecordNames(files, int(ends[-1]), place), decode)


class _RecordNames(Sequence[str]):
    """`shard.tfrecord:17` for each row, made when asked for."""

    def __init__(self, files: Sequence[Path], total: int, place: Callable[[int], tuple[int, int]]) -> None:
        self._files, self._total, self._place = files, total, place

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, row: Any) -> Any:
        shard, index = self._place(row)
        return f"{self._files[shard].as_posix()}:{index}"


def _record_offsets(owner: str, path: Path) -> np.ndarray:
    """(N,) int64 places where the records of a shard begin."""
    found, offset, size = [], 0, path.stat().st_size
    with path.open("rb") as stream:
        while offset < size:
            stream.seek(offset)
            header = stream.read(RECORD_HEADER)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == RECORD_HEADER else size
            end = offset + RECORD_HEADER + length + RECORD_FOOTER
            if end > size:
                checks.fail(
                    owner, "x", "whole, uncompressed TFRecord files", path.as_posix(),
                    f"At byte {offset} there is no whole record: the file is compressed or was cut off.",
                )  # fmt: skip
            found.append(offset)
            offset = end
    return np.asarray(found, np.int64)


class DatasetSource(ArraySource):
    """Rows of a `tf.data.Dataset`, written once into a temporary directory to be read in any order.

    Args:
        owner: the class a user called, for errors.
        dataset: of single examples of one shape, or of batches whose size is not static.
    """

    def __init__(self, owner: str, dataset: tf.data.Dataset) -> None:
        if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
            checks.fail(owner, "x", "a finite data set", dataset, "Leave out its repeat().")
        directory = tempfile.TemporaryDirectory(prefix="keras_aug_ssl_pool_", ignore_cleanup_errors=True)
        super().__init__(owner, _spill(owner, dataset, Path(directory.name)))
        self._cleanup = weakref.finalize(self, directory.cleanup)


def _spill(owner: str, dataset: tf.data.Dataset, directory: Path) -> Any:
    """Writes all examples and returns memory maps of them, in the structure of an example."""
    specs = keras.tree.flatten(dataset.element_spec)
    if not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        checks.fail(owner, "x", "a data set of dense tensors", dataset.element_spec)
    if not all(spec.shape.rank and spec.shape[0] is None for spec in specs):
        dataset = dataset.batch(256)
    paths = [directory / str(index) for index in range(len(specs))]
    streams = [path.open("wb") for path in paths]
    shapes: list[tuple[int, ...]] = []
    total = 0
    for batch in dataset.as_numpy_iterator():
        parts = [np.asarray(part) for part in keras.tree.flatten(batch)]
        shapes = shapes or [part.shape[1:] for part in parts]
        if [part.shape[1:] for part in parts] != shapes:
            checks.fail(
                owner, "x", f"a data set of examples of one shape, {shapes}", [part.shape[1:] for part in parts]
            )
        for stream, part in zip(streams, parts, strict=True):
            part.tofile(stream)
        total += len(parts[0])
    for stream in streams:
        stream.close()
    if not total:
        return keras.tree.map_structure(lambda spec: np.empty((0, 1), spec.dtype.as_numpy_dtype), dataset.element_spec)
    maps = [
        np.memmap(path, spec.dtype.as_numpy_dtype, "r", shape=(total, *shape))
        for path, spec, shape in zip(paths, specs, shapes, strict=True)
    ]
    return keras.tree.pack_sequence_as(dataset.element_spec, maps)
