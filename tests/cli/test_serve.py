"""`chiron serve`: what it refuses before it listens, and how it starts and ends as a process."""

import json
import os
import shlex
import shutil
import signal
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from killed_runs import start_command
from served import TOKEN, files, picture
from starlette.testclient import TestClient

from chiron.cli.main import run
from chiron.core.chain import read_chain


@pytest.fixture
def not_run(monkeypatch):
    """What would be served, without a process that runs until it is stopped."""
    found = {}

    def keep(app, listening, limits, *, behind_proxy):
        found.update(app=app, port=listening.getsockname()[1], limits=limits, behind_proxy=behind_proxy)
        listening.close()

    monkeypatch.setattr("chiron.serve.server.serve_until_stopped", keep)
    monkeypatch.delenv("CHIRON_TOKEN", raising=False)
    return found


@pytest.fixture
def refused(capsys, not_run):
    def call(*arguments: object, code: int = 2) -> str:
        assert run(["serve", *map(str, arguments)]) == code
        assert not not_run  # nothing was served
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    return call


def test_it_says_where_it_is_and_serves_what_was_asked_for(trained_run, capsys, not_run):
    limits = ["--max-mib", "2", "--max-images", "3", "--max-megapixels", "5", "--rate", "7", "--seconds", "9"]
    assert run(["serve", str(trained_run.path), "--port", "0", "--proxied-as", "x.example", *limits]) == 0
    out = capsys.readouterr().out
    assert f"http://127.0.0.1:{not_run['port']} " in out
    assert "not a medical device" in out
    assert not_run["behind_proxy"]
    own = not_run["limits"]
    assert (own.max_bytes, own.max_images, own.max_pixels) == (2 << 20, 3, 5_000_000)
    assert (own.requests_per_minute, own.seconds) == (7, 9)
    with TestClient(not_run["app"], base_url="http://localhost") as client:
        (card,) = client.get("/api/models", headers={"host": "x.example"}).json()["models"]
    assert (card["name"], card["network"]) == ("run", "chiron_fair_cnn_nano")
    assert card["explainer"]["method"] is not None
    assert "not checked on this bundle" in card["explainer"]["words"]


def test_the_commands_of_the_how_to_are_taken(trained_run, not_run, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text()
    typed = [shlex.split(line)[2:] for line in page.splitlines() if line.startswith("chiron serve ")]
    assert len(typed) >= 4
    (tmp_path / "token.txt").write_text(TOKEN)
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        shutil.copytree(trained_run.bundle, tmp_path / "runs" / name / "bundle")
    for arguments in typed:
        not_run.clear()
        assert run(["serve", *arguments, "--port", "0"]) == 0, arguments
        assert not_run


def test_other_machines_need_a_token(trained_run, refused, monkeypatch, not_run):
    said = refused(trained_run.path, "--host", "0.0.0.0", "--port", "0")
    assert "must have a token. Got --host 0.0.0.0 without one" in said
    assert run(["serve", str(trained_run.path), "--host", "0.0.0.0", "--port", "0", "--without-token"]) == 0
    monkeypatch.setenv("CHIRON_TOKEN", TOKEN)
    not_run.clear()
    assert run(["serve", str(trained_run.path), "--host", "0.0.0.0", "--port", "0"]) == 0
    with TestClient(not_run["app"], base_url="http://localhost") as client:
        assert client.get("/api/models").status_code == 401
        assert client.get("/api/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_token_is_long_and_there_is_one(trained_run, refused, monkeypatch, tmp_path):
    (tmp_path / "short").write_text("secret\n")
    said = refused(trained_run.path, "--token-file", tmp_path / "short")
    assert "at least 16 letters and digits" in said
    assert "secret\n" not in said
    assert "no such file" in refused(trained_run.path, "--token-file", tmp_path / "none")
    (tmp_path / "good").write_text(TOKEN + "\n")
    assert "--without-token" in refused(trained_run.path, "--token-file", tmp_path / "good", "--without-token")
    monkeypatch.setenv("CHIRON_TOKEN", TOKEN)
    assert "Leave one out" in refused(trained_run.path, "--token-file", tmp_path / "good")
    monkeypatch.setenv("CHIRON_TOKEN", "ä" * 20)
    assert "at least 16 letters" in refused(trained_run.path)


def test_models_have_different_names_and_must_be_there(trained_run, refused, tmp_path):
    assert "Got run for" in refused(trained_run.path, trained_run.bundle)
    assert "bundle.json" in refused(tmp_path, "--port", "0")
    assert run(["serve"]) == 2


def test_a_port_that_is_taken_is_told(trained_run, refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(trained_run.path, "--port", taken.getsockname()[1], code=3)
    assert "Got Address already in use for 127.0.0.1" in said
    assert "Choose another --port" in said
    assert "Cannot assign" in refused(trained_run.path, "--host", "192.0.2.1", "--without-token", code=3)


def test_a_trail_that_was_changed_is_told_at_the_start(trained_run, capsys, not_run, tmp_path):
    (tmp_path / "trail.jsonl").write_text(json.dumps({"before": "", "hash": "0"}) + "\n")
    run(["serve", str(trained_run.path), "--port", "0", "--audit-trail", str(tmp_path / "trail.jsonl")])
    assert "is not whole" in capsys.readouterr().err


class Server:
    """`chiron serve` in a process of its own."""

    def __init__(self, bundle, errors, *options: object, port: int | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = port or free.getsockname()[1]
        self.errors = errors
        arguments = ["serve", bundle, "--port", self.port, "--device", "cpu", "--threads", 1, *options]
        self.process = start_command(arguments, errors)
        end = time.monotonic() + 60
        while self.get("/health") is None:
            assert self.process.is_alive(), errors.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def get(self, path: str) -> str | None:
        """The body of an answer; None where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def begin(self, data: bytes) -> socket.socket:
        """A request whose last byte is not yet sent, which the server is at work on."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        body = b'--b\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n' + data + b"\r\n--b--\r\n"
        head = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        return connection

    @staticmethod
    def end(connection: socket.socket) -> bytes:
        """The answer, once the last byte is sent."""
        with connection, suppress(OSError):
            connection.sendall(b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))
        return b""

    def ask(self, data: bytes) -> dict:
        """An answer whole."""
        connection = self.begin(data)
        connection.sendall(b"\n")
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while len(body) < size:
            body += connection.recv(65536)
        connection.close()
        return json.loads(body)

    def stop(self, number: int = signal.SIGKILL) -> int | None:
        """The exit code."""
        os.kill(self.process.pid, number)
        self.process.join(30)
        return self.process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGTERM, 0, "stopped\n"), (signal.SIGINT, 130, "")])
def test_it_ends_when_told_finishes_what_is_running_and_takes_nothing_new(trained_run, tmp_path, number, code, said):
    server = Server(trained_run.path, tmp_path / "errors.txt")
    try:
        assert server.ask(picture())["results"][0]["status"] != "unreadable"
        running = [server.begin(picture(size=(200, 200))) for _ in range(3)]
        while "chiron_running_requests 4.0" not in (server.get("/metrics") or ""):  # those, and this one
            time.sleep(0.05)
        os.kill(server.process.pid, number)
        while server.get("/health") is not None:
            time.sleep(0.05)
        answers = [server.end(connection) for connection in running]
        assert all(it.startswith(b"HTTP/1.1 200") and b'"prediction":{' in it for it in answers)
        server.process.join(30)
        assert server.process.exitcode == code
        assert server.errors.read_text() == said
    finally:
        server.process.kill()


@pytest.mark.slow
def test_killed_and_started_again_it_answers_at_the_same_port_and_the_trail_goes_on(trained_run, tmp_path):
    trail = ["--audit-trail", tmp_path / "trail.jsonl"]
    first = Server(trained_run.path, tmp_path / "1.txt", *trail)
    before = first.ask(picture())["results"]
    senders = [threading.Thread(target=_ask_anyhow, args=(first,)) for _ in range(4)]
    for sender in senders:
        sender.start()
    time.sleep(0.3)
    assert first.stop() == -signal.SIGKILL
    for sender in senders:
        sender.join()
    again = Server(trained_run.path, tmp_path / "2.txt", *trail, port=first.port)
    after = again.ask(picture())["results"]
    assert again.stop(signal.SIGTERM) == 0
    assert after == before  # the hashes too: the key stays
    assert "is not whole" not in (tmp_path / "2.txt").read_text()
    assert len(read_chain(tmp_path / "trail.jsonl")[0]) > 2


def _ask_anyhow(server: Server) -> None:
    with suppress(OSError, ValueError, IndexError):
        for k in range(100):
            server.ask(picture(k))


def test_an_exported_model_is_served_as_its_bundle_is(trained_run, not_run, tmp_path):
    assert run(["export", str(trained_run.path), "--to", "onnx", "--out", str(tmp_path / "chest.onnx"), "-q"]) == 0
    assert run(["serve", str(trained_run.path), str(tmp_path / "chest.onnx"), "--port", "0"]) == 0
    images = [path.read_bytes() for path in sorted((trained_run.path.parent / "data").rglob("*.png"))[:8]]
    with TestClient(not_run["app"], base_url="http://localhost") as client:
        both = [client.post("/api/predict", files=files(*images), data={"model": name}) for name in ("run", "chest")]
        cards = {it["name"]: it for it in client.get("/api/models").json()["models"]}
    pairs = list(zip(*[it.json()["results"] for it in both], strict=True))
    assert [it["status"] for it, _ in pairs].count("ok") >= 4
    for bundle, exported in pairs:
        assert exported["status"] == bundle["status"]
        expected = bundle["prediction"].get("probabilities", {})
        assert exported["prediction"].get("probabilities", {}) == pytest.approx(expected, abs=1e-4)
        assert exported["experience"] == bundle["experience"]
        assert bool(bundle["experience"]) == (bundle["status"] == "ok")
    assert cards["chest"]["bundle_id"] == cards["run"]["bundle_id"]
    assert cards["chest"]["explainer"]["method"] is None
