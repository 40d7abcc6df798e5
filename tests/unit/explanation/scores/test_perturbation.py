"""The order in which places go, and many changed images in bounded batches."""

import numpy as np
import pytest
import torch
from analytic_networks import linear_subject
from hypothesis import given
from hypothesis import strategies as st

from chiron.explanation.scores import perturbation
from chiron.explanation.scores.draws import drawn
from chiron.explanation.scores.perturbation import enlarged, removal_rank, variant_probabilities


def test_the_largest_value_goes_first():
    maps = torch.tensor([[[[0.1, 0.9], [0.5, 0.3]]]])
    assert removal_rank(maps, torch.zeros(1, 2, 2)).tolist() == [[[[3, 0], [1, 2]]]]


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_every_place_goes_once_and_never_before_a_larger_one(seed, grid, size):
    random = np.random.default_rng(seed)
    maps = torch.from_numpy(random.integers(0, 3, (2, 3, grid, grid)).astype(np.float32))
    rank = removal_rank(maps, torch.from_numpy(random.random((2, size, size), dtype=np.float32)))
    assert torch.equal(rank.flatten(2).sort(dim=2).values, torch.arange(size * size).expand(2, 3, -1))
    values = enlarged(maps.flatten(0, 1), (size, size)).flatten(1)
    assert (values.gather(1, rank.flatten(0, 1).flatten(1).argsort(dim=1)).diff(dim=1) <= 0).all()


def test_equal_places_go_in_the_order_of_their_ties_and_not_of_rows():
    ties = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    rank = removal_rank(torch.zeros(1, 1, 8, 8), ties)[0, 0]
    assert torch.equal(rank.flatten().argsort(), ties.flatten().argsort())


@given(st.sampled_from(["sqrt", "square", "times 3"]))
def test_the_order_of_a_map_at_full_size_knows_no_scale(change):
    maps = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(1)) + 0.5
    other = {"sqrt": maps.sqrt(), "square": maps.square(), "times 3": 3 * maps}[change]
    ties = torch.rand(1, 6, 6)
    assert torch.equal(removal_rank(maps, ties), removal_rank(other, ties))


def test_variants_are_seen_in_bounded_batches_and_come_back_in_place(monkeypatch):
    subject = linear_subject(num_images=3)
    seen: list[int] = []

    def variants(rows, numbers):
        seen.append(len(rows))
        return subject.image[rows] * numbers[:, None, None, None]

    monkeypatch.setattr(perturbation, "AT_ONCE", 7)
    probs = variant_probabilities(subject, 5, variants)
    assert seen == [7, 7, 1]
    for k in range(5):
        shown = subject.showing(subject.image * k)
        assert probs[:, k] == pytest.approx(shown.probability(shown.outputs()).detach(), abs=1e-6)
    assert not probs.requires_grad


def test_a_mask_input_stays_beside_its_image():
    subject = linear_subject(num_images=2)

    class WithMask(torch.nn.Module):
        def forward(self, image, mask):
            return (image * mask).mean(dim=(1, 2, 3))[:, None]

    mask = torch.zeros(2, 1, 12, 12)
    mask[1] = 1
    masked = type(subject)(WithMask(), (subject.image, mask), subject.classes, subject.labels)
    probs = variant_probabilities(masked, 2, lambda rows, numbers: subject.image[rows] + numbers[:, None, None, None])
    assert probs[0].tolist() == [0.5, 0.5]
    assert probs[1, 1] > probs[1, 0]


def test_draws_belong_to_the_picture_and_leave_the_global_generator_alone():
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    before = torch.random.get_rng_state()
    made = drawn(images, (2, 5), "test", 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made.shape == (3, 2, 5)
    assert torch.equal(made[[2, 0]], drawn(images[[2, 0]], (2, 5), "test", 0))
    assert not torch.equal(made[0], made[1])
    for others in (("test", 1), ("other", 0)):
        assert not torch.equal(made, drawn(images, (2, 5), *others))
