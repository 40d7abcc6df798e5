"""Which manifests keep names, and the one place where those that do not are made."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.data.image_names import may_be_dicom
from chiron.data.local_names import LOCAL_NAMES, LocalName, add_local_names
from chiron.data.manifest import Manifest
from chiron.data.private import Privacy, is_private, is_strict, make_private, path_hash, sample_hash
from chiron.predictor import Given, Input
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


def names_as_kept(inputs: Iterable[Input | Given], privacy: Privacy, out: Path) -> Callable[[str], str] | None:
    """How the file `out` calls these images where it may not hold their names; None where it may.

    Strict by itself where one of them is a DICOM file. What is behind the hashes stands in the project's local file.

    Args:
        inputs: in order; gone through twice.
    Raises:
        OutputError: the local file or the key cannot be written.
    """
    if not _hides_names(inputs, privacy):
        return None
    project = project_folder(out)
    key = sharing_key(project)
    names = {}
    for item in inputs:
        if isinstance(item, Input):
            root = str(item.source.root.absolute())
            local = LocalName(root, item.path, sample_hash(key, item.name), item.name)
            names[path_hash(key, root, item.path)] = local
    add_local_names(project / LOCAL_NAMES, names)
    return lambda name: sample_hash(key, name)


def units_as_kept(
    units: Sequence[str | None], inputs: Iterable[Input | Given], privacy: Privacy, out: Path
) -> list[str | None]:
    """The units of these images as the file `out` may hold them: their names, or keyed hashes of them."""
    if not _hides_names(inputs, privacy):
        return list(units)
    key = sharing_key(project_folder(out))
    return [None if unit is None else sample_hash(key, unit) for unit in units]


def _hides_names(inputs: Iterable[Input | Given], privacy: Privacy) -> bool:
    if privacy != "auto":
        return privacy == "strict"
    return any(isinstance(it, Input) and not it.source.is_npz and may_be_dicom(it.path) for it in inputs)


def _pairs(names: tuple[str, ...], known: dict[str, str]) -> list[tuple[str, str]]:
    """The two samples of every accepted leak."""
    return [(one, other) for name in names for one, other in _halves(name) if one in known and other in known]


def _halves(name: str) -> list[tuple[str, str]]:
    """All pairs that `one~other` may mean: an id may hold a tilde itself."""
    parts = name.split("~")
    return [("~".join(parts[:place]), "~".join(parts[place:])) for place in range(1, len(parts))]
