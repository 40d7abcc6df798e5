"""`precision: auto`: which mode is chosen, that measuring changes nothing, and that it is done once."""

import json
import logging

import pytest
import torch
from torch import nn

from chiron.classifier import build_network
from chiron.engine import measure
from chiron.engine.checkpoint import list_checkpoints
from chiron.engine.compute import ComputeMode, parse_mode
from chiron.engine.kept_measurements import Measured, device_name, measurement_key, place_of_measurements, read_measured
from chiron.engine.measure import choose_mode, open_modes
from chiron.engine.runtime import Runtime
from chiron.engine.trial import Trial
from chiron.spec.bundle_spec import network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe
from chiron.workflows.train import train

CPU = Runtime(torch.device("cpu"))
LABELS = LabelSpace(names=("a", "b", "c"))
PLAIN, LAST, HALF = ComputeMode(), ComputeMode("fp32", True), ComputeMode("bf16")
COMPILED = ComputeMode("bf16", compiled=True)


def recipe(name: str = "test_efficientnet", args=None, **changes) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"name": name, "init": "scratch", "args": args or {}},
            "input": {"img_size": 32, "in_chans": 3},
            "train": {"epochs": 1, "lr": 1e-3, "compile": False, **changes},
        }
    )


def network(asked: Recipe) -> nn.Module:
    return build_network(network_of(asked.model), asked.input, LABELS)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CHIRON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compute.json"


@pytest.fixture
def told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("compute:")]

    return lines


@pytest.fixture
def seconds(monkeypatch):
    """Sets how long each mode's step seems to last, and counts the steps that were timed."""

    def set_to(**values: float) -> list[str]:
        timed = []

        def time(self, mode):
            timed.append(str(mode))
            return values[str(mode).replace("+", "_")]

        monkeypatch.setattr(measure._Lanes, "_timed", time)
        monkeypatch.setattr(measure, "HOPELESS", 1e9)
        return timed

    return set_to


def choose(asked: Recipe, model: nn.Module | None = None, *, num_images: int = 10_000) -> ComputeMode:
    return choose_mode(asked, model or network(asked), CPU, num_images=num_images, part=4)


@pytest.mark.parametrize(
    ("changes", "mode"),
    [({"precision": "fp32"}, "fp32"), ({"precision": "bf16", "channels_last": True}, "bf16+channels_last"),
     ({"precision": "fp16", "compile": True}, "fp16+compile")],
)  # fmt: skip
def test_a_named_mode_is_not_measured(changes, mode, told):
    assert str(choose(recipe(**changes))) == mode
    assert told() == []


def test_a_short_training_is_fp32(told, place):
    assert choose(recipe(channels_last=True), num_images=4_999) == LAST
    assert told() == ["compute: fp32+channels_last (fewer than 5,000 images in all epochs: not worth measuring)"]
    assert not place.exists()


@pytest.mark.parametrize(
    ("changes", "times", "mode"),
    [
        ({}, (4, 3, 2, 2.5), "bf16"),
        ({}, (4, 2, 2.05, 2.05), "fp32+channels_last"),
        ({}, (4, 3.9, 3.85, 3.85), "fp32"),  # none is clearly faster
        ({}, (4, 3, 2, 1), "bf16+channels_last"),
        ({"channels_last": False}, (4, 1, 3, 1), "bf16"),
        ({"channels_last": True}, (1, 4, 1, 3), "bf16+channels_last"),
        ({"compile": True}, (4, 3, 2, 2.5), "bf16+compile"),
    ],
)
def test_the_clearly_fastest_of_what_the_recipe_leaves_open(changes, times, mode, seconds):
    seconds(**dict(zip(("fp32", "fp32_channels_last", "bf16", "bf16_channels_last"), times, strict=True)))
    assert str(choose(recipe(**changes))) == mode


def test_what_was_measured_is_kept_and_told(seconds, told, place):
    timed = seconds(fp32=4.8, fp32_channels_last=4.9, bf16=3.0, bf16_channels_last=2.0)
    assert str(choose(recipe())) == "bf16+channels_last"
    assert timed[:4] == ["fp32", "fp32+channels_last", "bf16", "bf16+channels_last"]  # in turns
    assert told()[-1].startswith("compute: bf16+channels_last (2.4 times the speed of fp32; measured in ")
    assert told()[-1].endswith(f"kept in {place})")
    assert place == place_of_measurements()
    timed.clear()
    assert str(choose(recipe(lr=1.0, epochs=3))) == "bf16+channels_last"
    assert not timed
    assert told()[-1] == (
        f"compute: bf16+channels_last (2.4 times the speed of fp32; measured before, kept in {place})"
    )
    choose(recipe(args={"drop_rate": 0.5}))
    assert timed  # another network
    assert len(json.loads(place.read_text())) == 2


def test_a_damaged_file_is_measured_anew_and_one_that_cannot_be_written_is_told(seconds, place, told, caplog):
    timed = seconds(fp32=4, fp32_channels_last=3, bf16=2, bf16_channels_last=2)
    place.parent.mkdir()
    for damage in ("{", "[]", json.dumps({"x": 1})):
        place.write_text(damage)
        timed.clear()
        assert choose(recipe()) == HALF
        assert timed
    key = measurement_key(recipe(), CPU, 4)
    assert read_measured(key).seconds["bf16"] == 0.5  # of one image of four
    place.unlink()
    place.mkdir()
    assert choose(recipe()) == HALF
    assert any("the measurement is not kept" in record.getMessage() for record in caplog.records)


def test_compiling_waits_for_a_training_that_pays_for_it(seconds, monkeypatch):
    times = {"fp32": 4, "fp32_channels_last": 3, "bf16": 2, "bf16_channels_last": 2, "bf16_compile": 1}
    timed = seconds(**times)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    asked = recipe(compile=None)
    assert choose(asked, num_images=5_000) == COMPILED  # half a second an image: 40 minutes
    timed.clear()
    monkeypatch.setattr(measure, "SHORT_TRAINING", 0)
    assert choose(asked, num_images=2_000) == HALF  # 17 minutes
    assert choose(recipe(compile=False), num_images=100_000) == HALF
    assert not timed  # all of it was known
    times["bf16_compile"] = 1.99
    seconds(**times)
    assert choose(recipe("test_vit", compile=None), num_images=5_000) == HALF  # not clearly faster


def test_without_a_compiler_the_best_eager_mode_is_taken(seconds, monkeypatch, told):
    seconds(fp32=4, fp32_channels_last=3, bf16=2, bf16_channels_last=2)

    def fail(model):
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    assert choose(recipe(compile=None)) == HALF
    assert "compute: not bf16+compile: No working C++ compiler found" in told()


def test_a_mode_that_is_not_finite_or_far_off_is_out(seconds, monkeypatch, told):
    seconds(fp32=4, fp32_channels_last=3, bf16=1, bf16_channels_last=2)
    plain = Trial.answer

    def answer(self, mode, inputs, scaler):
        loss, gradient = plain(self, mode, inputs, scaler)
        if mode == HALF:
            gradient[0] = float("nan")
        if mode == ComputeMode("bf16", True):
            gradient = -gradient
        if mode == LAST:
            loss *= 1.2
        return loss, gradient

    monkeypatch.setattr(Trial, "answer", answer)
    assert choose(recipe()) == PLAIN
    assert "compute: not bf16: its loss or gradient is not finite" in told()
    assert any(line.startswith("compute: not bf16+channels_last: its gradient points elsewhere") for line in told())
    assert any(line.startswith("compute: not fp32+channels_last: its loss is") for line in told())


def test_a_hopelessly_slow_precision_is_not_timed_but_fp32_always_is(monkeypatch, told):
    """As bf16 is where a processor only imitates it."""
    plain, calls = measure._Lanes._first_step, []

    def first_step(self, mode):
        calls.append(mode)
        return *plain(self, mode)[:2], 1.0 if len(calls) == 1 else 4.1

    monkeypatch.setattr(measure._Lanes, "_first_step", first_step)
    assert choose(recipe()).precision == "fp32"
    assert {"compute: not bf16: slow", "compute: not bf16+channels_last: slow"} < set(told())
    assert not any("not fp32" in line for line in told())


def test_memory_that_does_not_suffice_is_told_and_not_remembered(seconds, monkeypatch, told, place):
    seconds()

    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patched:
        patched.setattr(Trial, "step", fail)
        assert choose(recipe()) == PLAIN
    assert told() == ["compute: not measured: memory does not suffice for it"]
    assert not place.exists()
    seconds(fp32=4, fp32_channels_last=3, bf16=2, bf16_channels_last=2)
    assert choose(recipe()) == HALF


def test_measuring_changes_nothing():
    """Weights, statistics, gradients, layout, flags and random state of the network that will be trained."""
    asked = recipe(args={"drop_rate": 0.3, "drop_path_rate": 0.2}, optimizer="sgd")
    model = network(asked)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, training = torch.random.get_rng_state(), [layer.training for layer in model.modules()]
    choose(asked, model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.stride() == before[name].stride(), name
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [layer.training for layer in model.modules()] == training


def test_a_trial_is_a_real_step():
    """Its gradient is that of the loss, its optimizer has a state; fp16 finds a scale; masks are made."""
    asked = recipe("chiron_hybrid_lung_vit_nano")
    asked = asked.model_copy(update={"input": asked.input.model_copy(update={"mask": "lung", "img_size": 64})})
    model = network(asked)
    for mode in (PLAIN, ComputeMode("fp16"), ComputeMode("bf16", True)):
        trial = Trial(model, asked.train, asked.input, mode)
        scaler = mode.make_scaler(torch.device("cpu"))
        loss, gradient = trial.answer(mode, trial.inputs(4), scaler)
        assert loss > 0
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
        if mode.precision == "fp32":
            plain = gradient
        assert torch.cosine_similarity(plain, gradient, dim=0) > 0.9
        assert trial.optimizer.state
    for own, copied in zip(model.parameters(), trial.network.parameters(), strict=True):
        assert torch.equal(own, copied)  # the rate is 0


def test_modes_of_devices():
    assert [str(mode) for mode in open_modes(torch.device("cuda"), False)] == ["fp32", "bf16", "fp16"]
    assert [str(mode) for mode in open_modes(torch.device("mps"), None)] == [
        "fp32", "fp32+channels_last", "fp16", "fp16+channels_last"
    ]  # fmt: skip
    assert device_name(torch.device("cpu")).startswith("cpu ")
    measured = Measured()
    assert not measured.knows(PLAIN)
    measured.leave_out(PLAIN, "why")
    assert measured.knows(PLAIN)


@pytest.mark.parametrize(("shard", "chosen"), [(False, "fp16+channels_last"), (True, "bf16")])
def test_a_sharded_network_is_never_measured_into_fp16_or_another_layout(shard, chosen, monkeypatch):
    """Which the recipe refuses by name."""

    def contest(modes, measured, *args, **options):
        for mode in modes:
            measured.note(mode, {"fp32": 3.0, "bf16": 2.0, "fp16": 1.0}[mode.precision] / (1 + mode.channels_last))

    monkeypatch.setattr(measure, "_contest", contest)
    monkeypatch.setattr(measure, "measurement_key", lambda *args: {})
    monkeypatch.setattr(measure, "read_measured", lambda key: Measured())
    monkeypatch.setattr(measure, "keep_measured", lambda key, measured: None)
    asked = recipe(shard=shard, compile=False)
    mode = choose_mode(asked, nn.Identity(), Runtime(torch.device("cuda")), num_images=measure.SHORT_TRAINING, part=8)
    assert str(mode) == chosen


def test_a_measured_run_equals_one_that_names_its_mode(tmp_path, class_folders, tiny_recipe, monkeypatch):
    monkeypatch.setattr(measure, "SHORT_TRAINING", 0)
    changes = ("model.name=test_efficientnet", "input.img_size=32", "input.in_chans=3", "train.epochs=1")
    run = train(str(tiny_recipe), class_folders, tmp_path / "auto", overrides=changes, device="cpu", threads=1)
    checkpoint = list_checkpoints(run.checkpoints)[-1]
    mode = parse_mode(json.loads((checkpoint / "state.json").read_text())["progress"]["setting"]["precision"])
    assert place_of_measurements().is_file()
    changes += (f"train.precision={mode.precision}", f"train.channels_last={str(mode.channels_last).lower()}")
    named = train(str(tiny_recipe), class_folders, tmp_path / "named", overrides=changes, device="cpu", threads=1)
    other = list_checkpoints(named.checkpoints)[-1]
    assert (other / "state.safetensors").read_bytes() == (checkpoint / "state.safetensors").read_bytes()
