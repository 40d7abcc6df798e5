"""The input sizes that a network takes."""

from chiron.core.errors import ModelError

__all__ = ["require_multiple"]


def require_multiple(height: int, width: int, stride: int) -> None:
    """Stops at an image whose sides the network's stride does not divide.

    Raises:
        ModelError: with a size near it that fits.
    """
    if height % stride or width % stride or min(height, width) < stride:
        near = max(stride, round(height / stride) * stride)
        raise ModelError(
            f"The input's sides must be multiples of {stride} pixels. Got {height} x {width}. "
            f"Use for example img_size {near}."
        )
