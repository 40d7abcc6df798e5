"""`register_model`: timm's registry with the checks that it leaves out.

timm only warns when a name is taken, leaves `pretrained_cfg` empty, and hands every entry four arguments of its own.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
from timm.models import generate_default_cfgs
from timm.models import register_model as register_in_timm
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.weights.pretrained import load_donor
from chiron.spec.input_spec import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "chiron_"

Entry = Callable[..., nn.Module]


@dataclass(frozen=True)
class Donor:
    """Published weights that a variant starts from with `init: imagenet`.

    `rename` gives the variant's own name of a donor's tensor, or None for one that it leaves out. What the donor lacks
    stays as it was drawn, and is told.
    """

    name: str  # of timm with its tag, `convnext_tiny.fb_in1k`, or of torchvision, `ResNet18_Weights.IMAGENET1K_V1`
    rename: Callable[[str], str | None]


DONORS: dict[str, Donor] = {}  # by the name of the variant


def register_model(
    *, img_size: int, first_conv: str, classifier: str = "head", donor: Donor | None = None
) -> Callable[[Entry], Entry]:
    """A decorator that puts a model's entry function into timm's registry under its own name.

    The function takes model arguments alone; timm's `pretrained`, `pretrained_cfg`, `pretrained_cfg_overlay` and
    `cache_dir` are taken out here, and `pretrained` loads the donor's weights. The module may define `default_cfgs`
    with weights, as timm's modules do.

    Args:
        img_size: side of the input that the numbers of this variant are made for, pixels.
        first_conv: dotted name of the convolution that sees the image.
        classifier: dotted name of the layer that gives the logits.
        donor: the weights of `init: imagenet`; None where there are none.
    Raises:
        ModelError: the name has no prefix `chiron_`, or is taken.
    """

    def decorate(entry: Entry) -> Entry:
        name = entry.__name__
        if not name.startswith(PREFIX):
            raise ModelError(f"A model's name must start with {PREFIX}. Got {name!r}. Rename its function.")
        if timm.is_model(name):
            raise ModelError(f"A model's name must be free. Got {name!r}, which timm's registry holds. Choose another.")
        module = vars(sys.modules[entry.__module__])
        config = {
            "input_size": (3, img_size, img_size),
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "crop_pct": 1.0,
            "first_conv": first_conv,
            "classifier": classifier,
        }
        for key, value in generate_default_cfgs({name: config}).items():
            module.setdefault("default_cfgs", {}).setdefault(key, value)
        build = _without_timm_arguments(entry, name)
        module[name] = build
        if donor is not None:
            DONORS[name] = donor
        return register_in_timm(build)

    return decorate


def chiron_model_names(pattern: str = "*") -> list[str]:
    """Sorted names of the registered Chiron models that fit a wildcard pattern such as `*_nano`."""
    return timm.list_models(PREFIX + pattern)


def _without_timm_arguments(entry: Entry, name: str) -> Entry:
    @functools.wraps(entry)
    def build(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        cache_dir: Any = None,
        **model_args: Any,
    ) -> nn.Module:
        donor = DONORS.get(name)
        if pretrained and donor is None:
            raise ModelError(
                f"Pretrained weights must exist for the model. Got {name!r}, which has none. "
                "Ask for random weights by name: init: scratch."
            )
        model = entry(**model_args)
        config = timm.models.resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay)
        model.pretrained_cfg = model.default_cfg = config.to_dict()
        if pretrained and donor is not None:
            model.weights_origin = load_donor(model, donor.name, donor.rename)  # type: ignore[assignment]
        return model

    return build
