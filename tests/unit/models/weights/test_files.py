"""Foreign files are data: code is not executed, wrappers are opened, damage is told in a sentence."""

import argparse
import os
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from chiron.core.errors import ModelError
from chiron.models.weights.files import read_weight_file, take_tensors

TENSORS = {"conv.weight": torch.arange(4.0), "head.bias": torch.ones(2)}
OTHERS = {"conv.weight": torch.zeros(4), "head.bias": torch.zeros(2)}


def saved(path, content):
    torch.save(content, path)
    return path


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_code_in_a_file_is_not_executed(tmp_path):
    class Touch:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'executed'}",))

    path = saved(tmp_path / "model.pth", {"state_dict": TENSORS, "args": Touch()})
    with pytest.raises(ModelError) as error:
        read_weight_file(path)
    assert str(error.value) == (
        "A weights file must hold tensors and plain values alone. Got model.pth with code or objects in it, of which "
        "nothing was executed. Save the state_dict() of the network and import that."
    )
    assert not (tmp_path / "executed").exists()


def test_a_pickled_network_is_refused(tmp_path):
    with pytest.raises(ModelError, match="with code or objects in it"):
        read_weight_file(saved(tmp_path / "model.pt", torch.nn.Linear(2, 2)))


def test_names_in_a_message_stay_on_its_line():
    with pytest.raises(ModelError) as error:
        take_tensors({"a\n\x1b[2J": 1}, "model.pth")
    assert "with keys a\\n\\x1b[2J. Save" in str(error.value)


def test_a_packed_file_is_refused_before_it_fills_the_memory(tmp_path):
    whole, path = saved(tmp_path / "whole.pth", {"conv.weight": torch.zeros(100_000)}), tmp_path / "packed.pth"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in archive.namelist():
            packed.writestr(part, archive.read(part))
    assert path.stat().st_size < 5_000
    with pytest.raises(ModelError, match=r"must hold its tensors uncompressed.*Got packed.pth"):
        read_weight_file(path)


def test_a_tensor_of_repeated_values_is_refused_before_it_fills_the_memory(tmp_path):
    path = saved(tmp_path / "model.pth", {**TENSORS, "fc.weight": torch.zeros(1).expand(1_000_000, 1_000_000)})
    with pytest.raises(ModelError, match=r"must hold all of their values\. Got fc.weight in model.pth"):
        take_tensors(read_weight_file(path), path.name)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda data: data[: len(data) // 2], "model.pth.tar"),
        (lambda data: b"", "model.bin"),
        (lambda data: b"<html>not found</html>", "model.pt"),
        (lambda data: data[: len(data) // 2], "model.safetensors"),
        (lambda data: b"\xff" * 64, "model.safetensors"),
    ],
)
def test_damaged_files_are_told_in_one_sentence(tmp_path, damage, name):
    path = tmp_path / name
    if name.endswith(".safetensors"):
        safetensors.torch.save_file(TENSORS, path)
    else:
        saved(path, TENSORS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=rf"A weights file must be whole, .* Got {name}: .* Copy or download it again"):
        read_weight_file(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"A weights file must exist. Got "):
        read_weight_file(tmp_path / "no.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_values_beside_the_tensors_are_read(tmp_path, legacy):
    """Numbers of numpy and the options of a command line stand in many checkpoints."""
    content = {"args": argparse.Namespace(lr=0.1), "best_val_f1": np.float64(0.5), "state_dict": TENSORS}
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert same(take_tensors(read_weight_file(path), path.name).tensors, TENSORS)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model_state", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_are_opened_and_prefixes_taken_off(key, prefix):
    wrapped = {prefix + name: tensor for name, tensor in TENSORS.items()}
    taken = take_tensors({"epoch": 3, key: wrapped} if key else wrapped, "model.pth")
    assert same(taken.tensors, TENSORS)
    assert (taken.key, taken.has_average) == (key, False)


@pytest.mark.parametrize("average", [{"ema": OTHERS, "decay": 0.9999}, OTHERS])
def test_the_average_is_taken_when_asked_for(average):
    """S1 keeps it below `ema_state` in a wrapper {ema, decay}, of which loaders that are not strict load nothing."""
    content = {"model_state": TENSORS, "ema_state": average, "epoch": 7}
    taken = take_tensors(content, "best_model.pt")
    assert same(taken.tensors, TENSORS)
    assert (taken.key, taken.has_average) == ("model_state", True)
    averaged = take_tensors(content, "best_model.pt", averaged=True)
    assert same(averaged.tensors, OTHERS)
    assert (averaged.key, averaged.has_average) == ("ema_state", False)


def test_the_average_of_torch_has_a_counter_and_a_prefix():
    content = {
        "model": TENSORS,
        "model_ema": {"n_averaged": torch.tensor(3), **{f"module.{k}": OTHERS[k] for k in OTHERS}},
    }
    assert same(take_tensors(content, "x.pt", averaged=True).tensors, OTHERS)


@pytest.mark.parametrize(
    ("content", "averaged", "message"),
    [
        ([1, 2], False, "must hold tensors by name. Got list in x.pt"),
        ({}, False, "Got x.pt with nothing in it"),
        ({"epoch": 3, "optimizer": {}}, False, "Got x.pt with keys epoch, optimizer. Save a state_dict()"),
        ({"ema_state": None, "model_state": TENSORS}, True, "average of the weights must be in the file"),
        ({"ema_state": {"ema": OTHERS}}, False, "Got x.pt with keys ema_state. Add --ema"),
        ({"a": torch.tensor([1.0, float("nan")])}, False, "must be finite numbers. Got NaN or infinity in a of x.pt"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, False, "must be plain real ones. Got a of another kind"),
        ({"a": torch.eye(2).to_sparse()}, False, "must be plain real ones. Got a of another kind"),
        ({"a": torch.ones(2, device="meta")}, False, "must be plain real ones. Got a of another kind"),
        ({"a": torch.ones(1), "module.a": torch.ones(1)}, False, "must have different names"),
        ({3: torch.ones(1), ("a", 1): torch.ones(1)}, False, r"with keys 3, \('a', 1\)"),
        ({"k" * 100_000: 1}, False, "with keys k{60}[.]{3}[.] Save"),
    ],
)
def test_what_is_no_network_is_told(content, averaged, message):
    with pytest.raises(ModelError, match=message):
        take_tensors(content, "x.pt", averaged=averaged)
