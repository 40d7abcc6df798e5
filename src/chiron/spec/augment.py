"""AugmentRecipe: how training images are changed at random."""

from typing import Self

from pydantic import Field, model_validator

from chiron.spec.frozen import Frozen, Share


class AugmentRecipe(Frozen):
    """Random changes of training images: one warp and one change of gray values. Zero means off."""

    hflip: Share = Field(default=0.0, description="probability of a mirror left to right")
    vflip: Share = Field(default=0.0, description="probability of a mirror top to bottom")
    degrees: float = Field(default=0.0, ge=0, le=180, description="largest rotation to either side")
    translate: float = Field(default=0.0, ge=0, le=0.5, description="largest shift, share of the side")
    scale: tuple[float, float] = Field(default=(1.0, 1.0), description="smallest and largest magnification")
    brightness: float = Field(default=0.0, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(default=0.0, ge=0, le=1, description="largest relative change of contrast")

    @model_validator(mode="after")
    def _scale_in_order(self) -> Self:
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError("scale must be two positive numbers, the smaller first")
        return self
