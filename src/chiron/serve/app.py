"""The HTTP application: health, metrics, models, predictions, explanations and the page, over FastAPI."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from chiron.core.errors import ChironError, DataError, ExplainError, OutputError, PreprocessError
from chiron.serve.answers import Error, Explanation, Health, Models, Predicted
from chiron.serve.audit_trail import AuditTrail
from chiron.serve.guard import Guard, Rules
from chiron.serve.intake import form_schema, read_form
from chiron.serve.measured import CONTENT_TYPE, Measured
from chiron.serve.refusal import Refusal, refusal_response
from chiron.serve.served_model import ServedModel
from chiron.serve.service import Service
from chiron.spec.provenance import DISCLAIMER
from chiron.version import __version__

__all__ = ["build_app"]

PAGE = Path(__file__).with_name("page")
_FILE = {"type": "string", "format": "binary"}
_FLAG = {"type": "boolean", "default": False}
_REFUSALS = {
    400: "the body or a header is broken, or the name in the address is not the server's",
    401: "the token is missing or wrong",
    403: "the request comes from another site's page",
    404: "no such model",
    408: "the upload takes too long",
    409: "this model's maps may not be shown, or there are none",
    413: "too many bytes or images",
    415: "the body is no form",
    422: "a field is wrong, or no image can be used",
    429: "too many requests from this client",
    503: "the server is busy; come again",
    504: "the answer takes too long",
}
_OF_UPLOADS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
_KINDS: dict[type[ChironError], tuple[int, str]] = {
    PreprocessError: (422, "unreadable"),
    DataError: (422, "unreadable"),
    ExplainError: (422, "cannot_be_explained"),
    OutputError: (503, "no_audit_trail"),
}


def build_app(models: Sequence[ServedModel], rules: Rules, *, trail: AuditTrail | None = None) -> FastAPI:
    """The application, with all that stands before it."""
    measured = Measured()
    service = Service(models, rules.limits, measured, trail)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="Chiron",
        version=__version__,
        description=DISCLAIMER,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.add_middleware(Guard, rules=rules, measured=measured)
    _tell_errors(app, measured)
    _add_facts(app, service, measured)
    _add_predict(app, service)
    _add_explain(app, service)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def _add_facts(app: FastAPI, service: Service, measured: Measured) -> None:
    """What can be read without an image."""

    @app.get("/health", response_model=Health, responses=_told(400))
    async def health() -> Health:
        """Whether the server answers, and the names of its models."""
        return Health(status="ok", models=list(service.models))

    @app.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_told(400, 401, 429)}
    )
    async def metrics() -> Response:
        """Counts and times in the format of Prometheus."""
        for name, model in service.models.items():
            measured.waiting_images.labels(name).set(model.batcher.num_waiting)
        return Response(measured.text(), media_type=CONTENT_TYPE)

    @app.get("/api/models", response_model=Models, responses=_told(400, 401, 429))
    async def api_models() -> Models:
        """What each model is, for whom it was made, and what it takes."""
        return Models(models=service.cards, disclaimer=DISCLAIMER)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")


def _add_predict(app: FastAPI, service: Service) -> None:
    limits, fields = service.limits, {"model": _names(service), "together": _FLAG, "insist": _FLAG}
    images = {"type": "array", "items": _FILE, "minItems": 1, "maxItems": limits.max_images}

    @app.post(
        "/api/predict",
        response_model=Predicted,
        response_model_exclude_unset=True,
        responses=_told(*_OF_UPLOADS),
        openapi_extra=form_schema({"images": images}, fields),
    )
    async def predict(request: Request) -> Predicted:
        """The model output for each image, and with `together` for all of them as one unit.

        An image that is out of the model's scope gets no probabilities unless `insist` is true.
        """
        form = await read_form(request, limits, images="images", most=limits.max_images, fields=frozenset(fields))
        return await service.predict(form)


def _add_explain(app: FastAPI, service: Service) -> None:
    text = {"type": "string"}
    fields = {"model": _names(service), "class_name": text, "method": text, "insist": _FLAG}

    @app.post(
        "/api/explain",
        response_model=Explanation,
        responses=_told(*_OF_UPLOADS, 409),
        openapi_extra=form_schema({"image": _FILE}, fields),
    )
    async def explain(request: Request) -> Explanation:
        """Where the model reacted, not where disease is.

        Where the bundle's checks do not allow it, a map is given only with `insist`, labeled experimental.
        """
        form = await read_form(request, service.limits, images="image", most=1, fields=frozenset(fields))
        return await service.explain(form)


def _names(service: Service) -> dict[str, Any]:
    return {"type": "string", "enum": list(service.models)}


def _told(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Error, "description": _REFUSALS[code]} for code in codes}


def _tell_errors(app: FastAPI, measured: Measured) -> None:
    """Whatever ends a request is told as one sentence and a code."""

    def told(refusal: Refusal) -> Response:
        measured.refusals.labels(refusal.kind).inc()
        return refusal_response(refusal)

    @app.exception_handler(ChironError)
    async def refused(request: Request, error: ChironError) -> Response:
        """What an image or a request asks for cannot be done."""
        if isinstance(error, Refusal):
            return told(error)
        status, kind = _KINDS.get(type(error), (422, "cannot"))
        return told(Refusal(status, kind, _AUDITED if status == 503 else str(error)))  # a path stands in the other one

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        kind, sentence = _NOT_THERE.get(error.status_code, ("refused", f"{error.detail}."))
        answer = told(Refusal(error.status_code, kind, sentence))
        answer.headers.update(error.headers or {})
        return answer


_AUDITED = "Every output must enter the audit trail. Got a trail that cannot be written. Tell who runs the server."
_NOT_THERE = {
    404: ("unknown_address", "The address must be one of /openapi.json. Got another one. Look there."),
    405: ("unknown_method", "The address must be asked as /openapi.json says. Got another method. Look there."),
}
