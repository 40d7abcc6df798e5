import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from chiron.engine.ema import WeightAverage


class Scalar(nn.Module):
    """One double-precision weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value, dtype=torch.float64))


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=12), decay=st.floats(0.01, 0.9999))
def test_corrected_average_is_the_weighted_mean_of_the_iterates(values, decay):
    average = WeightAverage(Scalar(1e6), decay=decay, bias_correction=True)  # the start has no share
    for t, value in enumerate(values, start=1):
        average.update(Scalar(value), t)
    shares = [decay ** (len(values) - t) for t in range(1, len(values) + 1)]
    expected = sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares)
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_share_of_the_untrained_weights_without_correction():
    """Decay 0.9999, 555 steps an epoch: after 1, 5, 10, 20, 50, 95 epochs 94.6 ... 0.5 %."""
    average, trained, share = WeightAverage(Scalar(1.0), decay=0.9999, bias_correction=False), Scalar(0.0), {}
    for step in range(1, 95 * 555 + 1):
        average.update(trained, step)
        if step % 555 == 0:
            share[step // 555] = f"{100 * average.network.weight.item():.1f}"
    assert [share[epoch] for epoch in (1, 5, 10, 20, 50, 95)] == ["94.6", "75.8", "57.4", "33.0", "6.2", "0.5"]


def test_statistics_and_counters_are_copied():
    """An average of the statistics would hold those of the first steps, which are not those of the averaged weights."""
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.5, bias_correction=True)
    for step in (1, 2):
        model.running_mean.fill_(float(step))
        model.running_var.fill_(10.0 * step)
        model.num_batches_tracked.fill_(100 * step)
        average.update(model, step)
    assert [tensor.item() for tensor in average.network.buffers()] == [2.0, 20.0, 200]


def test_equals_torchs_average():
    """torch.optim.swa_utils has no bias correction, and takes the first weights as they are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    ours = WeightAverage(model, decay=0.9, bias_correction=False)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)
    for step in range(1, 6):
        model(torch.randn(8, 3))  # moves the statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update(model, step)
        theirs.update_parameters(model)
    for name, tensor in theirs.module.state_dict().items():
        torch.testing.assert_close(ours.network.state_dict()[name], tensor, msg=name)


def test_a_parameter_that_two_layers_share_is_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    average = WeightAverage(model, decay=0.5, bias_correction=False)
    before = model[0].weight.detach().clone()
    model[0].weight.data.add_(1.0)
    average.update(model, 1)
    torch.testing.assert_close(average.network[0].weight, before + 0.5)


def test_training_goes_on_undisturbed():
    model = nn.Linear(2, 1)
    average = WeightAverage(model, decay=0.9, bias_correction=True)
    before = model.weight.clone()
    average.update(model, 1)
    model.weight.data.add_(1.0)
    torch.testing.assert_close(average.network.weight, before, rtol=0, atol=0)
    assert model.weight.requires_grad
    assert not average.network.weight.requires_grad
