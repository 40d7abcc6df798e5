"""Which manifests keep names, and the one place where those that do not are made."""

from pathlib import Path

from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.data.manifest import Manifest
from chiron.data.private import Privacy, is_private, is_strict, make_private
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
    hashes = {
        f"{one}~{other}": "~".join(sorted((private.sample_hash[one], private.sample_hash[other])))
        for one, other in _pairs(recipe.data.accept_leaks, private.sample_hash)
    }
    accepted = tuple(hashes.get(name, name) for name in recipe.data.accept_leaks)
    return private.manifest, recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"accept_leaks": accepted, "privacy": "strict"})}
    )


def _pairs(names: tuple[str, ...], known: dict[str, str]) -> list[tuple[str, str]]:
    """The two samples of every accepted leak; an id may hold a tilde itself."""
    found = []
    for name in names:
        parts = name.split("~")
        for place in range(1, len(parts)):
            one, other = "~".join(parts[:place]), "~".join(parts[place:])
            if one in known and other in known:
                found.append((one, other))
    return found
