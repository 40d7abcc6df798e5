"""HeadedModel: any backbone of timm or Chiron under a head of `models/heads`.

The backbone gives its pooled vector (timm's `pre_logits`), or, to a head that reads tokens, the same map before pooling
(timm's `global_pool=""`), so that no layer of it is left without a gradient.
Shapes: B batch, N tokens, D width (timm's `head_hidden_size`).
"""

import inspect
import re
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.core.registry import leaf_names, load_leaf
from chiron.core.suggest import did_you_mean
from chiron.models.head import Head
from chiron.models.outputs import ModelOutput
from chiron.models.stages import named_stages

__all__ = ["HEADS", "HeadedModel", "make_head", "put_head"]

HEADS = "chiron.models.heads"

Backbone = Any  # an nn.Module with timm's further methods, which no type of timm describes


class HeadedModel(nn.Module):
    """Features of the backbone, logits of the head; keeps timm's whole contract."""

    pretrained_cfg: Any  # timm's, as is default_cfg
    default_cfg: Any

    def __init__(self, backbone: Backbone, head: Head, *, cam_layer: str | None = None) -> None:
        """Takes the backbone over: its own classifier, and its pooling where the head reads tokens, are gone.

        Args:
            cam_layer: the backbone's layer with the last feature map, (b, c, h, w); None where there is no such map.
        """
        super().__init__()
        self.backbone = backbone
        self.cam_layer = None if cam_layer is None else f"backbone.{cam_layer}"
        self.num_features = backbone.num_features
        self.set_head(head, pooling=None)

    def set_head(self, head: Head, *, pooling: str | None = "avg") -> None:
        """Puts another head in place.

        Args:
            pooling: timm's name for how the backbone pools for a head that reads a vector; None leaves it as it is.
        """
        if head.reads_tokens:
            _take_pooling_away(self.backbone)
        else:
            self.backbone.reset_classifier(0, pooling)
        self.head = head
        self.head_hidden_size = head.num_features
        self.num_classes = head.classifier.out_features if isinstance(head.classifier, nn.Linear) else 0

    @property
    def parameters_not_learned(self) -> tuple[str, ...]:
        """Parameters whose gradient is always 0."""
        backbone = tuple(f"backbone.{name}" for name in getattr(self.backbone, "parameters_not_learned", ()))
        return backbone + tuple(f"head.{name}" for name in self.head.parameters_not_learned)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """The backbone's features in its own layout: maps, channels last, or tokens."""
        return self.backbone.forward_features(x)

    def _head_input(self, features: Tensor) -> Tensor:
        x = self.backbone.forward_head(features, pre_logits=True)
        return self._tokens(x) if self.head.reads_tokens else x

    def _tokens(self, x: Tensor) -> Float[Tensor, "b n d"]:
        if x.ndim == 4 and getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":
            return rearrange(x, "b h w d -> b (h w) d")
        if x.ndim == 4:
            return rearrange(x, "b d h w -> b (h w) d")
        if x.ndim == 3:
            return x[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
        raise ModelError(
            "A head that reads tokens needs a network that gives them unpooled. Got features of shape "
            f"{tuple(x.shape)} from {type(self.backbone).__name__}. Choose another network, or a head that reads the "
            "pooled vector: linear or simple."
        )

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        return self.head(self._head_input(features), pre_logits=pre_logits)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def forward_named(self, x: Float[Tensor, "b c h w"]) -> ModelOutput:
        """Logits with the head's attention."""
        vector, attn = self.head.mix(self._head_input(self.forward_features(x)))
        return ModelOutput(self.head.classifier(vector), attn=attn)

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        stages = {
            stage: tuple(f"backbone.{prefix}" for prefix in prefixes)
            for stage, prefixes in named_stages(self.backbone).items()
        }
        of_backbone = stages.pop("head", ())  # a norm after pooling, for example
        return {**stages, "head": (*of_backbone, "head")}

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the head's vector."""
        if global_pool is not None:
            raise ModelError(f"global_pool belongs to the head here. Got {global_pool!r}. Leave it out.")
        like = next(self.backbone.parameters())
        self.num_classes = num_classes
        self.head.reset_classifier(num_classes)
        self.head.classifier.to(device=like.device, dtype=like.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass of the backbone for less memory in training."""
        self.backbone.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        of_backbone = self.backbone.no_weight_decay() if hasattr(self.backbone, "no_weight_decay") else set()
        return {f"backbone.{name}" for name in of_backbone} | {f"head.{name}" for name in self.head.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth: the backbone's, under its new name."""

        def below(pattern: str) -> str:
            anywhere = re.sub(r"(?<!\[)\^", "", pattern)  # without the ^ that means a start, not the one of [^...]
            return rf"^backbone\.(?:{anywhere})"

        return {
            group: below(spec) if isinstance(spec, str) else [(below(pattern), place) for pattern, place in spec]
            for group, spec in self.backbone.group_matcher(coarse=coarse).items()
            if spec is not None
        }


def put_head(
    model: Backbone, name: str, head_args: dict[str, Any] | None, *, num_classes: int, in_chans: int, img_size: int
) -> HeadedModel:
    """The network with the head `name` in place of its own; random weights of the head from torch's global state.

    Raises:
        ModelError: unknown head or argument, or a network that does not give what the head reads.
    """
    if isinstance(model, HeadedModel):
        model.set_head(make_head(name, head_args, width=model.backbone.head_hidden_size, num_classes=num_classes))
        return model
    if "mask" in getattr(model, "input_names", ()):
        raise ModelError(
            f"Another head needs a network that takes an image alone. Got {type(model).__name__}, which takes a mask "
            "too. Leave model.head out."
        )
    layer = _last_map(model, in_chans, img_size)
    width = getattr(model, "head_hidden_size", model.num_features)
    headed = HeadedModel(model, make_head(name, head_args, width=width, num_classes=num_classes), cam_layer=layer)
    headed.pretrained_cfg = headed.default_cfg = getattr(model, "pretrained_cfg", {})
    return headed


def make_head(name: str, head_args: dict[str, Any] | None, *, width: int, num_classes: int) -> Head:
    """A head of `models/heads` for features of `width`.

    Raises:
        ModelError: unknown head, unknown argument, or a value that it does not take.
    """
    names = leaf_names(HEADS)
    if name not in names:
        raise ModelError(
            f"model.head must be one of {', '.join(names)}. Got {name!r}. {did_you_mean(name, names)}".rstrip()
        )
    leaf = load_leaf(HEADS, name, kind="head")
    arguments = head_args or {}
    for key in arguments:
        if key not in leaf.OPTIONS:
            raise ModelError(
                f"model.head_args of {name} must be among {', '.join(leaf.OPTIONS)}. Got {key!r}. "
                f"{did_you_mean(key, leaf.OPTIONS)}".rstrip()
            )
    _require_types(leaf.make_head, name, arguments)
    try:
        return leaf.make_head(width, num_classes, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"model.head_args must fit the head {name}. Got {arguments}: {reason}. Change them."
        ) from error


def _require_types(make: Any, name: str, arguments: dict[str, Any]) -> None:
    """`sequence: 1` would be taken silently, and a fraction of a layer is refused by torch in words of its own."""
    for key, value in arguments.items():
        wanted = inspect.signature(make).parameters[key].annotation
        fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            kind = getattr(wanted, "__name__", str(wanted))
            raise ModelError(f"model.head_args.{key} of {name} must be of type {kind}. Got {value!r}. Change it.")
        if wanted is int and value < 1:  # all are counts; 0 blocks would be taken silently
            raise ModelError(f"model.head_args.{key} of {name} must be at least 1. Got {value}. Change it.")


def _take_pooling_away(backbone: Backbone) -> None:
    try:
        backbone.reset_classifier(0, "")
    except ModelError as error:
        raise ModelError(
            f"A head that reads tokens needs a network that gives them unpooled. Got {type(backbone).__name__}, which "
            "always pools. Choose another network, or a head that reads the pooled vector: linear or simple."
        ) from error


@torch.no_grad()
def _last_map(backbone: Backbone, in_chans: int, img_size: int) -> str | None:
    """Dotted name of the outermost layer that gives the last feature map, or None for tokens and channels last.

    Found by one black image: it is the layer whose output is what `forward_features` returns.
    """
    if hasattr(backbone, "cam_layer"):
        return backbone.cam_layer
    if getattr(backbone, "output_fmt", "NCHW") != "NCHW":
        return None
    outputs: list[tuple[str, Any]] = []
    handles = [
        layer.register_forward_hook(lambda module, inputs, output, name=name: outputs.append((name, output)))
        for name, layer in backbone.named_modules()
        if name
    ]
    was_training = backbone.training
    features = backbone.eval().forward_features(torch.zeros(1, in_chans, img_size, img_size))
    backbone.train(was_training)
    for handle in handles:
        handle.remove()
    if not isinstance(features, Tensor) or features.ndim != 4:
        return None
    layers = [name for name, output in outputs if output is features]
    return min(layers, key=lambda name: name.count("."), default=None)
