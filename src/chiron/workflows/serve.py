"""`chiron serve`: bundles behind an HTTP server with a page."""

import logging
import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from chiron.core.errors import SpecError, reason_of
from chiron.core.lazy import require_package
from chiron.loading import is_exported
from chiron.scorer import Scorer
from chiron.serve.limits import Limits
from chiron.workflows.open_scorer import open_scorer

log = logging.getLogger("chiron.serve")

TOKEN = "CHIRON_TOKEN"  # the environment variable; a command line can be read by everybody on the machine
_SHORTEST_TOKEN = 16


def serve(
    bundles: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    token_file: str | Path | None = None,
    without_token: bool = False,
    proxied_as: str | None = None,
    audit_trail: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves bundles until the process is told to stop.

    Args:
        host: the address to listen at; another than of this machine alone needs a token.
        token_file: holds the token that every request must carry; or the environment variable CHIRON_TOKEN does.
        without_token: listen at another address all the same.
        proxied_as: the public name under which a proxy on this machine passes requests on.
        audit_trail: a file of JSON lines, one for each output, that only grows.
        ready: is told the address once it listens.
    Raises:
        BundleError: a bundle is missing or damaged.
        ServeError: the port is taken.
        SpecError: two models of one name, no token where one is needed, or one that is too short.
    """
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require_package(package, extra="serve", for_what="chiron serve")
    from chiron.serve.app import build_app
    from chiron.serve.audit_trail import AuditTrail
    from chiron.serve.guard import Rules
    from chiron.serve.served_model import ServedModel
    from chiron.serve.server import listen, serve_until_stopped

    limits, token = limits or Limits(), read_token(token_file)
    require_token(host, token, without_token=without_token)
    named = names_of(bundles)
    listening = listen(host, port)
    models = []
    for name, path in named.items():
        scorer = open_scorer(path, device=device, threads=threads)
        models.append(ServedModel.of(name, scorer, None if is_exported(path) else _explains(scorer, limits)))
    trail = None if audit_trail is None else AuditTrail(Path(audit_trail))
    if trail is not None and not trail.is_whole:
        log.warning("the audit trail %s is not whole: lines were changed or removed before now", trail.path)
    app = build_app(models, Rules(limits, token, proxied_as), trail=trail)
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{listening.getsockname()[1]}")
    serve_until_stopped(app, listening, limits, behind_proxy=proxied_as is not None)


def _explains(scorer: Scorer, limits: Limits) -> Any:
    from chiron.workflows.explain_one import ExplainsOne  # loads torch, which exported forms do without

    return ExplainsOne(scorer, limits)


def names_of(paths: Sequence[str | Path]) -> dict[str, Path]:
    """A name for each model: of its folder or file; of a folder called `bundle` that of the one above it.

    Raises:
        SpecError: two have the same name.
    """
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        place = path.resolve()
        name = place.parent.name if place.name == "bundle" else place.stem if place.is_file() else place.name
        if name in found:
            raise SpecError(
                f"Models that are served must have different names. Got {name} for {found[name]} and {path}. "
                "Rename a folder."
            )
        found[name] = path
    return found


def read_token(file: str | Path | None) -> str | None:
    """The token of a file or of the environment; None where there is none.

    Raises:
        SpecError: there are two, the file cannot be read, or the token is too short to be safe.
    """
    found, where = os.environ.get(TOKEN), f"the variable {TOKEN}"
    if file is not None:
        if found is not None:
            raise SpecError(f"A server has one token. Got --token-file and {TOKEN}. Leave one out.")
        where = str(file)
        try:
            found = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise SpecError(f"The token must be in a file of text. Got {reason_of(error)} at {file}.") from error
    if found is not None and (len(found) < _SHORTEST_TOKEN or not found.isascii() or not found.isprintable()):
        raise SpecError(
            f"A token must have at least {_SHORTEST_TOKEN} letters and digits. Got another in {where}. "
            'Make one: python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return found


def require_token(host: str, token: str | None, *, without_token: bool) -> None:
    """Refuses to listen to other machines without a token, unless that is asked for by name.

    Raises:
        SpecError: a token is needed, or one is given with `without_token`.
    """
    if token is not None and without_token:
        raise SpecError("A token is either asked for or not. Got one and --without-token. Leave one out.")
    if token is None and not without_token and not _is_this_machine(host):
        raise SpecError(
            f"A server that other machines can reach must have a token. Got --host {host} without one. "
            f"Give --token-file FILE or set {TOKEN}; --without-token lets everybody in who can reach it."
        )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
