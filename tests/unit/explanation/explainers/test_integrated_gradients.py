import pytest
import torch
from explained import subject_of
from torch import nn

from chiron.core.errors import ExplainError
from chiron.explanation.explainers import integrated_gradients
from chiron.explanation.explainers.integrated_gradients import attributions, explain


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 64 * 64, 3)

    def forward(self, x):
        return self.head(x.flatten(1))


class Wave(nn.Module):
    """No number of steps that we take follows it."""

    def forward(self, x):
        return torch.sin(4e3 * x[:, :, :1, :1].flatten(1))


def test_a_linear_network_gives_weight_times_value():
    torch.manual_seed(0)
    subject = subject_of(Linear())
    expected = subject.network.head.weight.reshape(3, 3, 64, 64)[subject.classes] * subject.image
    torch.testing.assert_close(attributions(subject), expected.detach(), atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(explain(subject), expected.detach().sum(dim=1).relu(), atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "chiron_fair_cnn_nano", "chiron_hybrid_lung_vit_nano"])
def test_attributions_sum_to_the_difference_of_the_scores(name):
    subject = subject_of(name)
    blank = subject.showing(torch.zeros_like(subject.image))
    made = attributions(subject)
    with torch.no_grad():
        difference = subject.score(subject.outputs()) - blank.score(blank.outputs())
    gaps = (made.sum(dim=(1, 2, 3)) - difference).abs()
    assert (gaps <= 0.01 * made.abs().sum(dim=(1, 2, 3))).all()
    assert (gaps <= 0.01 * difference.abs().max()).all()
    assert difference.abs().max() > 0


def test_more_steps_are_taken_only_where_they_are_needed(monkeypatch):
    taken = []
    integrate = integrated_gradients._integrate

    def watched(subject, num_steps):
        taken.append((len(subject), num_steps))
        made, gaps = integrate(subject, num_steps)
        return made, gaps + (1e6 * torch.arange(len(subject)) if num_steps < 64 else 0)  # all but the first miss

    monkeypatch.setattr(integrated_gradients, "_integrate", watched)
    attributions(subject_of("chiron_vit_scratch_nano"))
    assert taken == [(3, 32), (2, 64)]


def test_a_score_that_cannot_be_integrated():
    with pytest.raises(ExplainError, match=r"must sum to.*Got .*% for image 0.*256 steps. Choose smooth"):
        explain(subject_of(Wave()))
