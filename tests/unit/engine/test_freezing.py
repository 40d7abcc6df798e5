"""What frozen stages do and do not: gradients, weights, statistics, rates, and resuming beside the unfreezing."""

import json
import logging
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file

from chiron.core.errors import SpecError
from chiron.engine.checkpoint import list_checkpoints
from chiron.engine.freezing import apply_freezing, tell_trainable
from chiron.engine.optimizers import make_optimizer
from chiron.spec.train_recipe import FreezeRecipe, TrainRecipe

DENSENET = ("conv0", "norm0", "denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3")
SMALL = ("model.name=chiron_densenet_transformer_nano", "input.in_chans=3", "train.lr=1e-2")


@pytest.fixture
def quick_fit(tmp_path, class_folders, tiny_recipe):
    """The loop alone on a small network with batch norm."""
    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    manifest, labels = prepare(check_recipe(str(tiny_recipe), SMALL), class_folders)
    runtime = start_runtime(device="cpu", threads=1)

    def call(*changes: str):
        recipe = check_recipe(str(tiny_recipe), (*SMALL, *changes))
        options = {"checkpoints": call.checkpoints, "runtime": runtime, "on_epoch": lambda history: None}
        return fit(recipe, manifest, labels, **options)

    call.checkpoints = tmp_path / "checkpoints"
    return call


@pytest.mark.parametrize(
    ("name", "learning", "total"),
    [
        ("chiron_densenet_transformer_code", 8_442_345, 13_236_073),
        ("chiron_densenet_transformer", 7_417_345, 12_211_073),
    ],
)
def test_counts_of_the_last_dense_block_and_its_norm(name, learning, total, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    model = timm.create_model(name, num_classes=1)
    assert apply_freezing(model, [FreezeRecipe(stages=DENSENET)], epoch=0)
    assert not apply_freezing(model, [FreezeRecipe(stages=DENSENET)], epoch=1)
    with caplog.at_level(logging.INFO):
        tell_trainable(model)
    unread = ", but for 1,025,000 that never get a gradient" if "code" in name else ""
    assert caplog.messages == [f"{learning:,} of {total:,} parameters learn{unread}"]
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert not any("denseblock4" in key or "norm5" in key or key.startswith("head") for key in frozen)
    layers = dict(model.named_modules())
    assert not layers["backbone.features.norm0"].training
    assert layers["backbone.features.norm5"].training


def frozen_part(tensors):
    return {
        key: tensor for key, tensor in tensors.items() if key.split("model.backbone.features.")[-1].startswith(DENSENET)
    }


def at_epoch_end(folder, epoch):
    return load_file(folder / f"step-{epoch:05d}-0000000" / "state.safetensors")


def test_frozen_to_the_end_nothing_of_it_moves(quick_fit):
    stages = json.dumps(DENSENET)
    quick_fit(f"train.freeze=[{{stages: {stages}}}]", "train.keep_every_epochs=1", "train.ema_decay=0.5")
    first, last = at_epoch_end(quick_fit.checkpoints, 1), at_epoch_end(quick_fit.checkpoints, 2)
    still = {key for key in frozen_part(first) if key.startswith("model.")}
    assert {"model.backbone.features.norm0.running_mean", "model.backbone.features.conv0.weight"} <= still
    for key in still:
        assert torch.equal(first[key], last[key]), key
        assert torch.equal(first["ema." + key.removeprefix("model.")], first[key]), key
    for moved in ("norm5.running_mean", "norm5.weight", "denseblock4.denselayer1.conv1.weight"):
        assert not torch.equal(first[f"model.backbone.features.{moved}"], last[f"model.backbone.features.{moved}"])
    assert not any(key.startswith("optim.") for key in frozen_part(last) if "norm5" not in key and "block4" not in key)


def test_a_stem_learns_slower_after_its_epochs(quick_fit, monkeypatch):
    """Frozen for two epochs: no gradient, no change of weights or statistics, no state; then 0.2 of the rate."""
    from chiron.engine import fit as loop

    seen, plain = [], loop.take_step

    def step(setup, *args):
        done = plain(setup, *args)
        model, optimizer = setup.state.model, setup.state.optimizer
        weight = model.backbone.features.conv0.weight
        rates = {group["lr"] for group in optimizer.param_groups if any(p is weight for p in group["params"])}
        others = {group["lr"] for group in optimizer.param_groups} - rates
        seen.append((setup.state.progress.epoch, weight.grad is None, weight in optimizer.state, rates, others))
        return done

    monkeypatch.setattr(loop, "take_step", step)
    freeze = "train.freeze=[{stages: [conv0, norm0], epochs: 2, lr_scale: 0.2}]"
    quick_fit(freeze, "train.epochs=4", "train.keep_every_epochs=1", "train.schedule=constant")
    for epoch, without_gradient, has_state, rates, others in seen:
        assert without_gradient == (epoch < 2)
        assert has_state == (epoch >= 2)
        assert sorted(rates) == pytest.approx([0.2 * 1e-2])
        assert others == {1e-2}
    ends = [at_epoch_end(quick_fit.checkpoints, epoch) for epoch in (1, 2, 3)]
    for key in ("conv0.weight", "norm0.weight", "norm0.running_mean", "norm0.running_var"):
        one, two, three = (end[f"model.backbone.features.{key}"] for end in ends)
        assert torch.equal(one, two), key
        assert not torch.equal(two, three), key


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_resuming_before_and_after_the_unfreezing_gives_the_same_bytes(quick_fit, stopped_after):
    """Unfreezing in epoch 2 of 3, with an average and a momentum that cycles."""
    changes = (
        "train.freeze=[{stages: [conv0, norm0], epochs: 1, lr_scale: 0.2}]", "train.epochs=3", "train.ema_decay=0.9",
        "train.schedule=one_cycle", "train.keep_every_epochs=1",
    )  # fmt: skip
    quick_fit(*changes)
    last = list_checkpoints(quick_fit.checkpoints)[-1] / "state.safetensors"
    whole = last.read_bytes()
    for checkpoint in list_checkpoints(quick_fit.checkpoints)[stopped_after:]:
        shutil.rmtree(checkpoint)
    quick_fit(*changes)
    assert last.read_bytes() == whole


def test_the_model_is_wrapped_once_and_at_each_change(quick_fit, monkeypatch):
    from chiron.engine.processes import World

    wrapped = []
    monkeypatch.setattr(World, "wrap", lambda self, model: wrapped.append(model) or model)
    quick_fit("train.epochs=3", "train.freeze=[{stages: [conv0], epochs: 1}]")
    assert len(wrapped) == 2
    shutil.rmtree(quick_fit.checkpoints)
    quick_fit("train.epochs=3")
    assert len(wrapped) == 3


def test_an_unknown_stage_is_told_before_images_are_read(tmp_path, tiny_recipe):
    from chiron.workflows.train import train

    overrides = (*SMALL, "train.freeze=[{stages: [denseblok4]}]")
    with pytest.raises(SpecError, match=r"must name stages of the network.*Did you mean 'denseblock4'\?"):
        train(str(tiny_recipe), tmp_path / "no images here", tmp_path / "run", overrides=overrides, device="cpu")
    assert not (tmp_path / "run").exists()


def test_what_never_learns_is_no_business_of_the_optimizer():
    model = timm.create_model("chiron_densenet_transformer_nano", num_classes=2)
    parts = (FreezeRecipe(stages=("conv0",), epochs=1, lr_scale=0.5), FreezeRecipe(stages=("norm0",)))
    optimizer = make_optimizer(TrainRecipe(epochs=3, lr=0.1, freeze=parts), model)
    in_groups = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model.backbone.features.norm0.weight) not in in_groups
    assert id(model.backbone.features.conv0.weight) in in_groups
