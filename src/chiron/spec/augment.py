"""AugmentRecipe: how training images are changed at random."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from chiron.spec.augment_presets import PRESETS, PresetName
from chiron.spec.frozen import Frozen, Share

# The largest value of each range; None where only the order counts.
_RANGES = {
    "scale": None,
    "crop_scale": 1.0,
    "crop_ratio": None,
    "blur_sigma": None,
    "erase_scale": 1.0,
    "erase_ratio": None,
}
# Keys that do nothing while the key that they belong to is off.
_BELONG_TO = {
    "perspective": ("perspective_prob",),
    "crop_scale": ("crop_ratio",),
    "blur": ("blur_sigma", "blur_kernel"),
    "erase": ("erase_scale", "erase_ratio", "erase_fill"),
}


class AugmentRecipe(Frozen):
    """Random changes of training images: one warp, one change of color, and steps that do not compose. Off by default.

    Order: crop, mirrors, quarter turn, rotation, shear, scale, shift, perspective, geometry of the policy (all of them
    one interpolation); blur; brightness, contrast, saturation, hue (always in this order, unlike torchvision's jitter,
    which draws one); color of the policy; erasing.
    """

    preset: PresetName | None = Field(
        default=None, exclude=True, description="values by name, under the keys given beside it; not kept itself"
    )
    hflip: Share = Field(default=0.0, description="probability of a mirror left to right")
    vflip: Share = Field(default=0.0, description="probability of a mirror top to bottom")
    rot90: Share = Field(default=0.0, description="probability of a turn by 0, 90, 180 or 270 degrees, equally often")
    degrees: float = Field(default=0.0, ge=0, le=180, description="largest rotation to either side")
    translate: float = Field(default=0.0, ge=0, le=0.5, description="largest shift, share of the side")
    scale: tuple[float, float] = Field(
        default=(1.0, 1.0), description="smallest and largest magnification, uniform in its logarithm"
    )
    shear: float = Field(
        default=0.0, ge=0, le=60, description="largest slant of vertical lines to either side, degrees"
    )
    perspective: Share = Field(default=0.0, description="how far corners may move inward, share of half the side")
    perspective_prob: Share = Field(default=0.5, description="probability of a perspective")
    crop_scale: tuple[float, float] = Field(
        default=(1.0, 1.0), description="smallest and largest share of the area that a crop keeps"
    )
    crop_ratio: tuple[float, float] = Field(
        default=(3 / 4, 4 / 3), description="smallest and largest width / height of the crop, before the resize"
    )
    brightness: Share = Field(default=0.0, description="largest relative change of brightness")
    contrast: Share = Field(default=0.0, description="largest relative change of contrast around the mean gray")
    saturation: Share = Field(default=0.0, description="largest relative change of saturation; gray stays gray")
    hue: float = Field(default=0.0, ge=0, le=0.5, description="largest turn of the color circle, share of the circle")
    blur: Share = Field(default=0.0, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field(default=(0.1, 2.0), description="range of its sigma, final pixels")
    blur_kernel: int | None = Field(
        default=None, ge=3, le=63, description="side of its kernel, odd; by default wide enough for sigma"
    )
    policy: Literal["none", "trivial_augment", "rand_augment"] = Field(
        default="none", description="a random operation of torchvision's list of 14 (TrivialAugmentWide), or several"
    )
    rand_augment_ops: int = Field(default=2, ge=1, le=14, description="operations an image, with rand_augment")
    rand_augment_magnitude: int = Field(default=9, ge=0, le=30, description="their strength, with rand_augment")
    erase: Share = Field(default=0.0, description="probability that a box is erased")
    erase_scale: tuple[float, float] = Field(default=(0.02, 0.33), description="range of the box's share of the area")
    erase_ratio: tuple[float, float] = Field(default=(0.3, 3.3), description="range of its height / width; 1: cutout")
    erase_fill: Literal["mean", "black"] = Field(
        default="mean", description="mean: the input's mean, 0 after normalization; black: cutout's"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_under_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
            return given
        values = PRESETS.get(given["preset"])
        if values is None:
            return given  # refused by its type
        if set(values) <= set(given):
            raise ValueError(
                f"preset {given['preset']} has no effect when all of its keys are given beside it; "
                f"replace them all, for example --set 'augment={{preset: {given['preset']}}}'"
            )
        return {**values, **{key: value for key, value in given.items() if key != "preset"}}

    @field_validator(*_RANGES, mode="before")
    @classmethod
    def _list_as_pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("blur_kernel")
    @classmethod
    def _odd(cls, kernel: int | None) -> int | None:
        if kernel is not None and kernel % 2 == 0:
            raise ValueError(f"must be odd, not {kernel}")
        return kernel

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Self:
        for name, most in _RANGES.items():
            low, high = getattr(self, name)
            if not 0 < low <= high or (most is not None and high > most):
                limit = "" if most is None else f" of at most {most:g}"
                raise ValueError(f"{name} must be two positive numbers{limit}, the smaller first")
        return self

    @property
    def idle(self) -> dict[str, str]:
        """Keys that were changed although what they belong to is off, each with what would turn it on."""
        plain = AugmentRecipe()
        changed = {name for name in type(self).model_fields if getattr(self, name) != getattr(plain, name)}
        idle = {key: owner for owner, keys in _BELONG_TO.items() if owner not in changed for key in keys}
        if self.policy != "rand_augment":
            idle |= dict.fromkeys(("rand_augment_ops", "rand_augment_magnitude"), "policy rand_augment")
        return {key: owner for key, owner in idle.items() if key in changed}
