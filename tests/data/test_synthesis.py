"""Laws of synthesis on arrays: on a segment between two neighbours of one class, or of similar target; nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_aug_ssl import data
from keras_aug_ssl.data.neighbours import nearest

RNG = np.random.default_rng(0)
Y = RNG.permutation(np.repeat([0, 1, 2], [40, 11, 6]))
X = RNG.normal(size=(57, 4)) + 20 * Y[:, None]


def assert_on_a_segment(point, points, atol=1e-5):
    """Some pair (a, b) of `points` has |a - p| + |p - b| = |a - b|."""
    distances = np.linalg.norm(points - point, axis=1)
    between = np.linalg.norm(points[:, None] - points, axis=2)
    assert (distances[:, None] + distances - between).min() < atol * (1 + between.max())


# --- nearest neighbours


@pytest.mark.parametrize("size, width, count", [(2, 1, 1), (5, 3, 4), (33, 2, 5), (400, 20, 7)])
def test_nearest_is_what_sorting_all_distances_gives(size, width, count):
    points = RNG.normal(size=(size, width)) * 1e3 + 1e6
    rows = RNG.permutation(size)[: max(1, size // 2)]
    distances = np.linalg.norm(points[rows, None] - points, axis=2)
    distances[np.arange(len(rows)), rows] = np.inf
    assert np.array_equal(nearest(points, rows, count), np.argsort(distances, axis=1)[:, :count])


@pytest.mark.parametrize("apart", [1e2, 1e4, 1e6])
def test_tight_groups_far_apart_have_neighbours_of_their_own(apart):
    points = np.concatenate([RNG.normal(size=(n, 3)) + group * apart for group, n in enumerate((40, 9, 6))])
    distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(len(points), np.inf))
    assert np.array_equal(nearest(points, np.arange(len(points)), 5), np.argsort(distances, axis=1)[:, :5])


def test_nearest_never_returns_the_point_itself_even_among_duplicates():
    points = np.zeros((50, 3))
    found = nearest(points, np.arange(50), 5)
    assert not (found == np.arange(50)[:, None]).any() and all(len(set(row)) == 5 for row in found)


# --- classes


@pytest.mark.parametrize(
    "per_class, counts",
    [("max", [40, 40, 40]), (20, [40, 20, 20]), (1, [40, 11, 6]), ({2: 9, 0: 41}, [41, 11, 9]), ({}, [40, 11, 6])],
)
def test_classes_get_what_was_asked_and_the_given_come_first(per_class, counts):
    x, y = data.synthesize(X, Y, per_class)
    assert np.bincount(y).tolist() == counts and len(x) == len(y)
    assert np.array_equal(x[:57], X) and np.array_equal(y[:57], Y)
    assert (np.diff(y[57:]) >= 0).all()


def test_every_new_example_lies_between_two_of_its_class():
    x, y = data.synthesize(X, Y)
    for point, label in zip(x[57:], y[57:], strict=True):
        assert_on_a_segment(point, X[label == Y])


def test_partners_are_the_nearest_only():
    line = np.array([0.0, 1.0, 2.1, 100.0, 101.0, 102.1] + [500.0] * 30)[:, None]
    x, _ = data.synthesize(line, np.array([1] * 6 + [0] * 30), neighbours=2)
    new = x[36:, 0]
    assert len(new) == 24 and (((new >= 0) & (new <= 2.1)) | ((new >= 100) & (new <= 102.1))).all()


def test_each_example_is_base_equally_often_and_weights_are_uniform():
    corners = np.eye(30) * 1e3
    x, _ = data.synthesize(
        np.concatenate([corners, np.zeros((3030, 30))]), np.array([1] * 30 + [0] * 3030), neighbours=1
    )
    new = x[3060:]
    assert len(new) == 3000
    weights = np.sort(new, 1)[:, -2:] / 1e3  # w and 1 - w at two corners
    assert np.allclose(weights.sum(1), 1) and abs(weights.min(1).mean() - 0.25) < 0.01


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_dtype_and_rank_stay_and_integers_are_rounded(dtype):
    images = RNG.integers(0, 256, (12, 5, 4, 3)).astype(dtype)
    y = np.array([0] * 9 + [1] * 3)
    x, labels = data.synthesize(images, y, neighbours=2, seed=4)
    assert x.dtype == dtype and x.shape == (18, 5, 4, 3) and labels.dtype == y.dtype
    exact, _ = data.synthesize(images.astype("float64"), y, neighbours=2, seed=4)
    assert np.abs(x.astype("float64") - exact).max() <= (0.5 if dtype in ("uint8", "int64") else 0.1) + 1e-3


@pytest.mark.parametrize("form", ["column", "one_hot", "uint8"])
def test_labels_keep_their_form(form):
    y = {"column": Y[:, None], "one_hot": np.eye(3, dtype="float32")[Y], "uint8": Y.astype("uint8")}[form]
    x, labels = data.synthesize(X, y)
    expected_x, expected = data.synthesize(X, Y)
    assert np.array_equal(x, expected_x) and labels.dtype == y.dtype and labels.shape[1:] == y.shape[1:]
    assert np.array_equal(labels.argmax(1) if form == "one_hot" else labels.ravel(), expected)


def test_seed_decides_and_global_state_does_not():
    first, _ = data.synthesize(X, Y, seed=3)
    np.random.seed(8)
    assert np.array_equal(first, data.synthesize(X, Y, seed=3)[0])
    assert not np.array_equal(first, data.synthesize(X, Y, seed=4)[0])


def test_inputs_are_never_changed_or_shared():
    x, y = X.copy(), Y.copy()
    more_x, more_y = data.synthesize(x, y, per_class=1)
    more_x[:], more_y[:] = 0, 0
    assert np.array_equal(x, X) and np.array_equal(y, Y)


def test_class_of_one_is_repeated_with_a_warning():
    with pytest.warns(UserWarning, match="class 1 has one example; it is repeated 3 times"):
        x, y = data.synthesize(np.arange(5.0)[:, None], np.array([0, 0, 0, 0, 1]))
    assert x[5:, 0].tolist() == [4, 4, 4] and y[5:].tolist() == [1, 1, 1]


# --- categorical columns


def test_categories_are_votes_of_neighbours_and_quantities_lie_between():
    quantity = np.array([0.0, 1.0, 2.0, 3.0, 50.0, 51.0, 52.0, 53.0] + [9.0] * 40)
    code = np.array([3, 3, 3, 7, 5, 5, 5, 5] + [1] * 40)
    x = np.stack([quantity, code], 1)
    new = data.synthesize(x, np.array([1] * 8 + [0] * 40), neighbours=3, categorical=[1])[0][48:]
    low = new[:, 0] < 10
    assert set(new[low, 1]) == {3.0} and set(new[~low, 1]) == {5.0} and not (new[:, 0] == np.rint(new[:, 0])).all()


def test_vote_is_by_majority_and_ties_go_to_the_nearest():
    x = np.array([[0, 9], [1, 7], [2.1, 8], [3.3, 8], [0.5, 7]] + [[99, 1]] * 25, float)
    y = np.array([1] * 5 + [0] * 25)
    new = data.synthesize(x, y, neighbours=4, categorical=[1])[0][30:]
    # Each row sees the four others: 7 7 8 8 (nearest 7), 9 7 8 8, 9 7 7 8, 9 7 7 8, 9 7 8 8; each is base 4 times.
    assert (new[:, 1] == 7).sum() == 12 and (new[:, 1] == 8).sum() == 8


def test_codes_that_differ_keep_rows_apart():
    x = np.array([[0.0, 0], [0.0, 1], [0.3, 0], [5.0, 1]])
    new = data.synthesize(x, np.zeros(4, int), {0: 404}, neighbours=1, categorical=[1])[0][4:]
    # Row 0 goes towards row 2, not to row 1 that differs in the code alone; only row 1 (towards row 0) stays at 0.
    assert (new[new[:, 1] == 0, 0] == 0).sum() == 100


# --- errors


@pytest.mark.parametrize(
    "x, y, options, error, message",
    [
        (np.where(X > 41, np.nan, X), Y, {}, ValueError, "(?s)`x` must be finite.*rows are not, row"),
        (np.where(X > 41, np.inf, X), Y, {}, ValueError, "`x` must be finite"),
        (X.astype(str), Y, {}, TypeError, "`x` must be an array of integers or floats.*categorical="),
        (X > 0, Y, {}, TypeError, "integers or floats"),
        (X[:5], Y, {}, ValueError, "as long as `y`, 57 rows"),
        (X, X[:, 0], {}, ValueError, "class numbers"),
        (X, Y, {"per_class": "min"}, ValueError, "`per_class` must be \"max\", a whole number.*received 'min'"),
        (X, Y, {"per_class": 0}, ValueError, "`per_class` must be a whole number >= 1"),
        (X, Y, {"per_class": {7: 3}}, ValueError, "No example has the class 7"),
        (X, Y, {"per_class": {0: 3}}, ValueError, "Class 0 has 40 examples already"),
        (X, Y, {"per_class": {0: 40.5}}, ValueError, r"per_class\[0\]"),
        (X, Y, {"neighbours": 0}, ValueError, "`neighbours`"),
        (X, Y, {"seed": -1}, ValueError, "`seed`"),
        (X, Y, {"categorical": [4]}, ValueError, r"`categorical` must be.*shape of x is \(57, 4\)"),
        (X, Y, {"categorical": [-1]}, ValueError, "`categorical` must be"),
        (X, Y, {"categorical": range(4)}, ValueError, "at least one other column"),
        (X[:, None], Y, {"categorical": [0]}, ValueError, "`categorical` must be"),
    ],
)
def test_bad_input_gets_one_clear_error(x, y, options, error, message):
    with pytest.raises(error, match=message):
        data.synthesize(x, y, **options)


# --- regression


def test_a_linear_law_survives():
    x = RNG.normal(size=(60, 5))
    slope = RNG.normal(size=(5, 2))
    for y in (x @ slope, x @ slope[:, 0], (x @ slope[:, 0])[:, None]):
        x_all, y_all = data.synthesize_regression(x, y, count=90)
        assert x_all.shape == (150, 5) and y_all.shape == (150, *y.shape[1:])
        assert np.array_equal(x_all[:60], x) and np.array_equal(y_all[:60], y)
        assert np.allclose(
            y_all, x_all @ (slope if y.ndim == 2 and y.shape[1] == 2 else slope[:, :1]).reshape(5, *y.shape[1:])
        )


@pytest.mark.parametrize("neighbours, width", [(1, 1), (4, 1), (3, 2)])
def test_partners_have_the_nearest_targets(neighbours, width):
    y = np.sort(RNG.normal(size=(40, width)), 0) if width == 1 else RNG.normal(size=(40, width))
    x = np.eye(40)  # the two non-zero entries of a new row name the pair
    new, _ = data.synthesize_regression(x, y, count=200, neighbours=neighbours)
    scaled = y / y.std(0)
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=2)
    rank = np.argsort(np.argsort(distances, 1), 1)
    for row in new[40:]:
        pair = np.flatnonzero(row > 1e-9)
        assert len(pair) <= 2 and min(rank[pair[0], pair[-1]], rank[pair[-1], pair[0]]) <= neighbours


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_whole_targets_come_back_as_float64(dtype):
    targets = np.arange(100, 127).astype(dtype)
    x, y = data.synthesize_regression(targets[:, None].astype(float), targets)
    assert y.dtype == np.float64
    np.testing.assert_allclose(x[:, 0], y, rtol=1e-12)


def test_equal_targets_share_partners_evenly():
    y = np.zeros(50)
    new, targets = data.synthesize_regression(np.eye(50), y, count=500, neighbours=3)
    assert len({tuple(np.flatnonzero(row > 1e-9)) for row in new[50:]}) > 60 and not targets.any()


def test_regression_dtypes_defaults_and_pairs():
    images = RNG.integers(0, 256, (2, 4, 4, 1)).astype("uint8")
    x, y = data.synthesize_regression(images, np.array([3, 4]))
    assert x.dtype == np.uint8 and len(x) == 4 and y.dtype == np.float64 and ((y >= 3) & (y <= 4)).all()
    assert data.synthesize_regression(images, np.float32([3, 4]), count=0)[1].dtype == np.float32


@pytest.mark.parametrize(
    "x, y, options, error, message",
    [
        (X[:1], Y[:1], {}, ValueError, "at least two examples"),
        (X, np.where(Y > 1, np.nan, Y), {}, ValueError, "`y` must be finite"),
        (X[:4], Y, {}, ValueError, "as long as `y`"),
        (X, Y, {"count": -1}, ValueError, "`count`"),
        (X, Y, {"neighbours": 0}, ValueError, "`neighbours`"),
        (X, Y.astype(str), {}, TypeError, "`y` must be an array of integers or floats"),
    ],
)
def test_bad_regression_input_gets_one_clear_error(x, y, options, error, message):
    with pytest.raises(error, match=message):
        data.synthesize_regression(x, y, **options)


# --- columns by mask and name, and numbers at the limits --------------------------------------------------------------


class Frame:
    """As much of a DataFrame as is needed."""

    def __init__(self, values, columns):
        self.values, self.columns = values, columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def mixed_table():
    rng = np.random.default_rng(0)
    return np.c_[rng.integers(0, 3, 60), rng.normal(size=(60, 2))], np.array([0] * 40 + [1] * 20)


def test_categorical_columns_may_be_numbers_a_mask_or_names():
    x, y = mixed_table()
    expected, _ = data.synthesize(x, y, categorical=[0])
    assert not np.isin(expected[60:, 1], x[:, 1]).any()
    frame = Frame(x, ["kind", "width", "height"])
    for form in (0, (0,), np.array([0], "uint8"), [True, False, False], np.array([True, False, False])):
        assert np.array_equal(data.synthesize(x, y, categorical=form)[0], expected)
    for form in ("kind", ["kind"], [True, False, False]):
        assert np.array_equal(data.synthesize(frame, y, categorical=form)[0], expected)
    nothing, _ = data.synthesize(x, y, categorical=[False] * 3)
    assert np.array_equal(nothing, data.synthesize(x, y)[0])


@pytest.mark.parametrize(
    "categorical, words",
    [
        (["a"], "names of columns of x"),
        ([True, False], "3 booleans, one a column"),
        ([True] * 3, "at least one other column"),
        ([0.5], "a boolean mask of them"),
        ([3], "numbers of columns"),
    ],
)
def test_columns_that_are_not_there_are_named(categorical, words):
    with pytest.raises((ValueError, TypeError), match=f"`categorical` must be .*{words}"):
        data.synthesize(*mixed_table(), categorical=categorical)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_largest_numbers_stay_finite(dtype):
    largest = np.finfo(dtype).max
    x = np.array([[largest, 0], [-largest, 1], [largest / 2, 2], [0, 0], [1, 1], [2, 2], [3, 3]], dtype)
    y = np.array([0, 0, 0, 1, 1, 1, 1])
    for categorical in ((), (1,)):
        new = data.synthesize(x, y, per_class=40, categorical=categorical)[0]
        assert np.isfinite(new).all() and new.dtype == dtype
    x_all, y_all = data.synthesize_regression(x, x, count=50)
    assert np.isfinite(x_all).all() and np.isfinite(y_all).all()


def test_a_sparse_matrix_says_how_to_make_it_dense():
    sparse = pytest.importorskip("scipy.sparse")
    for x in (sparse.csr_matrix(np.eye(6)), tf.sparse.from_dense(np.eye(6))):
        with pytest.raises(TypeError, match="`x` must be a dense array.*toarray"):
            data.synthesize(x, np.array([0] * 4 + [1] * 2))


@pytest.mark.parametrize("largest", [np.uint64(2**64 - 1), np.int64(2**63 - 1), np.int32(2**31 - 1)])
def test_the_largest_whole_numbers_stay_what_they_are(largest):
    x = np.array([[largest]] * 6 + [[0]] * 20, largest.dtype)
    made, labels = data.synthesize(x, np.array([1] * 6 + [0] * 20))
    assert made.dtype == largest.dtype and (made[labels == 1] == largest).all() and len(made) == 40
