"""`chiron serve`: bundles behind an HTTP server with a page."""

import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import chiron
from chiron.bundle import folder_of
from chiron.core.errors import SpecError
from chiron.engine.runtime import start_runtime
from chiron.serve.app import build_app
from chiron.serve.limits import Limits
from chiron.serve.served_model import ServedModel
from chiron.serve.server import listen, serve_until_stopped

log = logging.getLogger("chiron.serve")


def serve(
    bundles: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits = Limits(),
    device: str = "auto",
    threads: int | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves bundles until the process is told to stop.

    Args:
        ready: is told the address once it listens.
    Raises:
        BundleError: a bundle is missing or damaged.
        ServeError: the port is taken.
    """
    runtime = start_runtime(device=device, threads=threads)
    listening = listen(host, port)
    models = [load_served(name, path, str(runtime.device), limits) for name, path in names_of(bundles).items()]
    app = build_app(models, limits=limits, key=secrets.token_bytes(32))
    host_shown = f"[{host}]" if ":" in host else host
    ready(f"http://{host_shown}:{listening.getsockname()[1]}")
    serve_until_stopped(app, listening, stop_seconds=limits.seconds)


def load_served(name: str, path: Path, device: str, limits: Limits) -> ServedModel:
    """One bundle, run folder or exported model, ready to answer."""
    scorer = chiron.load(path, device=device)
    from chiron.classifier import Classifier
    from chiron.workflows.explain_one import ExplainsOne

    return ServedModel.of(name, scorer, ExplainsOne(scorer, limits) if isinstance(scorer, Classifier) else None)


def names_of(paths: Sequence[str | Path]) -> dict[str, Path]:
    """A name for each model: of its folder or file, of a folder called `bundle` that of the one above it.

    Raises:
        SpecError: two have the same name.
    """
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        place = folder_of(path).resolve()
        name = place.parent.name if place.name == "bundle" else place.stem if place.is_file() else place.name
        if name in found:
            raise SpecError(
                f"Models that are served must have different names. Got {name} for {found[name]} and {path}. "
                "Rename a folder."
            )
        found[name] = path
    return found
