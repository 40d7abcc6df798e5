"""The reference page of features and of users' threads, made of `tests/features.yaml`: what Chiron has, and its proof.

`python tests/features_page.py` writes the page anew; `tests/docs/test_features_page.py` holds it to the file and every
name in it to the code.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from chiron.core.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "features.md"
FEATURES = Path(__file__).with_name("features.yaml")

Entry = Mapping[str, Any]
State = Literal["built", "built, with a difference", "not built"]

INTRODUCTION = """\
# Features, and what proves them

What the five systems that Chiron rebuilds can do, line by line, and what users of other tools ask for in public. Each
line says which command, recipe key or function does it here, and which tests would fail if it did not;
`.venv/bin/python -m pytest TEST` runs one. A test proves what it checks on small images of its own, no more; results on
real images are [another page](results.md).

"Differs" is what is not as the system has it. A recipe is named as `chiron train` takes it, an explainer without the
other arguments of `chiron explain`.
"""
# The first feature of each part.
PARTS = {
    "F001": "H-CoAtNet and its baselines",
    "F029": "ConvNeXtV2 with separable attention",
    "F056": "Qing: DenseNet-121 and a transformer",
    "F076": "Dermalyze",
    "F105": "HybridLungViT",
    "F124": "All five",
}


def read_features() -> dict[str, dict[Any, Entry]]:
    """The data file: features by id, threads by number."""
    return yaml.safe_load(FEATURES.read_text(encoding="utf-8"))


def state_of(entry: Entry) -> State:
    """How far a feature or answer is."""
    if "reason" in entry:
        return "not built"
    return "built, with a difference" if "differs" in entry else "built"


def page() -> str:
    """The whole page."""
    data = read_features()
    lines = [INTRODUCTION, *_counts(data)]
    for name, entry in data["features"].items():
        if name in PARTS:
            lines += ["", f"## {PARTS[name]}", ""]
        lines.append(_line(name, entry["what"], entry))
    lines += [
        "",
        "## What users of other tools ask for",
        "",
        "Public threads; what was asked is told in our words.",
        "",
    ]
    lines += [_line(f"{number}", f"{it['topic']} ({it['thread']})", it) for number, it in data["threads"].items()]
    return "\n".join(lines) + "\n"


def _counts(data: Mapping[str, Mapping[Any, Entry]]) -> Iterator[str]:
    states = get_args(State)
    yield "| | " + " | ".join(states) + " |"
    yield "|" + "---|" * (1 + len(states))
    for kind, entries in data.items():
        found = [state_of(entry) for entry in entries.values()]
        yield f"| {kind} | " + " | ".join(str(found.count(state)) for state in states) + " |"


def _line(name: str, what: str, entry: Entry) -> str:
    """One line of the list."""
    parts = [f"- **{name}** {what}."]
    if entry["here"]:
        parts.append(f"Here: {entry['here']}.")
    if "differs" in entry:
        parts.append(f"**Differs**: {entry['differs']}.")
    if "reason" in entry:
        parts.append(f"**Not built**: {entry['reason'].strip().rstrip('.')}.")
    if entry["proof"]:
        parts.append("<br>Proof: " + ", ".join(f"`{test}`" for test in entry["proof"]) + ".")
    return " ".join(parts)


if __name__ == "__main__":
    write_text(PAGE, page())
