"""CheXNet as commonly re-implemented, `model.pth.tar`: a DenseNet-121 below `densenet121.`, 14 findings.

Source: Rajpurkar et al., CheXNet, arXiv:1711.05225. Its 14 sigmoid outputs are no classes of another task and are
left out.
"""

from torch import Tensor

from chiron.models.weights.importing.densenet import with_present_names
from chiron.spec.input_spec import IMAGENET_MEAN, IMAGENET_STD

KIND = "CheXNet, DenseNet-121 without its classifier"
NAMES_AS_THEY_ARE = False
NOTE = ""
MEAN, STD = IMAGENET_MEAN, IMAGENET_STD

_PREFIX = "densenet121."


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By the name that the network has as a part."""
    return any(name.startswith(_PREFIX + "features.") for name in tensors)


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Names of torchvision and timm, which are the same here."""
    own = {old.removeprefix(_PREFIX): tensor for old, tensor in tensors.items()}
    return with_present_names({old: tensor for old, tensor in own.items() if not old.startswith("classifier")})
