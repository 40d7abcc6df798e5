"""Memory that runs out, and what fits: the numbers of a run do not change by either."""

import json
import logging

import pytest
import torch
from torch import nn

from chiron.classifier import build_network
from chiron.core.errors import EngineError, SpecError
from chiron.engine import memory
from chiron.engine.checkpoint import Progress
from chiron.engine.compute import ComputeMode
from chiron.engine.memory import (
    Room,
    Statistics,
    first_parts,
    fitting_batch_size,
    in_parts_that_fit,
    largest_part,
    unchanged_statistics,
    use_grad_checkpointing,
)
from chiron.engine.processes import World
from chiron.engine.runtime import Runtime
from chiron.engine.trial import AllocatedMemory
from chiron.spec.bundle_spec import network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

CPU = Runtime(torch.device("cpu"))
BINARY = LabelSpace(names=("sick", "well"), positive="sick")


def recipe(name: str = "test_vit", **train) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"name": name, "init": "scratch"},
            "input": {"img_size": 160, "in_chans": 3},
            "train": {"epochs": 1, "lr": 1e-3, "batch_size": 16, **train},
        }
    )


@pytest.fixture
def told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


class Stubborn(nn.Module):
    """BatchNorm, and no memory for more than `room` images at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.norm, self.linear, self.room = nn.BatchNorm1d(4), nn.Linear(4, 2), room

    def forward(self, x):
        values = self.linear(self.norm(x))  # the statistics have changed when memory runs out
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return values


def step(model: Stubborn, progress: Progress, images: torch.Tensor):
    torch.manual_seed(0)
    total = torch.zeros(())
    for part in torch.tensor_split(images, progress.micro_batches):
        loss = model(part).square().mean() / progress.micro_batches
        loss.backward()
        total += loss.detach()
    return total


@pytest.mark.parametrize(("room", "parts"), [(16, 1), (8, 2), (5, 4), (2, 8)])
def test_a_step_is_repeated_in_parts_that_fit(room, parts, told):
    torch.manual_seed(1)
    model, images = Stubborn(room), torch.randn(16, 4)
    plain = Stubborn(16)
    plain.load_state_dict(model.state_dict())
    progress = Progress()
    loss = in_parts_that_fit(lambda: step(model, progress, images), model, progress, count=16, alone=True)
    assert progress.micro_batches == parts
    assert torch.equal(loss, step(plain, Progress(micro_batches=parts), images))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert torch.equal(model.linear.weight.grad, plain.linear.weight.grad)
    assert len(told()) == {1: 0, 2: 1, 4: 2, 8: 3}[parts]


@pytest.mark.parametrize(("room", "alone"), [(1, True), (8, False)])
def test_pairs_are_not_cut_and_others_are_not_left_waiting(room, alone):
    model, progress = Stubborn(room), Progress()
    with pytest.raises(torch.OutOfMemoryError):
        in_parts_that_fit(lambda: step(model, progress, torch.randn(16, 4)), model, progress, count=16, alone=alone)


def test_other_errors_are_not_repeated():
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        in_parts_that_fit(fail, nn.Linear(1, 1), Progress(), count=16, alone=True)
    assert len(calls) == 1


def test_statistics_stay_through_a_second_forward_pass():
    norm, x = nn.BatchNorm1d(3), torch.randn(5, 3)
    norm(x)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    with unchanged_statistics(norm):
        norm(x)
        assert not torch.equal(norm.running_mean, before["running_mean"])
    for name, tensor in before.items():
        assert torch.equal(norm.state_dict()[name], tensor), name
    assert Statistics(nn.Linear(1, 1)).restore() is None  # nothing to restore


def test_allocated_memory_is_what_stands_at_one_time():
    layer, x = nn.Linear(100, 100, bias=False), torch.randn(100, 100)
    size = 100 * 100 * 4
    with AllocatedMemory() as allocated:
        y = layer(x)
        del y
        z = layer(x).exp()  # two of them at a time: exp keeps its own result alone
        z.sum().backward()  # and a gradient of z, then of the weights
        del z
    assert 3 * size <= allocated.peak <= 4 * size + 100
    assert allocated._now >= size  # the gradient stays


def test_a_step_takes_memory_by_the_image():
    asked = recipe()
    network = build_network(network_of(asked.model), asked.input, BINARY)
    room = Room(asked, network, CPU)
    per_image = room._bytes_of(9) - room._bytes_of(8)
    assert room._bytes_of(6) == pytest.approx(room._peak(6), rel=0.05)
    state = torch.random.get_rng_state()
    use_grad_checkpointing(network, "test_vit")
    less = Room(asked, network, CPU)
    assert less._bytes_of(9) - less._bytes_of(8) < 0.9 * per_image
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_as_much_as_fits_in_the_memory_that_is_free(monkeypatch):
    """A step takes 1000 bytes and 100 an image; 80 % of what is free is used."""
    network = nn.Linear(1, 1)
    monkeypatch.setattr(Room, "_peak", lambda self, count: 1000 + 100 * count)
    monkeypatch.setattr(memory, "build_network", lambda *args, **options: network)
    monkeypatch.setattr(memory, "free_memory", lambda: 1800 / 0.8)
    room = Room(recipe(), network, CPU)
    assert room.has_room_for(8)
    assert not room.has_room_for(9)
    two = Room(recipe(), network, Runtime(torch.device("cpu"), world=World(0, 2)))
    assert not two.has_room_for(1)  # half of it for each process
    assert first_parts(recipe(grad_accum_steps="auto"), network, CPU) == 2
    assert first_parts(recipe(grad_accum_steps="auto", batch_size=8), network, CPU) == 1
    assert first_parts(recipe(grad_accum_steps=4), network, CPU) == 4
    assert fitting_batch_size(recipe(batch_size="auto"), BINARY, CPU, num_images=1000) == 8
    assert fitting_batch_size(recipe(batch_size="auto", grad_accum_steps=4), BINARY, CPU, num_images=1000) == 32
    assert fitting_batch_size(recipe(batch_size="auto"), BINARY, CPU, num_images=7) == 4
    monkeypatch.setattr(memory, "free_memory", lambda: None)  # nobody knows
    assert fitting_batch_size(recipe(batch_size="auto"), BINARY, CPU, num_images=1000) == 256
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(EngineError, match=r"two images must fit in memory\. Got test_vit at 160 px"):
        first_parts(recipe(grad_accum_steps="auto"), network, CPU)
    with pytest.raises(EngineError, match=r"Lower input\.img_size"):
        fitting_batch_size(recipe(batch_size="auto"), BINARY, CPU, num_images=1000)


@pytest.mark.parametrize(("arguments", "part"), [((32, 1, 1), 32), ((32, 1, 3), 12), ((32, 2, 3), 6), ((7, 9, 1), 3)])
def test_largest_part(arguments, part):
    assert largest_part(*arguments) == part


def test_a_network_that_cannot_compute_again_is_told():
    with pytest.raises(SpecError, match=r"grad_checkpointing needs a network.*Got tiny, which cannot"):
        use_grad_checkpointing(nn.Linear(1, 1), "tiny")


@pytest.fixture
def fitted(tmp_path, class_folders, tiny_recipe):
    from chiron.workflows.train import train

    def call(*changes: str, name: str):
        return train(str(tiny_recipe), class_folders, tmp_path / name, overrides=changes, device="cpu", threads=1)

    return call


def tensors(run) -> bytes:
    from chiron.engine.checkpoint import list_checkpoints

    return (list_checkpoints(run.checkpoints)[-1] / "state.safetensors").read_bytes()


VIT = ("model.name=test_vit", "input.img_size=64", "input.in_chans=3", "train.epochs=1", "model.args={drop_rate: 0.2}")


def test_a_run_that_met_the_end_of_memory_equals_one_in_so_many_parts(fitted, monkeypatch):
    """With dropout and Mixup, on a network of LayerNorm; the error comes in the second of two parts."""
    from chiron.engine import setup

    seen = []

    class Failing(ComputeMode):
        def lay_out(self, tensor):
            seen.append(len(tensor))
            if len(seen) == 2:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate")
            return tensor

    changes = (*VIT, "train.mixup_alpha=0.4", "train.sanity_steps=2")
    expected = fitted(*changes, "train.grad_accum_steps=4", name="parts")
    monkeypatch.setattr(setup, "choose_mode", lambda *args, **options: Failing())
    run = fitted(*changes, "train.grad_accum_steps=2", name="met")
    assert seen == [4, 3, *[2, 2, 3] * 2]
    assert tensors(run) == tensors(expected)


def test_grad_checkpointing_changes_no_weight_and_no_statistic(fitted):
    """The network has BatchNorm, which a second forward pass would count twice."""
    saved = fitted("train.grad_checkpointing=true", name="saved")
    assert tensors(saved) == tensors(fitted(name="plain"))
    assert saved.read_facts()["peak_memory_bytes"] > 10_000_000


def test_batch_size_auto_is_a_number_in_the_runs_recipe(fitted, told):
    run = fitted("train.batch_size=auto", "train.epochs=1", name="auto")
    assert "batch_size: 16" in run.recipe.read_text()  # of 28 training images
    assert "batch size: 16" in told()
    assert any(line.startswith("memory: ") and line.endswith("GB at most") for line in told())
    provenance = json.loads((run.bundle / "bundle.json").read_text())["provenance"]
    assert provenance["recipe"]["train"]["batch_size"] == 16


def test_what_a_network_cannot_is_told_before_data_are_read(tmp_path, tiny_recipe):
    from chiron.workflows.train import train

    changes = ("model.name=inception_v3", "input.img_size=75", "input.in_chans=3", "train.grad_checkpointing=true")
    with pytest.raises(SpecError, match="Got inception_v3, which cannot"):
        train(str(tiny_recipe), tmp_path / "no such folder", tmp_path / "no", overrides=changes, device="cpu")
