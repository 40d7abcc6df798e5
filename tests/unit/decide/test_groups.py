"""How many cases a limit may miss, with cases that come in groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.core.errors import DecisionError
from chiron.decide.groups import fewest_groups, group_numbers, group_sizes, num_missable


@given(count=st.integers(1, 500), percent=st.integers(1, 49))
def test_single_cases_give_the_conformal_rank(count, percent):
    missed = num_missable(count, 1, percent / 100)
    rank = -(-(count + 1) * (100 - percent) // 100)  # ceil in whole numbers
    assert missed == count - rank
    assert (missed >= 0) == (count >= fewest_groups(percent / 100))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), percent=st.integers(1, 49))
def test_groups_never_allow_more_than_single_cases(sizes, percent):
    grouped = num_missable(sum(sizes), max(sizes), percent / 100)
    assert grouped <= num_missable(sum(sizes), 1, percent / 100)
    assert len(sizes) >= fewest_groups(percent / 100) or grouped < 0


def test_numbers_of_groups():
    assert group_numbers(["b", "a", "b"], 3).tolist() == [1, 0, 1]
    assert group_numbers(None, 2).tolist() == [0, 1]
    assert group_sizes(np.array([4, 0, 4, 7])).tolist() == [1, 2, 1]
    with pytest.raises(DecisionError, match=r"one id a row, 3. Got 1"):
        group_numbers(["a"], 3)
