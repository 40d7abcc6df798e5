"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import chiron

MODULES = [module.name for module in pkgutil.walk_packages(chiron.__path__, "chiron.") if ".cli" not in module.name]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
