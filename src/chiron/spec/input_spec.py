"""InputSpec: all that decides which pixels a network sees. It travels in the bundle and has no copy elsewhere."""

from typing import Literal, Self

from pydantic import Field, model_validator

from chiron.spec.frozen import Frozen

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_MEAN = (0.449,)  # the mean of ImageNet's three channels
GRAY_STD = (0.226,)


class InputSpec(Frozen):
    """From canonical array to network input.

    `canonical_size` is what the antialiased resize makes and a cache stores; `finish` goes from there to `img_size`,
    scales to 0..1 and normalizes. Without `canonical_size` the two sizes are equal and `finish` only normalizes.
    """

    img_size: int = Field(ge=8, le=4096, description="side of the square network input, pixels")
    canonical_size: int | None = Field(default=None, ge=8, le=8192, description="side of the stored image, pixels")
    decode: Literal["full", "scaled"] = Field(
        default="full", description="scaled decodes large JPEG files at a fraction, never below twice the stored size"
    )
    in_chans: Literal[1, 3] = Field(default=3, description="1 gray, 3 RGB")
    bit_depth: Literal[8, 16] = Field(default=8, description="bits a channel of the stored image")
    resize: Literal["squash", "letterbox"] = Field(
        default="squash", description="squash changes the aspect ratio, letterbox keeps it and pads with black"
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] | None = Field(default=None, description="per channel, in 0..1; default ImageNet's")
    std: tuple[float, ...] | None = Field(default=None, description="per channel, in 0..1; default ImageNet's")
    mask: Literal["none", "lung"] = Field(
        default="none", description="lung: a mask of the lung fields travels with the image, for models that take one"
    )

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.in_chans:
                raise ValueError(f"{name} must have one value a channel ({self.in_chans})")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be positive")
        if self.canonical_size is not None and self.canonical_size < self.img_size:
            raise ValueError("canonical_size must be at least img_size")
        return self

    @property
    def stored_size(self) -> int:
        """Side of the canonical image, pixels."""
        return self.canonical_size or self.img_size

    @property
    def stored_chans(self) -> int:
        """Channels of the canonical image: those of the picture, then one for the mask where there is one."""
        return self.in_chans + (self.mask != "none")

    @property
    def decode_min_side(self) -> int | None:
        """How long both sides of a scaled JPEG are at least; None when images are decoded in full."""
        return 2 * self.stored_size if self.decode == "scaled" else None

    @property
    def max_value(self) -> int:
        """The pixel value that means 1.0."""
        return 255 if self.bit_depth == 8 else 65535

    @property
    def channel_mean(self) -> tuple[float, ...]:
        """Mean a channel, in 0..1."""
        return self.mean or (IMAGENET_MEAN if self.in_chans == 3 else GRAY_MEAN)

    @property
    def channel_std(self) -> tuple[float, ...]:
        """Standard deviation a channel, in 0..1."""
        return self.std or (IMAGENET_STD if self.in_chans == 3 else GRAY_STD)
