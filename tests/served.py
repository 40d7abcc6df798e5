"""Servers for tests: scorers that need no training, requests, and images that a server must refuse."""

import io
import struct
import threading
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from chiron.scorer import Outputs, Scorer
from chiron.serve.app import build_app
from chiron.serve.guard import Rules
from chiron.serve.limits import Limits
from chiron.serve.served_model import ServedModel
from chiron.serve.server import listen
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Calibration, Decision, Threshold
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.scope import ScopeSpec

TOKEN = "a-token-that-is-long-enough"


class Brightness(Scorer):
    """Calls an image ill by its mean gray value; counts its batches, and can be held back."""

    def __init__(self, **changes: Any) -> None:
        threshold = Threshold(
            question="ill",
            classes=("ill",),
            rule="expected",
            sensitivity=0.9,
            value=0.3,
            low=0.2,
            high=0.4,
            num_found=18,
            num_positive=20,
            num_groups=40,
            fitted_on="cal",
        )
        described: dict[str, Any] = {
            "network_spec": NetworkSpec(name="brightness", args={}),
            "input_spec": InputSpec(img_size=16, in_chans=1),
            "labels": LabelSpace(names=("ill", "well"), positive="ill", descriptions={"ill": "bright"}),
            "decision": Decision(
                calibration=Calibration(method="temperature", parameters=({"temperature": (1.0,)},), fitted_on="cal"),
                thresholds=(threshold,),
            ),
            "bundle_id": "0123456789abcdef",
        }
        super().__init__(**described | changes)
        self.batches: list[int] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def outputs(self, stored: np.ndarray) -> Outputs:
        self.may_run.wait(10)
        self.batches.append(len(stored))
        bright = stored.reshape(len(stored), -1).mean(axis=1) / 255
        return Outputs(np.stack([8 * bright - 4, np.zeros_like(bright)], axis=1)[None])


class Unlike(Brightness):
    """Finds every dark image out of its scope."""

    def __init__(self) -> None:
        quantiles = tuple(np.linspace(0, 2, 101).tolist())
        super().__init__(
            scope=ScopeSpec(
                quantiles=(quantiles,),
                limit_percent=75,
                fitted_on="cal",
                num_images=100,
                num_train_images=300,
                least_side_px=16,
                least_detail=0.0,
                colors="both",
            )
        )

    def outputs(self, stored: np.ndarray) -> Outputs:
        """The darker, the farther: black is at a distance of 2, and the limit lies at 1.5."""
        bright = stored.reshape(len(stored), -1).mean(axis=1) / 255
        return replace(super().outputs(stored), distances=2 * (1 - bright)[None])


@contextmanager
def served(*models: ServedModel, rules: Rules | None = None, trail=None, **client: Any):
    """A client of a server in this process; errors inside the server end as answers, as for any client."""
    chosen = models or (ServedModel.of("bright", Brightness()),)
    app = build_app(chosen, rules or Rules(), trail=trail)
    how = {"base_url": "http://localhost", "raise_server_exceptions": False} | client
    with TestClient(app, **how) as made:
        yield made


@contextmanager
def listening(*models: ServedModel, rules: Rules | None = None):
    """The address of a server that listens at a port, in a thread of this process."""
    app = build_app(models or (ServedModel.of("bright", Brightness()),), rules or Rules())
    taken = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def limited(**limits: Any) -> Rules:
    """Rules with other limits than the usual ones."""
    return Rules(limits=replace(Limits(), **limits))


def picture(value: int = 128, size: tuple[int, int] = (20, 30), kind: str = "PNG") -> bytes:
    """An image of about one gray value: stripes, since one without anything to be seen is out of every scope."""
    stripes = np.full(size, value, dtype=np.int64) + np.where(np.arange(size[1]) % 4 < 2, 20, -20)
    stream = io.BytesIO()
    Image.fromarray(stripes.clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def blank_picture() -> bytes:
    """An image of one gray value."""
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30), 90, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def files(*images: bytes, name: str = "x.png", kind: str = "image/png", field: str = "images") -> list[Any]:
    """Parts of a form."""
    return [(field, (name, data, kind)) for data in images]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        whole += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole


def hostile_files() -> dict[str, bytes]:
    """Name -> a file that is no usable image."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("image.png", bytes(1_000_000))
    png, jpeg = picture(size=(64, 64)), picture(size=(64, 64), kind="JPEG")
    return {
        "empty": b"",
        "one byte": b"\x00",
        "one pixel": picture(size=(1, 1)),
        "long and thin": picture(size=(1, 400)),
        "20,000 x 20,000": png_header(20_000, 20_000),
        "2,000,000,000 wide": png_header(2_000_000_000, 1),
        "zero wide": png_header(0, 10),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "html": b"<!doctype html><script>alert(1)</script>",
        "zip": archive.getvalue(),
        "pdf": b"%PDF-1.4\n%%EOF",
        "exe": b"MZ" + bytes(200),
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
        "truncated png": png[: len(png) // 2],
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "dicom without an image": bytes(128) + b"DICM" + bytes(100),
        "tiff with a loop": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }
