"""What a server takes from one request, from one client, and from all of them at a time."""

from dataclasses import dataclass

__all__ = ["Limits"]

_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Above any of these a request is refused with a sentence; nothing is unpacked before."""

    max_bytes: int = 32 * _MIB  # of a request's body
    max_pixels: int = 40_000_000  # of an image, as its header says
    min_side_px: int = 8  # a smaller picture is no medical image
    max_images: int = 16  # of a request
    requests_per_minute: int = 600  # of a client
    seconds: float = 30.0  # for the upload, and again for the answer
    max_requests: int = 64  # at a time
    max_held_bytes: int = 256 * _MIB  # of bodies, at a time
