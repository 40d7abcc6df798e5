"""The reference page of the Python API, made of signatures and docstrings.

`python tests/api_page.py` writes the page anew; `tests/docs/test_api_page.py` holds it to the code.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from chiron.core.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "api.md"
WIDTH = 100

INTRODUCTION = """\
# Python

What the command line does, Python does too: each verb is one function. A name stands with the module that it is
imported from; `import chiron` alone loads no torch, and what is used loads what it needs. Shapes stand in the
annotations (`Float[np.ndarray, "n classes"]`). Every mistake is a `ChironError` with one sentence.

```python
import chiron

run = chiron.train("general/h_coatnet_nano", "my_images", "run", overrides=("labels.positive=malignant",))
chiron.evaluate(run.path)
classifier = chiron.load(run.path)
print(classifier.predict("image.png").probabilities)
```
"""

# What is public, by part; methods follow their class.
PARTS: dict[str, tuple[str, ...]] = {
    "Use a model": (
        "chiron.load",
        "chiron.Classifier",
        "chiron.prediction.Prediction",
        "chiron.prediction.Answer",
        "chiron.prediction.Scope",
        "chiron.prediction.Referral",
        "chiron.predict",
        "chiron.workflows.predict.predict_stream",
        "chiron.workflows.predict.predict_units",
        "chiron.predictor.Predictor",
        "chiron.export",
    ),
    "Read, audit and split data": (
        "chiron.data.reading.read_dataset",
        "chiron.Manifest",
        "chiron.spec.layout.Layout",
        "chiron.workflows.audit.audit_data",
        "chiron.data.split.assign_splits",
        "chiron.preprocess.decode.decode_image",
    ),
    "Train and evaluate": (
        "chiron.spec.reading.read_recipe",
        "chiron.Recipe",
        "chiron.train",
        "chiron.evaluate",
        "chiron.workflows.calibrate.calibrate",
        "chiron.workflows.compare.compare",
    ),
    "Explain": (
        "chiron.explain",
        "chiron.explanation.explain.Explanation",
    ),
    "Numbers of your own arrays": (
        "chiron.metrics.evaluation.evaluate",
        "chiron.metrics.multi_label.evaluate_multi_label",
        "chiron.metrics.estimate.Estimate",
        "chiron.metrics.intervals.proportion.wilson",
        "chiron.metrics.intervals.auroc.auroc_interval",
        "chiron.decide.conformal.prediction_sets",
    ),
}


def named(name: str) -> Any:
    """The function or class of a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for part, names in PARTS.items():
        lines += [f"## {part}", ""]
        for name in names:
            lines += [*_entry(name, named(name)), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _entry(name: str, thing: Any) -> Iterator[str]:
    """Heading, signature and docstring; of a class its public methods too."""
    node = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    yield from (f"### {name}", "")
    if isinstance(node, ast.FunctionDef):
        yield from _function(node, node.name)
        return
    assert isinstance(node, ast.ClassDef)
    yield from _class_signature(node)
    yield from markdown(inspect.getdoc(thing) or "")
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield from ("", f"#### {node.name}.{child.name}", "")
            yield from _function(child, f".{child.name}")


def _function(node: ast.FunctionDef, called: str) -> Iterator[str]:
    """Signature and docstring."""
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    is_property = any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)
    signature = [f"{called}{returned}"] if is_property else _call(called, node.args, returned)
    yield from ("```python", *signature, "```", "", *markdown(ast.get_docstring(node) or ""))


def _class_signature(node: ast.ClassDef) -> Iterator[str]:
    """What makes an instance: the arguments of `__init__`, or the fields of a record."""
    made = [it for it in node.body if isinstance(it, ast.FunctionDef) and it.name == "__init__"]
    fields = [it for it in node.body if isinstance(it, ast.AnnAssign)]
    if made:
        yield from ("```python", *_call(node.name, made[0].args, ""), "```", "")
    elif fields:
        told = [f"    {ast.unparse(it.target)}: {ast.unparse(it.annotation)}".replace("'", '"') for it in fields]
        yield from ("```python", f"class {node.name}:", *told, "```", "")


def _call(called: str, arguments: ast.arguments, returned: str) -> list[str]:
    """A call with types and defaults, an argument a line where one line would be too long."""
    args = [it for it in arguments.args if it.arg not in ("self", "cls")]
    defaults = [None] * (len(args) - len(arguments.defaults)) + arguments.defaults
    told = [_argument(*pair) for pair in zip(args, defaults, strict=True)]
    told += ["*"] if arguments.kwonlyargs else []
    told += [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    line = f"{called}({', '.join(told)}){returned}"
    lines = [line] if len(line) <= WIDTH else [f"{called}(", *(f"    {it}," for it in told), f"){returned}"]
    return [it.replace("'", '"') for it in lines]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    said = "" if default is None else ast.unparse(default)
    return ast.unparse(argument) + (f" = {'...' if said.startswith('_') else said}" if said else "")


def markdown(docstring: str) -> Iterator[str]:
    """A docstring with its sections as lists: `Args:`, `Raises:` and the like become bold words and items."""
    section = ""
    lines = docstring.splitlines()
    for place, line in enumerate(lines):
        if re.fullmatch(r"(Args|Raises|Returns|Example|Examples):", line):
            section = line.removesuffix(":")
            yield from ("", f"**{section}**", "")
            if section.startswith("Example"):
                yield from ("```python", *textwrap.dedent("\n".join(_block(lines[place + 1 :]))).splitlines(), "```")
        elif section.startswith("Example") and (line.startswith("    ") or not line):
            continue
        elif section and (item := re.fullmatch(r"    (\S[^:]*): (.*)", line)):
            yield f"- `{item[1]}`: {item[2]}"
        elif section and line.startswith("    "):
            yield f"  {line.strip()}"
        else:
            section = ""
            yield line


def _block(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line and not line.startswith("    "):
            return
        yield line


if __name__ == "__main__":
    write_text(PAGE, page())
