"""ROAD against pytorch-grad-cam, and on a linear network."""

import pytest
import torch
from analytic_networks import contributions, linear_subject

from chiron.explanation.scores import road as road_module
from chiron.explanation.scores.evidence import mean_score
from chiron.explanation.scores.road import REMOVED_PERCENT, road


def test_the_score_is_that_of_pytorch_grad_cam_without_noise(monkeypatch):
    from pytorch_grad_cam.metrics import road as theirs

    noiseless = theirs.NoisyLinearImputer.__init__.__defaults__
    monkeypatch.setattr(theirs.NoisyLinearImputer.__init__, "__defaults__", (0.0, noiseless[1]))
    monkeypatch.setattr(road_module, "NOISE", 0.0)
    subject = linear_subject(num_images=3)
    places = torch.stack([torch.randperm(144, generator=torch.Generator().manual_seed(k)) for k in range(3)])
    maps = ((places + 1) / 256).reshape(3, 12, 12)  # no ties, and exact in 1 - map too
    targets = [lambda logits: logits.sigmoid()[0].detach()] * 3
    expected = theirs.ROADCombined(list(REMOVED_PERCENT))(subject.image, maps.numpy(), targets, subject.network)
    assert road(subject, maps).numpy() == pytest.approx(expected, abs=1e-3)


def test_the_exact_map_is_good_the_opposite_bad_and_a_random_one_nothing():
    subject = linear_subject(num_images=40, seed=2)
    exact = contributions(subject)
    made = road(subject, exact)
    assert (made > 0.1).all()
    assert road(subject, -exact).numpy() == pytest.approx(-made.numpy(), abs=0.02)
    random = mean_score("road", road(subject, torch.rand(40, 4, 4, generator=torch.Generator().manual_seed(0))))
    assert random.low < 0 < random.high
    assert random.high - random.low < 0.1


def test_the_score_of_an_image_does_not_depend_on_its_batch():
    subject = linear_subject()
    maps = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(3))
    alone = road(subject.rows(torch.tensor([1])), maps[1:2])
    assert alone.numpy() == pytest.approx(road(subject, maps)[1:2].numpy(), abs=1e-4)
