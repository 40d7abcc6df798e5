import pytest

from chiron.core.errors import ChironError
from chiron.core.registry import leaf_names, load_leaf


def test_leaves_are_found_by_file_stem():
    assert {"bce", "cross_entropy"} <= set(leaf_names("chiron.engine.losses"))


def test_unknown_leaf_is_told_with_a_suggestion():
    with pytest.raises(
        ChironError, match=r"The loss must be one of .*Got 'cross_entropi'. Did you mean 'cross_entropy'"
    ):
        load_leaf("chiron.engine.losses", "cross_entropi", kind="loss")


def test_load_leaf():
    assert load_leaf("chiron.engine.losses", "bce", kind="loss").__name__ == "chiron.engine.losses.bce"
