import pytest
import torch
from einops import reduce
from explained import network_of, subject_of
from torch import nn

from chiron.core.errors import ExplainError
from chiron.explanation.explainers.kept_tokens import explain, survival, why_not
from chiron.explanation.tokens import Pruning
from chiron.models.outputs import ModelOutput


def test_places_and_levels_by_hand():
    kept = (torch.tensor([[5, 0, 2]]), torch.tensor([[2]]))  # strongest first
    shares = (torch.tensor([[0.2, 0.0, 0.1, 0.1, 0.1, 0.5]]), torch.tensor([[0.3, 0.1, 0.6]]))  # of 5, 0, 2
    values = survival(Pruning((2, 3), kept, shares))
    expected = [1 + 0.999 * 0.4, 0, 2 + 0.999 * 1.0, 0, 0, 1 + 0.999 * 1.0]
    torch.testing.assert_close(values[0], torch.tensor(expected))


class Brightest(nn.Module):
    """Keeps the brighter half of 16 squares, then the brighter half of these, in an order of its own."""

    keep_ratios = (0.5, 0.25)

    def forward_named(self, x):
        importance = reduce(x, "b c (h p) (w q) -> b (h w)", "mean", p=16, q=16).softmax(dim=1)
        first = importance.topk(8).indices.flip(1)
        entered = importance.gather(1, first)
        second = first.gather(1, entered.topk(4).indices)
        shares = (importance, entered / entered.sum(dim=1, keepdim=True))
        return ModelOutput(importance[:, :3], kept_tokens=(first, second), token_scores=shares)


def test_a_network_whose_importance_is_known():
    places = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    image = places.reshape(1, 1, 4, 4).float().repeat_interleave(16, 2).repeat_interleave(16, 3).expand(1, 3, 64, 64)
    (values,) = explain(subject_of(Brightest(), image, (0,))).flatten(1)
    rank = places.argsort(descending=True)  # the brightest place first
    assert torch.equal(values.argsort(descending=True)[:8], rank[:8])
    assert not values[rank[8:]].any()
    assert values[rank[:4]].min() >= 2 > values[rank[4:8]].max() >= values[rank[4:8]].min() >= 1


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("chiron_gft_nano", 64),
        ("chiron_gft_corrected_nano", 64),
        ("chiron_h_coatnet_nano", 96),
        ("chiron_h_coatnet_corrected_nano", 96),
    ],
)
def test_every_reading(name, size):
    subject = subject_of(network_of(name, size), torch.randn(2, 3, size, size), (0, 1))
    assert why_not(subject) is None
    named = subject.network.forward_named(subject.image)
    values = explain(subject).flatten(1)
    for image in range(2):
        survived = torch.zeros(values.shape[1])
        for kept in named.kept_tokens:
            survived[kept[image]] += 1
        assert torch.equal(values[image].floor(), survived)
    assert not values[values < 1].any()


def test_others_are_told_why():
    subject = subject_of("test_vit")
    assert why_not(subject) == "it keeps all its tokens. Choose grad_cam."
    with pytest.raises(ExplainError, match=r"Tokens must be pruned. Got VisionTransformer. Choose grad_cam."):
        explain(subject)
