"""Whatever is sent, the answer is a sentence: never an error of the server, never silence."""

import io
import time
import zlib

import numpy as np
import pytest
from dicom_files import dicom_file
from PIL import Image
from served import hostile_files, limited, served

from chiron.serve.limits import Limits

FIELD = b'Content-Disposition: form-data; name="images"; filename="x"\r\n\r\n'


def whole_files() -> list[bytes]:
    """An image of every kind that is read."""
    random = np.random.default_rng(0)
    color = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"):
        stream = io.BytesIO()
        Image.fromarray(color).save(stream, kind)
        found.append(stream.getvalue())
    deep = io.BytesIO()
    Image.fromarray(random.integers(0, 65536, (40, 60), dtype=np.uint16)).save(deep, "PNG")
    values = random.integers(0, 4096, (40, 60), dtype=np.uint16)
    return [*found, deep.getvalue(), dicom_file(values, bits_stored=12)]


def mutations(count: int, seed: int) -> list[bytes]:
    """Whole files with bytes changed, cut out, doubled or cut off, mostly near the start, where headers are."""
    extremes = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"]
    random, whole, found = np.random.default_rng(seed), whole_files(), list(hostile_files().values())
    for k in range(count):
        data = bytearray(whole[k % len(whole)])
        for _ in range(int(random.integers(1, 6))):
            place = int(len(data) * random.random() ** 3)
            match int(random.integers(0, 5)):
                case 0:
                    data[place : place + 1] = random.bytes(1)
                case 1:
                    data[place : place + 4] = extremes[int(random.integers(0, 3))]
                case 2:
                    del data[place : place + int(random.integers(1, 50))]
                case 3:
                    data[place:place] = data[place : place + int(random.integers(1, 50))]
                case 4:
                    del data[max(1, place) :]
        found.append(bytes(data))
    return found


def bodies(count: int, seed: int) -> list[bytes]:
    """Forms that are broken themselves."""
    random = np.random.default_rng(seed)
    whole = b"--b\r\n" + FIELD + whole_files()[0][:200] + b"\r\n--b--\r\n"
    found = []
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(int(random.integers(1, 6))):
            place = int(random.integers(0, len(data)))
            data[place : place + int(random.integers(0, 9))] = random.bytes(int(random.integers(0, 9)))
        found.append(bytes(data))
    return found


def check(count: int, seed: int) -> dict[int, int]:
    """How often each status came."""
    found: dict[int, int] = {}
    with served(rules=limited(requests_per_minute=10**9)) as client:
        for data in mutations(count, seed):
            answer = client.post("/api/predict", content=b"--b\r\n" + FIELD + data + b"\r\n--b--\r\n", headers=_FORM)
            assert answer.status_code in (200, 422), answer.text
            _is_told(answer)
            found[answer.status_code] = found.get(answer.status_code, 0) + 1
        for body in bodies(count, seed):
            answer = client.post("/api/predict", content=body, headers=_FORM)
            assert answer.status_code in (200, 400, 413, 422), answer.text
            _is_told(answer)
        assert client.get("/health").status_code == 200
    return found


def _is_told(answer) -> None:
    said = answer.json()
    assert ("results" in said) if answer.status_code == 200 else said["error"].count("Got ") >= 1
    assert answer.elapsed.total_seconds() < Limits().seconds / 2


_FORM = {"content-type": "multipart/form-data; boundary=b"}


@pytest.mark.filterwarnings("ignore")
def test_a_few_hundred_damaged_uploads():
    assert set(check(120, seed=1)) == {200, 422}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2, 6))
def test_thousands_of_damaged_uploads(seed):
    assert set(check(1500, seed)) == {200, 422}


def test_a_small_file_that_would_fill_the_memory_is_refused_fast():
    """A deflated DICOM of 1 GiB of zeros, and headers of pictures that claim 400 million pixels."""
    meta = b"\x02\x00\x10\x00UI\x16\x00" + b"1.2.840.10008.1.2.1.99"
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    bomb = bytes(128) + b"DICM" + length + meta + packed
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    assert len(bomb) < 2 << 20
    assert len(stream.getvalue()) < 1 << 20
    with served() as client:
        for data, sentence in ((bomb, "must unpack to at most"), (stream.getvalue(), "pixels. Got more")):
            began = time.monotonic()
            answer = client.post("/api/predict", content=b"--b\r\n" + FIELD + data + b"\r\n--b--\r\n", headers=_FORM)
            assert answer.status_code == 422
            assert sentence in answer.json()["error"]
            assert time.monotonic() - began < 20
