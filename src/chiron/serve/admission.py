"""Who is let in: so many requests a minute of one client, and so many requests and bytes of all at a time.

Addresses of clients are kept for a minute, in memory alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

from chiron.serve.limits import Limits
from chiron.serve.refusal import Refusal

__all__ = ["Admission", "RateLimit"]

_SECONDS = 60
_MOST_CLIENTS = 100_000


class RateLimit:
    """Counts requests of each client within a minute of the clock; used in one thread."""

    def __init__(self, requests_per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.clock = requests_per_minute, clock
        self._minute, self._counts = -1, dict[str, int]()

    def require(self, client: str) -> None:
        """Counts one request.

        Raises:
            Refusal: the client had its share of this minute.
        """
        now = self.clock()
        minute = int(now // _SECONDS)
        if minute != self._minute or len(self._counts) > _MOST_CLIENTS:
            self._minute, self._counts = minute, {}
        name = _network_of(client)
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] > self.most:
            raise Refusal(
                429,
                "too_often",
                f"A client may send {self.most} requests a minute. Got more. Wait a moment.",
                retry_seconds=max(1, int((minute + 1) * _SECONDS - now)),
            )


def _network_of(client: str) -> str:
    """A person has one address of version 4, or of version 6 all that share the first 64 bits."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return address.exploded[:19] if isinstance(address, IPv6Address) else client


class Admission:
    """Requests and bytes of bodies that are held at a time; used in one thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.requests, self.held_bytes = limits, 0, 0

    @contextmanager
    def let_in(self, expected_bytes: int) -> Iterator[None]:
        """Holds a place for a request with a body of so many bytes.

        Raises:
            Refusal: there is no place.
        """
        limits = self.limits
        if self.requests >= limits.max_requests or self.held_bytes + expected_bytes > limits.max_held_bytes:
            raise Refusal(
                503,
                "busy",
                "The server must have room for a request. Got too many at a time. Send it again in a second.",
                retry_seconds=1,
            )
        self.requests += 1
        self.held_bytes += expected_bytes
        try:
            yield
        finally:
            self.requests -= 1
            self.held_bytes -= expected_bytes
