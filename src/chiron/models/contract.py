"""`check_model`: what every network in Chiron must do, families of outside packages too."""

import copy
from collections.abc import Callable
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.models.create import create_model, example_inputs
from chiron.models.outputs import ModelOutput
from chiron.models.registry import PREFIX

NUM_CLASSES = 3
BATCH = 4
TOLERANCE = 1e-5

Network = Any  # an nn.Module with timm's further methods, which no type of timm describes
Inputs = tuple[Tensor, ...]  # a batch of images and, for a network that takes one, of masks
Build = Callable[[int], Network]  # a network in evaluation mode, from a seed


def check_model(
    name: str, img_size: int | None = None, *, head: str | None = None, head_args: dict[str, Any] | None = None
) -> tuple[str, ...]:
    """Names of the checks that the network passed; those for Chiron's families alone are left out for timm's models.

    Args:
        img_size: side of the input, pixels; None takes the size that the model was made for.
        head: another head on the network, which is then a family of Chiron and is checked as one.
    Raises:
        ModelError: a check failed; the message names it.
    """
    if img_size is None:
        img_size = timm.models.get_pretrained_cfg(name).input_size[-1]
    images = torch.randn(BATCH, 3, img_size, img_size, generator=torch.Generator().manual_seed(0))
    what_to_build: dict[str, Any] = {"img_size": img_size, "init": "scratch", "head": head, "head_args": head_args}

    def build(seed: int) -> Network:
        return create_model(name, num_classes=NUM_CLASSES, seed=seed, **what_to_build).eval()

    inputs = example_inputs(build(0), images)

    checks: list[Callable[[], None]] = [
        lambda: check_seed(build),
        lambda: check_forward(build(0), inputs),
        lambda: check_gradients(build(0), inputs),
        lambda: check_batch_independence(build(0), inputs),
        lambda: check_save_and_load(build, inputs),
        lambda: check_classifier(build(0), inputs),
        lambda: check_grad_checkpointing(build(0), inputs),
        lambda: check_export(build(0), inputs),
    ]
    names = ["seed", "forward", "gradients", "batch", "save", "classifier", "checkpointing", "export"]
    if name.startswith(PREFIX) or head is not None:
        checks += [
            lambda: check_cam_layer(build(0), inputs),
            lambda: check_named_stages(build(0)),
            lambda: check_named_outputs(build(0), inputs),
        ]
        names += ["cam_layer", "named_stages", "named_outputs"]
    for check, what in zip(checks, names, strict=True):
        try:
            check()
        except Exception as error:  # whatever the network raises is a failed check
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise ModelError(f"{name}, check {what}: {reason}") from error
    return tuple(names)


def _require(holds: bool, rule: str, got: object) -> None:
    if not holds:
        raise ModelError(f"{rule}. Got {got}. Mend the model.")


def _first(inputs: Inputs, count: int) -> Inputs:
    return tuple(each[:count] for each in inputs)


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest value where that is above 1."""
    return (a - b).abs().max().item() / max(1.0, b.abs().max().item()) if a.shape == b.shape else float("inf")


def _same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def check_seed(build: Build) -> None:
    """Weights are a function of the seed, and building leaves the global random state alone."""
    before = torch.get_rng_state()
    first, again, other = build(0), build(0), build(1)
    _require(torch.equal(before, torch.get_rng_state()), "Building must not touch the global random state", "a change")
    _require(_same_weights(first, again), "Equal seeds must give equal weights", "a difference")
    _require(not _same_weights(first, other), "Other seeds must give other weights", "equal weights")


@torch.no_grad()
def check_forward(model: Network, inputs: Inputs) -> None:
    """Logits have one column a class and equal the head on the features; `num_features` tells the head's width."""
    logits = model(*inputs)
    features = model.forward_features(*inputs)
    vector = model.forward_head(features, pre_logits=True)
    _require(logits.shape == (len(inputs[0]), NUM_CLASSES), "Logits must be (batch, classes)", tuple(logits.shape))
    _require(bool(torch.isfinite(logits).all()), "Logits must be finite", logits)
    gap = _difference(logits, model.forward_head(features))
    _require(gap <= TOLERANCE, "forward must be forward_head of forward_features", f"a difference of {gap:g}")
    width = getattr(model, "head_hidden_size", model.num_features)
    _require(vector.shape == (len(inputs[0]), width), f"pre_logits must be (batch, {width})", tuple(vector.shape))


def check_gradients(model: Network, inputs: Inputs) -> None:
    """Every parameter gets a finite gradient in training, but those that the family lists in `parameters_not_learned`.

    The listed ones must really get none, so that the list cannot go stale.
    """
    not_learned = set(getattr(model, "parameters_not_learned", ()))
    targets = torch.arange(len(inputs[0])) % NUM_CLASSES
    nn.functional.cross_entropy(model.train()(*inputs), targets).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if name in not_learned:
            idle = gradient is None or not gradient.any()
            _require(idle, f"{name} is in parameters_not_learned and must have no gradient", "one")
        else:
            learned = gradient is not None
            _require(learned, f"{name} must have a gradient, or be in parameters_not_learned", "none")
            _require(bool(torch.isfinite(gradient).all()), f"The gradient of {name} must be finite", gradient)
    unknown = not_learned - {name for name, _ in model.named_parameters()}
    _require(not unknown, "parameters_not_learned must name parameters", sorted(unknown))


@torch.no_grad()
def check_batch_independence(model: Network, inputs: Inputs) -> None:
    """One image alone gives the logits that it gives in a batch."""
    gap = _difference(model(*inputs)[:1], model(*_first(inputs, 1)))
    _require(gap <= TOLERANCE, "An image alone must equal itself in a batch", f"a difference of {gap:g}")


@torch.no_grad()
def check_save_and_load(build: Build, inputs: Inputs) -> None:
    """Weights sent through safetensors into another instance give the same logits, bit by bit."""
    first, second = build(0), build(1)
    data = safetensors.torch.save({key: value.contiguous() for key, value in first.state_dict().items()})
    second.load_state_dict(safetensors.torch.load(data))
    _require(torch.equal(first(*inputs), second(*inputs)), "Loaded weights must give equal logits", "a difference")


@torch.no_grad()
def check_classifier(model: Network, inputs: Inputs) -> None:
    """`reset_classifier` changes the number of logits; 0 classes give the vector before the classifier."""
    _require(isinstance(model.get_classifier(), nn.Module), "get_classifier must give a layer", model.get_classifier())
    for num_classes in (NUM_CLASSES + 2, 0):
        model.reset_classifier(num_classes)
        outputs = model(*inputs)
        width = num_classes or getattr(model, "head_hidden_size", model.num_features)
        _require(model.num_classes == num_classes, f"num_classes must be {num_classes}", model.num_classes)
        _require(outputs.shape == (len(inputs[0]), width), f"Outputs must be (batch, {width})", tuple(outputs.shape))


def check_grad_checkpointing(model: Network, inputs: Inputs) -> None:
    """Gradients with checkpointing equal those without it, for equal draws of dropout; batch statistics stay out."""
    plain, saving = model, copy.deepcopy(model)
    saving.set_grad_checkpointing(True)
    for network in (plain, saving):
        network.train()
        for layer in network.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network(*inputs).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if a.grad is not None:
            _require(b.grad is not None, f"{name} must have a gradient with checkpointing too", "none")
            gap = _difference(a.grad, b.grad)
            _require(gap <= TOLERANCE, f"Checkpointing must not change the gradient of {name}", f"{gap:g} relative")


@torch.no_grad()
def check_export(model: Network, inputs: Inputs) -> None:
    """The exported graph, traced with two images, gives the model's logits for one and for all of them."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    dynamic = tuple({0: batch} for _ in inputs)
    graph = torch.export.export(model, _first(inputs, 2), dynamic_shapes=dynamic, strict=False).module()
    for some in (inputs, _first(inputs, 1)):
        gap = _difference(model(*some), graph(*some))
        _require(gap <= TOLERANCE, "The exported graph must equal the model", f"a difference of {gap:g}")


def check_cam_layer(model: Network, inputs: Inputs) -> None:
    """`cam_layer` names a layer with a feature map whose every place the logits' gradient reaches.

    It is None where another head stands on a timm model that has no such map.
    """
    if model.cam_layer is None:
        maps_there_are = model.backbone.forward_features(*inputs).ndim == 4 and not hasattr(
            model.backbone, "output_fmt"
        )
        _require(not maps_there_are, "cam_layer must be named where the features are maps", None)
        return
    maps: list[Tensor] = []
    layer = model.get_submodule(model.cam_layer)
    handle = layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    logits = model(*inputs)
    handle.remove()
    _require(len(maps) == 1 and maps[0].ndim == 4, "cam_layer must give one (batch, channels, h, w)", len(maps))
    gradient = torch.autograd.grad(logits[:, 0].sum(), maps[0])[0]
    reached = gradient.abs().amax(dim=1)
    unreached = int((reached == 0).sum())
    _require(bool(torch.isfinite(gradient).all()), "The CAM gradient must be finite", gradient)
    _require(not unreached, "The CAM gradient must reach every place", f"0 at {unreached} of {reached.numel()}")


@torch.no_grad()
def check_named_outputs(model: Network, inputs: Inputs) -> None:
    """`forward_named` repeats the logits; attention and importance sum to 1, kept tokens are places of the grid."""
    if not hasattr(model, "forward_named"):  # nothing to show beside the logits
        return
    output = model.forward_named(*inputs)
    _require(isinstance(output, ModelOutput), "forward_named must give a ModelOutput", type(output).__name__)
    gap = _difference(model(*inputs), output.logits)
    _require(gap <= TOLERANCE, "Named logits must be those of forward", f"a difference of {gap:g}")
    for what, weights in [("attn", output.attn), ("token_scores", output.token_scores)]:
        for layer in weights:
            off = (layer.sum(dim=-1) - 1).abs().max().item()
            _require(off <= TOLERANCE and bool((layer >= 0).all()), f"{what} must be shares of 1", f"off by {off:g}")
    grid = output.token_scores[0].shape[-1] if output.token_scores else 0
    for kept in output.kept_tokens:
        once = all(len(row.unique()) == len(row) for row in kept)
        inside = bool(((kept >= 0) & (kept < grid)).all())
        _require(once and inside, "kept_tokens must be different places of the grid", kept)
    if hasattr(model, "mask_coverage"):
        coverage, wanted = model.mask_coverage(inputs[1]), (len(inputs[0]), output.attn[-1].shape[-1])
        _require(tuple(coverage.shape) == wanted, "mask_coverage must be a share a token", tuple(coverage.shape))
    if output.mask_logits is not None:
        wanted = (len(inputs[0]), 1)
        _require(
            output.mask_logits.shape[:2] == wanted, "mask_logits must be (batch, 1, h, w)", output.mask_logits.shape
        )


def check_named_stages(model: Network) -> None:
    """`named_stages` puts every parameter into exactly one stage, and its last stage holds the classifier."""
    stages = model.named_stages()
    for name, _ in model.named_parameters():
        homes = [
            stage
            for stage, prefixes in stages.items()
            if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
        ]
        _require(len(homes) == 1, f"{name} must be in one stage", homes)
    last = list(stages.values())[-1]
    classifier = next(name for name, layer in model.named_modules() if layer is model.get_classifier())
    holds = any(classifier == prefix or classifier.startswith(prefix + ".") for prefix in last)
    _require(holds, "The last stage must hold the classifier", last)
