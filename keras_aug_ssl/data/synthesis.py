"""New examples between old ones, on arrays: same-class neighbours, or neighbours of similar target."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.data.neighbours import nearest
from keras_aug_ssl.data.splits import check_lengths, class_ids, counts_of

_BLOCK = 1 << 20  # numbers interpolated at a time, so that temporaries stay in the cache


class _Recipe(NamedTuple):
    """New row i is `x[bases[i]] + weights[i] * (x[partners[i]] - x[bases[i]])`, categorical columns are `votes[i]`."""

    bases: np.ndarray
    partners: np.ndarray
    weights: np.ndarray
    votes: np.ndarray | None = None


def synthesize(
    x: Any,
    y: Any,
    per_class: str | int | Mapping[int, int] = "max",
    neighbours: int = 5,
    seed: int = 0,
    *,
    categorical: Sequence[int] | Sequence[bool] | Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Balances an unbalanced set with new examples on the lines between neighbours of one class (SMOTE).

    A rare class that is only repeated, or weighted, is learnt by heart; neighbours of one class enclose a region where
    more of it may lie. A new example is `x + u (x' - x)` with u uniform in [0, 1), one u an example, and x' one of the
    nearest of its class; each example serves equally often as x. For streams see `balanced`, for mixing inside a batch
    `SameClassMix`.

    Args:
        x: (N, ...) finite numbers of any rank: rows, images, sequences. Integers (uint8 images, counts) are rounded
            and keep their dtype.
        y: (N,) or (N, 1) integer labels, or (N, K) one-hot.
        per_class: how many examples a class shall have, old and new together. `"max"`: as many as the largest; an
            int >= 1; or a dict from class to number for the classes it names. Larger classes stay as they are; to ask
            for fewer by name is an error, as nothing is ever removed.
        neighbours: nearest examples of the class that x' is chosen from, >= 1; a smaller class uses all it has. A class
            of one example has none: it is repeated, with a warning.
        seed: int >= 0; no global seed is read or changed.
        categorical: for x of shape (N, F), the columns that hold codes instead of quantities: their numbers, F
            booleans, or, where x is a DataFrame, their names. A new example takes the value most frequent among the
            neighbours of x (of the nearest, when several are), and two different codes are as far apart as the median
            of the standard deviations of the other columns (SMOTE-NC).

    Returns:
        `(x, y)`: the given examples first, unchanged and in their order, then the new ones, class by class. The labels
        keep their form.

    Raises:
        ValueError: NaN or infinity, lengths that differ, an unknown class, fewer asked for than there are.
        TypeError: values that are no numbers (encode categories as integers and say which columns they are in
            `categorical`), a sparse matrix.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> x, y = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]]), np.array([0, 0, 0, 1, 1])
        >>> x_all, y_all = kas.data.synthesize(x, y)
        >>> y_all, bool(10 <= x_all[5, 0] < 11)
        (array([0, 0, 0, 1, 1, 1]), True)

    Chawla, Bowyer, Hall, Kegelmeyer 2002, "SMOTE: Synthetic Minority Over-sampling Technique", sections 4.2 and 6.1.
    Their pseudo-code draws u anew for every attribute, which leaves the line; like every implementation in use, this
    one draws it once.
    """
    owner = "kas.data.synthesize"
    names = list(getattr(x, "columns", ()))
    x, y = _numbers(owner, "x", x), np.asarray(y)
    classes = class_ids(owner, y)[0]
    check_lengths(owner, x, len(y))
    neighbours = checks.integer(owner, "neighbours", neighbours, 1)
    seed = checks.integer(owner, "seed", seed, 0)
    columns = _columns(owner, categorical, names, x)
    missing = _missing(owner, per_class, counts_of(classes))
    recipes = []
    for label, count in missing.items():
        members = np.flatnonzero(classes == label)
        if len(members) == 1:
            warnings.warn(f"{owner}: class {label} has one example; it is repeated {count} times.", stacklevel=2)
        recipes.append(_class_recipe(x, members, count, neighbours, columns, np.random.default_rng([seed, label])))
    bases = np.concatenate([np.zeros(0, np.int64), *(recipe.bases for recipe in recipes)])
    return _extend(x, recipes, columns), np.concatenate([y, y[bases]])


def synthesize_regression(
    x: Any, y: Any, count: int | None = None, neighbours: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Adds examples between two of similar target, input and target interpolated alike: `synthesize` for regression.

    Mixing any two examples teaches that the target is linear between them, which is wrong for distant ones; between
    examples of similar target it nearly holds. Each example serves equally often as first of a pair; the second is one
    of the nearest in target. For mixing inside a batch see `SimilarTargetMix`.

    Args:
        x: (N, ...) finite numbers of any rank. Integers (uint8 images) are rounded and keep their dtype.
        y: (N, ...) finite targets of any rank. Integer targets come back as float64, since new ones are seldom whole.
        count: new examples, >= 0; None for as many as there are.
        neighbours: nearest targets the second example is chosen from, 1 or more; at most N - 1 are used. Several
            targets an example are compared after dividing each by its standard deviation.
        seed: int >= 0; no global seed is read or changed.

    Returns:
        `(x, y)`: the given examples first, in their order, then the new ones.

    Raises:
        ValueError: NaN or infinity, lengths that differ, fewer than two examples.
        TypeError: values that are no numbers.

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> x = np.array([[0.0], [1.0], [4.0], [5.0]])
        >>> x_all, y_all = kas.data.synthesize_regression(x, 2 * x[:, 0], count=3, neighbours=1)
        >>> bool(np.allclose(y_all, 2 * x_all[:, 0])), x_all.shape
        (True, (7, 1))

    Yao et al. 2022, "C-Mixup: Improving Generalization in Regression", equation 6, chooses partners in a batch with a
    Gaussian of the target distance; on a whole set the k nearest need no bandwidth.
    """
    owner = "kas.data.synthesize_regression"
    x, y = _numbers(owner, "x", x), _numbers(owner, "y", y)
    check_lengths(owner, x, len(y))
    if len(y) < 2:
        checks.fail(owner, "x", "at least two examples", x)
    count = len(y) if count is None else checks.integer(owner, "count", count, 0)
    neighbours = checks.integer(owner, "neighbours", neighbours, 1)
    rng = np.random.default_rng(checks.integer(owner, "seed", seed, 0))
    y = y.astype(np.float64 if y.dtype.kind in "iu" else y.dtype)
    similar = _similar_targets(y.reshape(len(y), -1), min(neighbours, len(y) - 1), rng)
    bases = _evenly(rng, len(y), count)
    partners = similar[bases, rng.integers(similar.shape[1], size=count)]
    recipe = _Recipe(bases, partners, rng.random(count))
    return _extend(x, [recipe]), _extend(y, [recipe])


def _class_recipe(
    x: np.ndarray, members: np.ndarray, count: int, neighbours: int, columns: np.ndarray, rng: np.random.Generator
) -> _Recipe:
    """Chooses `count` pairs of neighbours among the rows `members` of x, all of one class."""
    bases = _evenly(rng, len(members), count)
    if len(members) == 1:
        return _Recipe(members[bases], members[bases], np.zeros(count))
    rows, place = np.unique(bases, return_inverse=True)  # fewer than all when `count` is small
    found = nearest(_comparable(x[members], columns), rows, min(neighbours, len(members) - 1))
    partners = found[place, rng.integers(found.shape[1], size=count)]
    votes = _votes(x[members][:, columns], found)[place] if len(columns) else None
    return _Recipe(members[bases], members[partners], rng.random(count), votes)


def _comparable(x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns rows of floats whose distance is the one to search by; categorical columns become scaled indicators."""
    rows = x.reshape(len(x), -1).astype(np.result_type(x, np.float32))
    if not len(columns):
        return rows
    rows /= max(np.abs(rows).max(), 1)  # squares of the largest floats are infinite
    quantities = np.delete(rows, columns, axis=1)
    apart = np.median(quantities.std(0)) / np.sqrt(2)  # two indicators differ when two codes do
    indicators = [rows[:, [column]] == np.unique(rows[:, column]) for column in columns]
    return np.concatenate([quantities, *(apart * indicator for indicator in indicators)], axis=1)


def _votes(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns the value most frequent among the neighbours, in each column; of the nearest when several are."""
    theirs = values[found]  # (rows, neighbours, columns)
    counts = (theirs[:, :, None] == theirs[:, None]).sum(2)
    return np.take_along_axis(theirs, counts.argmax(1)[:, None], 1)[:, 0]


def _similar_targets(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns (N, count) rows of nearest target for each row of y (N, T)."""
    shuffled = rng.permutation(len(y))  # among equal targets, neighbours shall not depend on the order of rows
    if y.shape[1] > 1:
        y = y / max(np.abs(y).max(), 1)  # squares of the largest floats are infinite
        deviation = y.std(0, dtype=np.float64)
        rows = nearest(y[shuffled] / np.where(deviation > 0, deviation, 1), np.arange(len(y)), count)
        found = np.empty_like(rows)
        found[shuffled] = shuffled[rows]
        return found
    order = shuffled[np.argsort(y[shuffled, 0], kind="stable")]
    offsets = np.concatenate([np.arange(-count, 0), np.arange(1, count + 1)])
    places = np.arange(len(y))[:, None] + offsets  # the nearest of one number are beside it in sorted order
    inside = (places >= 0) & (places < len(y))
    places = np.clip(places, 0, len(y) - 1)
    values = 0.5 * y[order, 0].astype(np.float64)  # halves: a difference of two floats may be none
    gaps = np.where(inside, np.abs(values[places] - values[:, None]), np.inf)
    chosen = np.argpartition(gaps, count - 1, axis=1)[:, :count]
    found = np.empty((len(y), count), np.int64)
    found[order] = order[np.take_along_axis(places, chosen, 1)]
    return found


def _evenly(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Draws `count` of 0 .. size - 1 such that each comes equally often, or once more than another."""
    passes = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate([np.zeros(0, np.int64), *passes])[:count]


def _extend(x: np.ndarray, recipes: list[_Recipe], columns: np.ndarray | None = None) -> np.ndarray:
    """Returns x with the rows that the recipes describe behind it, in the dtype of x."""
    total = len(x) + sum(len(recipe.bases) for recipe in recipes)
    result = np.empty((total, *x.shape[1:]), x.dtype)
    result[: len(x)] = x
    accurate = np.result_type(x, np.float32)
    step = max(1, _BLOCK // max(1, x[0].size))
    end = len(x)
    for recipe in recipes:
        weights = recipe.weights.astype(accurate).reshape(-1, *[1] * (x.ndim - 1))
        for start in range(0, len(recipe.bases), step):
            block = slice(start, start + step)
            base, partner = (0.5 * x[rows[block]].astype(accurate) for rows in (recipe.bases, recipe.partners))
            mixed = 2.0 * (base + weights[block] * (partner - base))  # halves: a difference of two floats may be none
            end, begin = end + len(mixed), end
            result[begin:end] = _whole(mixed, x.dtype) if x.dtype.kind in "iu" else mixed
            if recipe.votes is not None:
                result[begin:end, columns] = recipe.votes[block]
    return result


def _whole(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Floats rounded to whole numbers; what rounds to one more than the largest of 64 bits is the largest."""
    largest = np.iinfo(dtype).max
    beyond = values >= float(largest)
    return np.where(beyond, largest, np.where(beyond, 0, np.rint(values)).astype(dtype)).astype(dtype)


def _numbers(owner: str, name: str, values: Any) -> np.ndarray:
    if hasattr(values, "toarray") or type(values).__name__ == "SparseTensor":
        advice = "What lies between two sparse rows is not sparse: pass x.toarray(), or tf.sparse.to_dense(x)."
        checks.fail(owner, name, "a dense array", f"a {type(values).__name__}", advice, error=TypeError)
    values = np.asarray(values)
    if values.ndim > 1 and values.shape[0] and not values.size:
        checks.fail(owner, name, "at least one number an example", f"an array of shape {values.shape}")
    if values.ndim < 1 or values.dtype.kind not in "iuf":
        advice = "Encode categories and booleans as integers, and say in `categorical=` which columns they are."
        checks.fail(owner, name, "an array of integers or floats", values.dtype, advice, error=TypeError)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
        expected = "finite: nothing can be interpolated with NaN or infinity"
        checks.fail(owner, name, expected, values, f"{len(bad)} rows are not, row {bad[0]} first; fill or drop them.")
    return values


def _columns(owner: str, categorical: Any, names: list[Any], x: np.ndarray) -> np.ndarray:
    """Returns the numbers of the categorical columns, given as such, as a mask or by name."""
    columns = np.atleast_1d(np.asarray(categorical))
    wanted = f"The shape of x is {x.shape}."
    if columns.dtype.kind in "US":
        unknown = [name for name in columns if name not in names]
        if unknown:
            held = f"x has the columns {names}." if names else "x has no named columns: give their numbers."
            checks.fail(owner, "categorical", "names of columns of x", categorical, held)
        columns = np.array([names.index(name) for name in columns])
    elif columns.dtype.kind == "b":
        if columns.shape != x.shape[1:]:
            checks.fail(owner, "categorical", f"{x[0].size} booleans, one a column", categorical, wanted)
        columns = np.flatnonzero(columns)
    elif columns.size and columns.dtype.kind not in "iu":
        expected = "numbers of columns, a boolean mask of them, or names of columns of a DataFrame"
        checks.fail(owner, "categorical", expected, categorical, error=TypeError)
    columns = np.unique(columns.astype(np.int64))
    if len(columns) and (x.ndim != 2 or columns[0] < 0 or columns[-1] >= x.shape[1] or len(columns) == x.shape[1]):
        expected = "numbers of columns of an (N, F) array, at least one other column being a quantity"
        checks.fail(owner, "categorical", expected, categorical, wanted)
    return columns


def _missing(owner: str, per_class: str | int | Mapping[int, int], counts: dict[int, int]) -> dict[int, int]:
    """Returns how many examples each class lacks that lacks any."""
    expected = '"max", a whole number >= 1, or a dict from class to such a number'
    if isinstance(per_class, str) and per_class != "max":
        checks.fail(owner, "per_class", expected, per_class)
    if isinstance(per_class, Mapping):
        for label, size in per_class.items():
            checks.integer(owner, f"per_class[{label}]", size, 1)
            if label not in counts:
                checks.fail(owner, "per_class", expected, per_class, f"No example has the class {label!r}.")
            if size < counts[label]:
                advice = f"Class {label} has {counts[label]} examples already, and none is ever removed."
                checks.fail(owner, "per_class", expected, per_class, advice)
        wanted = {int(label): int(size) for label, size in sorted(per_class.items())}
    else:
        size = max(counts.values()) if per_class == "max" else checks.integer(owner, "per_class", per_class, 1)
        wanted = dict.fromkeys(counts, size)
    return {label: size - counts[label] for label, size in wanted.items() if size > counts[label]}
