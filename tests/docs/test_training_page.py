"""The page of `train` keys is made of the schema, and what it says a key is equal to exists."""

import re
from importlib import import_module

import pytest
from training_page import EQUAL, GROUPS, PAGE, page

from chiron.spec.train_recipe import FreezeRecipe, TrainRecipe


def test_the_page_is_up_to_date():
    """Otherwise: python tests/training_page.py."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_key_is_in_one_group():
    keys = [key for group in GROUPS.values() for key in group.split()]
    assert sorted(keys) == sorted(TrainRecipe.model_fields)
    assert set(EQUAL) <= set(keys)


@pytest.mark.parametrize("model", [TrainRecipe, FreezeRecipe])
def test_every_key_says_what_it_means(model):
    assert not [key for key, field in model.model_fields.items() if not field.description]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:torch|timm|sklearn)\.[\w.]+)", "".join(EQUAL.values())))))
def test_what_a_key_is_equal_to_exists(name):
    module, *attributes = name.split(".")
    found = import_module(module)
    for depth, attribute in enumerate(attributes, start=1):
        if not hasattr(found, attribute):
            import_module(".".join([module, *attributes[:depth]]))
        found = getattr(found, attribute)
    assert found is not None
