import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from chiron.engine.schedules import warmup_cosine


def test_equals_torchs_schedulers():
    """Linear from lr / 5 over 5 steps, then a cosine over the other 15."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    reference = SequentialLR(
        optimizer,
        [LinearLR(optimizer, 1 / 5, 1.0, total_iters=4), CosineAnnealingLR(optimizer, 15, eta_min=0.001)],
        milestones=[5],
    )
    for step in range(20):
        ours = warmup_cosine(step, total_steps=20, warmup_steps=5, lr=0.1, min_lr=0.001)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        reference.step()


def test_golden_values():
    at = [warmup_cosine(step, total_steps=8, warmup_steps=2, lr=1.0, min_lr=0.0) for step in range(8)]
    assert at[:3] == [0.5, 1.0, 1.0]
    assert at[5] == pytest.approx(0.5)
    assert at[7] == pytest.approx(0.0669873)
