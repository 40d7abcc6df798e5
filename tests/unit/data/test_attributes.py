"""Columns become groups: ages in stated bins, numbers in quarters, missing values a group of their own."""

import numpy as np
import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.attributes import NOT_RECORDED, groups_of, subgroup_columns


def named(column: pl.Series) -> list[str]:
    names, index = groups_of(column)
    return [names[place] for place in index]


def test_ages_have_stated_bins():
    column = pl.Series("Patient Age", ["0", "17", "18", "39.5", "40", "64", "65", "85", "", None, "unknown"])
    assert named(column) == [
        *("0-17", "0-17", "18-39", "18-39", "40-64", "40-64", "65 and over", "65 and over"),
        *(NOT_RECORDED,) * 3,
    ]


def test_other_numbers_become_quarters_with_their_limits():
    column = pl.Series("skin_tone", [*(np.arange(40) / 40).tolist(), None])
    names, index = groups_of(column)
    assert names == ("below 0.244", "0.244 to 0.487", "0.487 to 0.731", "0.731 and more", NOT_RECORDED)
    assert np.bincount(index).tolist() == [10, 10, 10, 10, 1]


def test_few_numbers_are_grades():
    assert named(pl.Series("grade", [1, 2, 2, None])) == ["1", "2", "2", NOT_RECORDED]


def test_a_number_that_is_age_only_by_content_is_no_age():
    assert named(pl.Series("years_of_practice", ["5", "70"])) == ["5", "70"]


def test_names_stay_and_the_rarest_are_taken_together():
    values = [f"site {k:02d}" for k in range(20) for _ in range(k + 1)]
    names, index = groups_of(pl.Series("site", values))
    assert names == (*(f"site {k:02d}" for k in range(9, 20)), "all others")
    assert np.bincount(index)[-1] == sum(range(1, 10))


def test_a_group_without_a_row_is_not_there():
    assert groups_of(pl.Series("sex", ["male", "male"]))[0] == ("male",)
    assert groups_of(pl.Series("sex", [None, "unknown", " "], dtype=pl.String))[0] == (NOT_RECORDED,)


def test_default_columns_are_subgroups_sites_age_and_sex():
    roles = {"skin_tone": "subgroup", "hospital": "site", "age": "predictor", "localization": "predictor"}
    columns = ["localization", "hospital", "age", "skin_tone", "note"]
    assert subgroup_columns(columns, roles) == ("hospital", "age", "skin_tone")
    assert subgroup_columns(columns, roles, ["note"]) == ("note",)


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(DataError, match=r"Subgroups must be columns .* Got 'sexx'\. Did you mean"):
        subgroup_columns(["sex", "age"], {}, ["sexx"])
