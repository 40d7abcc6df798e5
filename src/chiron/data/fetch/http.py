"""Opening an address: what is allowed, whom a secret may reach, and one sentence for everything that goes wrong."""

import json
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from chiron.core.errors import FetchError, SpecError
from chiron.version import __version__

TIMEOUT_SECONDS = 30.0  # to connect, and for every read
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)  # one before each further try
_MAX_PAUSE_SECONDS = 120.0
_MAX_JSON_BYTES = 8 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TO_ANY_HOST = frozenset({"user-agent", "accept-encoding", "range", "if-range"})
_ELSEWHERE = "download it elsewhere and give the file to --data."
_Result = TypeVar("_Result")

log = logging.getLogger("chiron.fetch")


class PassingError(FetchError):
    """A failure that another try may mend; `pause_seconds` is how long the server asks to wait."""

    def __init__(self, message: str, pause_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.pause_seconds = pause_seconds


class RefusedError(SpecError):
    """The server understood and says no: wrong address or no right to it; `status` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def public_url(url: str) -> str:
    """The address without what may be secret: user, password, query.

    Example:
        >>> public_url("https://me:pw@host.org/a.zip?key=1")
        'https://host.org/a.zip?...'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def require_http(url: str) -> str:
    """`url` itself, when it is a complete address on the web.

    Raises:
        SpecError: another scheme, no host, a port that is no number, or a password inside.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises when it is no number
    except ValueError:
        raise SpecError("An address must look like https://host/file. Got one that does not. Check it.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = f"scheme {parts.scheme!r}" if parts.scheme else "no scheme"
        raise SpecError(f"An address must start with https:// or http:// and a host. Got {shown}. Check it.")
    if "@" in parts.netloc:
        raise SpecError(
            f"An address must hold no user name or password. Got one for {parts.hostname}. "
            "Download the file with a browser and give it to --data."
        )
    return url


def require_onward(here: str, there: str, secret: str) -> None:
    """Refuses to go from one address to another where that would be less private.

    Raises:
        FetchError: from https to http, to another scheme, or to another host with `secret` in the address.
    """
    old, new = urlsplit(here), urlsplit(there)
    if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
        raise FetchError(
            f"A server must not lead from {old.scheme} to {new.scheme or 'nothing'}. Got that from {old.hostname}. "
            f"Tell its owners, or {_ELSEWHERE}"
        )
    if secret and _origin(here) != _origin(there) and secret in unquote(there):
        raise FetchError(
            f"A key must stay with its host. Got an address on {new.hostname} that holds the key for {old.hostname}. "
            "Do not use it."
        )


def open_url(url: str, headers: Mapping[str, str] | None = None, *, secret: str = "") -> HTTPResponse:
    """The answer of the server, opened, redirects followed; `headers` and `secret` reach the host of `url` alone.

    Raises:
        SpecError: the address is not one of the web.
        RefusedError: the server answers with a code that another try will not change.
        PassingError: a trouble that may pass.
        FetchError: there is no way to the server.
    """
    require_http(url)
    sent = {"User-Agent": f"chiron/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
    request = Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers=sent)
    try:
        return build_opener(_Redirects(secret)).open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:  # `from None`: texts of the standard library may hold the whole address
            raise _status_error(error, url) from None
    except (ValueError, InvalidURL):
        raise SpecError(f"An address must be well formed. Got {public_url(url)!r}. Check it.") from None
    except (OSError, HTTPException) as error:
        raise network_error(error, url) from None


def network_error(error: Exception, url: str) -> FetchError:
    """The one sentence for a connection that was not made or broke."""
    reason = error.reason if isinstance(error, URLError) else error
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return FetchError(
            f"The certificate of {host} must be trusted. Got: {reason.verify_message}. "
            "Check the clock and the certificates of this machine (SSL_CERT_FILE)."
        )
    if isinstance(reason, TimeoutError):
        return PassingError(
            f"The server must answer within {TIMEOUT_SECONDS:g} s. Got silence from {host}. Try again later; "
            "what has arrived is kept."
        )
    broken = isinstance(reason, ConnectionError | HTTPException | ssl.SSLError)
    if broken and not isinstance(reason, ConnectionRefusedError):
        what = "a break" if isinstance(reason, IncompleteRead) else type(reason).__name__
        return PassingError(
            f"The connection must hold until the end. Got {what} with {host}. Run the same command again; "
            "what has arrived is kept."
        )
    what = "no such name" if isinstance(reason, socket.gaierror) else getattr(reason, "strerror", None) or "no way"
    return FetchError(
        f"The network must reach {host}. Got: {what.lower()}. Check the connection and try again, or, where there is "
        f"none, download {public_url(url)} elsewhere and give the file to --data."
    )


def with_retries(attempt: Callable[[], _Result], num_bytes: Callable[[], int] = lambda: 0) -> _Result:
    """What `attempt` returns; it is tried again, after growing pauses, and counts anew whenever bytes have arrived.

    Raises:
        PassingError: the last try failed too.
    """
    failures, best = 0, num_bytes()
    while True:
        try:
            return attempt()
        except PassingError as error:
            if num_bytes() > best:
                failures, best = 0, num_bytes()
            if failures == len(PAUSES_SECONDS):
                raise
            pause = max(PAUSES_SECONDS[failures], min(error.pause_seconds, _MAX_PAUSE_SECONDS))
            failures += 1
            log.info("%s (Next try in %g s.)", error, pause)
            time.sleep(pause)


def get_json(url: str, *, secret: str = "") -> tuple[int, Any]:
    """Code and JSON of an answer.

    Raises:
        FetchError: the server cannot be reached, or answers with something else.
    """

    def attempt() -> tuple[int, Any]:
        with open_url(url, secret=secret) as response:
            try:
                return response.status, json.loads(response.read(_MAX_JSON_BYTES))
            except (OSError, HTTPException) as error:
                raise network_error(error, url) from None
            except ValueError:
                raise FetchError(
                    f"The server must answer in JSON. Got something else from {public_url(url)}. Check the address."
                ) from None

    return with_retries(attempt)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _status_error(error: HTTPError, url: str) -> RefusedError | PassingError:
    got = f"Got {error.code} from {public_url(url)}."
    if error.code in _PASSING:
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        pause = float(wait) if re.fullmatch(r"\d{1,6}", wait) else 0.0
        return PassingError(f"The server must be able to answer. {got} Try again later.", pause)
    advice = {
        401: "Check the key, or that the file is public.",
        403: "Check the key, or that the file is public.",
        404: "Check the address.",
        410: "It is gone; look for another address.",
    }
    return RefusedError(
        f"The server must give the file. {got} {advice.get(error.code, 'Check the address.')}", error.code
    )


class _Redirects(HTTPRedirectHandler):
    """Follows redirects; another host gets none of the headers that a caller added."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        require_onward(req.full_url, newurl, self.secret)
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and _origin(new.full_url) != _origin(req.full_url):
            new.headers = {name: value for name, value in new.headers.items() if name.lower() in _TO_ANY_HOST}
        return new
