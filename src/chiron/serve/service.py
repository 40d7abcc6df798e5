"""Service: what answers requests for predictions and explanations of any of the models."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from chiron.core.errors import DataError, PreprocessError
from chiron.core.hashing import keyed_hash, sha256_bytes
from chiron.referral import referral_of
from chiron.scorer import Opened, Outputs
from chiron.serve.answers import ExperienceSaid, Explanation, Predicted, PredictionSaid, Result
from chiron.serve.audit_trail import AuditTrail
from chiron.serve.intake import Form, opened
from chiron.serve.limits import Limits
from chiron.serve.measured import Measured
from chiron.serve.refusal import Refusal
from chiron.serve.served_model import ServedModel
from chiron.spec.provenance import DISCLAIMER
from chiron.version import __version__

__all__ = ["Service"]

OF_UNIT = -1  # the index of what is said of all images together
_DECODERS = 2  # images that are unpacked at a time: they are the memory that the server needs
_MOST_EXPLAINED = 4  # explanations that wait: each takes seconds
_TOLD_OUTSIDE = ("scope", "disclaimer", "calibrated")  # what is told of an image that is out of scope


class Service:
    """Uploads are decoded in a few threads, batched, read out, and withheld where they are out of scope.

    Hashes that stand for uploads have the key of the audit trail; without one a key that lives as long as the server.
    """

    def __init__(
        self, models: Sequence[ServedModel], limits: Limits, measured: Measured, trail: AuditTrail | None
    ) -> None:
        self.models, self.limits, self.measured, self.trail = {it.name: it for it in models}, limits, measured, trail
        self.cards = [model.card(limits) for model in models]
        self.key = secrets.token_bytes(32) if trail is None else trail.key
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="chiron-decode")
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="chiron-explain")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chiron-trail")
        self._num_explained = 0
        for model in models:
            model.batcher.seen = measured.batch_images.labels(model.name).observe

    async def close(self) -> None:
        """Ends all threads; to be called when nothing is asked any more."""
        for model in self.models.values():
            await model.batcher.close()
        for threads in (self._decoders, self._explainer, self._writer):
            threads.shutdown(wait=True, cancel_futures=True)

    async def predict(self, form: Form) -> Predicted:
        """What is said of each image, and of all together where that is asked for.

        Raises:
            Refusal: no such model, or no image can be used.
            OutputError: the audit trail cannot be written.
        """
        model, insist = self._model(form), form.flag("insist")
        together = form.flag("together")
        results, unit = await self._results(model, form.images, together=together, insist=insist)
        for result in results:
            self.measured.images.labels(model.name, result.status).inc()
        await self._keep(model, "predict", [*results, *([unit] if unit else [])])
        return Predicted(
            model=model.name,
            bundle_id=model.scorer.bundle_id,
            time=_now(),
            chiron_version=__version__,
            disclaimer=DISCLAIMER,
            results=results,
            unit=unit,
        )

    async def explain(self, form: Form) -> Explanation:
        """Where a model reacted in one image.

        Raises:
            Refusal: no such model, it has no explanation, or its checks do not allow to show one.
            PreprocessError, ExplainError: the image cannot be used, or not be explained.
            OutputError: the audit trail cannot be written.
        """
        model, class_name = self._model(form), form.text("class_name")
        method = self._method(model, form)
        if self._num_explained >= _MOST_EXPLAINED:
            raise Refusal(503, "busy", _BUSY_EXPLAINING, retry_seconds=5)
        self._num_explained += 1
        try:
            assert model.explains is not None
            explain = model.explains.explain
            made = await asyncio.get_running_loop().run_in_executor(
                self._explainer, explain, form.images[0], method, class_name
            )
        finally:
            self._num_explained -= 1
        said = {"class_name": made.class_name, "method": made.method, "confidence": made.probability}
        hashed = self._hash(form.images[0])
        prediction = PredictionSaid.model_validate(said | {"disclaimer": DISCLAIMER})
        await self._keep(model, "explain", [_result(0, hashed, status="ok", prediction=prediction)])
        return Explanation(
            model=model.name,
            bundle_id=model.scorer.bundle_id,
            time=_now(),
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

    def _model(self, form: Form) -> ServedModel:
        name = form.text("model")
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise Refusal(404, "unknown_model", f"The model must be one of {known}. Got another or none. Name one.")
        return self.models[name]

    def _method(self, model: ServedModel, form: Form) -> str | None:
        """The explainer that is asked for, where it may be shown or is insisted on."""
        method = form.text("method")
        standing = model.explainer(method, form.text("class_name"))
        if standing.method is None:
            raise Refusal(409, "no_explanation", f"This model is {standing.words}.", reasons=standing.reasons)
        if not standing.may_be_shown and not form.flag("insist"):
            raise Refusal(409, "explainer_not_passed", _NOT_PASSED.format(standing.words), reasons=standing.reasons)
        return method

    async def _results(
        self, model: ServedModel, images: Sequence[bytes], *, together: bool, insist: bool
    ) -> tuple[list[Result], Result | None]:
        each = await asyncio.gather(*[self._opened(model, data, place) for place, data in enumerate(images)])
        usable = [it for it in each if isinstance(it, Opened)]
        if not usable:
            of_all = f" ({len(images)} images, none can be used.)" if len(images) > 1 else ""
            raise Refusal(422, "unreadable", f"{each[0]}{of_all}")
        outputs = await model.batcher.outputs([it.stored for it in usable])
        outputs = replace(outputs, problems=tuple(it.problems for it in usable))
        said = iter(_read(model, outputs, insist=insist))
        hashes = [self._hash(data) for data in images]
        results = []
        for place, (it, hashed) in enumerate(zip(each, hashes, strict=True)):
            if isinstance(it, str):
                results.append(_result(place, hashed, status="unreadable", problem=it))
            else:
                results.append(next(said)(place, hashed))
        if not together:
            return results, None
        (of_unit,) = _read(model, model.scorer.combined(outputs), insist=insist)
        return results, of_unit(OF_UNIT, keyed_hash(self.key, "".join(hashes)))

    async def _opened(self, model: ServedModel, data: bytes, place: int) -> Opened | str:
        """The image ready for the network, or the sentence why it cannot be."""
        loop, name = asyncio.get_running_loop(), f"image {place + 1}"
        try:
            return await loop.run_in_executor(self._decoders, opened, data, name, model.scorer, self.limits)
        except (PreprocessError, DataError) as error:
            return str(error)

    async def _keep(self, model: ServedModel, asked: str, results: Sequence[Result]) -> None:
        if self.trail is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._writer, self.trail.write, model.scorer, asked, results)

    def _hash(self, data: bytes) -> str:
        return keyed_hash(self.key, sha256_bytes(data))


def _read(model: ServedModel, outputs: Outputs, *, insist: bool) -> list[Callable[[int, str], Result]]:
    """What is told of each row, once its place and its hash are known.

    Of an image that is out of scope, or in which something speaks against using it, no probabilities are told unless
    they are insisted on.
    """
    told: list[Callable[[int, str], Result]] = []
    decision = model.scorer.decision
    for place, prediction in enumerate(model.scorer.read_out(outputs)):
        said: dict[str, Any] = prediction.to_dict()
        problems = outputs.problems_of(place)
        is_inside = not problems and (prediction.scope is None or prediction.scope.in_scope)
        if not is_inside and not insist:
            said = {name: value for name, value in said.items() if name in _TOLD_OUTSIDE}
            # Reasons of the output would tell its numbers.
            said["referral"] = asdict(referral_of(prediction.scope, problems, {}, None, None, decision))
        how: dict[str, Any] = {
            "problem": " ".join(problems) or None,
            "prediction": PredictionSaid.model_validate(said),
        }
        if is_inside:
            how["experience"] = model.experience(prediction)
        told.append(partial(_result, status="ok" if is_inside else "out_of_scope", **how))
    return told


def _result(
    place: int,
    hashed: str,
    *,
    status: Any,
    problem: str | None = None,
    prediction: PredictionSaid | None = None,
    experience: Sequence[ExperienceSaid] = (),
) -> Result:
    return Result(
        index=place,
        status=status,
        problem=problem,
        prediction=prediction,
        experience=list(experience),
        input_sha256_keyed=hashed,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_BUSY_EXPLAINING = "Explanations take seconds, one at a time. Got too many. Send it again in a moment."
_NOT_PASSED = (
    "A map is shown where the explainer passed its checks on the bundle. Got one that is {}. Insist to see it all the "
    "same."
)
