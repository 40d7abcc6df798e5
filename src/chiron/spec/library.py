"""Finds recipes: files of the user, or the packaged `recipes/<system>/<model>.<reading>.yaml`; and packaged studies."""

from importlib.resources import files
from pathlib import Path

from chiron.core.errors import SpecError, reason_of
from chiron.core.suggest import did_you_mean


def packaged_recipes() -> dict[str, str]:
    """Text of every packaged recipe by its name, for example `phantom_cxr/h_coatnet_nano.own`."""
    root = Path(str(files("chiron"))) / "recipes"
    return {
        path.relative_to(root).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.yaml"))
    }


def packaged_studies() -> dict[str, str]:
    """Text of every packaged study by its name, for example `ham10000_28`."""
    root = Path(str(files("chiron"))) / "studies"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.yaml"))}


def find_recipe(name: str) -> tuple[str, str]:
    """Name for messages and text of a recipe given as a file or as a packaged name (a unique last part is enough).

    Raises:
        SpecError: there is no such file or name, the name fits several, or the file is not UTF-8 text.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return name, _read(path)
    packaged = packaged_recipes()
    fitting = [key for key in packaged if key == name] or [
        key for key in packaged if key.split("/")[-1] == name or key.rsplit(".", 1)[0] == name
    ]
    if len(fitting) == 1:
        return fitting[0], packaged[fitting[0]]
    if fitting:
        raise SpecError(f"A recipe name must fit one recipe. Got {name!r}, which fits {', '.join(fitting)}.")
    raise SpecError(
        f"A recipe must be a YAML file or a packaged name. Got {name!r}. {did_you_mean(name, packaged)} "
        "`chiron recipes list` shows the names.".replace("  ", " ")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            f"A recipe file must exist. Got {path}. `chiron recipes list` shows the packaged ones."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"A recipe file must be readable UTF-8 text. Got {reason_of(error)} at {path}. Give another."
        ) from error
