"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import chiron

MODULES = [module.name for module in pkgutil.walk_packages(chiron.__path__, "chiron.") if ".cli" not in module.name]
OPTIONAL = {"mlflow", "wandb"}  # of the extra `track`, which development does without


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0
