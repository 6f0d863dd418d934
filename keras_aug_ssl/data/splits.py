"""Splits of labeled arrays: stratified test sets, and few labels with the rest hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_aug_ssl import checks


class _FourArrays(NamedTuple):
    x_labeled: Any
    y_labeled: np.ndarray
    x_unlabeled: Any
    y_unlabeled: np.ndarray


class LabelSplit(_FourArrays):
    """A set of examples of which few show their label; a tuple `(x_labeled, y_labeled, x_unlabeled, y_unlabeled)`.

    Attributes:
        x_labeled: the inputs with a label, in the order they had; a dict where the inputs were one.
        y_labeled: their labels, in the form the labels had (integers or one-hot).
        x_unlabeled: the other inputs.
        y_unlabeled: their hidden labels: for measuring pseudo-labels only, never for training.
        labeled_index: (L,) int64 positions of the labeled examples, rising.
        unlabeled_index: (N - L,) int64 positions of the others, rising.
    """

    labeled_index: np.ndarray
    unlabeled_index: np.ndarray


def split_labels(x: Any, y: Any, per_class: int = 10, seed: int = 0) -> LabelSplit:
    """Keeps the labels of `per_class` examples of every class and hides all others.

    The start of every semi-supervised experiment. One seed gives nested splits: the examples labeled with
    `per_class=5` are among those labeled with `per_class=10`, so a curve over the number of labels compares like
    with like.

    Args:
        x: (N, ...) array, a sparse matrix of SciPy, or a dict of such.
        y: (N,) or (N, 1) integer labels, or (N, K) one-hot.
        per_class: labels kept in each class, >= 1 and at most the size of the smallest class. For one-hot labels
            every column is a class, for integers every value that occurs.
        seed: int >= 0 that chooses which examples; no global seed is read or changed.

    Returns:
        A `LabelSplit`: `(x_labeled, y_labeled, x_unlabeled, y_unlabeled)` with the positions as attributes.

    Raises:
        ValueError: when lengths differ, labels are of another form, or a class has fewer than `per_class` examples.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> x, y = np.arange(12.0)[:, None], np.repeat([0, 1, 2], 4)
        >>> split = kas.data.split_labels(x, y, per_class=1, seed=3)
        >>> split.y_labeled, len(split.x_unlabeled)
        (array([0, 1, 2]), 9)
        >>> x_labeled, y_labeled, x_unlabeled, y_hidden = split
    """
    owner = "kas.data.split_labels"
    per_class = checks.integer(owner, "per_class", per_class, 1)
    seed = checks.integer(owner, "seed", seed, 0)
    y = np.asarray(y)
    classes, num_classes = class_ids(owner, y)
    check_lengths(owner, x, len(y))
    counts = counts_of(classes)
    if y.ndim == 2 and y.shape[1] > 1:
        counts = dict.fromkeys(range(num_classes), 0) | counts
    scarcest = min(counts, key=lambda label: counts[label])
    if counts[scarcest] < per_class:
        advice = f"Class {scarcest} has only {counts[scarcest]} examples."
        checks.fail(owner, "per_class", "at most the size of the smallest class", per_class, advice)

    shown = np.zeros(len(y), bool)
    for label in counts:
        members = np.flatnonzero(classes == label)
        shown[np.random.default_rng([seed, label]).permutation(members)[:per_class]] = True
    labeled, unlabeled = np.flatnonzero(shown), np.flatnonzero(~shown)
    split = LabelSplit(take(x, labeled), y[labeled], take(x, unlabeled), y[unlabeled])
    split.labeled_index, split.unlabeled_index = labeled, unlabeled
    return split


def stratified_test_mask(classes: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Returns (N,) bool: True for the rounded `fraction` of every class that `seed` puts into the test set."""
    mask = np.zeros(len(classes), bool)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        size = round(fraction * len(members))
        mask[np.random.default_rng([seed, int(label)]).permutation(members)[:size]] = True
    return mask


def class_ids(owner: str, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns labels as (N,) int64 class numbers and the number of classes they can name.

    Args:
        owner: the function the user called, for the error.
        y: (N,) or (N, 1) whole numbers >= 0 of any dtype, or (N, K) one-hot.
    """
    expected = "(N,) or (N, 1) class numbers >= 0, or (N, K) one-hot labels"
    if y.ndim not in (1, 2) or y.shape[0] == 0 or y.dtype.kind not in "biuf":
        named = y.dtype.kind in "OSUT"
        advice = "Names become numbers by names, y = np.unique(y, return_inverse=True)." if named else ""
        checks.fail(owner, "y", expected, y, advice)
    if y.ndim == 2 and y.shape[1] > 1:
        if not (np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all()):
            checks.fail(owner, "y", expected, y, "Soft or multi-label targets have no single class.")
        return y.argmax(1).astype(np.int64), y.shape[1]
    classes = y.reshape(-1).astype(np.int64)
    if not np.array_equal(classes, y.reshape(-1)) or classes.min() < 0:
        checks.fail(owner, "y", expected, y)
    return classes, int(classes.max()) + 1


def counts_of(classes: np.ndarray) -> dict[int, int]:
    """How many examples each class has that has any; class numbers may be as large as ids are."""
    values, counts = np.unique(classes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def check_lengths(owner: str, x: Any, length: int) -> None:
    """Raises unless every array in `x`, an array or a dict of arrays, has `length` rows."""
    parts = x.items() if isinstance(x, Mapping) else [("x", x)]
    for key, array in parts:
        shape = array.shape if _is_sparse(array) else np.shape(array)
        if not shape or shape[0] != length:
            checks.fail(owner, "x", f"as long as `y`, {length} rows", shape, f"That is the shape of {key!r}.")


def take(x: Any, index: np.ndarray) -> Any:
    """Returns the rows `index` of an array or of every array in a dict."""
    if isinstance(x, Mapping):
        return {key: take(array, index) for key, array in x.items()}
    return x.tocsr()[index] if _is_sparse(x) else np.asarray(x)[index]


def _is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix of SciPy, which need not be there."""
    return hasattr(x, "tocsr")
