"""Every way in which a download can break ends in the whole right file or in one sentence."""

import hashlib
import logging
import os
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import file, silence, status

from chiron.core.errors import FetchError, OutputError, SpecError
from chiron.data.fetch import download as module
from chiron.data.fetch import http
from chiron.data.fetch.download import digest_of, download, require_checksum

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def stopped(server, tmp_path, monkeypatch):
    """A download that broke after 100,000 bytes; returns the path it goes to."""
    monkeypatch.setattr(http, "PAUSES_SECONDS", ())
    server.answers["/a.zip"] = file(CONTENT, stop_after=100_000)
    with pytest.raises(FetchError, match=r"must send all 300,000 bytes. Got 100,000 from .*what has arrived is kept"):
        download(f"{server.url}/a.zip", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:100_000]
    server.asked.clear()
    return tmp_path / "a.zip"


def test_whole_file_leaves_nothing_beside_it(server, tmp_path):
    server.answers["/a.zip"] = file(CONTENT)
    done = download(f"{server.url}/a.zip", tmp_path / "new" / "a.zip", checksum=f"sha256:{SHA256.upper()}")
    assert (done.num_bytes, done.sha256, done.verified) == (300_000, SHA256, f"sha256:{SHA256}")
    assert (tmp_path / "new" / "a.zip").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new") == ["a.zip"]


def test_stopped_download_asks_only_for_the_rest(server, stopped):
    server.answers["/a.zip"] = file(CONTENT)
    assert download(f"{server.url}/a.zip", stopped).sha256 == SHA256
    assert [(asked["Range"], asked["If-Range"]) for _, asked in server.asked] == [("bytes=100000-", '"v1"')]
    assert stopped.read_bytes() == CONTENT


def test_last_modified_serves_where_there_is_no_strong_etag(server, tmp_path):
    day = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.answers["/a"] = file(CONTENT, etag='W/"v1"', modified=day, stop_after=200_000)
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    assert [asked.get("If-Range") for _, asked in server.asked] == [None, day]


def test_without_a_mark_it_starts_again(server, tmp_path):
    server.answers["/a"] = [file(CONTENT, etag=None, stop_after=200_000), file(CONTENT, etag=None)]
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    assert [asked.get("Range") for _, asked in server.asked] == [None, None]


def test_connection_that_breaks_often_still_ends(server, tmp_path):
    server.answers["/a"] = file(CONTENT, stop_after=40_000)  # 8 connections, more than there are tries without progress
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    assert len(server.asked) == 8


def test_server_without_ranges_sends_all_again(server, stopped):
    server.answers["/a.zip"] = file(CONTENT, ranges=False)
    assert download(f"{server.url}/a.zip", stopped).sha256 == SHA256


def test_changed_file_is_not_joined_to_the_old_one(server, stopped):
    new = CONTENT[::-1]
    server.answers["/a.zip"] = file(new, etag='"v2"')
    download(f"{server.url}/a.zip", stopped)
    assert stopped.read_bytes() == new


def test_wrong_range_is_not_joined(server, stopped, monkeypatch):
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0.0,))
    wrong = status(206, CONTENT[5:], Content_Range="bytes 5-299999/300000", ETag='"v1"')
    server.answers["/a.zip"] = [wrong, file(CONTENT)]
    assert download(f"{server.url}/a.zip", stopped).sha256 == SHA256
    assert [asked.get("Range") for _, asked in server.asked] == ["bytes=100000-", None]


def test_part_of_another_address_is_not_joined(server, stopped):
    server.answers["/b.zip"] = file(CONTENT)
    download(f"{server.url}/b.zip", stopped)
    assert [asked.get("Range") for _, asked in server.asked] == [None]


def test_part_larger_than_the_file_starts_again(server, stopped, monkeypatch):
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0.0,))
    server.answers["/a.zip"] = file(CONTENT[:50_000])  # the same mark, yet shorter: 416
    download(f"{server.url}/a.zip", stopped)
    assert stopped.read_bytes() == CONTENT[:50_000]


def test_whole_part_only_gets_its_name(server, stopped):
    (stopped.parent / "a.zip.part").write_bytes(CONTENT)
    assert download(f"{server.url}/a.zip", stopped, checksum=f"sha256:{SHA256}").num_bytes == 300_000
    assert server.asked == []


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_wrong_checksum_removes_the_file(server, tmp_path, algorithm):
    server.answers["/a"] = file(CONTENT)
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    with pytest.raises(
        FetchError, match=f"must have {algorithm} {wrong}. Got {hashlib.new(algorithm, CONTENT).hexdigest()}"
    ):
        download(f"{server.url}/a", tmp_path / "a", checksum=f"{algorithm}:{wrong}")
    assert os.listdir(tmp_path) == []


def test_unlucky_download_keeps_the_file_of_before(server, tmp_path):
    (tmp_path / "a").write_text("mine")
    server.answers["/a"] = file(CONTENT)
    with pytest.raises(FetchError, match="Check the checksum"):
        download(f"{server.url}/a", tmp_path / "a", checksum=f"md5:{'0' * 32}")
    assert (tmp_path / "a").read_text() == "mine"


def test_interrupt_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    def interrupt(self, have):
        raise KeyboardInterrupt

    server.answers["/a"] = file(CONTENT)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module._Progress, "tell", interrupt)
        download(f"{server.url}/a", tmp_path / "a")
    kept = (tmp_path / "a.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    download(f"{server.url}/a", tmp_path / "a")
    assert server.asked[1][1]["Range"] == f"bytes={kept}-"


def test_progress_reads_well_in_a_log(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", 0.0)
    server.answers["/a"] = file(CONTENT)
    with caplog.at_level(logging.INFO, logger="chiron.fetch"):
        download(f"{server.url}/a", tmp_path / "a")
    assert "a: 300 kB of 300 kB (100 %), " in caplog.messages[-1]


def test_server_in_trouble_is_asked_again(server, tmp_path):
    server.answers["/a"] = [status(500), status(503), file(CONTENT)]
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    server.answers["/a"] = status(502)
    server.asked.clear()
    with pytest.raises(FetchError, match=r"must be able to answer. Got 502 from"):
        download(f"{server.url}/a", tmp_path / "b")
    assert len(server.asked) == 3


def test_pause_that_the_server_asks_for_is_kept(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.answers["/a"] = [status(429, Retry_After="7"), status(503, Retry_After="99999"), file(CONTENT)]
    download(f"{server.url}/a", tmp_path / "a")
    assert pauses == [7, 120]


@pytest.mark.parametrize(("code", "advice"), [(404, "Check the address"), (401, "Check the key"), (403, "is public")])
def test_refusal_is_told_at_once(server, tmp_path, code, advice):
    server.answers["/a"] = status(code)
    with pytest.raises(SpecError, match=f"must give the file. Got {code} from {server.url}/a.*{advice}"):
        download(f"{server.url}/a?token=hidden", tmp_path / "a")
    assert len(server.asked) == 1


def test_silent_server(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.1)
    server.answers["/a"] = [silence(0.3), file(CONTENT)]
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    server.answers["/a"] = silence(0.3)
    with pytest.raises(FetchError, match=r"must answer within 0.1 s"):
        download(f"{server.url}/a", tmp_path / "b")


def test_no_network_is_one_sentence(tmp_path):
    with pytest.raises(
        FetchError, match=r"network must reach 127.0.0.1. Got: connection refused.*give the file to --data"
    ):
        download("http://127.0.0.1:9/a", tmp_path / "a")
    with pytest.raises(FetchError, match=r"network must reach nowhere.invalid. Got: no such name"):
        download("https://nowhere.invalid/a", tmp_path / "a")
    assert FetchError.exit_code == 3


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/a", "must start with https"),
        ("file:///etc/passwd", "must start with https"),
        ("host/a", "Got no scheme"),
        ("https:///a", "and a host"),
        ("https://me:hidden@host/a", "no user name or password. Got one for host"),
        ("https://host:port/a", "must look like"),
    ],
)
def test_addresses_that_are_refused(tmp_path, url, message):
    with pytest.raises(SpecError, match=message) as refused:
        download(url, tmp_path / "a")
    assert "hidden" not in str(refused.value)


def test_names_with_blanks_and_unicode(server, tmp_path):
    server.answers["/my%20images%20%C3%A4.zip"] = file(CONTENT)
    assert download(f"{server.url}/my images ä.zip", tmp_path / "a").sha256 == SHA256
    assert download(f"{server.url}/my%20images%20%C3%A4.zip", tmp_path / "a").sha256 == SHA256


def test_headers_stay_with_their_host(server, other_server, tmp_path):
    server.answers["/a"] = status(302, Location=f"{other_server.url}/a")
    server.answers["/b"] = status(302, Location=f"{server.url}/c")
    server.answers["/c"] = other_server.answers["/a"] = file(CONTENT)
    for path in ("/a", "/b"):
        download(server.url + path, tmp_path / "a", headers={"Authorization": "Bearer hidden"})
    assert [asked.get("Authorization") for _, asked in server.asked] == ["Bearer hidden"] * 3
    assert "hidden" not in str(other_server.asked)
    assert "chiron/" in other_server.asked[0][1]["User-Agent"]


def test_secret_does_not_follow_a_redirect_to_another_host(server, other_server, tmp_path):
    server.answers["/a"] = status(302, Location=f"{other_server.url}/a?key=hid%64en")
    with pytest.raises(FetchError, match="key must stay with its host") as refused:
        download(f"{server.url}/a?key=hidden", tmp_path / "a", secret="hidden")
    assert "hidden" not in str(refused.value)
    assert other_server.asked == []


@pytest.mark.parametrize("target", ["http://host/a", "file:///etc/passwd", "ftp://host/a"])
def test_no_way_from_https_to_less(target):
    with pytest.raises(FetchError, match="must not lead from https to"):
        http.require_onward("https://host/a", target, "")


def test_redirect_to_a_file_of_this_machine(server, tmp_path):
    server.answers["/a"] = status(302, Location="file:///etc/passwd")
    with pytest.raises((FetchError, SpecError)):
        download(f"{server.url}/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_size_limit_with_and_without_a_length(server, tmp_path):
    for length in (True, False):
        server.answers["/a"] = file(CONTENT, length=length)
        with pytest.raises(SpecError, match="must be at most 200 kB"):
            download(f"{server.url}/a", tmp_path / "a", max_bytes=200_000)
        assert os.listdir(tmp_path) == []


def test_unknown_length_is_told(server, tmp_path, caplog):
    server.answers["/a"] = file(CONTENT, length=False)
    assert download(f"{server.url}/a", tmp_path / "a").sha256 == SHA256
    assert "does not say how long it is" in caplog.text


def test_full_disk(server, tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 1000))
    server.answers["/a"] = file(CONTENT)
    with pytest.raises(OutputError, match=r"room for 300 kB more. Got 1 kB free"):
        download(f"{server.url}/a", tmp_path / "a")


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits of a process")
def test_disk_that_fills_while_writing(server, tmp_path):
    server.answers["/a"] = file(CONTENT)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from chiron.core.errors import OutputError\n"
        "from chiron.data.fetch.download import download\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    download(sys.argv[1], Path(sys.argv[2]))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    arguments = [sys.executable, "-c", script, f"{server.url}/a", str(tmp_path / "a")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "The output must be writable. Got File too large" in done.stdout
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:100_000]  # to be continued when there is room


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        download(f"{server.url}/a", tmp_path / "file" / "a")


@given(st.binary(max_size=100))
def test_digests_equal_hashlib(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("digest") / "a"
    path.write_bytes(content)
    assert digest_of(path, "md5") == hashlib.md5(content).hexdigest()
    assert require_checksum(f"MD5:{digest_of(path, 'md5').upper()}") == f"md5:{digest_of(path, 'md5')}"


@pytest.mark.parametrize("text", ["", "md5:", "sha1:" + "0" * 40, "md5:" + "0" * 31, "sha256:" + "g" * 64, "0" * 64])
def test_malformed_checksums(text):
    with pytest.raises(SpecError, match="must be sha256: and 64, or md5: and 32"):
        require_checksum(text)
