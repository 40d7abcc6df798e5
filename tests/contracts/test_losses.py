"""Every file of engine/losses: gradient, reduction, weights, equality with torch."""

import inspect
import math
from typing import get_args

import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

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
REFUSED = {
    ("cross_entropy", "one logit"),
    ("cross_entropy", "several labels"),
    ("focal", "one logit"),
    ("focal", "several labels"),
    ("bce", "several classes"),
    ("asymmetric", "several classes"),
}
LOSSES = "chiron.engine.losses"
FITTING = [(name, kind) for name in leaf_names(LOSSES) for kind in LABEL_SPACES if (name, kind) not in REFUSED]


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
        with pytest.raises(SpecError, match=rf"train\.loss {name} needs .*Use (bce|cross_entropy)\."):
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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_divisor_contract(name, kind, weighted):
    """The loss of a batch is the sum of its parts' losses, each times its divisor over that of the whole."""
    module, labels = load_leaf(LOSSES, name, kind="loss"), LABEL_SPACES[kind]
    logits, y_true = example(labels)
    if labels.is_multi_label:
        y_true[torch.rand(y_true.shape, generator=torch.Generator().manual_seed(1)) < 0.3] = float("nan")
        y_true[3] = float("nan")  # an image without any assessed label, alone in its part
    targets = module.make_targets(y_true, labels)
    weights = example_weights(labels) if weighted else None
    settings = [{}] + [{key: another_value(TrainRecipe.model_fields[key])} for key in module.OPTIONS]
    if name == "cross_entropy":
        settings.append({"label_smoothing": 0.25, "label_smoothing_over": "others"})
    for options in settings:
        whole, divisor = module.loss(logits, targets, weights, **options), module.divisor(targets, weights, **options)
        parts = [
            module.loss(logits[part], targets[part], weights, **options)
            * module.divisor(targets[part], weights, **options)
            / divisor
            for part in (slice(0, 3), slice(3, 4), slice(4, 12))
        ]
        assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5), options


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_class_weights_contract(name, kind):
    """Weights of 1 change nothing; a heavier class moves the loss toward its own."""
    module, labels = load_leaf(LOSSES, name, kind="loss"), LABEL_SPACES[kind]
    logits, y_true = example(labels)
    targets = module.make_targets(y_true, labels)
    weights = example_weights(labels)
    plain, ones = module.loss(logits, targets), module.loss(logits, targets, torch.ones_like(weights))
    torch.testing.assert_close(ones, plain)
    assert abs(module.loss(logits, targets, weights) - plain) > 1e-3


def example_weights(labels: LabelSpace) -> torch.Tensor:
    if labels.is_multi_label:
        return torch.tensor([[1.0, 1.0, 1.0], [0.5, 2.0, 7.0]])
    return torch.tensor([0.5, 2.0]) if labels.one_logit else torch.tensor([0.2, 1.0, 3.0])


def another_value(field):
    """A value of a recipe key that is not its default."""
    choices = [choice for choice in get_args(field.annotation) if choice != field.default]
    return choices[0] if choices else field.default + 0.02


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


def test_a_loss_per_logit_ignores_what_was_not_assessed_also_in_its_gradient():
    labels = LABEL_SPACES["several labels"]
    for name in ("bce", "asymmetric"):
        module = load_leaf(LOSSES, name, kind="loss")
        logits, y_true = example(labels)
        y_true[3], y_true[5, 1] = float("nan"), float("nan")
        known = ~y_true.isnan()
        logits.requires_grad_(True)
        value = module.loss(logits, module.make_targets(y_true, labels))
        value.backward()
        torch.testing.assert_close(value, module.loss(logits[known][:, None], y_true[known][:, None]))
        assert (logits.grad[~known] == 0).all()
        assert (logits.grad[known] != 0).all()


def test_focal_by_hand():
    """p_t = 0.9 and 0.4, gamma 2: -(0.1^2 log 0.9 + 0.6^2 log 0.4) / 2; alpha weighs without a divisor."""
    focal = load_leaf(LOSSES, "focal", kind="loss")
    logits, targets = torch.tensor([[0.9, 0.06, 0.04], [0.5, 0.1, 0.4]]).log(), torch.tensor([0, 2])
    easy, hard = -(0.1**2) * math.log(0.9), -(0.6**2) * math.log(0.4)
    assert focal.loss(logits, targets).item() == pytest.approx((easy + hard) / 2, rel=1e-5)
    weighted = focal.loss(logits, targets, torch.tensor([0.5, 9.0, 3.0]))
    assert weighted.item() == pytest.approx((0.5 * easy + 3 * hard) / 2, rel=1e-5)
    fifth = focal.loss(logits, targets, focal_gamma=5.0).item()
    assert fifth == pytest.approx(-(0.1**5 * math.log(0.9) + 0.6**5 * math.log(0.4)) / 2, rel=1e-5)


def test_focal_with_gamma_0_is_cross_entropy_with_a_plain_mean():
    focal, ce = (load_leaf(LOSSES, name, kind="loss") for name in ("focal", "cross_entropy"))
    logits, y_true = example(LABEL_SPACES["several classes"])
    torch.testing.assert_close(focal.loss(logits, y_true, focal_gamma=0.0), functional.cross_entropy(logits, y_true))
    weights = torch.tensor([0.2, 1.0, 3.0])
    plain = (functional.cross_entropy(logits, y_true, reduction="none") * weights[y_true]).mean()
    got = focal.loss(logits, y_true, weights, focal_gamma=0.0)
    torch.testing.assert_close(got, plain)
    torch.testing.assert_close(got, ce.loss(logits, y_true, weights, label_smoothing_over="others"))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_of_two_classes_equals_torchvisions(gamma):
    """Softmax over (0, z) is a sigmoid of z; their alpha is the positive class's, 1 - alpha the other's."""
    focal = load_leaf(LOSSES, "focal", kind="loss")
    z = torch.linspace(-8, 8, 33)[:, None]
    logits, targets = torch.cat([torch.zeros_like(z), z], dim=1), torch.arange(33) % 2
    got = focal.loss(logits, targets, torch.tensor([0.75, 0.25]), focal_gamma=gamma)
    reference = sigmoid_focal_loss(z, targets[:, None].float(), alpha=0.25, gamma=gamma, reduction="mean")
    torch.testing.assert_close(got, reference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["focal", "asymmetric"])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 4.0])
def test_gradients_stay_finite_where_the_network_is_sure(name, gamma):
    """Right and wrong beyond what fp32 can tell from 0 and 1."""
    module = load_leaf(LOSSES, name, kind="loss")
    z = torch.tensor([0.0, 5.0, 20.0, 95.0, 200.0, -5.0, -20.0, -95.0, -200.0], requires_grad=True)
    if name == "focal":
        logits, targets = torch.stack([z, torch.zeros_like(z)], dim=1), torch.arange(9) % 2
        settings = [{"focal_gamma": gamma}]
    else:
        logits, targets = z[:, None].expand(9, 2), torch.tensor([[0.0, 1.0]]).expand(9, 2)
        gammas = {"asymmetric_gamma_pos": gamma, "asymmetric_gamma_neg": gamma}
        settings = [{**gammas, "asymmetric_shift": shift} for shift in (0.0, 0.05, 0.9)]
    for options in settings:
        value = module.loss(logits, targets, **options)
        (gradient,) = torch.autograd.grad(value, z, retain_graph=True)
        assert torch.isfinite(value), options
        assert torch.isfinite(gradient).all(), options


def test_asymmetric_by_hand():
    """p = 0.8 present, 0.6 and 0.03 absent; gammas 1 and 2, shift 0.1: the last one counts nothing."""
    asymmetric = load_leaf(LOSSES, "asymmetric", kind="loss")
    logits, targets = torch.tensor([[0.8, 0.6, 0.03]]).logit(), torch.tensor([[1.0, 0.0, 0.0]])
    options = {"asymmetric_gamma_pos": 1.0, "asymmetric_gamma_neg": 2.0, "asymmetric_shift": 0.1}
    expected = -(0.2 * math.log(0.8) + 0.5**2 * math.log(0.5) + 0) / 3
    assert asymmetric.loss(logits, targets, **options).item() == pytest.approx(expected, rel=1e-5)
    weights = torch.tensor([1.0, 4.0])  # of absent and present labels
    weighted = -(4 * 0.2 * math.log(0.8) + 0.5**2 * math.log(0.5)) / 6
    assert asymmetric.loss(logits, targets, weights, **options).item() == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.0, 4.0), (1.0, 4.0), (2.0, 1.5)])
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.3])
def test_asymmetric_equals_timms_with_its_gradient(gammas, shift):
    """timm sums over classes; here it is the mean. (Its gradient is NaN where gamma is below 1 and nothing counts.)"""
    asymmetric = load_leaf(LOSSES, "asymmetric", kind="loss")
    logits, targets = example(LABEL_SPACES["several labels"])
    logits = (3 * logits).requires_grad_(True)
    options = {f"asymmetric_gamma_{sign}": gamma for sign, gamma in zip(("pos", "neg"), gammas, strict=True)}
    ours = asymmetric.loss(logits, targets, asymmetric_shift=shift, **options)
    theirs = AsymmetricLossMultiLabel(gamma_pos=gammas[0], gamma_neg=gammas[1], clip=shift)(logits, targets) / 3
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_asymmetric_with_everything_0_is_bce():
    asymmetric, bce = (load_leaf(LOSSES, name, kind="loss") for name in ("asymmetric", "bce"))
    nothing = {"asymmetric_gamma_pos": 0.0, "asymmetric_gamma_neg": 0.0, "asymmetric_shift": 0.0}
    for kind in ("several labels", "one logit"):
        labels = LABEL_SPACES[kind]
        logits, y_true = example(labels)
        targets, weights = bce.make_targets(y_true, labels), example_weights(labels)
        for scale in (1, 40):
            got = asymmetric.loss(scale * logits, targets, weights, **nothing)
            torch.testing.assert_close(got, bce.loss(scale * logits, targets, weights))
