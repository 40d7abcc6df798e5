"""fp16 with its scaler, channels_last and compiled steps: what is kept is plain, and resuming is exact."""

import json
import math

import pytest
import torch
from torch import nn

from chiron.core.errors import EngineError
from chiron.engine import setup as setting_up
from chiron.engine.checkpoint import TrainingState, list_checkpoints
from chiron.engine.compute import ComputeMode, parse_mode
from chiron.engine.step_results import LEAST_SCALE, StepResult, StepResults


@pytest.fixture
def loop(tmp_path, class_folders, tiny_recipe):
    """The loop alone; `name` is the folder of its checkpoints."""
    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    manifest, labels = prepare(check_recipe(str(tiny_recipe)), class_folders)

    def call(*changes: str, name: str = "checkpoints", on_epoch=lambda history: None):
        fit(
            check_recipe(str(tiny_recipe), changes),
            manifest,
            labels,
            checkpoints=tmp_path / name,
            runtime=start_runtime(device="cpu", threads=1),
            on_epoch=on_epoch,
        )
        return list_checkpoints(tmp_path / name)[-1]

    return call


def stop_after_one(history) -> None:
    if len(history) == 2:  # the checkpoint of the first epoch is written, that of the second is not
        raise KeyboardInterrupt


CHANGES = ("model.name=test_efficientnet", "input.in_chans=3", "train.epochs=2", "train.clip_grad=0.5")


@pytest.mark.parametrize("mode", [("fp16", False), ("bf16", True), ("fp32", True)])
def test_resuming_is_exact_in_every_mode(loop, mode):
    changes = (*CHANGES, f"train.precision={mode[0]}", f"train.channels_last={str(mode[1]).lower()}")
    whole = loop(*changes, name="whole")
    with pytest.raises(KeyboardInterrupt):
        loop(*changes, name="parts", on_epoch=stop_after_one)
    resumed = loop(*changes, name="parts")
    assert (resumed / "state.safetensors").read_bytes() == (whole / "state.safetensors").read_bytes()
    one, two = (json.loads((place / "state.json").read_text())["progress"] for place in (whole, resumed))
    assert one["scaler"] == two["scaler"]
    assert bool(one["scaler"]) == (mode[0] == "fp16")
    from safetensors.torch import load_file

    kept = load_file(whole / "state.safetensors")
    assert {tensor.dtype for tensor in kept.values()} <= {torch.float32, torch.int64}
    assert all(tensor.is_contiguous() for tensor in kept.values())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_that_overflows_is_left_out_and_the_scale_halves(loop, monkeypatch, optimizer):
    """A gradient of step 12 is infinite: its weights stay, and the run goes on. The first steps look for a scale."""
    from chiron.engine import step as module

    plain, seen = module._gradients, []

    def gradients(setup, *args):
        loss = plain(setup, *args)
        if len(seen) == 11:
            next(setup.state.model.parameters()).grad.fill_(math.inf)
        seen.append(({n: p.clone() for n, p in setup.state.model.named_parameters()}, setup.state.scaler.get_scale()))
        return loss

    monkeypatch.setattr(module, "_gradients", gradients)
    loop(*CHANGES, "train.precision=fp16", f"train.optimizer={optimizer}", "train.epochs=4")
    (first, _), (second, before), (third, after), (fourth, _) = seen[10:14]
    assert after == before / 2
    assert all(torch.equal(second[name], third[name]) for name in second)
    assert not all(torch.equal(first[name], second[name]) for name in second)
    assert not all(torch.equal(third[name], fourth[name]) for name in second)


def state_of(model: nn.Module, *, enabled: bool) -> TrainingState:
    scaler = torch.amp.GradScaler("cpu", enabled=enabled)
    return TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.1), scaler)


def result(loss: float, norm: float | None = None, step: int = 7) -> StepResult:
    return StepResult(torch.tensor([loss]), torch.tensor(2.0), None if norm is None else torch.tensor(norm), 4, step)


def test_a_scale_that_vanishes_is_one_sentence():
    state = state_of(nn.Linear(1, 1), enabled=True)
    state.scaler.scale(torch.ones(()))
    results = StepResults(state, torch.device("cpu"))
    results.add(result(0.5, math.inf))  # left out by the scaler
    state.scaler.update(LEAST_SCALE / 2)
    with pytest.raises(EngineError, match=r"finite at some scale.*scale of 5e-05 at step 7\. Set train\.precision"):
        results.add(result(0.5))


def test_a_gpu_is_asked_now_and_then_and_the_sum_is_the_same():
    values = torch.rand(60, generator=torch.Generator().manual_seed(0)).tolist()
    sums = []
    for device in ("cpu", "meta"):
        state = state_of(nn.Linear(1, 1), enabled=False)
        results = StepResults(state, torch.device(device))
        for number, value in enumerate(values):
            results.add(result(value, 1.0, number))
            if device == "meta":
                assert (state.progress.loss_sum > 0) == (number >= 49)
        results.read()
        results.read()  # nothing waits
        sums.append(state.progress.loss_sum)
    assert sums[0] == sums[1]
    assert sums[0] == pytest.approx(4 * sum(values), rel=1e-6)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, None), (0.5, math.inf), (math.inf, 1.0)])
def test_what_is_not_finite_is_found_when_it_is_read(loss, norm):
    results = StepResults(state_of(nn.Linear(1, 1), enabled=False), torch.device("meta"))
    results.add(result(0.5, 1.0, 1))
    results.add(result(loss, norm, 2))
    with pytest.raises(EngineError, match=r"must be finite\. Got (nan|inf) at step 2\."):
        results.read()


def test_no_nan_is_ever_saved_by_a_run_that_reads_late(loop, monkeypatch, tmp_path):
    """As on a GPU: the loss of step 2 is NaN; the checkpoint that is due after step 3 is not written."""
    from chiron.engine import step as module
    from chiron.engine import step_results

    plain = module._gradients

    def gradients(setup, *args):
        loss = plain(setup, *args)
        return loss * math.nan if setup.state.progress.step_in_epoch == 1 else loss

    class Late(StepResults):
        def __init__(self, state, device, auxiliary=()):
            super().__init__(state, torch.device("meta"), auxiliary)

    monkeypatch.setattr(module, "_gradients", gradients)
    monkeypatch.setattr("chiron.engine.fit.StepResults", Late)
    assert step_results.READ_EVERY_STEPS > 3
    with pytest.raises(EngineError, match="at step 1"):
        loop("train.checkpoint_steps=3")
    assert list_checkpoints(tmp_path / "checkpoints") == []
    with pytest.raises(EngineError, match="at step 1"):
        loop()
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_a_compiled_step_leaves_the_names_of_weights(monkeypatch):
    """`torch.compile` wraps; what is saved, averaged and scored is the network itself."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    monkeypatch.setattr(torch, "compile", lambda network: torch._dynamo.OptimizedModule(network, lambda code: code))
    stepped = ComputeMode("bf16", True, True).prepare(model)
    assert any(name.startswith("_orig_mod.") for name in stepped.state_dict())
    assert set(model.state_dict()) == {name.removeprefix("_orig_mod.") for name in stepped.state_dict()}
    assert model[0].weight is stepped._orig_mod[0].weight


@pytest.mark.slow
def test_a_compiled_run_is_kept_under_plain_names_and_scores_equal(loop, tmp_path, class_folders, tiny_recipe):
    from chiron.workflows.train import train

    changes = ("train.compile=true", "train.channels_last=true", "train.precision=bf16", "train.epochs=1")
    run = train(str(tiny_recipe), class_folders, tmp_path / "run", overrides=changes, device="cpu", threads=1)
    from safetensors import safe_open

    with safe_open(run.bundle / "weights.safetensors", "pt") as stored:
        assert not any("_orig_mod" in name for name in stored.keys())  # noqa: SIM118
        assert {stored.get_tensor(name).dtype for name in stored.keys()} <= {torch.float32, torch.int64}  # noqa: SIM118
    assert run.read_metrics()["overall"]  # the workflow proves that the loaded bundle scores as the network does


@pytest.mark.parametrize("mode", [ComputeMode(), ComputeMode("fp16", True), ComputeMode("bf16", False, True)])
def test_a_mode_reads_as_it_is_written(mode):
    assert parse_mode(str(mode)) == mode


def test_resuming_takes_the_mode_from_the_checkpoint(loop, monkeypatch):
    changes = ("train.epochs=2", "train.precision=auto")
    monkeypatch.setattr(setting_up, "choose_mode", lambda *args, **options: ComputeMode("bf16", True))
    with pytest.raises(KeyboardInterrupt):
        loop(*changes, on_epoch=stop_after_one)

    def measured_again(*args, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(setting_up, "choose_mode", measured_again)
    end = loop(*changes)
    assert json.loads((end / "state.json").read_text())["progress"]["setting"]["precision"] == "bf16+channels_last"
