"""One process of a job by itself; several together are tests/parity/test_processes.py."""

import signal
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chiron.core.errors import EngineError, FailedElsewhereError, LostProcessError, SpecError
from chiron.engine import processes, runtime
from chiron.engine.failures import clear_failures
from chiron.engine.interruption import Interruption
from chiron.engine.mixing import cut_in_pairs
from chiron.engine.processes import World
from chiron.engine.setup import own_part
from chiron.spec.train_recipe import TrainRecipe


@given(st.integers(1, 70), st.integers(1, 9))
def test_processes_share_a_batch_at_even_places(count, size):
    """Every place once; nobody has one image alone; parts differ by one pair, and the image that has no partner."""
    parts = [own_part(count, World(rank, size)) for rank in range(size)]
    own = [list(range(count))[part] for part in parts if part is not None]
    assert list(chain(*own)) == list(range(count))
    assert parts[0] is not None
    assert all(part[0] % 2 == 0 for part in own)
    if count > 1:
        assert min(map(len, own)) > 1
        assert max(map(len, own)) - min(map(len, own)) <= 3
    assert sum(part is None for part in parts) == max(0, size - max(1, count // 2))


@given(st.integers(1, 70), st.integers(1, 5), st.integers(1, 9))
def test_all_processes_compute_in_equally_many_parts(count, size, micro):
    """SyncBatchNorm exchanges in every part: one more on one side would wait forever."""
    wanted = min(micro, max(1, count // 2 // size))  # Setup.num_parts
    for rank in range(size):
        part = own_part(count, World(rank, size)) or slice(0, min(2, count))
        assert len(cut_in_pairs(len(range(count)[part]), wanted)) == wanted


def test_alone_nothing_is_exchanged():
    world = World()
    tensor = torch.ones(2)
    assert world.sum(tensor) is tensor
    assert world.any(True)
    assert world.of_main({"a": None, "b": 1.0}) == {"a": None, "b": 1.0}
    assert world.by_main(lambda: 3) == world.main_first(lambda: 3) == 3
    model = nn.Linear(1, 1)
    assert world.wrap(model) is model
    assert list(world.each_part(model, [slice(0, 2), slice(2, 4)])) == [slice(0, 2), slice(2, 4)]


def test_batch_norm_counts_all_images_on_gpus(monkeypatch):
    """Layers of the same names, timm's with their activation."""
    from timm.layers import BatchNormAct2d

    model = nn.Sequential(nn.Conv2d(1, 2, 3), BatchNormAct2d(2), nn.BatchNorm2d(2))
    names = list(model.state_dict())
    assert World(0, 2).prepare(model) is model  # there is none for the CPU
    monkeypatch.setattr(processes, "_on_gpu", lambda model: True)
    assert World().prepare(model)[2].__class__ is nn.BatchNorm2d
    prepared = World(0, 2).prepare(model)
    assert isinstance(prepared[1], nn.SyncBatchNorm)
    assert isinstance(prepared[2], nn.SyncBatchNorm)
    assert isinstance(prepared[1].act, nn.ReLU)
    assert list(prepared.state_dict()) == names


def test_what_one_process_measures_has_no_batch_norm_of_all(monkeypatch, class_folders, tiny_recipe):
    """Its forward pass would wait forever for processes that wait for the result."""
    from chiron.engine import setup as setting_up
    from chiron.engine.compute import ComputeMode
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    def synced(network: nn.Module) -> bool:
        return any(isinstance(layer, nn.SyncBatchNorm) for layer in network.modules())

    tried = []
    monkeypatch.setattr(processes, "_on_gpu", lambda model: True)
    monkeypatch.setattr(setting_up, "first_parts", lambda recipe, network, runtime: tried.append(synced(network)) or 1)
    monkeypatch.setattr(
        setting_up, "choose_mode", lambda recipe, network, *_, **__: tried.append(synced(network)) or ComputeMode()
    )
    recipe = check_recipe(str(tiny_recipe))
    setup = setting_up.set_up(
        recipe, *prepare(recipe, class_folders), runtime.Runtime(torch.device("cpu"), world=World(0, 2))
    )
    assert tried == [False, False]
    assert synced(setup.state.model)


def test_each_process_takes_its_own_gpu(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "7")
    with pytest.raises(SpecError, match=r"takes the GPU of its own number. Got --device cuda:0."):
        runtime.start_runtime(device="cuda:0")
    with pytest.raises(SpecError, match=r"Got 'cuda:7'. Start as many processes as there are GPUs."):
        runtime.start_runtime(device="cuda")


@pytest.mark.parametrize(
    "told",
    ["[x/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:1.", "NCCL communicator was aborted"],
)
def test_a_process_that_is_gone_is_told_in_one_sentence(told):
    with (
        pytest.raises(LostProcessError, match=r"All processes of a job must live .* continue a training with --resume"),
        clear_failures(),
    ):
        raise RuntimeError(told)
    with pytest.raises(RuntimeError, match="sizes differ"), processes.lost_processes_told():
        raise RuntimeError("sizes differ")
    assert issubclass(LostProcessError, EngineError)
    assert (str(FailedElsewhereError(2)), FailedElsewhereError(2).exit_code) == ("", 2)


def test_a_second_sigterm_does_not_stop_at_once():
    """Job systems send it to the whole job, and torchrun sends it on."""
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.wanted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_one_wish_stops_all():
    with Interruption(agree=lambda wanted: True) as interruption, pytest.raises(KeyboardInterrupt):
        interruption.stop_if_wanted()
    with Interruption(agree=lambda wanted: False) as interruption:
        interruption.wanted = True
        interruption.stop_if_wanted()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer": "lamb"}, "shard needs optimizer adamw, adam or sgd, not lamb"),
        ({"precision": "fp16"}, "shard needs precision fp32 or bf16, not fp16"),
        ({"channels_last": True}, "shard needs channels_last false"),
        ({"freeze": ({"stages": ("stem",), "epochs": 1},)}, "shard needs stages that are frozen to the end"),
    ],
)
def test_what_cannot_be_sharded_is_told_before(change, told):
    with pytest.raises(ValueError, match=told):
        TrainRecipe(epochs=2, lr=0.1, shard=True, **change)
    TrainRecipe(epochs=2, lr=0.1, shard=False, **change)
