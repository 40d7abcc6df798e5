"""Each optimizer against its equations, groups against timm's, and resuming for every name."""

import math
from pathlib import Path

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay

from chiron.core.errors import SpecError
from chiron.engine.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from chiron.engine.optimizers import make_optimizer, set_learning_rate, set_momentum
from chiron.spec.model_names import optimizer_arguments
from chiron.spec.train_recipe import FreezeRecipe, TrainRecipe

START, GRADIENTS, LR, DECAY = 2.0, (0.5, -1.0, 0.25), 0.1, 0.3


def walk(name: str, **changes) -> list[float]:
    """The weight after each of three steps."""
    weight = torch.nn.Parameter(torch.tensor([START]))
    model = torch.nn.ParameterList([weight])
    train = TrainRecipe(epochs=1, lr=LR, optimizer=name, momentum=0.8, weight_decay=DECAY, **changes)
    optimizer = make_optimizer(train, model)
    seen = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        seen.append(weight.item())
    return seen


def recipe(**changes) -> TrainRecipe:
    return TrainRecipe(**{"epochs": 1, "lr": 0.01, **changes})


def test_sgd_has_plain_momentum_and_decays_through_the_gradient():
    weight, velocity, expected = START, 0.0, []
    for gradient in GRADIENTS:
        velocity = 0.8 * velocity + gradient + DECAY * weight
        weight -= LR * velocity
        expected.append(weight)
    assert walk("sgd") == pytest.approx(expected, rel=1e-5)
    assert walk("momentum") == pytest.approx(expected, rel=1e-5)  # timm's word for it
    assert walk("nesterov") == walk("sgd", optimizer_args={"nesterov": True}) != walk("sgd")


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_decays_through_the_gradient_and_adamw_beside_it(name):
    weight, mean, square, expected = START, 0.0, 0.0, []
    for t, gradient in enumerate(GRADIENTS, start=1):
        if name == "adamw":
            weight -= LR * DECAY * weight
        else:
            gradient += DECAY * weight
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        weight -= LR * (mean / (1 - 0.9**t)) / (math.sqrt(square / (1 - 0.999**t)) + 1e-8)
        expected.append(weight)
    assert walk(name) == pytest.approx(expected, rel=1e-5)


def test_lion_equals_its_equations():
    """Chen et al. 2023, arXiv:2302.06675, algorithm 2: the sign of an interpolation, decay beside it."""
    weight, mean, expected = START, 0.0, []
    for gradient in GRADIENTS:
        weight -= LR * (math.copysign(1.0, 0.9 * mean + 0.1 * gradient) + DECAY * weight)
        mean = 0.99 * mean + 0.01 * gradient
        expected.append(weight)
    assert walk("lion") == pytest.approx(expected, rel=1e-5)


def test_arguments_reach_the_optimizer():
    assert walk("adamw", optimizer_args={"betas": [0.5, 0.9]}) != walk("adamw")
    assert walk("adabelief", optimizer_args={"eps": 0.1}) != walk("adabelief")


@pytest.mark.parametrize("arguments", [{"betas": [0.9, 1.5]}, {"betas": 3}, {"eps": "small"}])
def test_a_value_that_no_optimizer_takes_is_one_sentence(arguments):
    with pytest.raises(SpecError, match=r"train\.optimizer adamw must take its arguments\. Got "):
        walk("adamw", optimizer_args=arguments)


def test_biases_and_norms_decay_too_unless_asked():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    for name in ("adamw", "adam", "sgd", "lamb"):
        groups = make_optimizer(TrainRecipe(epochs=1, lr=0.1, optimizer=name), model).param_groups
        assert [group["weight_decay"] for group in groups] == [0.01]
        assert len(groups[0]["params"]) == 4
    groups = make_optimizer(TrainRecipe(epochs=1, lr=0.1, weight_decay_on="weights"), model).param_groups
    assert {group["weight_decay"]: len(group["params"]) for group in groups} == {0.01: 1, 0.0: 3}


def by_parameter(groups, key: str) -> dict[int, float]:
    return {id(parameter): group[key] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "chiron_h_coatnet_nano", "chiron_fair_cnn_nano"])
def test_groups_equal_timms(name):
    model = timm.create_model(name, num_classes=3)
    spared = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    ours = make_optimizer(recipe(weight_decay=0.05, weight_decay_on="weights"), model).param_groups
    theirs = param_groups_weight_decay(model, 0.05, no_weight_decay_list=spared)
    known = by_parameter(ours, "weight_decay")
    expected = {key: value for key, value in by_parameter(theirs, "weight_decay").items() if key in known}
    assert known == expected
    assert set(known.values()) == {0.0, 0.05}

    ours = make_optimizer(recipe(layer_decay=0.7), model).param_groups
    theirs = by_parameter(param_groups_layer_decay(model, layer_decay=0.7), "lr_scale")
    known = by_parameter(ours, "lr_scale")
    assert known == pytest.approx({key: theirs[key] for key in known}, rel=1e-12)
    assert len(set(known.values())) > 2
    assert max(known.values()) == 1.0


def test_layer_decay_combines_with_the_rate_after_unfreezing():
    model = timm.create_model("test_convnext", num_classes=3)
    plain = by_parameter(make_optimizer(recipe(layer_decay=0.5), model).param_groups, "lr_scale")
    freeze = (FreezeRecipe(stages=("stem",), epochs=1, lr_scale=0.2),)
    train = recipe(layer_decay=0.5, freeze=freeze)
    both = by_parameter(make_optimizer(train, model).param_groups, "lr_scale")
    stem = {id(parameter) for parameter in model.stem.parameters()}
    assert both == pytest.approx({key: value * (0.2 if key in stem else 1) for key, value in plain.items()})
    optimizer = make_optimizer(train, model)
    set_learning_rate(optimizer, 0.1)
    assert all(group["lr"] == pytest.approx(0.1 * group["lr_scale"]) for group in optimizer.param_groups)


def test_nothing_left_to_learn_is_told():
    model = torch.nn.Linear(2, 2)
    model.named_stages = lambda: {"head": ("weight", "bias")}
    with pytest.raises(SpecError, match="Some stage must learn"):
        make_optimizer(recipe(freeze=(FreezeRecipe(stages=("head",)),)), model)


def test_momentum_is_set_where_there_is_one():
    model = torch.nn.Linear(2, 2)
    for name, key, value in (
        ("sgd", "momentum", 0.7),
        ("adamw", "betas", (0.7, 0.999)),
        ("lamb", "betas", (0.7, 0.999)),
    ):
        optimizer = make_optimizer(recipe(optimizer=name), model)
        set_momentum(optimizer, 0.7)
        assert optimizer.param_groups[0][key] == value


class Small(torch.nn.Module):
    """A convolution, a norm and a linear layer, for optimizers that treat shapes differently."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).mean((2, 3)))


def small_state(name: str, **changes) -> tuple[TrainRecipe, TrainingState]:
    torch.manual_seed(0)
    model, train = Small(), recipe(optimizer=name, **changes)
    return train, TrainingState(model, make_optimizer(train, model), torch.amp.GradScaler("cpu", enabled=False))


def steps(state: TrainingState, first: int, last: int) -> None:
    for step in range(first, last):
        torch.manual_seed(step)
        state.model.zero_grad()
        state.model(torch.randn(5, 2, 6, 6)).square().mean().backward()
        set_learning_rate(state.optimizer, 0.01 / (1 + step))
        state.optimizer.step()


def require_equal_bytes(name: str, folder: Path) -> None:
    """A run of five steps, and one that is stopped after two and resumed."""
    _, whole = small_state(name)
    start = [parameter.clone() for parameter in whole.model.parameters()]
    steps(whole, 0, 5)
    assert any(not torch.equal(a, b) for a, b in zip(start, whole.model.parameters(), strict=True))
    _, stopped = small_state(name)
    steps(stopped, 0, 2)
    _, resumed = small_state(name)
    load_checkpoint(save_checkpoint(folder, stopped), resumed)
    steps(resumed, 2, 5)
    for (key, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), (name, key)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "lion", "adabelief", "nadamw", "muon", "madgrad"])
def test_optimizers_resume_to_the_same_bytes(name, tmp_path):
    require_equal_bytes(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", optimizer_arguments())
def test_every_optimizer_resumes_to_the_same_bytes(name, tmp_path):
    require_equal_bytes(name, tmp_path)


@pytest.mark.parametrize("name", ["lamb", "lion", "adabelief", "nadamw", "rmsprop"])
def test_timms_optimizers_are_those_of_its_factory(name):
    _, ours = small_state(name, momentum=0.8, weight_decay=0.02, weight_decay_on="weights")
    torch.manual_seed(0)
    model = Small()
    reference = create_optimizer_v2(model, name, lr=0.01, weight_decay=0.02, momentum=0.8)
    for group in reference.param_groups:
        group["lr_scale"] = 1.0
    theirs = TrainingState(model, reference, torch.amp.GradScaler("cpu", enabled=False))
    steps(ours, 0, 4)
    steps(theirs, 0, 4)
    for a, b in zip(ours.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
