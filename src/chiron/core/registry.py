"""Finds the leaf files of a package by their stem, so that adding a thing is adding a file.

Outside packages add leaves through entry points whose group is the package's name, for example `chiron.data.readers`.
"""

import importlib
import importlib.metadata
import pkgutil
from types import ModuleType

from chiron.core.errors import ChironError
from chiron.core.suggest import did_you_mean


def leaf_names(package: str) -> list[str]:
    """Sorted names of the public leaf modules of `package`; none of them is imported."""
    parent = importlib.import_module(package)
    modules = pkgutil.iter_modules(parent.__path__)
    own = {module.name for module in modules if not module.ispkg and not module.name.startswith("_")}
    outside = {entry.name for entry in importlib.metadata.entry_points(group=package)}
    if own & outside:
        raise ChironError(
            f"An outside package must not take a name that Chiron has. Got {sorted(own & outside)} in {package}. "
            "Rename the entry point."
        )
    return sorted(own | outside)


def load_leaf(package: str, name: str, *, kind: str) -> ModuleType:
    """Imports the leaf `name` of `package`.

    Args:
        kind: what a leaf is called in messages, for example "reader".
    Raises:
        ChironError: no leaf has this name.
    """
    names = leaf_names(package)
    if name not in names:
        raise ChironError(
            f"The {kind} must be one of {', '.join(names)}. Got {name!r}. {did_you_mean(name, names)}".rstrip()
        )
    for entry in importlib.metadata.entry_points(group=package):
        if entry.name == name:
            return entry.load()
    return importlib.import_module(f"{package}.{name}")
