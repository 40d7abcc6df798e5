"""Which manifests keep names, and the one place where those that do not are made."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.data.image_names import may_be_dicom
from chiron.data.local_names import LOCAL_NAMES, LocalName, add_local_names
from chiron.data.manifest import Manifest
from chiron.data.private import Privacy, is_private, is_strict, make_private, path_hash, sample_hash
from chiron.predictor import Input, Row
from chiron.spec.recipe import Recipe


def as_kept(manifest: Manifest, privacy: Privacy, out: Path) -> Manifest:
    """The manifest as a folder `out` may hold it: with names, or with hashes whose names stand in the project's file.

    Raises:
        OutputError: the local file or the key cannot be written.
        DataError: the key is damaged.
    """
    if is_private(manifest) or not is_strict(privacy, manifest):
        return manifest
    project = project_folder(out)
    return make_private(manifest, sharing_key(project), project).manifest


def as_kept_with_recipe(manifest: Manifest, recipe: Recipe, out: Path) -> tuple[Manifest, Recipe]:
    """The same for a training, whose recipe may name samples too: those of accepted leaks."""
    if is_private(manifest) or not is_strict(recipe.data.privacy, manifest):
        return manifest, recipe
    project = project_folder(out)
    private = make_private(manifest, sharing_key(project), project)
    return private.manifest, _with_hashes(recipe, private.sample_hash)


def recipe_as_kept(recipe: Recipe, manifest: Manifest, out: Path) -> Recipe:
    """A recipe as a run with this manifest keeps it, where the names that it may hold are no longer at hand.

    Raises:
        DataError: the project's key is damaged.
    """
    if not is_private(manifest):
        return recipe
    key, samples = sharing_key(project_folder(out)), set(manifest.frame["sample_id"])
    parts = {part for name in recipe.data.accept_leaks for pair in _halves(name) for part in pair}
    hashes = {part: sample_hash(key, part) for part in parts}
    return _with_hashes(recipe, {name: hashed for name, hashed in hashes.items() if hashed in samples})


def _with_hashes(recipe: Recipe, known: dict[str, str]) -> Recipe:
    """The recipe of a private run: accepted leaks named by hashes."""
    hashes = {
        f"{one}~{other}": "~".join(sorted((known[one], known[other])))
        for one, other in _pairs(recipe.data.accept_leaks, known)
    }
    accepted = tuple(hashes.get(name, name) for name in recipe.data.accept_leaks)
    return recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"accept_leaks": accepted, "privacy": "strict"})}
    )


def rows_as_kept(rows: Sequence[Row], inputs: Sequence[Input], privacy: Privacy, out: Path) -> list[Row]:
    """Predictions as the file `out` may hold them; strict by itself where one of the inputs is a DICOM file.

    Raises:
        OutputError: the local file or the key cannot be written.
    """
    if not _hides_names(inputs, privacy):
        return list(rows)
    project = project_folder(out)
    key = sharing_key(project)
    names, kept = {}, []
    for row, item in zip(rows, inputs, strict=True):
        root, called = str(item.source.root.absolute()), sample_hash(key, row.name)
        names[path_hash(key, root, item.path)] = LocalName(root, item.path, called, row.name)
        kept.append(replace(row, name=called, problem="cannot be used" if row.problem else ""))
    add_local_names(project / LOCAL_NAMES, names)
    return kept


def units_as_kept(
    units: Sequence[str | None], inputs: Sequence[Input], privacy: Privacy, out: Path
) -> list[str | None]:
    """The units of these images as the file `out` may hold them: their names, or keyed hashes of them."""
    if not _hides_names(inputs, privacy):
        return list(units)
    key = sharing_key(project_folder(out))
    return [None if unit is None else sample_hash(key, unit) for unit in units]


def _hides_names(inputs: Sequence[Input], privacy: Privacy) -> bool:
    has_dicom = any(not item.source.is_npz and may_be_dicom(item.path) for item in inputs)
    return privacy == "strict" or (privacy == "auto" and has_dicom)


def _pairs(names: tuple[str, ...], known: dict[str, str]) -> list[tuple[str, str]]:
    """The two samples of every accepted leak."""
    return [(one, other) for name in names for one, other in _halves(name) if one in known and other in known]


def _halves(name: str) -> list[tuple[str, str]]:
    """All pairs that `one~other` may mean: an id may hold a tilde itself."""
    parts = name.split("~")
    return [("~".join(parts[:place]), "~".join(parts[place:])) for place in range(1, len(parts))]
