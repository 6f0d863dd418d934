"""The last row that each group takes, found digit by digit, is the one that sorting finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_aug_ssl.rules.ranked import rank_in_class
from keras_aug_ssl.scale.ranks import Cut, unsureness

FEW = st.sampled_from([0.0, -0.0, 1.0, 0.99999994])
FLOATS = st.floats(-1e3, 1e3, width=32) | FEW


def found(quota, parts, rows):
    """The cut of rows in parts, and by how many passes."""
    cut, passes = Cut.of(np.asarray(quota), rows), 0
    while not cut.found:
        cut, passes = cut.narrowed(sum(cut.counts(*part) for part in parts)), passes + 1
    return cut, passes


def in_parts(group, sure, size):
    row = np.arange(len(sure))
    return [(group[i : i + size], sure[i : i + size], row[i : i + size]) for i in range(0, len(sure), size)]


@given(
    st.lists(st.tuples(st.integers(0, 2), FEW | FLOATS), min_size=1, max_size=600)
    | st.lists(st.tuples(st.integers(0, 2), FEW), min_size=20, max_size=600),
    st.lists(st.integers(0, 12) | st.integers(0, 700), min_size=3, max_size=3),
    st.integers(1, 300),
)
@settings(max_examples=60, deadline=None)
def test_the_rows_of_a_cut_are_those_of_ranks(rows, quota, size):
    group = np.array([each for each, _ in rows], np.int32)
    sure = np.array([each for _, each in rows], np.float32)
    cut, _ = found(quota, in_parts(group, sure, size), len(rows))
    taken = cut.taken(group, sure, np.arange(len(rows)))
    np.testing.assert_array_equal(taken, rank_in_class(group, sure).numpy() < np.asarray(quota)[group])


@given(st.lists(FLOATS, min_size=2))
def test_unsureness_is_the_order_of_floats(values):
    values = np.array(values, np.float32)
    keys = unsureness(values)
    np.testing.assert_array_equal(keys[:, None] < keys, values[:, None] > values)
    np.testing.assert_array_equal(keys[:, None] == keys, values[:, None] == values)


@pytest.mark.parametrize("equal, most", [(False, 4), (True, 7)])
def test_positions_are_read_only_where_rows_are_equally_sure(equal, most):
    sure = np.full(70_000, 0.5, np.float32) if equal else np.linspace(0, 1, 70_000, dtype=np.float32)
    cut, passes = found([30_000], in_parts(np.zeros(70_000, np.int32), sure, 1000), 70_000)
    taken = cut.taken(np.zeros(70_000, np.int32), sure, np.arange(70_000))
    assert taken.sum() == 30_000 and passes <= most
    assert taken[:30_000].all() == equal
