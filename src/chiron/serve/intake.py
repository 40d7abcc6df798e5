"""From a request's body to images as networks take them: magic bytes decide, sizes are looked at before unpacking.

Uploads stay in memory and end with the request: no image is ever written to disk.
"""

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from chiron.core.errors import PreprocessError
from chiron.preprocess.decode import image_size
from chiron.scorer import Opened, Scorer
from chiron.serve.limits import Limits
from chiron.serve.refusal import Refusal

__all__ = ["Form", "form_schema", "opened", "read_form"]

_MOST_FIELDS, _LONGEST_FIELD = 8, 4096
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


class _InMemory(MultiPartParser):
    """Starlette's parser, which would move files of more than 1 MiB to disk."""

    spool_max_size = 1 << 40


@dataclass(frozen=True)
class Form:
    """The parts of a multipart body."""

    images: list[bytes]
    fields: dict[str, str]

    def text(self, name: str) -> str | None:
        """A field's text; None where it is missing or empty."""
        return self.fields.get(name) or None

    def flag(self, name: str) -> bool:
        """A field's yes or no; no where it is missing.

        Raises:
            Refusal: it is neither.
        """
        value = self.fields.get(name, "false").lower()
        if value not in _TRUE | _FALSE:
            raise Refusal(422, "bad_field", f"The field {name} must be true or false. Got another text. Mend it.")
        return value in _TRUE


async def read_form(request: Request, limits: Limits, *, images: str, most: int, fields: frozenset[str]) -> Form:
    """The form of a request.

    Args:
        images: the field of the files.
        most: how many of them there may be.
        fields: the other fields that are known.
    Raises:
        Refusal: the body is no such form.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(
            415, "not_a_form", f"The body must be multipart/form-data. Got another kind. Send {images} as files."
        )
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=most + 1,  # one more is told by a sentence of our own
        max_fields=_MOST_FIELDS,
        max_part_size=_LONGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise _too_many(images, most) from error
        raise Refusal(400, "broken_form", "The body must be a whole form. Got a broken one. Send it again.") from error
    except (ValueError, KeyError) as error:  # of headers inside the body
        raise Refusal(400, "broken_form", "The body must be a whole form. Got a broken one. Send it again.") from error
    try:
        return await _checked(form, images, most, fields)
    finally:
        await form.close()


async def _checked(form: FormData, images: str, most: int, fields: frozenset[str]) -> Form:
    files: list[bytes] = []
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == images:
            files.append(await value.read())
        elif isinstance(value, str) and name in fields and name not in texts:
            texts[name] = value
        else:
            known = f"files called {images} and, once each, the texts {', '.join(sorted(fields))}"
            raise Refusal(422, "bad_field", f"A form must hold {known}. Got another part. Leave it out.")
    if not files:
        raise Refusal(422, "no_image", f"A request must hold an image. Got none. Send a file called {images}.")
    if len(files) > most:
        raise _too_many(images, most)
    return Form(files, texts)


def _too_many(images: str, most: int) -> Refusal:
    return Refusal(
        413,
        "too_many_images",
        f"A request must hold at most {most} files called {images}. Got more. Send several requests.",
    )


def opened(data: bytes, name: str, scorer: Scorer, limits: Limits) -> Opened:
    """One upload ready for the scorer's networks; its size is looked at before anything is unpacked.

    Args:
        name: how a message calls it; it says nothing of the kind of file.
    Raises:
        PreprocessError: it is no image, is damaged, or is too large or too small.
    """
    if not data:
        raise PreprocessError(f"An image file must not be empty. Got 0 bytes in {name}. Replace or remove the file.")
    width, height = image_size(data, name)
    if width * height > limits.max_pixels:
        raise PreprocessError(
            f"An image must have at most {limits.max_pixels:,} pixels. Got more in {name}: {width:,} x {height:,}. "
            "Scale it down first."
        )
    if min(width, height) < limits.min_side_px:
        raise PreprocessError(
            f"An image must be at least {limits.min_side_px} pixels wide and high. Got {width} x {height} in {name}. "
            "Send the image itself."
        )
    return scorer.open(data)


def form_schema(files: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI is told of a form, as the routes read it themselves."""
    schema = {
        "type": "object",
        "properties": files | fields,
        "required": list(files),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
