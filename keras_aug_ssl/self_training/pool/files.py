"""Pools on disk: images, TFRecord shards, and data sets, written to disk once so that they can be read in any order."""

from __future__ import annotations

import contextlib
import re
import struct
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.lib.io import tf_record

from keras_aug_ssl import checks
from keras_aug_ssl.data import images
from keras_aug_ssl.self_training.pool.elements import Watch, are_batches, check_ends
from keras_aug_ssl.self_training.pool.sources import ArraySource, digest, sampled

RECORD_HEADER, RECORD_FOOTER = 12, 4  # length and its checksum before the bytes of a record, their checksum after

Decode = Callable[[tf.Tensor], Any]


class EncodedSource:
    """Rows that are bytes until they are decoded, many at once.

    Args:
        owner: the class a user called, for errors.
        read: from a row's number to its bytes.
        names: what a person knows each row by.
        decode: from a scalar string tensor to one example, in TensorFlow operations.
        fault: from the bytes of a row that can't be decoded to a sentence that says what they are.
    """

    def __init__(
        self,
        owner: str,
        read: Callable[[int], bytes],
        names: Sequence[Any],
        decode: Decode,
        fault: Callable[[bytes], str] | None = None,
    ) -> None:
        self._owner, self._read, self._names, self._decode_one = owner, read, names, decode
        self._fault = fault or (lambda content: "")
        self._shapes: Any = None
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
        contents = [self._read(int(row)) for row in rows]
        try:
            taken = keras.tree.map_structure(lambda part: part.numpy(), self._decode(tf.constant(contents, tf.string)))
        except tf.errors.OpError:
            self._name_the_odd_one(rows, contents)
            raise
        shapes = [part.shape[1:] for part in keras.tree.flatten(taken)]
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            self._name_shape(rows[0], shapes, self._shapes)
        return taken

    def _name_the_odd_one(self, rows: np.ndarray, contents: Sequence[bytes]) -> None:
        """Raises for the first row that can't be decoded, or else for the first that isn't of the commonest shape."""
        found = []
        for row, content in zip(rows, contents, strict=True):
            try:
                decoded = self._decode_one(tf.constant(content, tf.string))
            except tf.errors.OpError as error:
                reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip()
                checks.fail(
                    self._owner, "x", "rows that can be decoded", str(self.name(row)),
                    f"{self._fault(content)} TensorFlow says: {reason} Mend it, leave it out, or pass decode=.".strip(),
                )  # fmt: skip
            found.append([tuple(part.shape) for part in keras.tree.flatten(decoded)])
        common = max(found, key=found.count)
        odd = next((place for place, shapes in enumerate(found) if shapes != common), None)
        if odd is not None:
            self._name_shape(rows[odd], found[odd], common)

    def _name_shape(self, row: int, shapes: Any, common: Any) -> None:
        shown, others = (each[0] if len(each) == 1 else each for each in (shapes, common))
        checks.fail(
            self._owner, "x", f"rows of one shape; others have {others}", f"{self.name(row)} of {shown}",
            "Pass decode= that makes them equal: tf.io.decode_image with channels= and tf.image.resize.",
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

    def read(row: int) -> bytes:
        content = files[row].read_bytes()
        if decode is None and images.has_16_bits(content):
            checks.fail(
                owner, "x", "images of 8 bits a channel", files[row].as_posix(),
                "It has 16. Keep them by decode=lambda file: tf.io.decode_png(file, dtype=tf.uint16), or cut them to 8 "
                "by decode=lambda file: tf.io.decode_image(file, expand_animations=False).",
            )  # fmt: skip
        return content

    names = [path.as_posix() for path in files]
    return EncodedSource(owner, read, names, decode or images.decode_image, images.fault)


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
        try:  # checks length and content by their checksums
            return tf_record.tf_record_random_reader(str(files[shard])).read(int(offsets[shard][index]))[0]
        except (tf.errors.DataLossError, IndexError):
            checks.fail(
                owner, "x", "TFRecord files as they were written", f"{files[shard].as_posix()}:{index}",
                "The checksum of that record, counted from 0, is not that of its content: the file is damaged.",
            )  # fmt: skip

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
    """(N,) int64 places where the records of a shard begin; their lengths are those that were written."""
    found, headers, offset, size = [], bytearray(), 0, path.stat().st_size
    with path.open("rb") as stream:
        while offset < size:
            stream.seek(offset)
            header = stream.read(RECORD_HEADER).ljust(RECORD_HEADER, b"\0")
            found.append(offset)
            headers += header
            offset += RECORD_HEADER + int(struct.unpack("<Q", header[:8])[0]) + RECORD_FOOTER
    wrong = _wrong_lengths(np.frombuffer(headers, np.uint8).reshape(-1, RECORD_HEADER))
    if len(wrong) or offset != size:
        record = int(wrong[0]) if len(wrong) else len(found) - 1
        checks.fail(
            owner, "x", "whole, uncompressed TFRecord files", f"{path.as_posix()}:{record}",
            f"Where that record, counted from 0, should be, at byte {found[record]}, there is no whole one: the file "
            "is compressed, cut off or damaged.",
        )  # fmt: skip
    return np.asarray(found, np.int64)


def _wrong_lengths(headers: np.ndarray) -> np.ndarray:
    """(N, 12) uint8 headers -> (M,) those whose last four bytes aren't the masked CRC-32C of the first eight."""
    table: Any = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0))
    checksum: Any = np.full(len(headers), 0xFFFFFFFF, np.uint32)
    for column in headers[:, :8].T:
        checksum = table[(checksum ^ column) & 0xFF] ^ (checksum >> 8)
    checksum = ~checksum
    masked = ((checksum >> 15) | (checksum << 17)) + np.uint32(0xA282EAD8)
    return np.flatnonzero(masked != np.ascontiguousarray(headers[:, 8:]).view("<u4")[:, 0])


class DatasetSource(ArraySource):
    """Rows of a `tf.data.Dataset`, written once into a temporary directory to be read in any order.

    Args:
        owner: the class a user called, for errors.
        dataset: of single examples of one shape, or of batches.
    """

    def __init__(self, owner: str, dataset: tf.data.Dataset) -> None:
        check_ends(owner, dataset)
        directory = tempfile.TemporaryDirectory(prefix="keras_aug_ssl_pool_", ignore_cleanup_errors=True)
        try:
            super().__init__(owner, _spill(owner, dataset, Path(directory.name)))
        except BaseException:
            directory.cleanup()
            raise
        self._cleanup = weakref.finalize(self, directory.cleanup)


def _spill(owner: str, dataset: tf.data.Dataset, directory: Path) -> Any:
    """Writes all examples and returns memory maps of them, in the structure of an example."""
    specs = keras.tree.flatten(dataset.element_spec)
    if not all(isinstance(spec, tf.TensorSpec) and spec.dtype != tf.string for spec in specs):
        checks.fail(owner, "x", "a data set of dense tensors of numbers", dataset.element_spec)
    watch = Watch(owner, dataset, directory)
    if not are_batches(owner, dataset):
        dataset = dataset.batch(256)
    paths = [directory / str(index) for index in range(len(specs))]
    shapes: list[tuple[int, ...]] = []
    total = 0
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(path.open("wb")) for path in paths]
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
            watch.check(total)
    if not total:
        return keras.tree.map_structure(lambda spec: np.empty((0, 1), spec.dtype.as_numpy_dtype), dataset.element_spec)
    maps = [
        np.memmap(path, spec.dtype.as_numpy_dtype, "r", shape=(total, *shape))
        for path, spec, shape in zip(paths, specs, shapes, strict=True)
    ]
    return keras.tree.pack_sequence_as(dataset.element_spec, maps)
