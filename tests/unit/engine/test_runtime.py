"""Devices: what `auto` stands for, and what `train.deterministic` sets on a GPU."""

import pytest
import torch

from chiron.engine import runtime as module
from chiron.engine.runtime import Runtime, best_device, start_runtime


@pytest.mark.parametrize(("cuda", "mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device(cuda, mps, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == device


@pytest.fixture
def restored(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_on_a_gpu(deterministic, restored, monkeypatch):
    import os

    module._set_up_cuda(deterministic=deterministic)
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.backends.cudnn.deterministic == deterministic
    assert torch.backends.cudnn.benchmark == (not deterministic)
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None) == (":4096:8" if deterministic else None)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32  # scores are fp32
    with Runtime(torch.device("cuda"), deterministic=deterministic).step_arithmetic():
        assert torch.backends.cuda.matmul.allow_tf32 == (not deterministic)
        assert torch.backends.cudnn.allow_tf32 == (not deterministic)
    assert not torch.backends.cudnn.allow_tf32


def test_on_a_cpu_nothing_is_set(restored):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32
    runtime = start_runtime(device="cpu", deterministic=False)
    with runtime.step_arithmetic():
        assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32) == before
    runtime.synchronize()
    assert runtime.world.share("text") == "text"
