"""Standardized differences: the published formula, its signs and where it is not defined."""

import numpy as np
import pytest

from chiron.report.data_tables import table_one_rows
from chiron.report.standardized_difference import of_means, of_shares


def test_means_and_shares_by_hand():
    rng = np.random.default_rng(0)
    first, second = rng.normal(50, 9, 40), rng.normal(55, 14, 25)
    expected = (second.mean() - first.mean()) / np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    found = of_means((first.mean(), first.std(ddof=1)), (second.mean(), second.std(ddof=1)))
    assert found == pytest.approx(expected, rel=1e-12)
    assert of_shares(0.2, 0.5) == pytest.approx(0.3 / np.sqrt((0.16 + 0.25) / 2), rel=1e-12)
    assert of_shares(0.5, 0.2) == -of_shares(0.2, 0.5)


@pytest.mark.parametrize(("first", "second"), [(None, (1.0, 1.0)), ((1.0, None), (1.0, 1.0)), ((1.0, 0.0), (2.0, 0.0))])
def test_no_spread_no_number(first, second):
    assert of_means(first, second) is None


def test_shares_that_must_not_be_told_are_not_compared(context_of):
    counts = {"normal": {"images": 40, "groups": 30, "share": None}}
    view = table_one_rows(context_of(splits={"train": counts, "test": counts}), ["normal"])
    assert view["compared"] == []
