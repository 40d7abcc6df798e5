"""Standardized differences: the published formula, its signs and where it is not defined."""

import numpy as np
import pytest

from chiron.report.data_tables import table_one_rows
from chiron.report.standardized_difference import of_means, of_shares
from chiron.report.table_one import table_one
from tests.unit.report.test_flow import manifest_of


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


def test_table_one_compares_train_with_test(context_of):
    rows = [("train", "ok", "a", k) for k in range(4)] + [("test", "ok", "b", 9), ("test", "ok", "a", 8)]
    ages = ["50", "60", None, "70", "33", "43"]
    manifest = manifest_of(rows, age=ages, sex=["F", "F", "M", "M", "M", "F"])
    age, sex = (column["differences"] for column in table_one(manifest)["columns"])
    assert age == {
        "mean (SD)": pytest.approx((38 - 60) / np.sqrt((100 + 50) / 2)),
        "missing": pytest.approx(-0.25 / np.sqrt(0.1875 / 2)),
    }
    assert sex == {"F": 0.0, "M": 0.0, "missing": 0.0}
    splits = {
        role: {"a": {"images": n, "groups": n}, "b": {"images": 8, "groups": 8}}
        for role, n in (("train", 8), ("test", 2))
    }
    view = table_one_rows(context_of(splits=splits, table_one=table_one(manifest)), ["a", "b"])
    assert view["compared"] == ["train", "test"]
    assert [row["difference"] for row in view["sections"][1]["rows"]] == ["−0.66", "0.66"]
    assert [row["difference"] for row in view["sections"][2]["rows"]] == ["−2.54", "−0.82"]


def test_one_split_is_compared_with_nothing(context_of):
    manifest = manifest_of([("train", "ok", "a", 0), ("train", "ok", "b", 1)], age=["1", "2"])
    assert "differences" not in table_one(manifest)["columns"][0]
    assert table_one_rows(context_of(), ["normal", "opacity"])["compared"] == []


def test_shares_that_must_not_be_told_are_not_compared(context_of):
    counts = {"normal": {"images": 40, "groups": 30, "share": None}}
    view = table_one_rows(context_of(splits={"train": counts, "test": counts}), ["normal"])
    assert view["compared"] == []
