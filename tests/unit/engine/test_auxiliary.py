"""The losses on a network's own mask and on its attention: numbers, gradients, what learns, what is told."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from chiron.core.errors import SpecError
from chiron.engine.auxiliary import AuxiliaryLosses, attention_loss, make_auxiliary, require_outputs, segmentation_loss
from chiron.engine.checkpoint import list_checkpoints
from chiron.engine.fit import fit
from chiron.engine.optimizers import make_optimizer
from chiron.engine.runtime import start_runtime
from chiron.models.create import create_model, example_inputs
from chiron.spec.train_recipe import TrainRecipe
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare

NAME = "chiron_hybrid_lung_vit_nano"


def network(**args) -> nn.Module:
    return create_model(NAME, num_classes=2, img_size=64, init="scratch", seed=0, **args).eval()


def recipe(**values) -> TrainRecipe:
    return TrainRecipe(**{"epochs": 2, "lr": 1e-3, **values})


def inputs_of(model: nn.Module, count: int = 4) -> tuple[torch.Tensor, ...]:
    return example_inputs(model, torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1)))


def test_the_loss_on_the_mask_equals_a_naive_loop(random):
    mask_logits, mask = random.normal(size=(3, 1, 5, 4)), (random.random((3, 1, 5, 4)) < 0.4).astype(float)
    mask[2] = 0  # an empty mask
    terms = []
    for x, m in zip(mask_logits, mask, strict=True):
        bce, both, either = 0.0, 0.0, 0.0
        for z, y in zip(x.ravel(), m.ravel(), strict=True):
            p = 1 / (1 + math.exp(-z))
            bce -= (y * math.log(p) + (1 - y) * math.log(1 - p)) / 20
            both, either = both + p * y, either + p + y
        terms.append(0.5 * bce + 0.5 * (1 - (2 * both + 1) / (either + 1)))
    got = segmentation_loss(torch.tensor(mask_logits).float(), torch.tensor(mask).float())
    assert got.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_right_mask_costs_nothing_and_an_empty_one_of_both_neither():
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:5, 1:6] = 1
    assert segmentation_loss(200 * mask - 100, mask).item() == pytest.approx(0, abs=1e-6)
    assert segmentation_loss(100 - 200 * mask, mask).item() > 50


def test_the_loss_on_attention_equals_scipys_divergence(random):
    attn, coverage = random.dirichlet(np.ones(8), size=5), random.random((5, 8))
    coverage[0, :3], coverage[1] = 0.0, 0.0  # tokens outside of the mask; no mask at all
    wanted = np.maximum(coverage, 1e-3)
    expected = [entropy(p, q / q.sum()) for p, q in zip(attn, wanted, strict=True)]
    got = attention_loss(torch.tensor(attn).float(), torch.tensor(coverage).float())
    assert got.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert entropy(attn[1], np.full(8, 1 / 8)) == pytest.approx(expected[1])


def test_attention_that_is_zero_has_a_finite_gradient():
    scores = torch.tensor([[0.0, -200.0, 1.0]], requires_grad=True)
    value = attention_loss(scores.softmax(dim=1), torch.tensor([[0.0, 1.0, 0.5]]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, 0] > 0  # going down takes attention away from what lies outside
    assert scores.grad[0, 2] < 0


@pytest.mark.parametrize("fuse_global", [False, True])
def test_coverage_of_tokens_equals_the_share_of_mask_in_their_place(fuse_global):
    """A mask whose cut falls between two columns of bins: means of plain crops."""
    model = network(fuse_global=fuse_global)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:50, 4:22] = mask[..., 10:50, 42:60] = 1  # symmetric: the cut is the middle
    sides = [mask[0, 0, :, :32], mask[0, 0, :, 32:]] + [mask[0, 0]] * fuse_global
    expected = [
        field[r * 16 : (r + 1) * 16, c * (field.shape[1] // 4) : (c + 1) * (field.shape[1] // 4)].mean()
        for field in sides
        for r in range(4)
        for c in range(4)
    ]
    got = model.mask_coverage(mask)
    assert got.shape == (1, model.forward_named(torch.zeros(1, 3, 64, 64), mask).attn[0].shape[-1])
    torch.testing.assert_close(got[0], torch.stack(expected), rtol=1e-5, atol=1e-6)


def gradients(train: TrainRecipe) -> tuple[dict[str, torch.Tensor | None], nn.Module, AuxiliaryLosses, torch.Tensor]:
    """Of a loss of the classes and what the recipe adds to it."""
    model = network()
    auxiliary = make_auxiliary(train, model)
    images, mask = inputs_of(model)
    logits, values = auxiliary.measure(auxiliary.as_called(model)(images, mask), mask)
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])) + auxiliary.weighted(values)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}, model, auxiliary, values


def test_each_loss_reaches_what_it_is_about_and_the_optimizer_has_it():
    plain, model, auxiliary, values = gradients(recipe())
    assert auxiliary.kinds == ()
    assert values.shape == (0,)
    assert auxiliary.as_called(model) is model
    head = {name for name in plain if name.startswith("seg_head.")}
    assert all(plain[name] is None for name in head)
    assert head < model.parameters_not_learned

    masked, model, auxiliary, values = gradients(recipe(segmentation_weight=0.5))
    assert auxiliary.kinds == ("segmentation",)
    assert all(masked[name].any() for name in head)
    assert not head & model.parameters_not_learned
    assert learned(recipe(segmentation_weight=0.5), model) >= head
    assert not torch.allclose(masked["projection.weight"], plain["projection.weight"], rtol=1e-3)

    watched, model, auxiliary, values = gradients(recipe(attention_weight=1.0))
    assert auxiliary.kinds == ("attention",)
    assert all(watched[name] is None for name in head)
    assert not learned(recipe(attention_weight=1.0), model) & head
    assert not torch.allclose(watched["fusion.q.weight"], plain["fusion.q.weight"], rtol=1e-3)

    _, model, auxiliary, values = gradients(recipe(segmentation_weight=0.5, attention_weight=2.0))
    images, mask = inputs_of(model)
    output = model.forward_named(images, mask)
    both = [
        segmentation_loss(output.mask_logits, mask),
        attention_loss(output.attn[0].mean(dim=1).squeeze(1), model.mask_coverage(mask)),
    ]
    torch.testing.assert_close(values, torch.stack(both))
    torch.testing.assert_close(auxiliary.weighted(values), 0.5 * both[0] + 2 * both[1])


def learned(train: TrainRecipe, model: nn.Module) -> set[str]:
    ours = {id(p) for group in make_optimizer(train, model).param_groups for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in ours}


def test_only_the_outputs_that_a_loss_reads_leave_the_network():
    """Else several processes would wait for gradients of a head that no loss reaches."""
    for kind in ("segmentation", "attention"):
        model = network()
        auxiliary = make_auxiliary(recipe(**{f"{kind}_weight": 1.0}), model)
        output = auxiliary.as_called(model)(*inputs_of(model))
        assert (output.mask_logits is not None) == (kind == "segmentation")
        assert (output.attn != ()) == (kind == "attention")


def test_a_network_without_the_outputs_is_refused():
    class Plain(nn.Module):
        pass

    for kind, shown in (("segmentation", "own mask"), ("attention", "tokens' places in the mask")):
        train = recipe(**{f"{kind}_weight": 0.5})
        message = rf"train\.{kind}_weight needs a network that shows its {shown}.* Got Plain\. Leave .* out\."
        for refuse in (require_outputs, make_auxiliary):
            with pytest.raises(SpecError, match=message):
                refuse(train, Plain())
    require_outputs(recipe(), Plain())


@pytest.mark.parametrize("key", ["segmentation_weight", "attention_weight"])
def test_a_model_without_mask_is_told_by_check(tiny_recipe, key):
    message = rf"train\.{key} must be 0 with chiron_fair_cnn_nano, which takes no mask to compare with\. Got 0\.5\."
    with pytest.raises(SpecError, match=message):
        check_recipe(str(tiny_recipe), (f"train.{key}=0.5",))


@pytest.fixture
def fit_lungs(tmp_path, class_folders, tiny_recipe, caplog):
    common = (f"model.name={NAME}", "input.mask=lung", "input.img_size=64", "input.in_chans=3", "train.epochs=2")
    manifest, labels = prepare(check_recipe(str(tiny_recipe), common), class_folders)

    def call(*changes: str, name: str = "checkpoints"):
        return fit(
            check_recipe(str(tiny_recipe), (*common, *changes)),
            manifest,
            labels,
            checkpoints=tmp_path / name,
            runtime=start_runtime(device="cpu", threads=1),
            on_epoch=lambda history: None,
        )

    return call


def test_a_training_learns_the_mask_and_tells_it(fit_lungs, tmp_path, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    caplog.set_level(logging.INFO)
    plain = fit_lungs("train.epochs=1", name="plain")
    assert not [key for row in plain.progress.history for key in row if "segmentation" in key or "attention" in key]
    assert "segmentation" not in caplog.text
    both = fit_lungs("train.segmentation_weight=0.5", "train.attention_weight=0.1", "train.lr=5e-3")
    rows = both.progress.history
    assert rows[-1]["train_segmentation_loss"] < rows[0]["train_segmentation_loss"]
    assert 0 < rows[0]["train_attention_loss"] < 8
    assert f"(segmentation {rows[0]['train_segmentation_loss']:.4f}, attention" in caplog.text
    heads = {name: t for name, t in both.network.state_dict().items() if name.startswith("seg_head.conv1")}
    assert not all(torch.equal(tensor, plain.network.state_dict()[name]) for name, tensor in heads.items())
    state = json.loads((list_checkpoints(tmp_path / "checkpoints")[-1] / "state.json").read_text())["progress"]
    assert state["auxiliary_sums"] == {}  # of the epoch that begins


def test_train_loss_holds_the_auxiliary_losses_by_their_weights(fit_lungs):
    """With a rate of nearly nothing all runs see the same network."""
    still = ("train.lr=1e-30", "train.epochs=1", "train.weight_decay=0", "model.args.drop_rate=0.0")
    plain = fit_lungs(*still, name="a").progress.history[0]
    weights = ("train.segmentation_weight=0.5", "train.attention_weight=2")
    both = fit_lungs(*still, *weights, name="b").progress.history[0]
    parts = fit_lungs(*still, *weights, "train.grad_accum_steps=3", name="c").progress.history[0]
    for key in ("train_loss", "train_segmentation_loss", "train_attention_loss"):
        assert parts[key] == pytest.approx(both[key], rel=1e-5)
    added = 0.5 * both["train_segmentation_loss"] + 2 * both["train_attention_loss"]
    assert both["train_loss"] == pytest.approx(plain["train_loss"] + added, rel=1e-5)
    assert both["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-6)  # the plain log loss
