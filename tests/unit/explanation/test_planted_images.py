"""Phantoms for explainers: off the center, at the size that the network sees, the mark where it is."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from chiron.classifier import Classifier
from chiron.core.errors import ExplainError
from chiron.explanation.planted_images import auroc_of, draw_planted, off_center
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace

SPEC = InputSpec(img_size=48, in_chans=1)


class Mean(nn.Module):
    """The finding's logit is the image's mean."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        z = image.mean(dim=(1, 2, 3))
        return torch.stack([z, -z], dim=1)


def classifier(*names: str) -> Classifier:
    labels = LabelSpace(names=names or ("opacity", "normal"), positive=(names or ("opacity",))[0])
    return Classifier([Mean()], network_spec=NetworkSpec(name="test_resnet", args={}), input_spec=SPEC, labels=labels)


@pytest.fixture(scope="module")
def images():
    return draw_planted(classifier(), num_images=12, difficulty=0.25, seed=9, shortcut="corner_marker")


def test_off_center_by_a_loop_over_pixels():
    masks = torch.rand((200, 9, 12), generator=torch.Generator().manual_seed(1)) < 0.06
    expected = [
        any(mask[r, c] for r in range(9) for c in range(12))
        and not any(mask[r, c] for r in range(3, 6) for c in range(4, 8))
        for mask in masks
    ]
    assert off_center(masks).tolist() == expected
    assert 10 < sum(expected) < 190


def test_targets_are_places_in_the_classifiers_own_list(images):
    has_finding = images.findings.flatten(1).any(dim=1).numpy()
    assert np.array_equal(images.targets == 0, has_finding)  # opacity is its first class
    assert images.stored.shape == (12, 1, 48, 48)


def test_the_mark_is_where_the_corner_is_and_only_with_the_class(images):
    marked = images.marks.flatten(1).any(dim=1).numpy()
    assert np.array_equal(marked, images.targets == 0)
    rows, columns = images.marks.any(dim=0).nonzero().T
    assert rows.max() <= 5
    assert columns.min() >= 43


def test_without_a_shortcut_nothing_is_marked():
    plain = draw_planted(classifier(), num_images=3, difficulty=0.25, seed=9)
    assert not plain.marks.any()


def test_auroc_is_scikit_learns(images):
    model = classifier()
    score = model.logits(images.stored).numpy()[:, 0]
    found = auroc_of(model, images, batch_size=5)
    assert found.value == pytest.approx(roc_auc_score(images.targets == 0, score))
    assert found.num_groups == len(set(images.patient_ids)) < 12


def test_rows_keep_everything_together(images):
    part = images.rows(torch.tensor([4, 1]))
    assert part.patient_ids == (images.patient_ids[4], images.patient_ids[1])
    assert torch.equal(part.findings, images.findings[[4, 1]])
    assert part.targets.tolist() == images.targets[[4, 1]].tolist()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ExplainError, match=r"must know the classes of phantom-cxr: normal, opacity\. Got well, sick"):
        draw_planted(classifier("well", "sick"), num_images=2, difficulty=0.25, seed=9)
    with pytest.raises(ExplainError, match=r"must have a place: corner_marker, ruler\. Got 'tone'"):
        draw_planted(classifier(), num_images=2, difficulty=0.25, seed=9, shortcut="tone")
