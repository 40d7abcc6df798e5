"""YAML that says where every value stands, refuses duplicate keys, and reads numbers as YAML 1.2 does.

PyYAML alone keeps the last of two equal keys, reads `1e-3` as text and `yes` as true.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from chiron.core.errors import SpecError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed file: its plain values and the line (from 1) on which each key or list item stands."""

    source: str
    values: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """`file:line` of a key, or of the nearest parent that the file holds."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                line = self.lines[path[:length]]
                return f"{self.source}:{line}" if line else self.source
        return self.source


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's way to start without YAML 1.1's scalars


_SCALARS = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
)
for _tag, _pattern, _first in _SCALARS:
    _StrictLoader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
# YAML 1.2 has no octal by leading zero and no sexagesimals: 007 and 1:30 keep their plain meaning.
_StrictLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(str(node.value)))
_StrictLoader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _float(str(node.value)))


def _float(text: str) -> float:
    return float(
        text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")
    )


def parse_yaml(text: str, source: str) -> Document:
    """The document in `text`.

    Args:
        source: file name for messages.
    Raises:
        SpecError: the text is not YAML, its top is not a mapping, or a key stands twice; all duplicates are told.
    """
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise SpecError(f"A YAML file must hold keys. Got an empty file {source}. Write `key: value` lines.")
        if not isinstance(node, yaml.MappingNode):
            raise SpecError(
                f"{source}:1: the file must be a mapping of keys. Got another value. Write `key: value` lines."
            )
        lines: dict[KeyPath, int] = {}
        duplicates: list[str] = []
        _note_lines(node, (), lines, duplicates, source)
        if duplicates:
            raise SpecError("\n".join(duplicates))
        return Document(source, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        raise SpecError(f"{place}: the file must be valid YAML. Got {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: the file must be valid YAML. Got {error}.") from error
    finally:
        loader.dispose()


def parse_value(text: str) -> Any:
    """One value as it would stand after `key:` in a recipe, for example `1e-3`, `true` or `[1, 2]`."""
    loader = _StrictLoader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise SpecError(f"A value after --set key= must be valid YAML. Got {text!r}. Quote it.") from error
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], duplicates: list[str], source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen:
                duplicates.append(f"{source}:{line}: a key must stand once. Got {key!r} again. Remove one of the two.")
            seen.add(key)
            lines[(*path, key)] = line
            _note_lines(value_node, (*path, key), lines, duplicates, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _note_lines(item, (*path, index), lines, duplicates, source)
