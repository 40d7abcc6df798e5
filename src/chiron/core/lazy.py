"""What is loaded on first use: names of a package (PEP 562), and packages that not everybody has."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from chiron.core.errors import SpecError


def require_package(name: str, *, extra: str, for_what: str) -> ModuleType:
    """The optional package `name`, imported now.

    Raises:
        SpecError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{for_what} needs the package {name}. Got none installed. Run: pip install 'chiron-imaging[{extra}]'"
        ) from error


def lazy_attributes(package: str, where: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` for `package`; `where` maps a public name to the module that defines it."""

    def getattribute(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(where[name]), name)

    def names() -> list[str]:
        return sorted(where)

    return getattribute, names
