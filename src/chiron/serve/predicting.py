"""From uploads to what is said of them: decoded in a few threads, batched, read out, and withheld out of scope."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chiron.core.errors import DataError, PreprocessError
from chiron.core.hashing import keyed_hash, sha256_bytes
from chiron.prediction import Prediction
from chiron.preprocess.resize import StoredImage
from chiron.serve.answers import PredictionSaid, Result
from chiron.serve.intake import stored_of
from chiron.serve.limits import Limits
from chiron.serve.refusal import Refusal
from chiron.serve.served_model import ServedModel

__all__ = ["Predicting"]

UNIT = -1  # the index of what is said of all images together
_WITHHELD = ("scope", "referral", "disclaimer", "calibrated")  # what is told of an image that is out of scope


class Predicting:
    """Answers requests for predictions of any model.

    Args:
        key: of the hashes that stand for uploads.
        threads: that decode at a time; they bound the memory of unpacked images.
    """

    def __init__(self, limits: Limits, key: bytes, *, threads: int = 2) -> None:
        self.limits, self.key = limits, key
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="chiron-decode")

    def close(self) -> None:
        """Ends the threads."""
        self._decoders.shutdown(wait=True, cancel_futures=True)

    async def results(
        self, model: ServedModel, images: Sequence[bytes], *, together: bool, insist: bool
    ) -> tuple[list[Result], Result | None]:
        """What is said of each image, and with `together` of all of them as one unit.

        Raises:
            Refusal: no image can be used.
        """
        decoded = await asyncio.gather(*[self._stored(model, data, place) for place, data in enumerate(images)])
        stored = [it for it in decoded if not isinstance(it, str)]
        if not stored:
            first = next(it for it in decoded if isinstance(it, str))
            raise Refusal(
                422, "unreadable", first + (f" ({len(images)} images, none can be used.)" * (len(images) > 1))
            )
        outputs = await model.batcher.outputs(stored)
        said = iter(model.scorer.read_out(outputs))
        hashes = [keyed_hash(self.key, sha256_bytes(data)) for data in images]
        results = [
            _unreadable(place, it, hashes[place])
            if isinstance(it, str)
            else result_of(model, place, next(said), hashes[place], insist=insist)
            for place, it in enumerate(decoded)
        ]
        if not together:
            return results, None
        of_unit = model.scorer.read_out(model.scorer.combined(outputs))[0]
        return results, result_of(model, UNIT, of_unit, keyed_hash(self.key, "".join(hashes)), insist=insist)

    async def _stored(self, model: ServedModel, data: bytes, place: int) -> StoredImage | str:
        """The image as the network takes it, or the sentence why it cannot be."""
        loop, spec = asyncio.get_running_loop(), model.scorer.input_spec
        try:
            return await loop.run_in_executor(self._decoders, stored_of, data, f"image {place + 1}", spec, self.limits)
        except (PreprocessError, DataError) as error:
            return str(error)


def _unreadable(place: int, problem: str, hashed: str) -> Result:
    return Result(
        index=place, status="unreadable", problem=problem, prediction=None, experience=[], input_sha256_keyed=hashed
    )


def result_of(model: ServedModel, place: int, prediction: Prediction, hashed: str, *, insist: bool) -> Result:
    """What is told of a prediction: of an image out of scope no probabilities, unless they are insisted on."""
    said: dict[str, Any] = prediction.to_dict()
    scope = said.get("scope")
    is_outside = scope is not None and not scope["in_scope"]
    if is_outside and not insist:
        said = {name: value for name, value in said.items() if name in _WITHHELD}
    return Result(
        index=place,
        status="out_of_scope" if is_outside else "ok",
        problem=None,
        prediction=PredictionSaid.model_validate(said),
        experience=[] if is_outside else model.experience(prediction),
        input_sha256_keyed=hashed,
    )
