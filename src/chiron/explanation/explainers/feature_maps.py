"""Feature maps: the mean over channels of what the map layer holds at each place. They know of no class.

Where the layer does not end with a ReLU, the positive part of each channel is taken first. `stage_maps` gives the
channels of every stage as they are, to be looked at side by side.
"""

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations, find_map_layer, layer_of, why_no_map_layer
from chiron.explanation.recording import recorded
from chiron.explanation.subject import Subject
from chiron.models.stages import layers_of_stages

TITLE = "Feature maps, mean"
CLASS_SPECIFIC = False
COST = "one forward pass"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    return reduce(activations(subject, find_map_layer(subject)).relu(), "b c h w -> b h w", "mean")


@torch.no_grad()
def stage_maps(subject: Subject) -> dict[str, Float[Tensor, "b _c _gh _gw"]]:
    """All channels of every stage but the head, from the image on.

    A stage's are those of the last layer in it whose output has places in the proportion of the image; a stage without
    such a layer is left out.
    """
    network, (height, width) = subject.network, subject.image.shape[-2:]
    stage_of = {name: stage for stage, names in layers_of_stages(network).items() for name in names}
    with recorded(network, list(stage_of)) as record:
        subject.outputs()
    found = {}
    for name, output in record:
        if (layer := layer_of(name, output, height, width, network)) is not None:
            found[stage_of[name]] = layer.as_maps(output)
    return found
