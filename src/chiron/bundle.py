"""The bundle on disk: `weights.safetensors` + `bundle.json` + `README.md`. Data, never code.

`bundle.json` holds the SHA-256 of the weights and of itself, so that a damaged bundle is refused, not used. Checks of
explainers and the experience with its outputs are made after a bundle and may be made again: they lie beside it in
`explainers.json` and `experience.json`, say which bundle they are of, and do not change its id.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from chiron.bundle_files import CARD, EXPERIENCE, EXPLAINERS, SPEC, WEIGHTS, BundleFiles, folder_of
from chiron.core.errors import BundleError
from chiron.core.files import new_folder, write_text
from chiron.core.hashing import sha256_bytes, sha256_json
from chiron.data.known_images import KNOWN_IMAGES, KnownImages
from chiron.model_card import model_card
from chiron.spec.bundle_spec import BundleSpec
from chiron.spec.experience import Experience
from chiron.spec.explainer_check import ExplainerCheck
from chiron.spec.frozen import Frozen

FORMAT = "chiron-bundle"
VERSION = 2

log = logging.getLogger("chiron.bundle")


class ExplainerChecks(Frozen):
    """What `explainers.json` holds."""

    format: Literal["chiron-explainer-checks 1"]
    bundle_id: str
    checks: tuple[ExplainerCheck, ...]


class KeptExperience(Frozen):
    """What `experience.json` holds."""

    format: Literal["chiron-experience 1"]
    bundle_id: str
    experience: Experience


Kept = TypeVar("Kept", ExplainerChecks, KeptExperience)


def write_bundle(folder: Path, spec: BundleSpec, tensors: dict[str, Tensor], known: KnownImages | None = None) -> str:
    """Writes the bundle as a whole or not at all and returns its id (first 16 digits of its SHA-256).

    Args:
        known: the images that it was made with, to be recognized among others.
    """
    weights = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())})
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **spec.model_dump(mode="json"),
        "weights_sha256": sha256_bytes(weights),
        "known_images_sha256": None if known is None else sha256_bytes(known.to_text().encode()),
    }
    content["sha256"] = sha256_json(content)
    with new_folder(folder) as target:
        (target / WEIGHTS).write_bytes(weights)
        (target / SPEC).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
        if known is not None:
            (target / KNOWN_IMAGES).write_text(known.to_text(), encoding="utf-8")
        (target / CARD).write_text(model_card(bundle_id(content), spec), encoding="utf-8")
    return bundle_id(content)


def read_bundle(folder: Path) -> tuple[str, BundleSpec, dict[str, Tensor]]:
    """Id, specification and tensors of the bundle at `folder` (a run folder that holds one, or one zip).

    Raises:
        BundleError: a file is missing, a checksum differs, the format is unknown, or a file can hold code.
    """
    files = BundleFiles(folder)
    content, weights = _read_json(files), files.read(WEIGHTS)
    stated = content.pop("sha256", None)
    if stated != sha256_json(content) or content.get("weights_sha256") != sha256_bytes(weights):
        raise BundleError(f"A bundle's checksums must hold. Got changed content at {folder}. Copy or train it again.")
    spec = {key: content[key] for key in BundleSpec.model_fields if key in content}
    try:
        return bundle_id(content), BundleSpec.model_validate_json(json.dumps(spec)), load_tensors(weights)
    except (ValidationError, SafetensorError) as error:
        raise BundleError(f"A bundle must hold what this version expects. Got {error} at {folder}.") from error


def read_known_images(folder: Path) -> KnownImages | None:
    """The images that a bundle (or a run folder that holds one) was made with; None where it keeps no such file.

    Raises:
        BundleError: the file is not the one that was written with the bundle.
    """
    files = BundleFiles(folder)
    if KNOWN_IMAGES not in files.names:
        return None
    data = files.read(KNOWN_IMAGES)
    if _read_json(files).get("known_images_sha256") != sha256_bytes(data):
        raise BundleError(
            f"{KNOWN_IMAGES} must be the one that was written with the bundle. Got another one in {folder}. "
            "Copy the bundle again, or remove the file."
        )
    return KnownImages.from_text(data.decode("utf-8"))


def read_explainer_checks(folder: Path, identity: str) -> tuple[ExplainerCheck, ...]:
    """The checks of explainers that are kept with the bundle whose id is `identity`; those of another one are left out.

    Raises:
        BundleError: the file is damaged.
    """
    kept = _read_beside(folder, EXPLAINERS, ExplainerChecks, identity)
    return () if kept is None else kept.checks


def write_explainer_checks(folder: Path, identity: str, checks: Sequence[ExplainerCheck]) -> None:
    """Keeps the checks with the bundle at `folder`, whose id is `identity`, in place of those that were there.

    Raises:
        OutputError: the folder cannot be written.
    """
    kept = ExplainerChecks(format="chiron-explainer-checks 1", bundle_id=identity, checks=tuple(checks))
    _write_beside(folder, EXPLAINERS, kept)


def read_experience(folder: Path, identity: str) -> Experience | None:
    """What is kept of the outputs of the bundle whose id is `identity`; that of another one is left out.

    Raises:
        BundleError: the file is damaged.
    """
    kept = _read_beside(folder, EXPERIENCE, KeptExperience, identity)
    return None if kept is None else kept.experience


def write_experience(folder: Path, identity: str, experience: Experience) -> None:
    """Keeps it with the bundle at `folder`, whose id is `identity`, in place of what was there.

    Raises:
        OutputError: the folder cannot be written.
    """
    kept = KeptExperience(format="chiron-experience 1", bundle_id=identity, experience=experience)
    _write_beside(folder, EXPERIENCE, kept)


def _read_beside(folder: Path, name: str, kind: type[Kept], identity: str) -> Kept | None:
    """What stands beside a bundle, where it is of this one."""
    files = BundleFiles(folder)
    if name not in files.names:
        return None
    try:
        content = json.loads(files.read(name))
        stated = content.pop("sha256")
        kept = kind.model_validate_json(json.dumps(content))
    except (ValueError, AttributeError, KeyError, TypeError) as error:  # a ValidationError is a ValueError
        raise _damaged(name, files.path) from error
    if stated != sha256_json(content):
        raise _damaged(name, files.path)
    if kept.bundle_id != identity:
        log.warning("%s is of bundle %s and not of %s: left out", name, kept.bundle_id, identity)
        return None
    return kept


def _write_beside(folder: Path, name: str, kept: "ExplainerChecks | KeptExperience") -> None:
    content = kept.model_dump(mode="json")
    content["sha256"] = sha256_json(content)
    write_text(folder_of(folder) / name, json.dumps(content, indent=1, ensure_ascii=False))


def _damaged(name: str, place: Path) -> BundleError:
    return BundleError(
        f"{name} must be as it was written. Got a changed one in {place}. Copy the bundle again, or remove the file."
    )


def bundle_id(content: dict[str, Any]) -> str:
    """The short name of what a bundle does: of everything in it but the time it was written."""
    provenance = {key: value for key, value in content["provenance"].items() if key != "created"}
    return sha256_json({**content, "provenance": provenance, "sha256": ""})[:16]


def _read_json(files: BundleFiles) -> dict[str, Any]:
    try:
        content = json.loads(files.read(SPEC))
    except ValueError as error:
        raise BundleError(f"{SPEC} must be JSON. Got {error} at {files.path}. Copy or train it again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(f"{SPEC} must be of format {FORMAT} {VERSION}. Got another one at {files.path}.")
    return content
