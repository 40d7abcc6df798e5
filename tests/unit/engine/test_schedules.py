import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
)

from chiron.engine.schedules import cycled_momentum, learning_rate
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
    schedule=st.sampled_from(["cosine", "constant", "plateau"]),
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


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_warm_restarts_an_epoch_equal_torchs(mult):
    train = TrainRecipe(
        epochs=40, lr=0.1, min_lr=1e-3, schedule="warm_restarts", schedule_per="epoch", restart_epochs=5,
        restart_mult=mult,
    )  # fmt: skip
    reference = torch_rates(lambda o: CosineAnnealingWarmRestarts(o, 5, T_mult=mult, eta_min=1e-3), 40, lr=0.1)
    assert rates(train, 2) == pytest.approx([rate for rate in reference for _ in range(2)], rel=1e-9)


@pytest.mark.parametrize("mult", [1, 2])
def test_warm_restarts_a_step_equal_torchs(mult):
    train = TrainRecipe(epochs=12, lr=0.1, schedule="warm_restarts", restart_epochs=3, restart_mult=mult)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, reference = CosineAnnealingWarmRestarts(optimizer, 3, T_mult=mult), []
    for step in range(12 * 7):
        scheduler.step(step / 7)
        reference.append(optimizer.param_groups[0]["lr"])
    # torch loses a restart of several periods to rounding: compare beside them
    close = [a == pytest.approx(b, rel=1e-6, abs=1e-12) for a, b in zip(rates(train, 7), reference, strict=True)]
    assert sum(close) >= len(close) - 1


def test_warm_restarts_after_a_warm_up_by_torchs_parts():
    """Lesion training: 40 epochs, periods of 20 from 3e-4 to 1e-5, and 5 % of the run to warm up."""
    train = TrainRecipe(
        epochs=40, lr=3e-4, min_lr=1e-5, warmup_epochs=2, warmup_lr=3e-5, schedule="warm_restarts",
        schedule_per="epoch", restart_epochs=20,
    )  # fmt: skip

    def parts(optimizer):
        rise = LinearLR(optimizer, start_factor=0.1, total_iters=2)
        fall = CosineAnnealingWarmRestarts(optimizer, 20, eta_min=1e-5)
        return SequentialLR(optimizer, [rise, fall], milestones=[2])

    seen = rates(train, 1)
    assert seen == pytest.approx(torch_rates(parts, 40, lr=3e-4), rel=1e-9)
    assert seen[:3] == pytest.approx([3e-5, 1.65e-4, 3e-4])
    assert seen[12] == pytest.approx((3e-4 + 1e-5) / 2)  # half of the first period
    assert seen[21] == pytest.approx(1.1785e-05, rel=1e-4)
    assert seen[22] == 3e-4  # the restart


@pytest.mark.parametrize(("epochs", "num_batches"), [(1, 1), (1, 3), (3, 1), (4, 5), (10, 10)])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_one_cycle_equals_torchs_rate_and_momentum(name, epochs, num_batches):
    train, count = TrainRecipe(epochs=epochs, lr=0.1, schedule="one_cycle"), epochs * num_batches
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **options)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=count)
    for epoch in range(epochs):
        for step in range(num_batches):
            group = optimizer.param_groups[0]
            place = {"epoch": epoch, "step_in_epoch": step, "num_batches": num_batches}
            assert learning_rate(train, **place) == pytest.approx(group["lr"], rel=1e-9)
            momentum = group["momentum"] if name == "SGD" else group["betas"][0]
            assert cycled_momentum(train, **place) == pytest.approx(momentum, rel=1e-9)
            optimizer.step()
            if epoch * num_batches + step + 1 < count:
                scheduler.step()


def test_no_other_schedule_touches_the_momentum():
    for schedule in ("cosine", "warm_restarts", "plateau", "constant"):
        train = TrainRecipe(epochs=2, lr=0.1, schedule=schedule)
        assert cycled_momentum(train, epoch=1, step_in_epoch=0, num_batches=2) is None


def test_a_plateau_lowers_the_rate_and_stops_at_min_lr():
    train = TrainRecipe(epochs=2, lr=0.1, schedule="plateau", min_lr=0.02)
    place = {"epoch": 1, "step_in_epoch": 0, "num_batches": 3}
    assert learning_rate(train, **place) == 0.1
    assert learning_rate(train, **place, rate_factor=0.5) == 0.05
    assert learning_rate(train, **place, rate_factor=0.1) == 0.02
