"""The attention of a network over the places of an image, seen while it runs, and the gradient that reaches it.

Every softmax over keys is kept as the network runs. The fused kernel, which never makes the weights, is computed openly
in that pass alone. No layer is changed and no hook is set, so that nothing can stay behind. Weights over anything else
than a grid of places (windows, channels, subsampled keys) are left out.
Shapes: b images, h heads, q queries, n tokens: those before the grid, such as the class token, then its places by rows.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from chiron.core.errors import ExplainError
from chiron.explanation.subject import Subject
from chiron.explanation.tokens import Pruning, grid_of, pruning_of
from chiron.models.headed import HeadedModel

__all__ = ["AttentionLayers", "attention_layers", "runs_attention", "why_no_attention"]

SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


@dataclass(frozen=True)
class AttentionLayers:
    """The attention layers at the network's end that share one grid, first to last.

    A layer has a query for each token; the last may have a single one, which pools them. Tokens that a pruning dropped
    have rows of their own here, in which they attend to themselves with no gradient: they stay what they are.
    """

    weights: tuple[Float[Tensor, "b _h _q n"], ...]  # rows sum to 1
    gradients: tuple[Float[Tensor, "b _h _q n"], ...]  # of each image's score with respect to the weights
    readers: Float[Tensor, "b _q"]  # what each row of the last layer counts; sums to 1
    num_prefix: int  # tokens before those of the grid
    grid: tuple[int, int]

    def as_maps(self, rows: Float[Tensor, "b *heads _q n"]) -> Float[Tensor, "b *heads gh gw"]:
        """Weights of the last queries over the tokens as maps over the grid, the mean over those that are read."""
        read = einsum(self.readers, rows, "b q, b ... q n -> b ... n")
        return rearrange(read[..., self.num_prefix :], "... (gh gw) -> ... gh gw", gh=self.grid[0])


def attention_layers(subject: Subject) -> AttentionLayers:
    """The layers of the subject's network for its images and classes.

    What is read of the last layer is the row of the class token where the score depends on it, else the rows of all
    tokens on which it depends (all places, where the network takes their mean).

    Raises:
        ExplainError: the network has no attention over all places.
    """
    pruning = pruning_of(subject)
    with torch.enable_grad():
        watch, outputs = _run(subject.showing(subject.image.detach().requires_grad_()))
        found = _find(watch, subject, pruning)
        if found is None:
            raise ExplainError(
                "Attention must reach over all places of the image. Got a network without such layers: "
                f"{type(subject.network).__name__}. Choose another explainer, such as grad_cam."
            )
        score = subject.score(outputs).sum()
        gradients = torch.autograd.grad(score, found.layers, allow_unused=True, materialize_grads=True)
    weights = [it.detach() for it in found.layers]
    if pruning is not None:
        weights = [_at_places(it, found.places(it), pruning, found.num_prefix, gone=1.0) for it in weights]
        gradients = tuple(_at_places(it, found.places(it), pruning, found.num_prefix, gone=0.0) for it in gradients)
    readers = _readers(gradients[-1], has_class_token=found.num_prefix > 0)
    return AttentionLayers(tuple(weights), tuple(gradients), readers, found.num_prefix, found.grid)


def why_no_attention(subject: Subject) -> str | None:
    """The reason why attention cannot explain this network, or None: the `why_not` of such explainers."""
    if len(subject.inputs) > 1:
        return "its tokens lie on two sides of the image, not on one grid. Choose cross_attention."
    one = subject.rows(torch.zeros(1, dtype=torch.long, device=subject.image.device))
    with torch.no_grad():
        watch, _ = _run(one)
    if _find(watch, one, pruning_of(one)) is not None:
        return None
    if watch.weights:
        return "its last attention is within windows or over channels, not over all places. Choose grad_cam."
    return "it has no softmax attention of tokens to all places. Choose grad_cam."


def runs_attention(subject: Subject) -> bool:
    """Whether any softmax attention runs in the network, over places, windows, channels or sides of the image."""
    with torch.no_grad():
        watch, _ = _run(subject.rows(torch.zeros(1, dtype=torch.long, device=subject.image.device)))
    return bool(watch.weights)


class _Watch(TorchFunctionMode):
    """Keeps the weights of every softmax attention that runs while it is entered, by this thread alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self.counts: set[int] = set()  # of places or tokens that linear layers and convolutions worked on

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in SOFTMAX and kwargs.get("dim", args[1] if len(args) > 1 else None) in (-1, 3):
            self._keep(result)
        elif func is F.linear:
            self.counts.add(math.prod(result.shape[1:-1]))
        elif func is F.conv2d:
            self.counts.add(math.prod(result.shape[2:]))
        return result

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **options: Any
    ) -> Tensor:
        """What torch's `scaled_dot_product_attention` gives, by weights that are kept; its rarer options run fused."""
        scale = options.pop("scale", None)
        if rest or query.ndim != 4 or any(options.values()):  # dropout_p, is_causal, enable_gqa
            options["scale"] = scale
            return F.scaled_dot_product_attention(query, key, value, attn_mask, *rest, **options)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        return self._keep(scores.softmax(dim=-1)) @ value

    def _keep(self, weights: Tensor) -> Tensor:
        if weights.ndim == 4:
            self.weights.append(weights)
        return weights


@dataclass(frozen=True)
class _Found:
    layers: list[Tensor]
    num_prefix: int
    grid: tuple[int, int]
    kept: dict[int, Tensor]  # by number of tokens: where those stand that are left

    def places(self, layer: Tensor) -> Tensor | None:
        return self.kept.get(layer.shape[-1])


def _run(subject: Subject) -> tuple[_Watch, Tensor]:
    """The network's outputs and all attention seen on the way: that of its head alone, where a head has its own."""
    network = subject.network
    with _Watch() as watch:
        if not isinstance(network, HeadedModel):
            return watch, subject.outputs()
        output = network.forward_named(*subject.inputs)
    own = [it for it in watch.weights if any(it is attn for attn in output.attn)]
    watch.weights = own or watch.weights  # its tokens are others than the backbone's: another class token
    return watch, output.logits


def _find(watch: _Watch, subject: Subject, pruning: Pruning | None) -> _Found | None:
    """The last layers whose keys are one grid of places, or None where the very last has other keys."""
    seen = [it if _is_global(it, len(subject), watch.counts) else None for it in watch.weights]
    if not seen or seen[-1] is None:
        return None
    num_keys = seen[-1].shape[-1]
    kept: dict[int, Tensor] = {}
    num_prefix, grid = -1, None
    if pruning is not None:
        num_prefix = int(any(it.shape[-1] == pruning.num_places + 1 for it in watch.weights))
        kept = {it.shape[1] + num_prefix: it for it in pruning.kept}
        grid = pruning.grid if num_keys in (*kept, pruning.num_places + num_prefix) else None
    if grid is None:
        kept = {}
        num_prefix, grid = _prefix_and_grid(subject, num_keys)
    if grid is None:
        return None
    fitting = {grid[0] * grid[1] + num_prefix, *kept}
    run = [seen[-1]]
    for layer in reversed(seen[:-1]):
        if layer is None or layer.shape[-1] not in fitting or layer.shape[-2] != layer.shape[-1]:
            break
        run.insert(0, layer)
    return _Found(run, num_prefix, grid, kept)


def _is_global(weights: Tensor, num_images: int, counts: Iterable[int]) -> bool:
    """Whether each image's tokens, which the layers around work on too, attend to each other or are read by one."""
    num_queries, num_keys = weights.shape[-2:]
    return len(weights) == num_images and num_queries in (1, num_keys) and num_keys in counts


def _prefix_and_grid(subject: Subject, num_keys: int) -> tuple[int, tuple[int, int] | None]:
    network = subject.network.backbone if isinstance(subject.network, HeadedModel) else subject.network
    for num_prefix in dict.fromkeys((getattr(network, "num_prefix_tokens", 0), 0, 1)):
        grid = grid_of(num_keys - num_prefix, *subject.image.shape[-2:])
        if grid is not None:
            return num_prefix, grid
    return 0, None


def _at_places(
    layer: Float[Tensor, "b h k k"],
    places: Int[Tensor, "b _kept"] | None,
    pruning: Pruning,
    num_prefix: int,
    *,
    gone: float,
) -> Float[Tensor, "b h _n _n"]:
    """A layer of the tokens that were left, as one of all: those that are gone see themselves alone, by `gone`."""
    if places is None:
        return layer
    num_heads, num_tokens = layer.shape[1], pruning.num_places + num_prefix
    prefix = torch.arange(num_prefix, device=layer.device).expand(len(layer), -1)
    slots = torch.cat([prefix, places + num_prefix], dim=1)
    columns = slots[:, None, None, :].expand(-1, num_heads, slots.shape[1], -1)
    rows = layer.new_zeros(*layer.shape[:3], num_tokens).scatter(3, columns, layer)
    whole = gone * torch.eye(num_tokens, dtype=layer.dtype, device=layer.device)
    return whole.expand(*layer.shape[:2], -1, -1).scatter(2, slots[:, None, :, None].expand_as(rows), rows)


def _readers(gradient: Float[Tensor, "b h q n"], *, has_class_token: bool) -> Float[Tensor, "b q"]:
    is_read = (gradient != 0).any(dim=3).any(dim=1)
    if has_class_token and is_read.shape[1] > 1:
        others = is_read[:, :1].logical_not() & is_read[:, 1:]
        is_read = torch.cat([is_read[:, :1], others], dim=1)
    return is_read.to(gradient.dtype) / is_read.sum(dim=1, keepdim=True).clamp(min=1)
