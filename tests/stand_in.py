"""A server on this machine that stands in for the network: it answers as told, and keeps what it was asked."""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


class StandIn:
    """`answers` maps a path to what is done with a request; `asked` lists path with query and headers of all.

    `posted` lists path and body of what was sent.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.posted: list[tuple[str, bytes]] = []


@contextmanager
def stand_in():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.path, dict(self.headers)))
            answer = server.answers.get(urlsplit(self.path).path, status(404))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            answer(self)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.posted.append((urlsplit(self.path).path, body))
            self.do_GET()

        def do_HEAD(self):
            answer = server.answers.get(urlsplit(self.path).path, status(404))
            (answer[0] if isinstance(answer, list) else answer)(self)

        def log_message(self, *arguments):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = StandIn(httpd.server_port)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()


def file(
    content: bytes,
    *,
    etag: str | None = '"v1"',
    modified: str | None = None,
    ranges: bool = True,
    stop_after: int | None = None,
    length: bool = True,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Serves bytes as RFC 9110 asks, without them to HEAD; hangs up after `stop_after` of them."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked, mark = handler.headers.get("Range"), handler.headers.get("If-Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        if start and mark is not None and mark not in (etag, modified):
            start = 0
        if start >= len(content) and start:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if length:
            handler.send_header("Content-Length", str(len(content) - start))
        if etag:
            handler.send_header("ETag", etag)
        if modified:
            handler.send_header("Last-Modified", modified)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        body = b"" if handler.command == "HEAD" else content[start:]
        handler.wfile.write(body if stop_after is None else body[:stop_after])

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answers with a code; `Retry_After="1"` sends the header Retry-After."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def silence(seconds: float) -> Answer:
    """Says nothing for a while."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)

    return answer
