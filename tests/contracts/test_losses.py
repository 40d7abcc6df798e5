"""Every file of engine/losses: gradient, reduction, weights, equality with torch."""

import inspect
from typing import get_args

import pytest
import torch
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.core.registry import leaf_literal, leaf_names, load_leaf
from chiron.spec.labels import LabelSpace
from chiron.spec.train_recipe import TrainRecipe

LABEL_SPACES = {
    "several classes": LabelSpace(names=("a", "b", "c")),
    "one logit": LabelSpace(names=("a", "b"), positive="a", one_logit=True),
    "several labels": LabelSpace(kind="multi_label", names=("a", "b", "c")),
}

# A loss that does not fit a label space says which one does.
REFUSED = {("cross_entropy", "one logit"), ("cross_entropy", "several labels"), ("bce", "several classes")}


def example(labels: LabelSpace):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, labels.num_outputs, generator=generator, dtype=torch.float32)
    if labels.kind == "multi_label":
        y_true = torch.randint(0, 2, (12, len(labels.names)), generator=generator).float()
    else:
        y_true = torch.randint(0, len(labels.names), (12,), generator=generator)
    return logits, y_true


@pytest.mark.parametrize("name", leaf_names("chiron.engine.losses"))
@pytest.mark.parametrize("kind", LABEL_SPACES)
def test_loss_contract(name, kind):
    module, labels = load_leaf("chiron.engine.losses", name, kind="loss"), LABEL_SPACES[kind]
    logits, y_true = example(labels)
    if (name, kind) in REFUSED:
        with pytest.raises(SpecError, match=r"Use (bce|cross_entropy)\."):
            module.make_targets(y_true, labels)
        return
    targets = module.make_targets(y_true, labels)
    logits.requires_grad_(True)
    value = module.loss(logits, targets)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad.abs().sum(dim=1) > 0).all()
    # mean over samples: a batch told twice has the same loss
    twice = module.loss(torch.cat([logits, logits]), torch.cat([targets, targets]))
    assert twice.item() == pytest.approx(value.item(), rel=1e-6)
    # going down the gradient helps
    assert module.loss(logits.detach() - logits.grad, targets) < value
    # the same in half precision within its rounding
    assert module.loss(logits.detach().bfloat16(), targets).item() == pytest.approx(value.item(), rel=0.02)


@pytest.mark.parametrize("name", leaf_names("chiron.engine.losses"))
def test_options_contract(name):
    """A loss names the recipe keys that it takes: readable without importing it, neutral by default, and each acts."""
    module = load_leaf("chiron.engine.losses", name, kind="loss")
    assert leaf_literal("chiron.engine.losses", name, "OPTIONS") == module.OPTIONS
    keywords = {
        parameter.name: parameter.default
        for parameter in inspect.signature(module.loss).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    fields = TrainRecipe.model_fields
    assert keywords == {key: fields[key].default for key in module.OPTIONS}

    kind = next(kind for kind in LABEL_SPACES if (name, kind) not in REFUSED)
    logits, y_true = example(LABEL_SPACES[kind])
    targets = module.make_targets(y_true, LABEL_SPACES[kind])
    changed = {key: another_value(fields[key]) for key in module.OPTIONS}
    value = module.loss(logits, targets, **changed)
    logits.requires_grad_(True)
    module.loss(logits, targets, **changed).backward()
    assert (logits.grad.abs().sum(dim=1) > 0).all()
    for key in module.OPTIONS:
        assert module.loss(logits, targets, **changed | {key: fields[key].default}) != value, key


def another_value(field):
    """A value of a recipe key that is not its default."""
    choices = [choice for choice in get_args(field.annotation) if choice != field.default]
    return choices[0] if choices else field.default + 0.25


def smoothed_loss_by_hand(logits, y_true, eps, over, weights) -> float:
    """A loop over samples and classes in plain numbers."""
    terms, divisor = 0.0, 0.0
    n, classes = logits.shape
    for i in range(n):
        logs = (logits[i] - logits[i].exp().sum().log()).tolist()
        for k in range(classes):
            own = k == int(y_true[i])
            wanted = (1 - eps) * own + eps / classes if over == "all" else (1 - eps if own else eps / (classes - 1))
            terms -= weights[k] * wanted * logs[k]
        divisor += weights[int(y_true[i])] if over == "all" else 1.0
    return terms / divisor


@pytest.mark.parametrize("over", ["all", "others"])
@pytest.mark.parametrize("weights", [None, (0.2, 1.0, 3.0)])
@pytest.mark.parametrize("eps", [0.0, 0.1, 0.7])
def test_label_smoothing_equals_a_naive_loop_and_torch(over, weights, eps):
    module = load_leaf("chiron.engine.losses", "cross_entropy", kind="loss")
    logits, y_true = example(LABEL_SPACES["several classes"])
    tensor = None if weights is None else torch.tensor(weights)
    got = module.loss(logits, y_true, tensor, label_smoothing=eps, label_smoothing_over=over)
    by_hand = smoothed_loss_by_hand(logits.double(), y_true, eps, over, weights or (1.0, 1.0, 1.0))
    assert got.item() == pytest.approx(by_hand, rel=1e-5)
    if over == "all":
        reference = functional.cross_entropy(logits, y_true, weight=tensor, label_smoothing=eps)
        torch.testing.assert_close(got, reference, rtol=0, atol=0)
    elif weights is None and eps * 3 / 2 <= 1:
        torch.testing.assert_close(got, functional.cross_entropy(logits, y_true, label_smoothing=eps * 3 / 2))


def test_the_two_smoothings_differ_with_class_weights():
    """As when a system's own weighted smoothing is rebuilt with torch's: not the same number."""
    module = load_leaf("chiron.engine.losses", "cross_entropy", kind="loss")
    logits, y_true = example(LABEL_SPACES["several classes"])
    weights = torch.tensor([0.2, 1.0, 3.0])
    others = module.loss(logits, y_true, weights, label_smoothing=0.1, label_smoothing_over="others")
    torchs = functional.cross_entropy(logits, y_true, weight=weights, label_smoothing=0.15)
    assert abs(others - torchs) > 0.1


def test_cross_entropy_weights_equal_torchs():
    module = load_leaf("chiron.engine.losses", "cross_entropy", kind="loss")
    logits, y_true = example(LABEL_SPACES["several classes"])
    weights = torch.tensor([0.2, 1.0, 3.0])
    reference = functional.cross_entropy(logits, y_true, weight=weights)
    torch.testing.assert_close(module.loss(logits, y_true, weights), reference)


def test_one_logit_bce_equals_two_logit_cross_entropy():
    """z against 0 is the same model as softmax over (z, 0), weights included."""
    labels = LABEL_SPACES["one logit"]
    bce, ce = (load_leaf("chiron.engine.losses", name, kind="loss") for name in ("bce", "cross_entropy"))
    logits, y_true = example(labels)
    two = torch.cat([logits, torch.zeros_like(logits)], dim=1)  # the positive class stands first
    torch.testing.assert_close(bce.loss(logits, bce.make_targets(y_true, labels)), ce.loss(two, y_true))
    weighted = bce.loss(logits, bce.make_targets(y_true, labels), torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(weighted, ce.loss(two, y_true, torch.tensor([2.0, 0.5])))


def test_bce_ignores_labels_that_were_not_assessed():
    bce, labels = load_leaf("chiron.engine.losses", "bce", kind="loss"), LABEL_SPACES["several labels"]
    logits, y_true = example(labels)
    y_true[3] = float("nan")
    kept = torch.arange(12) != 3
    reference = functional.binary_cross_entropy_with_logits(logits[kept], y_true[kept])
    torch.testing.assert_close(bce.loss(logits, bce.make_targets(y_true, labels)), reference)
