"""Each optimizer against its equations, written with plain numbers."""

import math

import pytest
import torch

from chiron.engine.optimizers import make_optimizer
from chiron.spec.train_recipe import TrainRecipe

START, GRADIENTS, LR, DECAY = 2.0, (0.5, -1.0, 0.25), 0.1, 0.3


def walk(name: str) -> list[float]:
    """The weight after each of three steps."""
    weight = torch.nn.Parameter(torch.tensor([START]))
    model = torch.nn.ParameterList([weight])
    train = TrainRecipe(epochs=1, lr=LR, optimizer=name, momentum=0.8, weight_decay=DECAY)
    optimizer = make_optimizer(train, model)
    seen = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        seen.append(weight.item())
    return seen


def test_sgd_has_plain_momentum_and_decays_through_the_gradient():
    weight, velocity, expected = START, 0.0, []
    for gradient in GRADIENTS:
        velocity = 0.8 * velocity + gradient + DECAY * weight
        weight -= LR * velocity
        expected.append(weight)
    assert walk("sgd") == pytest.approx(expected, rel=1e-5)


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


def test_biases_and_norms_decay_too():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    for name in ("adamw", "adam", "sgd"):
        groups = make_optimizer(TrainRecipe(epochs=1, lr=0.1, optimizer=name), model).param_groups
        assert [group["weight_decay"] for group in groups] == [0.01]
        assert len(groups[0]["params"]) == 4
