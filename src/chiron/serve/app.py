"""The HTTP application: health, models, predictions, explanations and the page, over FastAPI."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from chiron.core.errors import ChironError, DataError, ExplainError, PreprocessError
from chiron.serve.answers import Error, Explanation, Health, Models, Predicted
from chiron.serve.intake import openapi_form, read_form
from chiron.serve.limits import Limits
from chiron.serve.predicting import Predicting
from chiron.serve.refusal import Refusal
from chiron.serve.served_model import Explained, ServedModel
from chiron.spec.provenance import DISCLAIMER
from chiron.version import __version__

__all__ = ["build_app"]

PAGE = Path(__file__).with_name("page")
_FILE = {"type": "string", "format": "binary"}
_FLAG = {"type": "boolean", "default": False}
_REFUSALS = {
    400: "the body is broken",
    401: "the token is missing or wrong",
    403: "the request comes from another site's page",
    404: "no such model or address",
    408: "the upload takes too long",
    409: "this model's maps may not be shown, or there are none",
    413: "too many bytes or images",
    415: "the body is no form",
    422: "a field is wrong, or no image can be used",
    429: "too many requests from this client",
    503: "the server is busy; come again",
    504: "the answer takes too long",
}


def _told(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Error, "description": _REFUSALS[code]} for code in codes}


def build_app(models: Sequence[ServedModel], *, limits: Limits = Limits(), key: bytes) -> FastAPI:
    """The application.

    Args:
        key: of the hashes that stand for uploads.
    """
    by_name = {model.name: model for model in models}
    predicting = Predicting(limits, key)
    explainer = ThreadPoolExecutor(1, thread_name_prefix="chiron-explain")

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        for model in models:
            await model.batcher.close()
        predicting.close()
        explainer.shutdown(wait=True, cancel_futures=True)

    app = FastAPI(
        title="Chiron",
        version=__version__,
        description=DISCLAIMER,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    _tell_errors(app)

    def model_of(name: str | None) -> ServedModel:
        if name is None and len(by_name) == 1:
            return models[0]
        if name not in by_name:
            raise Refusal(
                404, "unknown_model", f"The model must be one of {', '.join(by_name)}. Got another name. Choose one."
            )
        return by_name[name]

    @app.get("/health", response_model=Health)
    async def health() -> Health:
        return Health(status="ok", models=list(by_name))

    @app.get("/api/models", response_model=Models, responses=_told(401, 429))
    async def api_models() -> Models:
        return Models(models=[model.card(limits) for model in models], disclaimer=DISCLAIMER)

    @app.post(
        "/api/predict",
        response_model=Predicted,
        response_model_exclude_unset=True,
        responses=_told(400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504),
        openapi_extra=openapi_form(
            {"images": {"type": "array", "items": _FILE, "minItems": 1, "maxItems": limits.max_images}},
            {"model": {"type": "string", "enum": list(by_name)}, "together": _FLAG, "insist": _FLAG},
        ),
    )
    async def predict(request: Request) -> Predicted:
        """The model output for each image, and with `together` for all of them as one unit."""
        fields = frozenset({"model", "together", "insist"})
        form = await read_form(request, limits, images="images", most=limits.max_images, fields=fields)
        model = model_of(form.text("model"))
        together, insist = form.flag("together"), form.flag("insist")
        results, unit = await predicting.results(model, form.images, together=together, insist=insist)
        return Predicted(
            model=model.name,
            bundle_id=model.scorer.bundle_id,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            chiron_version=__version__,
            disclaimer=DISCLAIMER,
            results=results,
            unit=unit,
        )

    @app.post(
        "/api/explain",
        response_model=Explanation,
        responses=_told(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 504),
        openapi_extra=openapi_form(
            {"image": _FILE},
            {
                "model": {"type": "string", "enum": list(by_name)},
                "class_name": {"type": "string"},
                "method": {"type": "string"},
                "insist": _FLAG,
            },
        ),
    )
    async def explain(request: Request) -> Explanation:
        """Where the model reacted, not where disease is; only with `insist` where the bundle's checks do not allow it."""
        fields = frozenset({"model", "class_name", "method", "insist"})
        form = await read_form(request, limits, images="image", most=1, fields=fields)
        model, method, class_name = model_of(form.text("model")), form.text("method"), form.text("class_name")
        explains = model.explains
        if explains is None:
            said = model.explainer()
            raise Refusal(409, "no_explanation", f"This model is {said.words}.", reasons=said.reasons)
        standing = explains.standing(method, class_name)
        if not standing.may_be_shown and not form.flag("insist"):
            raise Refusal(
                409,
                "explainer_not_passed",
                f"A map is shown where the explainer passed its checks on the bundle. It is {standing.words}. "
                "Insist to see it all the same.",
                reasons=standing.reasons,
            )
        loop = asyncio.get_running_loop()
        made: Explained = await loop.run_in_executor(
            explainer, explains.explain, form.images[0], "image 1", method, class_name
        )
        return Explanation(
            model=model.name,
            bundle_id=model.scorer.bundle_id,
            class_name=made.class_name,
            probability=made.probability,
            method=made.method,
            notice=made.notice,
            saliency_png=base64.b64encode(made.overlay).decode("ascii"),
            image_png=base64.b64encode(made.image).decode("ascii"),
            scores=made.scores,
            verdict=made.verdict,
            disclaimer=DISCLAIMER,
        )

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def _tell_errors(app: FastAPI) -> None:
    """Whatever ends a request is told as one sentence and a code."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return refusal_response(error)

    @app.exception_handler(ChironError)
    async def cannot(request: Request, error: ChironError) -> Response:
        """What an image or a request asks for cannot be done."""
        return refusal_response(Refusal(422, _KINDS.get(type(error), "cannot"), str(error)))

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        kinds = {404: "unknown_address", 405: "unknown_method"}
        told = Refusal(error.status_code, kinds.get(error.status_code, "refused"), f"{error.detail}.")
        answer = refusal_response(told)
        answer.headers.update(error.headers or {})
        return answer


_KINDS: dict[type[ChironError], str] = {
    PreprocessError: "unreadable",
    DataError: "unreadable",
    ExplainError: "cannot_be_explained",
}


def refusal_response(refusal: Refusal) -> JSONResponse:
    """A refusal as an HTTP answer."""
    said = Error(error=str(refusal), kind=refusal.kind, reasons=list(refusal.reasons))
    return JSONResponse(said.model_dump(), refusal.status, refusal.headers())
