"""Classes in order: said in a recipe with their names, kept in the label list."""

import pytest

from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import LabelRecipe


def test_grades_are_named_in_order():
    assert LabelRecipe(names=("none", "mild", "severe"), ordinal=True).ordinal
    assert LabelSpace(names=("none", "mild", "severe"), ordinal=True).ordinal
    with pytest.raises(ValueError, match="ordinal needs names: at least three classes"):
        LabelRecipe(ordinal=True)


@pytest.mark.parametrize("labels", [{"names": ("a", "b"), "positive": "b"}, {"names": "abc", "kind": "multi_label"}])
def test_two_classes_or_several_an_image_have_no_order(labels):
    with pytest.raises(ValueError, match="ordinal needs at least three classes"):
        LabelSpace(**labels | {"names": tuple(labels["names"])}, ordinal=True)
