"""Features of a frozen backbone, computed once, so that training on them costs the head alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, writing
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.self_training.books.identity import identity_of_weights
from keras_aug_ssl.self_training.labelling.scoring import BATCH_SIZE, BLOCK, padded
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.pool.sources import digest, memory_map
from keras_aug_ssl.teaching.finite import finite_rows

OWNER = "embed"
MARK = b"keras_aug_ssl features "
"""What a file of features ends with, and a digest of backbone and rows after it. Readers of .npy files stop before it;
in a second file it could be left over, or missing, after a kill."""


def embed(
    backbone: keras.Model, x: Any, path: str | os.PathLike[str] | None = None, *, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Computes the features that a frozen backbone makes of each row.

    A head trained on them learns what it would on top of the frozen backbone, without augmentation, and a round of
    self-training over the pool costs the head alone: `SelfTraining(kas.embed(backbone, pool, "features.npy"))`.

    Args:
        backbone: a Keras model with one output, (N, ...) features; called in inference mode, as its `predict` would.
        x: an `UnlabeledPool`, or what one is made of: arrays, a dict of arrays for several inputs, `.npy` files, image
            files, TFRecords, a `tf.data.Dataset` of inputs; or a `keras.utils.PyDataset`, whose labels are left out.
        path: a `.npy` file for them. It appears when it is whole; if it is there with the features of the same backbone
            and rows, it is used as it is. None keeps them in memory.
        batch_size: rows at once, >= 1.

    Returns:
        (N, ...) float32 features in the order of the rows; a read-only memory map when `path` is given. Rows with NaN
        or infinity have NaN features, so that a pool leaves them out.

    Raises:
        ValueError: the backbone has several outputs, or `path` holds something else: it is never overwritten. Of large
            arrays and pools of files some rows stand for all when they are compared, as in `backup_dir`.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
        >>> backbone = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> features = kas.embed(backbone, np.zeros((10, 8, 8, 1), "float32"), "features.npy")
        >>> features.shape, type(features).__name__
        ((10, 4), 'memmap')
    """
    if not isinstance(backbone, keras.Model):
        checks.fail(OWNER, "backbone", "a Keras model", backbone, error=TypeError)
    batch_size = checks.integer(OWNER, "batch_size", batch_size, 1)
    place = None if path is None else Path(path)
    if place is not None and place.suffix != ".npy":
        checks.fail(OWNER, "path", "the path of a .npy file", str(path))
    pool = x if isinstance(x, UnlabeledPool) else UnlabeledPool(_inputs(x) if _is_py_dataset(x) else x)
    shape = _checked(backbone, calling.first_output(backbone, pool.take(np.arange(min(len(pool), calling.FEW)))))
    if place is None:
        features = np.empty((len(pool), *shape), np.float32)
        _fill(features, backbone, pool, batch_size)
        return features
    mark = MARK + digest(json.dumps([identity_of_weights(backbone), pool.fingerprint()]).encode()).encode()
    if place.exists():
        _check_same(place, mark)
    else:
        with writing.replacing(place) as draft:
            features = np.lib.format.open_memmap(draft, "w+", np.float32, (len(pool), *shape))
            _fill(features, backbone, pool, batch_size)
            features.flush()
            with draft.open("ab") as stream:
                stream.write(mark)
    return memory_map(OWNER, place)


def _is_py_dataset(x: Any) -> bool:
    return isinstance(x, keras.utils.PyDataset)


def _inputs(dataset: keras.utils.PyDataset) -> tf.data.Dataset:
    """The inputs of a `PyDataset`, one by one."""
    count = dataset.num_batches
    if count is None:
        checks.fail(OWNER, "x", "a finite data set", type(dataset).__name__, "Its num_batches is None.")

    def batches() -> Iterator[Any]:
        for number in range(count):
            yield _structure(keras.utils.unpack_x_y_sample_weight(dataset[number])[0])

    first = _structure(keras.utils.unpack_x_y_sample_weight(dataset[0])[0])
    signature = keras.tree.map_structure(
        lambda part: tf.TensorSpec((None, *np.shape(part)[1:]), tf.as_dtype(np.asarray(part).dtype)), first
    )
    return tf.data.Dataset.from_generator(batches, output_signature=signature).unbatch()


def _structure(x: Any) -> Any:
    """Inputs with tuples for lists, as `tf.data` takes several."""
    return tuple(x) if isinstance(x, list) else x


def _checked(backbone: keras.Model, output: Any) -> tuple[int, ...]:
    """The shape of a row's features."""
    if not tf.is_tensor(output):
        shown = sorted(output) if isinstance(output, dict) else type(output).__name__
        checks.fail(
            OWNER, "backbone", "a model with one output", shown,
            "Choose one: keras.Model(backbone.inputs, backbone.outputs[0]), or, of a dict, backbone.output[name].",
        )  # fmt: skip
    if output.shape.rank < 2:
        checks.fail(OWNER, "backbone", "a model with features of shape (batch, ...)", tuple(output.shape))
    return tuple(output.shape[1:])


def _fill(features: np.ndarray, backbone: keras.Model, pool: UnlabeledPool, batch_size: int) -> None:
    block, done = batch_size * -(-BLOCK // batch_size), 0
    answers = calling.Answers(OWNER, backbone, batch_size)
    for x in pool.blocks(block):
        filled, count = padded(x, block)
        found, finite = answers(filled).numpy()[: int(count)], finite_rows(x)
        if finite is not None:
            found = np.where(finite.numpy().reshape(-1, *[1] * (found.ndim - 1)), found, np.float32(np.nan))
        features[done : done + len(found)] = found
        done += len(found)


def _check_same(place: Path, mark: bytes) -> None:
    """Refuses a file that isn't what would be computed."""
    if place.is_file():
        with place.open("rb") as stream:
            stream.seek(max(0, place.stat().st_size - len(mark)))
            found = stream.read()
        if found == mark:
            return
        if found.startswith(MARK):
            checks.fail(
                OWNER, "path", "a file of the features of this backbone and these rows", str(place),
                "It holds those of another backbone or of other rows: choose another path, or remove it.",
            )  # fmt: skip
    checks.fail(
        OWNER, "path", "a new file, or one that embed wrote", str(place), "It holds something else: choose another.",
    )  # fmt: skip
