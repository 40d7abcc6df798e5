"""The page of `train` keys is made of the schema, what it says a key is equal to exists, and so do keys advised."""

import json
import re
import textwrap
from importlib import import_module

import pytest
import yaml
from training_page import EQUAL, GROUPS, PAGE, page

from chiron.spec.reading import read_recipe
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


TRAIN_WELL = (PAGE.parents[1] / "how-to" / "train-well.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", TRAIN_WELL, re.DOTALL)]
RECIPE = "phantom_cxr/fair_cnn_nano"


@pytest.mark.parametrize("block", BLOCKS)
def test_parts_of_recipes_can_be_written_so(block):
    parts = yaml.safe_load(block)
    changes = [f"{part}.{key}={json.dumps(value)}" for part, keys in parts.items() for key, value in keys.items()]
    assert changes
    read_recipe(RECIPE, tuple(changes))


def test_every_key_advised_is_one_of_the_recipe():
    text = re.sub(r"```.*?```", "", TRAIN_WELL, flags=re.DOTALL)
    spans = set(re.findall(r"`((?:model|input|augment|train)\.[^`]+)`", text))
    assert len(spans) > 20
    plain = read_recipe(RECIPE)
    for span in spans:
        key, _, value = span.partition(": ")
        part, _, name = key.partition(".")
        assert name in type(getattr(plain, part)).model_fields, span
        if value:
            read_recipe(RECIPE, ("augment={}", f"{key}={value}"))
