import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from chiron.engine.schedules import learning_rate
from chiron.spec.train_recipe import TrainRecipe


def rates(train: TrainRecipe, num_batches: int) -> list[float]:
    """The rate of every step of a run."""
    return [
        learning_rate(train, epoch=epoch, step_in_epoch=step, num_batches=num_batches)
        for epoch in range(train.epochs)
        for step in range(num_batches)
    ]


def torch_rates(make, count: int, lr: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, seen = make(optimizer), []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_published_values_of_a_run_of_100_epochs():
    """SGD 0.01, 555 steps an epoch, 5 epochs of warm-up from 1e-5, to all printed digits."""
    train = TrainRecipe(epochs=100, lr=0.01, optimizer="sgd", warmup_epochs=5, warmup_lr=1e-5)
    after = [learning_rate(train, epoch=epoch + 1, step_in_epoch=0, num_batches=555) for epoch in range(7)]
    assert [f"{rate:.3e}" for rate in after[:5]] == ["2.008e-03", "4.006e-03", "6.004e-03", "8.002e-03", "1.000e-02"]
    assert [f"{rate:.6e}" for rate in after[5:]] == ["9.997266e-03", "9.989068e-03"]
    assert learning_rate(train, epoch=0, step_in_epoch=0, num_batches=555) == 1e-5


def test_warmup_equals_torchs_lambda_schedule():
    train = TrainRecipe(epochs=4, lr=0.1, warmup_epochs=1.5, warmup_lr=0.02, schedule="constant")
    reference = torch_rates(lambda o: LambdaLR(o, lambda k: min(1.0, 0.2 + 0.8 * k / 15)), 40, lr=0.1)
    assert rates(train, 10) == pytest.approx(reference, rel=1e-12)


def test_cosine_a_step_equals_torchs():
    train = TrainRecipe(epochs=4, lr=0.1, min_lr=0.001)
    reference = torch_rates(lambda o: CosineAnnealingLR(o, 20, eta_min=0.001), 20, lr=0.1)
    assert rates(train, 5) == pytest.approx(reference, rel=1e-9)


def test_cosine_an_epoch_equals_torchs_and_is_constant_within_one():
    train = TrainRecipe(epochs=30, lr=5e-5, schedule_per="epoch")
    reference = torch_rates(lambda o: CosineAnnealingLR(o, 30), 30, lr=5e-5)
    assert rates(train, 3) == pytest.approx([rate for rate in reference for _ in range(3)], rel=1e-9)


def test_warmup_an_epoch_counts_epochs():
    train = TrainRecipe(epochs=6, lr=1.0, schedule_per="epoch", warmup_epochs=2, warmup_lr=0.5)
    assert rates(train, 1) == pytest.approx([0.5, 0.75, 1.0, 0.8535534, 0.5, 0.1464466])


@given(
    epochs=st.integers(1, 6),
    share=st.floats(0, 0.99),
    num_batches=st.integers(1, 8),
    schedule=st.sampled_from(["cosine", "constant"]),
    per=st.sampled_from(["step", "epoch"]),
)
def test_rates_rise_to_lr_and_never_rise_again(epochs, share, num_batches, schedule, per):
    """A run whose warm-up takes nearly all of it may end before it falls."""
    train = TrainRecipe(
        epochs=epochs,
        lr=1.0,
        schedule=schedule,
        schedule_per=per,
        warmup_epochs=share * epochs,
        warmup_lr=0.2,
        min_lr=0.1,
    )
    seen = rates(train, num_batches)
    top = seen.index(max(seen))
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert all(0.1 <= rate <= 1.0 for rate in seen)
