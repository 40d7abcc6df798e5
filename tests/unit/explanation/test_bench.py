"""What the bench says of explainers, on a network whose right explanation is known."""

import numpy as np
import pytest
import torch
from analytic_networks import ONE_LOGIT
from torch import nn

from chiron.core.errors import ExplainError
from chiron.explanation.bench import SIZES, bench_explainer, where_it_points
from chiron.explanation.subject import Subject

SIZE = 48


class Brightness(nn.Module):
    """z grows with how much of the image is bright over 5 x 5 pixels; a fine pattern of mean 0 it cannot see."""

    num_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, kernel_size=5, padding=2, stride=2)
        self.act = nn.ReLU()
        self.head = nn.Linear(2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 1, 5, 5) / 25)
            self.conv.bias.fill_(-0.4)
            self.head.weight.copy_(torch.tensor([[30.0, -30.0]]))
            self.head.bias.fill_(-1.0)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.conv(image)).mean(dim=(2, 3)))


def blobs(num_images: int = 40) -> tuple[Subject, torch.Tensor, torch.Tensor, list[str]]:
    """A bright square in a corner, and a checkerboard, which is all edges, in the opposite one; 2 images a patient."""
    random = torch.Generator().manual_seed(3)
    image = 0.02 * torch.randn((num_images, 1, SIZE, SIZE), generator=random)
    findings, marks = torch.zeros((2, num_images, SIZE, SIZE), dtype=torch.bool)
    board = (torch.arange(8)[:, None] // 2 + torch.arange(8) // 2).remainder(2).float() * 4 - 2
    for k in range(num_images):
        side = 6 + k % 3
        top, left = ((4, 4), (4, 36), (36, 4), (36, 36))[k % 4]
        image[k, 0, top : top + side, left : left + side] += 1
        findings[k, top : top + side, left : left + side] = True
        image[k, 0, 40 - top : 48 - top, 40 - left : 48 - left] += board
        marks[k, 40 - top : 48 - top, 40 - left : 48 - left] = True
    subject = Subject(Brightness().eval(), (image,), torch.ones(num_images, dtype=torch.long), ONE_LOGIT)
    return subject, findings, marks, [f"p{k // 2}" for k in range(num_images)]


@pytest.fixture(scope="module")
def found():
    subject, findings, _, patients = blobs()
    return bench_explainer("grad_cam", subject, findings, patients, num_scored=20)


def test_the_explainer_that_sees_what_the_network_sees_beats_every_control(found):
    assert found.estimates["pointing"].value == 1
    for control in ("edges", "center", "random"):
        assert found.differences[control]["pointing"].low > 0, control
    assert found.differences["edges"]["pointing"].value == pytest.approx(1, abs=0.05)  # the checkerboard has the edges
    assert not [reason for reason in found.reasons if "control" in reason]


def test_numbers_are_by_patients_and_the_costly_ones_of_one_image_each(found):
    pointing, gain = found.estimates["pointing"], found.estimates["deletion_gain"]
    assert (pointing.num_images, pointing.num_groups) == (40, 20)
    assert (gain.num_images, gain.num_groups) == (20, 20)
    assert gain.low > 0
    assert set(found.by_size) == set(SIZES)
    assert [found.by_size[size].num_images for size in SIZES] == [14, 13, 13]


def test_an_explainer_that_looks_elsewhere_is_not_recommended():
    subject, _, marks, patients = blobs()
    elsewhere = bench_explainer("grad_cam", subject, marks, patients, num_scored=20)
    assert elsewhere.estimates["pointing"].value == 0
    assert not elsewhere.recommended
    assert any("'edges'" in reason and "-1.000" in reason for reason in elsewhere.reasons)


def test_an_explainer_that_does_not_fit_is_refused():
    subject, findings, _, patients = blobs(4)
    with pytest.raises(ExplainError, match=r"attention must fit the network\. Got Brightness"):
        bench_explainer("attention", subject, findings, patients, num_scored=4)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("mark", "Shortcut: 100% of the maps point at the mark, 0% at a finding. The network goes by the mark"),
        ("finding", "No shortcut seen: 0% of the maps point at the mark, 100% at a finding"),
        ("undecided", "Undecided: 50% of the maps point at the mark, 50% at a finding"),
    ],
)
def test_where_maps_point_is_told_in_words(at, words):
    _, findings, marks, _ = blobs()
    first = {"mark": 0, "finding": 40, "undecided": 20}[at]
    maps = torch.cat([findings[:first], marks[first:]]).float()
    told = where_it_points(maps, findings, marks, [str(k) for k in range(40)])
    assert told["points_at"] == at
    assert told["words"].startswith(words)
    assert told["mark_minus_finding"].value == pytest.approx(1 - 2 * first / 40)


def test_sizes_are_thirds_by_area():
    subject, findings, marks, patients = blobs(12)
    small = findings.flatten(1).sum(dim=1) == 36
    masks = torch.where(small[:, None, None], findings, marks)  # the map hits those of the smallest third alone
    found = bench_explainer("grad_cam", subject, masks, patients, num_scored=6)
    assert [found.by_size[size].value for size in SIZES] == [1, 0, 0]
    assert np.isclose(found.estimates["pointing"].value, 4 / 12)
