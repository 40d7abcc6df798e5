import pytest
from pydantic import ValidationError

from chiron.spec.labels import LabelSpace


def test_two_classes_need_a_named_positive_one():
    with pytest.raises(ValidationError, match="positive must name the class of interest, one of a, b"):
        LabelSpace(names=("a", "b"))
    assert LabelSpace(names=("a", "b"), positive="a").positive_index == 0


def test_one_logit_is_binary():
    labels = LabelSpace(names=("a", "b"), positive="b", one_logit=True)
    assert labels.num_outputs == 1
    with pytest.raises(ValidationError, match="exactly two classes"):
        LabelSpace(names=("a", "b", "c"), one_logit=True)


@pytest.mark.parametrize("names", [(), ("a",), ("a", "a", "b")])
def test_impossible_label_lists(names):
    with pytest.raises(ValidationError):
        LabelSpace(names=names)


def test_several_labels_may_be_one():
    assert LabelSpace(kind="multi_label", names=("edema",)).num_outputs == 1
