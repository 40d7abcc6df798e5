"""What probes see: bins of a number, values of a category, missing as a value, nothing where all is equal."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.audit.probe_features import as_numbers, binned, one_hot, standardized, texts
from chiron.audit.probes import name_positions


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=2, max_size=60))
def test_every_row_lies_in_one_bin_and_equal_numbers_in_the_same(values):
    column = np.array(values)
    matrix = binned(column)
    if matrix.shape[1]:
        assert (matrix[:, 1:].sum(axis=1) == 1).all()
        assert np.abs(matrix[:, 0]).max() <= 1
        for value in set(values):
            same = matrix[np.isnan(column) if np.isnan(value) else column == value]
            assert (same == same[0]).all()
    else:
        assert len({str(value + 0.0) for value in values}) == 1


def test_bins_hold_equal_counts_and_missing_has_its_own():
    matrix = binned(np.array([*np.arange(80.0), np.nan, np.nan]))
    assert matrix.shape == (82, 10)
    assert matrix[:, 1:].sum(axis=0).tolist() == [10] * 8 + [2]
    assert matrix[:3, 0] == pytest.approx([-1, -1 + 2 / 79, -1 + 4 / 79])


def test_a_constant_tells_nothing_but_missing_values_may():
    assert binned(np.full(5, 3.0)).shape == (5, 0)
    assert binned(np.full(5, np.nan)).shape == (5, 0)
    assert binned(np.array([3.0, 3.0, np.nan])).shape[1] > 1
    assert one_hot(["x"] * 4).shape == (4, 0)
    assert standardized(np.ones((4, 3))).shape == (4, 0)


def test_rare_values_of_a_category_share_a_column():
    values = ["a"] * 5 + ["b"] * 3 + [f"only {k:03d}" for k in range(50)]
    matrix = one_hot(values)
    assert matrix.shape == (58, 31)
    assert (matrix.sum(axis=1) == 1).all()
    assert matrix[:, 0].sum() == 5
    assert matrix[:, -1].sum() == 58 - 8 - 28


def test_columns_are_numbers_dates_or_words():
    assert as_numbers(pl.Series([str(k / 2) for k in range(20)])) == pytest.approx(np.arange(20) / 2)
    dates = as_numbers(pl.Series([f"2020-01-{k:02d} 10:00" for k in range(1, 21)]))
    assert dates - dates[0] == pytest.approx(np.arange(20))
    assert as_numbers(pl.Series([date(2020, 1, k) for k in range(1, 21)])) is not None
    assert as_numbers(pl.Series(["scanner A", "scanner B"] * 10)) is None
    assert as_numbers(pl.Series([1, 2, 3] * 5)) is None  # few values: a category
    numbers = as_numbers(pl.Series([None, *range(20)]))
    assert np.isnan(numbers[0])
    assert texts(pl.Series(["a ", None])) == ["a", "(missing)"]


def test_the_place_of_a_name_is_told_by_numbers_and_never_by_words():
    assert name_positions(["benign_1", "benign_2", "malignant_1", "malignant_2"]).tolist() == [0, 1, 0, 1]
    assert name_positions(["img9", "img10", "img100"]).tolist() == [0, 0.5, 1]  # not as text
    assert np.isnan(name_positions(["alone", "other1"])).all()
