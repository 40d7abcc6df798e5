"""From a recipe's text to a Recipe, or to the list of everything that is wrong with it."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from chiron.core.errors import SpecError, reason_of
from chiron.core.suggest import did_you_mean
from chiron.spec.library import find_recipe
from chiron.spec.recipe import Recipe
from chiron.spec.strict_yaml import Document, KeyPath, parse_value, parse_yaml

Model = TypeVar("Model", bound=BaseModel)

_FEW_NAMES, _MANY_NAMES = 12, 50  # that a message lists: beside a near one, and where none is near
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def read_recipe(
    name: str,
    overrides: Iterable[str] = (),
    *,
    registries: Mapping[KeyPath, Collection[str]] | None = None,
    rules: Callable[[Recipe], Mapping[KeyPath, str]] | None = None,
) -> Recipe:
    """The recipe `name` (file or packaged) with `key=value` changes.

    Args:
        overrides: `key.path=value`; a value `@FILE` is read from that YAML file.
        registries: names that a key may take and that only higher layers know, by key path.
        rules: what else only higher layers know to be wrong with a recipe: a sentence by key path.
    Raises:
        SpecError: one line a mistake, each with file, line and a suggestion where one is near.
    """
    source, text = find_recipe(name)
    document = parse_yaml(text, source)
    for override in overrides:
        _apply(document, override)
    problems: dict[KeyPath, str] = {}
    recipe = validated(document, Recipe, problems)
    for path, choices in (registries or {}).items():
        value = _look_up(document.values, path)
        for given in value if isinstance(value, list) else [value]:
            if isinstance(given, str) and path not in problems and given not in choices:
                names = sorted(choices)
                near = did_you_mean(given, names)
                shown = f" ({', '.join(names)})" if len(names) <= (_FEW_NAMES if near else _MANY_NAMES) else ""
                problems[path] = f"{_dotted(path)} must be a known name{shown}. Got {given!r}. {near}"
    if recipe is not None and rules is not None and not problems:
        problems |= rules(recipe)
    if problems or recipe is None:
        ordered = sorted(problems, key=lambda path: (_line(document, path), str(path)))
        raise SpecError("\n".join(f"{document.where(path)}: {problems[path]}".rstrip() for path in ordered))
    return recipe


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML text that `read_recipe` reads back to an equal Recipe."""
    import yaml

    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _apply(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise SpecError(f"A change must be key=value. Got --set {override!r}. For example --set train.epochs=5.")
    value = _value_file(Path(text[1:]), override) if text.startswith("@") else parse_value(text)
    place: Any = document.values
    for part in path[:-1]:
        if not isinstance(place.setdefault(part, {}), dict):
            raise SpecError(f"--set {override!r}: {part} holds a value, not keys. Set {part} itself.")
        place = place[part]
    place[path[-1]] = value
    document.lines[path] = 0
    document.lines.update({p: 0 for p in list(document.lines) if p[: len(path)] == path})


def _value_file(path: Path, override: str) -> Any:
    try:
        return parse_value(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"The file after @ must be readable YAML. Got {reason_of(error)} in --set {override!r}. Mend its path."
        ) from error


def _line(document: Document, path: KeyPath) -> int:
    return next((document.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in document.lines), 0)


def validated(document: Document, model: type[Model], problems: dict[KeyPath, str]) -> Model | None:
    """The document as `model`; None, and a sentence by key path added to `problems`, where it is none.

    Raises:
        SpecError: the document holds other than plain values.
    """
    try:
        # JSON is what keeps strict types and still takes a YAML list for a tuple.
        return model.model_validate_json(json.dumps(document.values))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            path = tuple(part for part in problem["loc"] if part != "[key]")
            path = _known_part(document.values, path)
            problems.setdefault(path, _sentence(problem, path, model))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{document.source}: a recipe must hold plain values. Got {error}.") from error
    return None


def _known_part(values: Any, path: KeyPath) -> KeyPath:
    """`path` without pydantic's union branches (such as `int` or `literal['auto']`), which no file holds."""
    kept: list[str | int] = []
    for position, part in enumerate(path):
        if (isinstance(values, dict) and part in values) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        ):
            values = values[part]  # type: ignore[index]
            kept.append(part)
        elif position == len(path) - 1 and isinstance(values, dict):
            kept.append(part)  # a missing key
    return tuple(kept)


def _sentence(problem: Any, path: KeyPath, model: type[BaseModel]) -> str:
    kind, got, name = problem["type"], problem.get("input"), _dotted(path)
    if kind == "extra_forbidden":
        choices = _fields_at(path[:-1], model)
        known = f"Known here: {', '.join(choices)}." if choices else ""
        return " ".join(
            part for part in (f"unknown key {name!r}.", did_you_mean(str(path[-1]), choices), known) if part
        )
    if kind == "missing":
        return f"{name} must be given."
    if kind == "literal_error":
        expected = problem["ctx"]["expected"]
        suggestion = did_you_mean(str(got), expected.replace("'", "").replace(" or ", ", ").split(", "))
        return f"{name} must be {expected}. Got {got!r}. {suggestion}"
    if kind == "value_error":
        told = f"{problem['ctx']['error']}."
        return f"{name}: {told}" if name else told
    for prefix, words in _TYPES.items():
        if kind.startswith(prefix + "_") and kind.endswith(("_type", "_parsing", "_from_float")):
            return f"{name} must be {words}. Got {got!r}."
    return f"{name}: {problem['msg'][0].lower()}{problem['msg'][1:]}. Got {got!r}."


def _fields_at(path: KeyPath, model: type[BaseModel]) -> list[str]:
    """Names of the keys that `model` has at `path`; a part of it may be a key or a number of one of several."""
    rest = list(path)
    while rest:
        field = model.model_fields.get(str(rest.pop(0)))
        inner = _model_in(field.annotation) if field is not None else None
        if field is None or inner is None:
            return []
        if get_origin(field.annotation) in (dict, tuple) and rest:
            rest.pop(0)
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names: itself, as one of several kinds, or of the members of a mapping or list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _look_up(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
