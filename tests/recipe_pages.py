"""What the headers of the packaged recipes say, and the reference page made of it.

`python tests/recipe_pages.py` writes the page anew; `tests/docs/test_recipe_pages.py` holds it to the recipes.
"""

import re
from pathlib import Path

from pydantic import BaseModel

from chiron.core.files import write_text
from chiron.spec.library import packaged_recipes

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "recipes.md"

INTRODUCTION = """\
# Packaged recipes

`chiron recipes show NAME` prints one with its header; `chiron recipes copy NAME` writes it as a file to edit. A name is
`<data>/<model>.<reading>`; where there is one reading, `<data>/<model>` is enough.

| reading | what it follows |
|---|---|
| `documented` | the README of the system; where it is silent, the code, and the header says where |
| `code` | its code, where that differs |
| `paper` | its paper, where that differs |
| `corrected` | the same network with the flaws mended; the header says what is ours |
| `own` | Chiron's own |

This version may lack what a source does: the header's `Missing` line names it. Patients, lesions and copies of a
picture stay in one split in every reading, also where the original divides images; the `Differs` line says so. The
last column is what the sources claim, not what Chiron found; none of it is reproduced here. With `canonical_size` an
image is first squashed to that square and crops are taken from it; that and what else is unlike torchvision is in
[augmentation](augmentation.md), for every recipe alike.

Coming from [H-CoAtNet](../how-to/coming-from-h-coatnet.md), [ConvNeXtV2 with separable
attention](../how-to/coming-from-convnextv2-ssa.md), [Qing](../how-to/coming-from-qing.md),
[Dermalyze](../how-to/coming-from-dermalyze.md), [HybridLungViT](../how-to/coming-from-hybrid-lung-vit.md).
"""

_COLUMNS = "| recipe | what | not in this version | claimed by its source |\n|---|---|---|---|\n"


def header(text: str) -> dict[str, str]:
    """The named lines above a recipe's first key, continued lines joined: What, Data, Command, Expected, ..."""
    lines: dict[str, str] = {}
    name = ""
    for line in text.split("\nabout:")[0].splitlines():
        if start := re.fullmatch(r"# (\w+): +(.*)", line):
            name = start[1]
            lines[name] = start[2]
        else:
            lines[name] += " " + line.removeprefix("#").strip()
    return lines


def missing(text: str) -> list[str]:
    """Settings `key=value` that the header says are not in this version, without what is said of them in brackets."""
    said = header(text).get("Missing", "").removeprefix("not in this version: ")
    return [item.split(" (")[0].strip() for item in re.split(r";(?![^(]*\))", said) if item.strip()]


def page() -> str:
    """The reference page: a table a folder of recipes, a row a recipe."""
    parts, folder = [INTRODUCTION], ""
    for name, text in packaged_recipes().items():
        said = header(text)
        if name.split("/")[0] != folder:
            folder = name.split("/")[0]
            parts.append(
                f"\n## {folder}\n\n| recipe | what | not in this version | claimed by its source |\n|---|---|---|---|\n"
            )
        lacking = ", ".join(f"`{item}`" for item in missing(text)) or "-"
        claimed = said.get("Claimed", "-")
        claimed = "-" if claimed.startswith("none for this protocol") else claimed
        parts.append(f"| `{name}` | {said['What']} | {lacking} | {claimed} |\n")
    return "".join(parts)


def keys_of(model: type[BaseModel], before: str = "") -> set[str]:
    """Every key path of a schema."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(before + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys_of(field.annotation, f"{before}{name}.")
    return found


if __name__ == "__main__":
    write_text(PAGE, page())
