import subprocess
import sys

import pytest

from chiron.core.errors import ChironError
from chiron.core.registry import leaf_literal, leaf_names, load_leaf


def test_leaves_are_found_by_file_stem():
    assert {"bce", "cross_entropy"} <= set(leaf_names("chiron.engine.losses"))


def test_unknown_leaf_is_told_with_a_suggestion():
    with pytest.raises(
        ChironError, match=r"The loss must be one of .*Got 'cross_entropi'. Did you mean 'cross_entropy'"
    ):
        load_leaf("chiron.engine.losses", "cross_entropi", kind="loss")


def test_load_leaf():
    assert load_leaf("chiron.engine.losses", "bce", kind="loss").__name__ == "chiron.engine.losses.bce"


def test_literals_are_read_without_importing_the_leaf(tmp_path, monkeypatch):
    (tmp_path / "leafy").mkdir()
    (tmp_path / "leafy" / "__init__.py").touch()
    (tmp_path / "leafy" / "one.py").write_text("import nothing_of_this_name\nOPTIONS: tuple = ('a', 'b')\n")
    (tmp_path / "leafy" / "two.py").write_text("OPTIONS = tuple('ab')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert leaf_literal("leafy", "one", "OPTIONS") == ("a", "b")
    assert leaf_literal("leafy", "one", "OTHER") is None
    assert "leafy.one" not in sys.modules
    with pytest.raises(ChironError, match=r"OPTIONS of leafy\.two must be a plain literal"):
        leaf_literal("leafy", "two", "OPTIONS")


def test_packages_that_load_much_are_not_imported():
    code = (
        "import sys; from chiron.core.registry import leaf_literal, leaf_names\n"
        "assert {'linear', 'simple'} <= set(leaf_names('chiron.models.heads'))\n"
        "assert leaf_literal('chiron.models.heads', 'simple', 'OPTIONS') == ('drop_rate',)\n"
        "assert 'torch' not in sys.modules and 'chiron.models' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_package_is_a_mistake_of_the_program():
    with pytest.raises(ModuleNotFoundError, match=r"No package named 'chiron.engine.loses'"):
        leaf_names("chiron.engine.loses")
