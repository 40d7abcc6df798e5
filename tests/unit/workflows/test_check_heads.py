"""`chiron check` on heads: names and arguments, all without torch."""

import pytest

from chiron.core.errors import SpecError
from chiron.workflows.check import check_recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("model.head=acrn",), "model.head must be a known name (acrnn, class_token, linear, simple). Got 'acrn'."),
        (
            ("model.head=simple", "model.head_args.drop_rat=0.1"),
            "model.head_args of simple must be among drop_rate. Got 'drop_rat'. Did you mean 'drop_rate'?",
        ),
        (("model.head_args.drop_rate=0.1",), "head_args needs a head"),
    ],
)
def test_mistakes_are_told(tiny_recipe, changes, message):
    with pytest.raises(SpecError) as error:
        check_recipe(str(tiny_recipe), changes)
    assert message in str(error.value)


def test_a_sound_head(tiny_recipe):
    recipe = check_recipe(str(tiny_recipe), ("model.head=class_token", "model.head_args.depth=1"))
    assert (recipe.model.head, recipe.model.head_args) == ("class_token", {"depth": 1})
