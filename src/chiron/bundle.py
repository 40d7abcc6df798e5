"""The bundle on disk: `weights.safetensors` + `bundle.json` + `README.md`. Data, never code.

`bundle.json` holds the SHA-256 of the weights and of itself, so that a damaged bundle is refused, not used. Checks of
explainers are made after a bundle and may be made again: they lie beside it in `explainers.json`, say which bundle they
are of, and do not change its id.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from chiron.core.errors import BundleError
from chiron.core.files import new_folder, write_text
from chiron.core.hashing import sha256_bytes, sha256_json
from chiron.data.known_images import KNOWN_IMAGES, KnownImages
from chiron.model_card import model_card
from chiron.spec.bundle_spec import BundleSpec
from chiron.spec.explainer_check import ExplainerCheck
from chiron.spec.frozen import Frozen

FORMAT = "chiron-bundle"
VERSION = 2
EXPLAINERS = "explainers.json"

log = logging.getLogger("chiron.bundle")


class ExplainerChecks(Frozen):
    """What `explainers.json` holds."""

    format: Literal["chiron-explainer-checks 1"]
    bundle_id: str
    checks: tuple[ExplainerCheck, ...]


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
        (target / "weights.safetensors").write_bytes(weights)
        (target / "bundle.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
        if known is not None:
            (target / KNOWN_IMAGES).write_text(known.to_text(), encoding="utf-8")
        (target / "README.md").write_text(
            model_card(
                bundle_id(content),
                spec.network.name,
                spec.labels,
                spec.decision,
                spec.intended_use,
                spec.provenance,
                spec.scope,
            ),
            encoding="utf-8",
        )
    return bundle_id(content)


def read_bundle(folder: Path) -> tuple[str, BundleSpec, dict[str, Tensor]]:
    """Id, specification and tensors of the bundle at `folder` (or of a run folder that holds one).

    Raises:
        BundleError: a file is missing, a checksum differs, or the format is unknown.
    """
    folder = folder_of(folder)
    content = _read_json(folder / "bundle.json")
    try:
        weights = (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        raise BundleError(f"A bundle must hold weights.safetensors. Got {error.strerror} at {folder}.") from error
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
    folder = folder_of(folder)
    path = folder / KNOWN_IMAGES
    if not path.is_file():
        return None
    data = path.read_bytes()
    if _read_json(folder / "bundle.json").get("known_images_sha256") != sha256_bytes(data):
        raise BundleError(
            f"{KNOWN_IMAGES} must be the one that was written with the bundle. Got another one in {folder}. "
            "Copy the bundle again, or remove the file."
        )
    return KnownImages.from_text(data.decode("utf-8"))


def folder_of(folder: Path) -> Path:
    """The bundle at `folder`, or the one in a run folder."""
    return folder / "bundle" if (folder / "bundle" / "bundle.json").is_file() else folder


def read_explainer_checks(folder: Path, identity: str) -> tuple[ExplainerCheck, ...]:
    """The checks of explainers that are kept with the bundle whose id is `identity`; those of another one are left out.

    Raises:
        BundleError: the file is damaged.
    """
    path = folder_of(folder) / EXPLAINERS
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated = content.pop("sha256")
        kept = ExplainerChecks.model_validate_json(json.dumps(content))
    except (ValueError, AttributeError, KeyError, TypeError) as error:  # a ValidationError is a ValueError
        raise BundleError(_DAMAGED.format(path.parent)) from error
    if stated != sha256_json(content):
        raise BundleError(_DAMAGED.format(path.parent))
    if kept.bundle_id != identity:
        log.warning("%s is of bundle %s and not of %s: left out", EXPLAINERS, kept.bundle_id, identity)
        return ()
    return kept.checks


def write_explainer_checks(folder: Path, identity: str, checks: Sequence[ExplainerCheck]) -> None:
    """Keeps the checks with the bundle at `folder`, whose id is `identity`, in place of those that were there.

    Raises:
        OutputError: the folder cannot be written.
    """
    kept = ExplainerChecks(format="chiron-explainer-checks 1", bundle_id=identity, checks=tuple(checks))
    content = kept.model_dump(mode="json")
    content["sha256"] = sha256_json(content)
    write_text(folder_of(folder) / EXPLAINERS, json.dumps(content, indent=1, ensure_ascii=False))


_DAMAGED = (
    f"{EXPLAINERS} must be as it was written. Got a changed one in {{}}. Copy the bundle again, or remove the file."
)


def bundle_id(content: dict[str, Any]) -> str:
    """The short name of what a bundle does: of everything in it but the time it was written."""
    provenance = {key: value for key, value in content["provenance"].items() if key != "created"}
    return sha256_json({**content, "provenance": provenance, "sha256": ""})[:16]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"A bundle must be a folder with bundle.json. Got {error.strerror} at {path}. "
            "Give the folder `bundle` of a run."
        ) from error
    except ValueError as error:
        raise BundleError(f"bundle.json must be JSON. Got {error} at {path}. Copy or train it again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(f"bundle.json must be of format {FORMAT} {VERSION}. Got another one at {path}.")
    return content
