"""Refusal: why a request gets no answer, in one sentence, with its HTTP status and a short code for programs."""

from collections.abc import Sequence

from chiron.core.errors import ServeError

__all__ = ["Refusal"]


class Refusal(ServeError):
    """Ends a request; the server goes on."""

    def __init__(
        self, status: int, kind: str, message: str, *, reasons: Sequence[str] = (), retry_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.reasons, self.retry_seconds = status, kind, tuple(reasons), retry_seconds

    def headers(self) -> dict[str, str]:
        """What HTTP wants to be told beside the sentence."""
        found = {} if self.retry_seconds is None else {"Retry-After": str(self.retry_seconds)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
