"""`chiron check` on losses: keys that belong to another, and losses that do not fit the labels, all without torch."""

import pytest

from chiron.core.errors import DataError, SpecError
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("train.loss=focl",), "Did you mean 'focal'?"),
        (
            ("train.focal_gamma=1",),
            "train.focal_gamma must be 2.0 with train.loss cross_entropy, which does not use it. Got 1.0. "
            "Leave it out, or use train.loss focal.",
        ),
        (
            ("train.loss=focal", "train.label_smoothing=0.1"),
            "train.label_smoothing must be 0.0 with train.loss focal, which does not use it. Got 0.1.",
        ),
        (
            ("train.loss=bce", "labels.one_logit=true", "train.asymmetric_shift=0.1"),
            "Leave it out, or use train.loss asymmetric.",
        ),
        (
            ("train.loss=focal", "labels.one_logit=true"),
            "train.loss must be asymmetric or bce with labels.one_logit, a question a logit. Got focal. "
            "Add --set train.loss=bce, or leave labels.one_logit out.",
        ),
        (
            ("train.loss=asymmetric", "data.labels=single"),
            "train.loss must be cross_entropy or focal where every image has one class and every class a logit. "
            "Got asymmetric. Add --set train.loss=cross_entropy, or of two classes --set labels.one_logit=true.",
        ),
        (
            ("train.loss=focal", "data.labels=multi", "labels.positive=null"),
            "train.loss must be asymmetric or bce, a question a class. Got focal.",
        ),
    ],
)
def test_mistakes_are_told(tiny_recipe, changes, message):
    with pytest.raises(SpecError) as error:
        check_recipe(str(tiny_recipe), changes)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        ("train.loss=focal", "train.focal_gamma=1", "train.class_weights=balanced"),
        ("train.loss=asymmetric", "labels.one_logit=true", "train.asymmetric_gamma_pos=1"),
        ("train.loss=asymmetric", "data.labels=multi", "labels.positive=null", "train.asymmetric_shift=0"),
        ("train.loss=bce", "labels.positive=null"),  # the data can have several labels an image
    ],
)
def test_sound_losses(tiny_recipe, changes):
    assert check_recipe(str(tiny_recipe), changes).train.loss == changes[0].partition("=")[2]


def test_a_loss_that_does_not_fit_the_data_is_told_when_they_are_read(tiny_recipe, class_folders):
    recipe = check_recipe(str(tiny_recipe), ("train.loss=asymmetric",))
    with pytest.raises(DataError, match=r"must be cross_entropy or focal where every image has one class.*asymmetric"):
        prepare(recipe, class_folders)
