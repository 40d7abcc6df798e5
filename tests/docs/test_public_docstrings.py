"""Every public module, class and function says what it is; and no message or text uses a word the project avoids."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "src" / "chiron").rglob("*.py"))
# `validity` of words: only phantoms have a ground truth, and no output is a diagnosis.
AVOIDED = ("ground truth", "diagnosed as")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_public_things_have_docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name == "__init__.py" and not tree.body:
        return
    missing = [] if ast.get_docstring(tree) or path.stem == "version" else ["module"]
    for node in ast.walk(tree):
        inner = [tree] if isinstance(node, ast.Module) else [node] if isinstance(node, ast.ClassDef) else []
        for owner in inner:
            for child in owner.body:
                if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                    private = isinstance(owner, ast.ClassDef) and owner.name.startswith("_")
                    if not private and child.name != "forward" and not ast.get_docstring(child):
                        missing.append(child.name)
    assert not missing


@pytest.mark.parametrize("path", [p for p in SOURCES if "phantoms" not in p.parts], ids=lambda path: path.stem)
def test_avoided_words_do_not_stand_anywhere(path):
    text = path.read_text(encoding="utf-8").lower()
    assert not [word for word in AVOIDED if word in text]
