"""Finds the leaf files of a package by their stem, so that adding a thing is adding a file.

Outside packages add leaves through entry points whose group is the package's name, for example `chiron.data.readers`.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from contextlib import suppress
from importlib.abc import InspectLoader
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from chiron.core.errors import ChironError
from chiron.core.suggest import did_you_mean


def leaf_names(package: str) -> list[str]:
    """Sorted names of the public leaf modules of `package`; neither they nor the package are imported."""
    modules = pkgutil.iter_modules(_folders(package))
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


def leaf_literal(package: str, name: str, constant: str) -> Any:
    """The literal that the leaf `name` of `package` assigns to `constant`, or None; the leaf is read, not imported.

    Raises:
        ChironError: the value is no literal.
    """
    value = _assigned(package, name, constant)
    if value is None:
        return None
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise ChironError(
            f"{constant} of {package}.{name} must be a plain literal. Got an expression. Write the values out."
        ) from error


def leaf_call(package: str, name: str, constant: str) -> dict[str, Any]:
    """The literal keyword arguments of the call that a leaf assigns to `constant`; the leaf is read, not imported."""
    value = _assigned(package, name, constant)
    given: dict[str, Any] = {}
    for keyword in value.keywords if isinstance(value, ast.Call) else []:
        with suppress(ValueError):  # an expression
            given[str(keyword.arg)] = ast.literal_eval(keyword.value)
    return given


def _assigned(package: str, name: str, constant: str) -> ast.expr | None:
    """The source of what a leaf assigns to `constant`."""
    outside = {entry.name: entry.module for entry in importlib.metadata.entry_points(group=package)}
    module = outside.get(name, f"{package}.{name}")
    # An outside module is found by importing what it lies in; Chiron's own packages may load torch and are only read.
    found = importlib.util.find_spec(module) if name in outside else PathFinder.find_spec(module, _folders(package))
    source = found.loader.get_source(module) if found and isinstance(found.loader, InspectLoader) else None
    for statement in ast.parse(source or "").body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if constant in [target.id for target in targets if isinstance(target, ast.Name)]:
            return statement.value
    return None


def _folders(package: str) -> list[str]:
    """Where the modules of a package lie; only the outermost package is imported on the way."""
    top, *inner = package.split(".")
    folders = list(importlib.import_module(top).__path__)
    for part in inner:
        top = f"{top}.{part}"
        found = PathFinder.find_spec(top, folders)
        if found is None or found.submodule_search_locations is None:
            raise ModuleNotFoundError(f"No package named {top!r}", name=top)
        folders = list(found.submodule_search_locations)
    return folders
