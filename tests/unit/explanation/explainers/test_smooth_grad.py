import torch
from explained import subject_of
from torch import nn

from chiron.explanation import subject as subject_module
from chiron.explanation.explainers.smooth_grad import NOISE, NUM_COPIES, explain


class Squares(nn.Module):
    """Class k scores the squares of channel k: its gradient is twice the image there."""

    def forward(self, x):
        return x.square().sum(dim=(2, 3))


def test_known_gradient():
    subject = subject_of(Squares())
    maps = explain(subject, seed=3)
    noise = torch.randn(NUM_COPIES, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    for image, place in enumerate([0, 1, 2]):
        picture = subject.image[image]
        spread = NOISE * (picture.max() - picture.min())
        expected = sum((2 * (picture + spread * it))[place] for it in noise) / NUM_COPIES
        torch.testing.assert_close(maps[image], expected.abs())


def test_copies_in_parts_give_the_same(monkeypatch):
    subject = subject_of("test_vit")
    whole = explain(subject)
    monkeypatch.setattr(subject_module, "PIXELS_AT_ONCE", 5 * 3 * 64 * 64)  # five copies of three images
    torch.testing.assert_close(explain(subject), whole)


def test_the_seed_decides_and_torch_s_own_state_stays():
    subject = subject_of("test_vit")
    state = torch.random.get_rng_state()
    assert torch.equal(explain(subject, seed=1), explain(subject, seed=1))
    assert not torch.equal(explain(subject, seed=1), explain(subject, seed=2))
    assert torch.equal(torch.random.get_rng_state(), state)
