"""Refusal: why a request gets no answer, in one sentence, with its HTTP status and a short code for programs."""

from collections.abc import Sequence

from starlette.responses import JSONResponse

from chiron.core.errors import ServeError
from chiron.serve.answers import Error

__all__ = ["Refusal", "refusal_response"]


class Refusal(ServeError):
    """Ends a request; the server goes on."""

    def __init__(
        self, status: int, kind: str, message: str, *, reasons: Sequence[str] = (), retry_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.reasons, self.retry_seconds = status, kind, tuple(reasons), retry_seconds


def refusal_response(refusal: Refusal) -> JSONResponse:
    """A refusal as an HTTP answer, with what HTTP wants to be told beside the sentence."""
    said = Error(error=str(refusal), kind=refusal.kind, reasons=list(refusal.reasons))
    headers = {} if refusal.retry_seconds is None else {"Retry-After": str(refusal.retry_seconds)}
    headers |= {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return JSONResponse(said.model_dump(), refusal.status, headers)
