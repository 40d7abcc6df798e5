"""Who may ask, how much and how long; and what every answer carries."""

import asyncio
import threading
import time

import pytest
from served import TOKEN, Brightness, files, limited, picture, served
from starlette.requests import ClientDisconnect

from chiron.serve.admission import Admission, RateLimit
from chiron.serve.guard import Guard, Rules
from chiron.serve.limits import Limits
from chiron.serve.measured import Measured
from chiron.serve.refusal import Refusal
from chiron.serve.served_model import ServedModel


def post(client, *, path: str = "/api/predict", **headers: str):
    return client.post(path, files=files(picture()), headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7"])
def test_the_servers_own_names_are_answered(host):
    with served() as client:
        assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "", "[", "[]", "a@localhost", "127.0.0.1.nip.io"],
)
def test_a_name_that_was_made_to_lead_here_is_refused(host):
    """DNS rebinding: a page of evil.example asks evil.example, which now means this machine."""
    with served() as client:
        answer = client.get("/api/models", headers={"host": host})
    assert (answer.status_code, answer.json()["kind"]) == (400, "unknown_host")


def test_a_proxy_has_a_name():
    with served(rules=Rules(proxied_as="models.hospital.example")) as client:
        assert client.get("/health", headers={"host": "models.hospital.example"}).status_code == 200
        assert client.get("/health", headers={"host": "other.hospital.example"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "localhost"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://localhost", "sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/predict", "/api/explain"])
def test_uploads_that_another_sites_page_sends_are_refused(headers, path):
    scorer = Brightness()
    with served(ServedModel.of("bright", scorer)) as client:
        answer = post(client, path=path, **headers)
    assert (answer.status_code, answer.json()["kind"]) == (403, "other_site")
    assert not scorer.batches


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost"}, {"origin": "http://localhost", "sec_fetch_site": "same-origin"}]
)
def test_programs_and_the_own_page_are_answered(headers):
    with served() as client:
        answer = post(client, **headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]  # CORS is off


def test_another_sites_page_cannot_ask_for_leave():
    with served() as client:
        asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
        answer = client.options("/api/predict", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("given", [None, TOKEN[:-1], TOKEN + "x", f"Basic {TOKEN}", "", "Bearer", "Bearer \xff"])
@pytest.mark.parametrize("path", ["/api/models", "/metrics", "/api/nothing", "/docs"])
def test_without_the_token_nothing_is_told(given, path):
    headers = {} if given is None else {"authorization": given if " " in given else f"Bearer {given}"}
    headers = {name: value.encode("latin-1") for name, value in headers.items()}
    with served(rules=Rules(token=TOKEN)) as client:
        answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (401, "token_needed")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_with_the_token_all_is_told_and_the_page_needs_none():
    scorer = Brightness()
    with served(ServedModel.of("bright", scorer), rules=Rules(token=TOKEN)) as client:
        assert post(client).status_code == 401
        assert not scorer.batches
        assert post(client, authorization=f"Bearer {TOKEN}").status_code == 200
        assert client.get("/metrics", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
        for path in ("/", "/page/index.html", "/health", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_every_answer_carries_what_browsers_must_keep_to():
    with served() as client:
        answers = [client.get("/"), client.get("/api/models"), client.get("/nothing"), post(client)]
        answers.append(client.get("/health", headers={"host": "evil.example"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy  # nothing from elsewhere
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert [it.headers["cache-control"] for it in answers] == ["no-cache", *["no-store"] * 4]


def test_a_body_that_is_too_large_is_refused_by_what_it_says_and_by_what_it_is():
    with served(rules=limited(max_bytes=5000)) as client:
        fits = client.post("/api/predict", files=files(picture()))
        stated = client.post("/api/predict", files=files(picture() + bytes(5000)))
        lies = client.post("/api/predict", content=(bytes(1000) for _ in range(50)), headers=_FORM)
        broken = client.post("/api/predict", content=b"", headers=_FORM | {"content-length": "many"})
    assert fits.status_code == 200
    for answer in (stated, lies):
        assert (answer.status_code, answer.json()["kind"]) == (413, "too_large")
        assert "at most 5,000 bytes" in answer.json()["error"]
    assert broken.status_code == 400


def test_a_body_that_is_too_large_is_dropped_for_a_while_and_then_the_connection_ends():
    """Many clients read an answer only when they have sent all: a little more is read, whatever is sent not."""

    async def never_asked(scope, receive, send):
        raise AssertionError("a body that says that it is too large goes no further")

    few, many = [], []
    small = _asked(limited(max_bytes=5000), [bytes(1000)] * 8, read=few)
    large = _asked(limited(max_bytes=5000), [bytes(1000)] * 1000, read=many)
    stated = _asked(limited(max_bytes=5000), [bytes(1000)] * 8, app=never_asked, stated=8000)
    assert [it["status"] for it in (small, large, stated)] == [413, 413, 413]
    assert (len(few), len(many)) == (8, 21)
    assert [(b"connection", b"close") in it["headers"] for it in (small, large, stated)] == [False, True, False]


def test_a_client_has_so_many_requests_a_minute():
    with served(rules=limited(requests_per_minute=3)) as client:
        answers = [client.get("/api/models") for _ in range(4)]
        assert client.get("/health").status_code == 200  # is not counted
    assert [it.status_code for it in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json()["kind"] == "too_often"


def test_minutes_and_clients_are_counted_apart():
    now = [60.0]
    rate = RateLimit(2, clock=lambda: now[0])
    for client in ("1.2.3.4", "1.2.3.5", "2001:db8::1", "2001:db8:0:1::1", "testclient"):
        rate.require(client)
        rate.require(client)
        with pytest.raises(Refusal, match="2 requests a minute"):
            rate.require(client)
    with pytest.raises(Refusal):
        rate.require("2001:db8::ffff:1")  # the same network as ::1, one person's
    now[0] = 119.0
    with pytest.raises(Refusal) as refused:
        rate.require("1.2.3.4")
    assert refused.value.retry_seconds == 1
    now[0] = 120.0
    rate.require("1.2.3.4")


def test_places_for_requests_and_bytes_are_given_back():
    admission = Admission(Limits(max_requests=2, max_held_bytes=100))
    with admission.let_in(60):
        with pytest.raises(Refusal, match="too many at a time") as refused, admission.let_in(41):
            pass
        assert refused.value.status == 503
        assert refused.value.retry_seconds == 1
        with admission.let_in(40), pytest.raises(Refusal), admission.let_in(0):
            pass
    assert (admission.requests, admission.held_bytes) == (0, 0)
    with pytest.raises(ValueError, match="x"), admission.let_in(1):
        raise ValueError("x")
    assert (admission.requests, admission.held_bytes) == (0, 0)


def test_a_full_server_says_so_and_when_to_come_again():
    scorer = Brightness()
    scorer.may_run.clear()
    answers = []
    with served(ServedModel.of("bright", scorer), rules=limited(max_requests=1)) as client:
        first = threading.Thread(target=lambda: answers.append(post(client)))
        first.start()
        _until(lambda: "chiron_running_requests 2.0" in client.get("/metrics").text)  # the first, and this one
        full = post(client)
        scorer.may_run.set()
        first.join(10)
        assert post(client).status_code == 200
    assert (full.status_code, full.json()["kind"], full.headers["retry-after"]) == (503, "busy", "1")
    assert answers[0].status_code == 200


def test_an_answer_that_takes_too_long_ends_in_a_sentence_and_the_server_goes_on():
    scorer = Brightness()
    scorer.may_run.clear()
    with served(ServedModel.of("bright", scorer), rules=limited(seconds=0.3)) as client:
        late = post(client)
        waited = post(client)
        scorer.may_run.set()
        _until(lambda: post(client).status_code == 200)
    assert (late.status_code, late.json()["kind"]) == (504, "too_slow")
    assert waited.status_code == 504
    assert len(scorer.batches) <= 3  # nobody waits for the second any more: it is not computed


def test_an_upload_that_takes_too_long_ends_in_a_sentence():
    answer = _asked(limited(seconds=0.05), [b"x", None])
    assert answer["status"] == 408
    assert (b"connection", b"close") in answer["headers"]


def test_the_time_of_an_answer_begins_when_the_upload_is_whole():
    async def slowly(scope, receive, send):
        await asyncio.sleep(0.6)  # as an upload takes its time
        await receive()
        await asyncio.sleep(0.6)
        await _reads_all(scope, _nothing_more, send)

    assert _asked(limited(seconds=1), [b""], app=slowly)["status"] == 200


def test_a_client_that_leaves_is_no_error(caplog):
    async def leaves(scope, receive, send):
        raise ClientDisconnect

    _asked(limited(), [b""], app=leaves)
    assert not caplog.records


_FORM = {"content-type": "multipart/form-data; boundary=b"}


def _until(holds, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


async def _nothing_more():
    return {"type": "http.request", "body": b"", "more_body": False}


async def _reads_all(scope, receive, send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _asked(
    rules: Rules,
    chunks: list[bytes | None],
    app=_reads_all,
    read: list[int] | None = None,
    stated: int | None = None,
) -> dict:
    """What a guard answers to a body that arrives in these pieces; None never arrives."""
    said: dict = {}

    async def receive():
        chunk = chunks.pop(0) if chunks else None
        if read is not None:
            read.append(1)
        if chunk is None:
            await asyncio.sleep(10)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        if message["type"] == "http.response.start":
            said.update(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")]
    headers += [] if stated is None else [(b"content-length", str(stated).encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/predict", "headers": headers, "client": ("1.2.3.4", 1)}
    asyncio.run(Guard(app, rules=rules, measured=Measured())(scope, receive, send))
    return said
