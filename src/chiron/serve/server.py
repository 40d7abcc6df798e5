"""The process: a socket, uvicorn, and how it ends."""

import logging
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from chiron.core.errors import ServeError
from chiron.serve.limits import Limits

__all__ = ["listen", "serve_until_stopped"]

log = logging.getLogger("chiron.serve")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any free one.

    Raises:
        ServeError: the address is not of this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise ServeError(
            f"The server must have an address and a port of its own. Got {error.strerror or error} for {host}, port "
            f"{port}. Choose another --port."
        ) from error
    return made


def serve_until_stopped(app: FastAPI, listening: socket.socket, limits: Limits, *, behind_proxy: bool = False) -> None:
    """Answers requests until SIGTERM or Ctrl-C; what is running is finished, as long as its time allows.

    After SIGTERM it returns; after Ctrl-C it raises KeyboardInterrupt.

    Args:
        behind_proxy: clients are whom a proxy on this machine says, not the proxy.
    """
    config = uvicorn.Config(
        app,
        access_log=False,  # addresses of clients are nobody's business
        log_config=None,
        lifespan="on",
        ws="none",
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(limits.seconds),
    )
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it logs bytes of bodies
    before = signal.signal(signal.SIGTERM, _told_to_stop)  # uvicorn raises it again when it has stopped
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)


def _told_to_stop(number: int, frame: FrameType | None) -> None:
    log.info("stopped")
