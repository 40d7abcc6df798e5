"""Model randomization: weights, norms and the maps that must not survive it."""

import copy

import pytest
import timm
import torch
from analytic_networks import ONE_LOGIT, gradient_map, linear_subject
from torch import nn

from chiron.explanation.explainers import grad_cam
from chiron.explanation.scores.controls import center_prior, edge_map
from chiron.explanation.scores.randomization import (
    NUM_NETWORKS,
    NUM_STEPS,
    cascading_correlation,
    randomization_correlation,
    with_redrawn,
)
from chiron.explanation.subject import Subject


class WithNorms(nn.Module):
    """Convolutions and batch norms, one of them after pooling, as in a neck; with an activation in the norm of timm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 8, 3)
        self.norm = timm.layers.BatchNormAct2d(8)
        self.second = nn.Conv2d(8, 4, 3)
        self.neck = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.neck(self.second(self.norm(self.first(image))).mean(dim=(2, 3))))


def _subject(num_images: int = 5) -> Subject:
    image = 1e3 * torch.rand((num_images, 1, 12, 12), generator=torch.Generator().manual_seed(1))
    return Subject(WithNorms().eval(), (image,), torch.ones(num_images, dtype=torch.long), ONE_LOGIT)


def test_an_edge_detector_fails_and_so_does_a_prior():
    subject = linear_subject()
    for control in (edge_map, center_prior):
        assert randomization_correlation(subject, control).tolist() == pytest.approx([1] * 4)


def test_a_map_upside_down_fails_too():
    subject, maps = linear_subject(), edge_map(linear_subject())
    made = randomization_correlation(subject, lambda it: maps if it.network is subject.network else 100 - maps)
    assert made.tolist() == pytest.approx([1] * 4)


def test_the_gradient_of_a_linear_network_goes_with_its_weights():
    subject = linear_subject(size=32)
    made = randomization_correlation(subject, gradient_map)
    assert (made < 0.1).all()
    seen: list[nn.Module] = []

    def explain(shown):
        seen.append(shown.network)
        return gradient_map(shown)

    randomization_correlation(subject, explain)
    assert len(seen) == 1 + NUM_NETWORKS
    weights = [network.weight for network in seen]
    assert all(not torch.equal(weights[0], it) and not torch.equal(weights[1], it) for it in weights[2:])


def test_values_are_dealt_anew_and_the_network_itself_stays():
    subject = _subject()
    before = copy.deepcopy(subject.network.state_dict())
    made = with_redrawn(subject, seed=1).network
    for name, parameter in subject.network.named_parameters():
        other = made.get_parameter(name)
        assert torch.equal(parameter.flatten().sort().values, other.flatten().sort().values)
        assert other.requires_grad
        assert torch.equal(parameter, other) == (parameter.unique().numel() == 1)
    for name, value in before.items():
        assert torch.equal(value, subject.network.state_dict()[name])
    assert not any(module.training for module in made.modules())
    again, other = (with_redrawn(subject, seed=seed).network.head.weight for seed in (1, 2))
    assert torch.equal(made.head.weight, again)
    assert not torch.equal(made.head.weight, other)


def test_norms_fit_the_redrawn_weights():
    subject = _subject()
    made = with_redrawn(subject).network
    twice = torch.cat([subject.image, subject.image.flip(-1)])
    seen = made.first(twice)
    assert made.norm.running_mean == pytest.approx(seen.mean(dim=(0, 2, 3)).detach(), rel=1e-4)
    assert made.norm.running_var == pytest.approx(seen.var(dim=(0, 2, 3)).detach(), rel=1e-3)
    assert made.norm.momentum == subject.network.norm.momentum
    assert made(subject.image).abs().max() < 10  # values of 1000 go in, and no running statistics knew of them
    assert subject.network(subject.image).abs().max() > 10
    assert with_redrawn(_subject(num_images=1)).network(subject.image).isfinite().all()


def test_the_cascade_goes_from_the_output_and_ends_with_all():
    subject = _subject()
    half = with_redrawn(subject, share=0.5).network
    own = subject.network
    assert torch.equal(half.first.weight, own.first.weight)
    assert torch.equal(half.norm.running_mean, own.norm.running_mean)
    assert not torch.equal(half.head.weight, own.head.weight)
    assert not torch.equal(half.neck.running_mean, own.neck.running_mean)
    made = cascading_correlation(subject, gradient_map, seed=4)
    assert made.shape == (NUM_STEPS, 5)
    networks: list[nn.Module] = []
    randomization_correlation(subject, lambda it: networks.append(it.network) or gradient_map(it), seed=4)
    cascade: list[nn.Module] = []
    cascading_correlation(subject, lambda it: cascade.append(it.network) or gradient_map(it), seed=4)
    for name, value in cascade[-1].state_dict().items():
        assert torch.equal(value, networks[1].state_dict()[name])


def test_grad_cam_of_a_timm_network_can_be_asked():
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1).eval()
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    subject = Subject(network, (image,), torch.ones(2, dtype=torch.long), ONE_LOGIT)
    made = randomization_correlation(subject, grad_cam.explain)
    assert ((made >= 0) & (made < 1)).all()
    assert all(parameter.grad is None for parameter in network.parameters())
