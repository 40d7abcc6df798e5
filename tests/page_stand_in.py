"""A server that shows the page and answers as a test tells it to, in the shapes of `chiron.serve.answers`."""

import json
import mimetypes
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

PAGE = files("chiron.serve").joinpath("page")
POLICY = (  # that of chiron.serve.guard
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DISCLAIMER = "Research use only."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="  # 1 x 1


@dataclass
class Asked:
    """One request: what the page has sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    def field(self, name: str) -> str | None:
        """A field of the form that is no file."""
        _, found, after = self.body.partition(f'name="{name}"\r\n\r\n'.encode())
        return after.split(b"\r\n", 1)[0].decode() if found else None

    def num_files(self) -> int:
        """How many images the form holds."""
        return self.body.count(b"filename=")


@dataclass
class PageServer:
    """`answers` maps a path to (status, JSON, headers), or to what makes it from the request."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def refuse(self, path: str, status: int, kind: str, error: str, **headers: str) -> None:
        """Answers with an error."""
        self.answers[path] = (status, {"error": error, "kind": kind, "reasons": []}, headers)

    def of(self, path: str) -> list[Asked]:
        """The requests of a path."""
        return [asked for asked in self.asked if asked.path == path]


@contextmanager
def page_server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/api"):
                return self.api(b"")
            path = PAGE.joinpath("index.html" if self.path == "/" else self.path.removeprefix("/page/"))
            kind = mimetypes.guess_type(str(path))[0]
            return self.send(200, path.read_bytes(), {"Content-Type": kind, "Content-Security-Policy": POLICY})

        def do_POST(self):
            self.api(self.rfile.read(int(self.headers["Content-Length"])))

        def api(self, body):
            asked = Asked(self.path, dict(self.headers), body)
            server.asked.append(asked)
            answer = server.answers[self.path]
            status, told, headers = answer(asked) if callable(answer) else answer
            self.send(status, json.dumps(told).encode(), {"Content-Type": "application/json", **headers})

        def send(self, status, body, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = PageServer(f"http://127.0.0.1:{httpd.server_port}/")
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()


def ok(told: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
    return 200, told, {}


THRESHOLD = {"rule": "expected", "sensitivity_promised": 0.9, "value": 0.23, "low": 0.137, "high": 0.5455}


def card(**changes: Any) -> dict[str, Any]:
    """A calibrated model of two classes with a threshold, explained by an explainer that passed."""
    return {
        "name": "chest",
        "bundle_id": "0d1561fa14153bea",
        "network": "chiron_fair_cnn_nano",
        "classes": [{"name": "normal", "description": ""}, {"name": "opacity", "description": "a dense spot"}],
        "several": False,
        "positive": "opacity",
        "unit": "image",
        "calibrated": True,
        "questions": [{"name": "opacity", "classes": ["opacity"], "threshold": THRESHOLD}],
        "prediction_sets": {"alpha": 0.1},
        "input": {"img_size": 64, "in_chans": 1, "bit_depth": 8},
        "intended_use": {"question": "Is there an opacity?", "population": "phantoms", "reference_standard": ""},
        "explainer": {"may_be_shown": True, "method": "layer_cam", "words": "recommended", "reasons": []},
        "limits": {"max_bytes": 1 << 20, "max_pixels": 40_000_000, "max_images": 3},
        "created": "2026-11-22T13:42:01+00:00",
        "warnings": [],
        **changes,
    }


def prediction(score: float = 0.0123, **changes: Any) -> dict[str, Any]:
    """What `card()` says of an image."""
    return {
        "predicted_class": "opacity" if score > 0.5 else "normal",
        "predicted_class_description": "",
        "confidence": max(score, 1 - score),
        "probabilities": {"normal": 1 - score, "opacity": score},
        "calibrated": True,
        "decisions": {"opacity": {"score": score, "threshold": 0.23, "answer": "yes" if score >= 0.23 else "no"}},
        "prediction_set": ["normal"],
        "disclaimer": DISCLAIMER,
        **changes,
    }


def experience(answer: str) -> dict[str, Any]:
    """How often test cases with such an answer were right."""
    return {
        "class": None,
        "question": "opacity",
        "output": answer,
        "right": 40,
        "of": 43,
        "low": 0.814,
        "high": 0.976,
        "missed": {"missed": 3, "of": 48, "low": 0.021, "high": 0.168} if answer == "no" else None,
        "population": "phantoms of the test split",
        "words": "",
    }


NAMED = (
    experience("")
    | {"class": "normal", "question": None, "output": "90% to 100%", "missed": None}
    | {"right": 8, "of": 9, "low": 0.565, "high": 0.98}
)


def result(index: int = 0, told: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """One result; by default a negative answer with experience."""
    told = prediction() if told is None else told
    answer = told.get("decisions", {}).get("opacity", {}).get("answer")
    return {
        "index": index,
        "status": "ok",
        "problem": None,
        "prediction": told,
        "experience": [NAMED, experience(answer)] if answer else [],
        "input_sha256_keyed": "47813c1c600e5d2a",
        **changes,
    }


OUTSIDE = "The image is 12 px wide; this model was made for larger ones."


def out_of_scope(index: int = 0, *, shown: bool = False) -> dict[str, Any]:
    """An image that the model was not made for, with or without what it says of it."""
    scope = {"distance": 9.0, "percentile": 99.9, "limit": 4.0, "problems": [OUTSIDE], "in_scope": False}
    referral = {"refer": True, "reasons": [OUTSIDE, "The image is out of scope."]}
    told = {"scope": scope, "referral": referral, "disclaimer": DISCLAIMER, "calibrated": True}
    told |= prediction() if shown else {}
    return result(index, told, status="out_of_scope", problem=OUTSIDE, experience=[])


def unreadable(index: int = 0) -> dict[str, Any]:
    """A file that is no image."""
    problem = f"A file must be an image. Got other content in image {index + 1}. Replace or remove the file."
    return result(index, status="unreadable", problem=problem) | {"prediction": None, "experience": []}


def predicted(*results: dict[str, Any], unit: dict[str, Any] | None = None, model: str = "chest") -> dict[str, Any]:
    """The answer of /api/predict."""
    return {
        "model": model,
        "bundle_id": "0d1561fa14153bea",
        "time": "2026-11-22T14:07:27+00:00",
        "chiron_version": "0.1.0",
        "disclaimer": DISCLAIMER,
        "results": list(results),
        "unit": unit,
    }


def each(make: Any = result) -> Any:
    """An answer with as many results as images were sent."""
    return lambda asked: ok(predicted(*[make(k) for k in range(asked.num_files())], model=asked.field("model")))


def explanation() -> dict[str, Any]:
    """The answer of /api/explain."""
    return {
        "model": "chest",
        "bundle_id": "0d1561fa14153bea",
        "class_name": "opacity",
        "probability": 0.9,
        "method": "layer_cam",
        "notice": "",
        "saliency_png": PIXEL,
        "image_png": PIXEL,
        "scores": {"deletion": 0.5, "deletion_gain": 0.123, "stability": 0.96, "randomization": None},
        "verdict": {"may_be_shown": True, "words": "recommended for this bundle", "reasons": []},
        "disclaimer": DISCLAIMER,
    }
