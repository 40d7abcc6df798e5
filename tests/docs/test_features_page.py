"""The page of features: complete, up to date, and every test, command, recipe, key and function in it exists."""

import ast
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from features_page import PAGE, page, read_features, state_of
from recipe_pages import keys_of

from chiron.cli.main import app
from chiron.core.registry import leaf_names
from chiron.spec.library import packaged_recipes
from chiron.spec.recipe import Recipe

ROOT = Path(__file__).parents[2]
DATA = read_features()
ENTRIES = {str(name): entry for kind in ("features", "threads") for name, entry in DATA[kind].items()}


def test_the_page_is_up_to_date():
    """Otherwise: python tests/features_page.py."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_feature_and_thread_is_there_once():
    text = (ROOT / "tests" / "features.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^  (\w+):$", text, re.MULTILINE) == [
        *(f"F{k:03d}" for k in range(1, 127)),
        *map(str, range(1, 38)),
    ]
    assert list(DATA["features"]) == [f"F{k:03d}" for k in range(1, 127)]
    assert list(DATA["threads"]) == list(range(1, 38))


def test_what_is_built_has_a_proof_and_what_is_not_a_reason():
    for name, entry in ENTRIES.items():
        assert set(entry) <= {"what", "topic", "thread", "here", "proof", "differs", "reason"}, name
        if state_of(entry).startswith("built"):
            assert entry["proof"], name
            assert entry["here"], name
        else:
            assert entry.get("reason"), name


@cache
def defined_in(file: str) -> frozenset[str]:
    """The tests that a file defines, `name` or `Class::name`."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{it.name}" for it in node.body if isinstance(it, ast.FunctionDef)}
    return frozenset(name for name in found if name.split("::")[-1].startswith("test_"))


def test_every_proof_is_a_test():
    for name, entry in ENTRIES.items():
        assert len(set(entry["proof"])) == len(entry["proof"]), name
        for test in entry["proof"]:
            file, _, function = test.partition("::")
            assert function in defined_in(file), test


SAID = [f"{entry['here']} {entry.get('differs', '')}" for entry in ENTRIES.values()]
SPANS = sorted({span for said in SAID for span in re.findall(r"`([^`]+)`", said)})


def command_of(words: list[str]) -> Any:
    """The verb that the words begin with."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return command


def test_commands_and_their_options_exist():
    used = [shlex.split(span)[1:] for span in SPANS if span.startswith("chiron ")]
    assert len(used) > 40
    for words in used:
        options = {option for parameter in command_of(words).params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words
        if "--method" in words:
            assert words[words.index("--method") + 1] in leaf_names("chiron.explanation.explainers")


def test_recipes_exist():
    readings = "documented|code|paper|corrected|own"
    named = {name for span in SPANS for name in re.findall(rf"\b[a-z0-9_]+/[a-z0-9_]+\.(?:{readings})\b", span)}
    assert len(named) > 10
    assert named <= set(packaged_recipes())


def test_keys_are_those_of_a_recipe():
    parts = "model|input|labels|data|augment|train|decision"
    named = {key for span in SPANS for key in re.findall(rf"^(?:--set )?((?:{parts})\.(?!csv)\w+)", span)}
    assert len(named) > 25
    assert named <= keys_of(Recipe)


def test_functions_and_modules_can_be_imported():
    named = [span for span in SPANS if re.fullmatch(r"chiron\.[\w.]+", span)]
    assert len(named) > 8
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or import_module(name)
