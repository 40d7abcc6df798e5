"""Imports as a whole, the pixels that weights expect, and where a bundle says its first weights come from."""

import json

import pytest
import timm
import torch

from chiron.classifier import load
from chiron.core.errors import ModelError, SpecError
from chiron.core.files import write_text
from chiron.models.create import create_model
from chiron.models.weights.imported import read_facts
from chiron.spec.recipe import Recipe
from chiron.workflows.train import train
from chiron.workflows.weights import import_weights, with_input_of_weights


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of 7 classes with an average, as S1's training keeps it."""
    torch.manual_seed(0)
    raw, averaged = (timm.create_model("test_resnet", num_classes=7) for _ in range(2))
    path = tmp_path / "best_model.pt"
    torch.save({"epoch": 3, "model_state": raw.state_dict(), "ema_state": {"ema": averaged.state_dict()}}, path)
    return path, raw.eval(), averaged.eval()


def logits(path, name="test_resnet", num_classes=7):
    model = create_model(name, num_classes=num_classes, img_size=64, init="imported", weights=str(path), seed=5)
    with torch.no_grad():
        return model.eval()(torch.ones(1, 3, 64, 64))


def test_equal_logits_after_an_import(tmp_path, checkpoint):
    path, raw, averaged = checkpoint
    done = import_weights(path, "test_resnet", tmp_path / "raw.safetensors")
    assert (done.num_classes, done.missing, done.unexpected, done.left_out) == (7, (), (), ())
    assert len(done.matched) == len(raw.state_dict())
    assert "--ema" in done.notes[0]
    with torch.no_grad():
        assert torch.equal(logits(done.path), raw(torch.ones(1, 3, 64, 64)))
        done = import_weights(path, "test_resnet", tmp_path / "ema.safetensors", averaged=True)
        assert torch.equal(logits(done.path), averaged(torch.ones(1, 3, 64, 64)))
    facts = read_facts(done.path)
    assert (facts.source, facts.taken, facts.model) == ("best_model.pt", "ema_state", "test_resnet")
    assert str(tmp_path) not in done.path.read_bytes()[:4000].decode(errors="replace")


def test_other_classes_need_a_word(tmp_path, checkpoint):
    path = checkpoint[0]
    out = tmp_path / "out.safetensors"
    with pytest.raises(ModelError, match=r"Got fc.weight \(7, \d+\) for \(3, \d+\).* --leave-out-classifier"):
        import_weights(path, "test_resnet", out, num_classes=3)
    assert not out.exists()
    done = import_weights(path, "test_resnet", out, num_classes=3, leave_out_classifier=True)
    assert done.left_out == ("fc.bias", "fc.weight")
    assert done.num_classes == 3
    assert "fc.weight" not in done.missing
    assert logits(out, num_classes=3).shape == (1, 3)
    with pytest.raises(SpecError, match="must not exist yet"):
        import_weights(path, "test_resnet", out)
    with pytest.raises(ModelError, match=r"kept as .safetensors. Got out.pth"):
        import_weights(path, "test_resnet", tmp_path / "out.pth")


def test_gray_networks_stay_gray(tmp_path):
    gray = timm.create_model("test_resnet", num_classes=2, in_chans=1)
    torch.save(gray.state_dict(), tmp_path / "gray.pth")
    done = import_weights(tmp_path / "gray.pth", "test_resnet", tmp_path / "gray.safetensors")
    model = create_model(
        "test_resnet", num_classes=2, in_chans=1, img_size=64, init="imported", weights=str(done.path), seed=1
    )
    assert torch.equal(model.conv1[0].weight, gray.conv1[0].weight)


def recipe(model, **input_keys):
    return Recipe.model_validate(
        {"model": model, "input": {"img_size": 64, **input_keys}, "train": {"epochs": 1, "lr": 0.1}}
    )


def test_the_input_of_weights_enters_the_recipe():
    vit = {"name": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "init": "imagenet"}
    found, told = with_input_of_weights(recipe(vit))
    assert (found.input.mean, found.input.std, told) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), [])
    found, told = with_input_of_weights(recipe(vit, in_chans=1))
    assert (found.input.mean, found.input.std) == ((0.5,), (0.5,))
    imagenet = {"name": "resnet18", "init": "imagenet"}
    found, _ = with_input_of_weights(recipe(imagenet, in_chans=1))
    assert (found.input.mean, found.input.std) == ((0.449,), (0.226,))
    given = recipe(vit, mean=(0.1, 0.2, 0.3))
    found, told = with_input_of_weights(given)
    assert (found.input.mean, found.input.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    assert told[0].startswith("input.mean [0.1, 0.2, 0.3] is not that of the first weights, [0.5, 0.5, 0.5]")
    scratch = recipe({"name": "resnet18", "init": "scratch"})
    assert with_input_of_weights(scratch) == (scratch, [])
    with pytest.raises(ModelError, match="needs a model with ImageNet weights"):
        with_input_of_weights(recipe({"name": "chiron_fair_cnn", "init": "imagenet"}))


def test_an_imported_file_has_an_input_only_where_it_is_known(tmp_path, checkpoint):
    done = import_weights(checkpoint[0], "test_resnet", tmp_path / "w.safetensors")
    own = recipe({"name": "test_resnet", "init": "imported", "weights": str(done.path)})
    assert with_input_of_weights(own) == (own, [])
    with pytest.raises(ModelError, match="must exist"):
        with_input_of_weights(recipe({"name": "test_resnet", "init": "imported", "weights": str(tmp_path / "no")}))


TRANSFER = """\
model: {{name: chiron_fair_cnn_nano, init: imported, weights: {weights}}}
input: {{img_size: 32, in_chans: 1}}
labels: {{positive: sick}}
train: {{epochs: 3, batch_size: 8, lr: 1e-3, num_workers: 0}}
evaluate: {{num_resamples: 200}}
"""


def test_a_bundle_says_where_its_weights_come_from_also_after_a_resume(tmp_path, class_folders, monkeypatch, caplog):
    source = timm.create_model("chiron_fair_cnn_nano", num_classes=4, in_chans=1)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "old.pth")
    done = import_weights(tmp_path / "old.pth", "chiron_fair_cnn_nano", tmp_path / "imported.safetensors")
    (tmp_path / "recipe.yaml").write_text(TRANSFER.format(weights=done.path))

    def train_once(**options):
        return train(str(tmp_path / "recipe.yaml"), class_folders, tmp_path / "run", device="cpu", **options)

    histories = []

    def stop_in_the_second_epoch(path, text, **options):
        histories.extend([text] * (path.name == "training_history.json"))
        if len(histories) == 2:
            raise KeyboardInterrupt
        write_text(path, text, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("chiron.workflows.train.write_text", stop_in_the_second_epoch)
        train_once()
    done.path.write_bytes(done.path.read_bytes()[:-4] + b"\0\0\0\1")  # the file has changed; the run has its own
    caplog.clear()
    with caplog.at_level("INFO", logger="chiron.train"):
        run = train_once(resume=True)
    assert "weights:" not in caplog.text
    origin = load(run.bundle).provenance.weights
    head = 32 * 2 + 2
    assert (origin.source, origin.num_drawn, origin.sha256) == ("old.pth", head, done.facts.sha256)
    text = (run.bundle / "bundle.json").read_text(encoding="utf-8")
    assert json.loads(text)["provenance"]["recipe"]["model"]["weights"] == "imported.safetensors"
    assert str(tmp_path) not in text
    card = (run.bundle / "README.md").read_text(encoding="utf-8")
    assert f"First weights: {origin.describe()}; SHA-256 of the file `{origin.sha256}`." in card
    assert "forbids commercial use" not in card
