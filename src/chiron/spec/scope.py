"""ScopeSpec: which images a bundle was made for, as far as that can be measured. Fitted after training, kept in it."""

from typing import Literal

from chiron.spec.frozen import Frozen

GrayOrColor = Literal["gray", "color", "both"]


class ScopeSpec(Frozen):
    """How unlike the training images those were that the score was fitted on, and what all of these had in common.

    `quantiles` holds the distances that 0, 1, ..., 100 % of the fitting images do not exceed; 1 is that of a typical
    training image. Of several bundles that answer together there is a row for each. The layers that give a distance
    are tensors of the bundle whose names start with `scope.`.
    """

    quantiles: tuple[tuple[float, ...], ...]
    limit_percent: float  # an image beyond the distance of so many percent of the fitting images is out of scope
    fitted_on: Literal["cal", "val"]
    num_images: int  # that it was fitted on
    num_train_images: int  # that distances are measured from
    least_side_px: int  # shorter side of the smallest of the fitting images
    least_detail: float  # sharpness over contrast, see `chiron.preprocess.looks`: below, an image is blurred
    colors: GrayOrColor  # what the fitting images were; `both` where they differ, or the network reads gray alone
