"""What stands before the application: who may ask, how much, how long; and what every answer carries.

It is plain ASGI, so that it sees a body as it arrives and can stop it.
"""

import asyncio
import hmac
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chiron.serve.admission import Admission, RateLimit
from chiron.serve.limits import Limits
from chiron.serve.measured import Measured
from chiron.serve.refusal import Refusal, refusal_response

__all__ = ["Guard", "Rules"]

log = logging.getLogger("chiron.serve")

_OPEN = frozenset({"/", "/health", "/openapi.json"})  # without a token, as is the page; all else needs it
_PAGE = "/page/"
_COUNTED = ("/api/", "/metrics")
_NAMED = frozenset({"/", "/health", "/metrics", "/openapi.json", "/api/models", "/api/predict", "/api/explain"})
_DRAIN_SECONDS, _DRAINED_BODIES = 2.0, 4  # what is still read of a body that is refused
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Rules:
    """Who may ask. `proxied_as` is the public name under which a proxy passes requests on."""

    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    proxied_as: str | None = None


class Guard:
    """Wraps the application; see the module."""

    def __init__(self, app: ASGIApp, *, rules: Rules, measured: Measured) -> None:
        self.app, self.rules, self.measured = app, rules, measured
        self.rate, self.admission = RateLimit(rules.limits.requests_per_minute), Admission(rules.limits)
        self.hosts = {"localhost", socket.gethostname().lower(), (rules.proxied_as or "localhost").lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, which ends with an answer whatever happens."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = _Body(receive, self.rules.limits.max_bytes)
        answer = _Answer(send, scope["path"], body, self.measured)
        started = time.perf_counter()
        self.measured.running.inc()
        try:
            await self._guarded(scope, body, answer)
        except Refusal as refusal:
            await answer.refuse(refusal, scope)
        except ClientDisconnect:
            log.debug("a client left before its request was whole")
        except Exception as error:
            log.error("a request ended with %s inside the server", type(error).__name__)  # texts may hold anything
            log.debug("", exc_info=error)
            await answer.refuse(Refusal(500, "internal", _INTERNAL), scope)
        finally:
            self.measured.running.dec()
            path = scope["path"] if scope["path"] in _NAMED else "page" if scope["path"].startswith(_PAGE) else "other"
            self.measured.requests.labels(path, str(answer.status)).inc()
            self.measured.seconds.labels(path).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        headers, limits = Headers(scope=scope), self.rules.limits
        self._require_host(headers.get("host", ""))
        if scope["path"].startswith(_COUNTED):
            self.rate.require((scope.get("client") or ("unknown",))[0])
        if scope["path"] not in _OPEN and not scope["path"].startswith(_PAGE):
            self._require_token(headers.get("authorization", ""))
        if scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, body.receive, answer.send)
        _require_own_page(headers)
        expected = _stated_length(headers, limits.max_bytes)
        with self.admission.let_in(expected):
            self.measured.held_bytes.set(self.admission.held_bytes)
            try:
                await self._in_time(scope, body, answer)
            finally:
                self.measured.held_bytes.set(self.admission.held_bytes - expected)

    async def _in_time(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        """So many seconds for the upload, and again for the answer."""
        seconds = self.rules.limits.seconds
        try:
            async with asyncio.timeout(seconds) as until:
                body.when_whole = lambda: until.reschedule(asyncio.get_running_loop().time() + seconds)
                await self.app(scope, body.receive, answer.send)
        except TimeoutError:
            if body.is_whole:
                raise Refusal(504, "too_slow", _SLOW_ANSWER.format(seconds), retry_seconds=5) from None
            raise Refusal(408, "slow_upload", _SLOW_UPLOAD.format(seconds)) from None
        finally:
            body.when_whole = _nothing  # what is left of a refused body may still arrive

    def _require_host(self, host: str) -> None:
        """Stops pages of other sites whose name was made to lead here (DNS rebinding): they send that name."""
        name = (host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]).lower()
        if name not in self.hosts and not _is_address(name):
            raise Refusal(
                400,
                "unknown_host",
                "The address must be the server's own. Got another name. Open it by its number or as localhost, or "
                "start it with --proxied-as NAME.",
            )

    def _require_token(self, authorization: str) -> None:
        if self.rules.token is None:
            return
        kind, _, given = authorization.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self.rules.token.encode())  # takes as long for any text
        if kind.lower() != "bearer" or not is_right:
            raise Refusal(
                401, "token_needed", "A request must carry the server's token. Got none or another. Ask who runs it."
            )


def _nothing() -> None:
    pass


class _Answer:
    """Adds what every answer carries, and knows whether it has begun."""

    def __init__(self, send: Send, path: str, body: "_Body", measured: Measured) -> None:
        self._send, self.path, self._body, self._measured, self.status = send, path, body, measured, 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers["Cache-Control"] = "no-cache" if self.path == "/" or self.path.startswith(_PAGE) else "no-store"
            if not await self._body.drained():
                headers["Connection"] = "close"
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, refusal: Refusal, scope: Scope) -> None:
        """The sentence, unless an answer has begun, which then breaks off."""
        self._measured.refusals.labels(refusal.kind).inc()
        if self.status == 0:
            await refusal_response(refusal)(scope, self._body.receive, self.send)


class _Body:
    """A body as it arrives, counted."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self.most, self.size, self.is_whole = receive, most, 0, False
        self.when_whole: Callable[[], None] = _nothing

    async def receive(self) -> Message:
        """The next piece.

        Raises:
            Refusal: the body is larger than it may be.
        """
        message = await self._next()
        if self.size > self.most:
            raise _too_large(self.most)
        return message

    async def drained(self) -> bool:
        """Whether the rest has arrived too, which is dropped: many clients read an answer only when they have sent all.

        A rest that is long or slow is not waited for; the connection then ends with the answer.
        """
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self.is_whole and self.size <= _DRAINED_BODIES * self.most:
                    await self._next()
        except TimeoutError:
            pass
        return self.is_whole

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
        if not message.get("more_body", False) and not self.is_whole:  # or the client has left
            self.is_whole = True
            self.when_whole()
        return message


def _require_own_page(headers: Headers) -> None:
    """Stops uploads that a page of another site makes a visitor's browser send (CSRF). Programs send no such header."""
    host, origin = headers.get("host", "").lower(), headers.get("origin")
    is_own = origin is None or origin.partition("://")[2].lower() == host
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") or not is_own:
        raise Refusal(
            403, "other_site", "A request must come from the server's own page or a program. Got another site's page."
        )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _stated_length(headers: Headers, most: int) -> int:
    """The bytes that the body will have: as stated, or as many as it may have."""
    stated = headers.get("content-length")
    if stated is None:
        return most
    if not stated.isdecimal():
        raise Refusal(400, "broken_request", "Content-Length must be a whole number. Got another text. Mend it.")
    if int(stated) > most:
        raise _too_large(most)
    return int(stated)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413, "too_large", f"A request must have at most {most:,} bytes. Got more. Send fewer or smaller images."
    )


_INTERNAL = "This should not happen. Got an error inside the server. Tell who runs it."
_SLOW_UPLOAD = "A request must arrive within {:g} seconds. Got only a part of it. Send smaller images."
_SLOW_ANSWER = "An answer must come within {:g} seconds. Got none: the server is busy. Send it again later."
