"""`chiron weights import`: what it tells, and how it refuses."""

import json
import os

import pytest
import timm
import torch

from chiron.cli.main import run


@pytest.fixture
def checkpoint(tmp_path):
    tensors = {f"module.{k}": t for k, t in timm.create_model("test_resnet", num_classes=3).state_dict().items()}
    del tensors["module.fc.bias"]
    torch.save({"state_dict": {**tensors, "module.other.weight": torch.ones(2)}}, tmp_path / "model.pth.tar")
    return tmp_path / "model.pth.tar"


def test_an_import_tells_what_fits(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["weights", "import", checkpoint.name, "--as", "test_resnet"]) == 0
    told = capsys.readouterr().out
    assert "model.pth.tar read as names of the model, from state_dict; 3 classes" in told
    assert "missing: 1 tensors, stay as the model draws them (fc.bias)" in told
    assert "unexpected: 1 tensors, left out (other.weight)" in told
    assert "--set model.name=test_resnet --set model.init=imported --set model.weights=test_resnet.safetensors" in told
    assert run(["weights", "import", checkpoint.name, "--as", "test_resnet", "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["missing"], told["unexpected"], told["num_classes"]) == (["fc.bias"], ["other.weight"], 3)
    assert len(told["matched"]) == told["num_matched"]
    assert run(["weights", "import", checkpoint.name, "--as", "test_resnet"]) == 2
    assert "must not exist yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.pth", "--as", "test_resnet"], "A weights file must exist. Got no.pth"),
        (["model.pth.tar", "--as", "test_resne"], "Did you mean 'test_resnet'?"),
        (["model.pth.tar", "--as", "test_vit"], "must have names of the network"),
        (["model.pth.tar", "--as", "test_resnet", "--ema"], "Got model.pth.tar with keys state_dict. Leave --ema out."),
        (["model.pth.tar", "--as", "test_resnet", "--num-classes", "9"], "--leave-out-classifier"),
    ],
)
def test_mistakes_are_one_sentence(checkpoint, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(["weights", "import", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "test_resnet.safetensors").exists()


def test_names_of_a_foreign_file_stay_on_their_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tensors = timm.create_model("test_resnet", num_classes=3).state_dict()
    torch.save({**tensors, "x\nmissing: none\x1b[2J": torch.ones(2)}, "a\nb.pth")
    assert run(["weights", "import", "a\nb.pth", "--as", "test_resnet"]) == 0
    told = capsys.readouterr().out
    assert "a\\nb.pth read as" in told
    assert "(x\\nmissing: none\\x1b[2J)" in told


def test_a_malicious_file_runs_nothing(tmp_path, capsys):
    class Touch:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'executed'}",))

    torch.save(Touch(), tmp_path / "model.pth")
    assert run(["weights", "import", str(tmp_path / "model.pth"), "--as", "test_resnet"]) == 2
    assert "nothing was executed" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
