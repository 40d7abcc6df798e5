"""SweepRecipe: one file that says which trainings of a recipe are to be compared."""

from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from chiron.core.errors import SpecError, reason_of
from chiron.spec.frozen import Frozen
from chiron.spec.reading import validated
from chiron.spec.strict_yaml import KeyPath, parse_yaml

Scalar = bool | int | float | str | None


class SearchRange(Frozen):
    """What a searched key may be: one of `choices`, or a number from `low` to `high`."""

    low: int | float | None = Field(default=None, description="smallest value; whole numbers at both ends stay whole")
    high: int | float | None = Field(default=None, description="largest value")
    log: bool = Field(default=False, description="equal ratios are equally likely, as for a learning rate")
    choices: tuple[Scalar, ...] = Field(default=(), description="the values themselves")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.choices:
            if (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("give choices, or low and high, not both")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError("give choices, or low and a larger high")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low}")
        return self

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The choices, or the smallest and the largest value."""
        return self.choices or (self.low, self.high)


class SweepRecipe(Frozen):
    """Trainings that differ in some keys. Of `grid` every combination is trained; `search` tries values of other keys.

    With both, each trial of the search trains every combination of the grid and counts with the mean of them.
    """

    about: str = Field(default="", description="what is compared, and why")
    recipe: str = Field(description="a recipe: packaged name or YAML file, sought beside this file first")
    set: tuple[str, ...] = Field(default=(), description="changes of the recipe for all runs, each key=value")
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict, description="values of keys; folds and seeds too")
    search: dict[str, SearchRange] = Field(default_factory=dict, description="ranges of keys, tried by Optuna")
    trials: int = Field(default=20, ge=1, description="of search: how many")
    metric: str | None = Field(default=None, description="of val; by default train.select_by of the recipe")
    seed: int = Field(default=0, description="of search")

    @model_validator(mode="after")
    def _something_differs(self) -> Self:
        if not self.grid and not self.search:
            raise ValueError("needs a grid or a search; for example grid: {train.seed: [0, 1, 2]}")
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"grid {key} must list values")
            if any(value in values[:place] for place, value in enumerate(values)):
                raise ValueError(f"grid {key} lists a value twice")
        if both := sorted(self.grid.keys() & self.search.keys()):
            raise ValueError(f"{both[0]} stands in grid and in search; keep one")
        return self

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """Settings of every combination of the grid, the last key changing fastest; one without any for no grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


def read_sweep(path: Path) -> SweepRecipe:
    """The sweep in the YAML file at `path`.

    Raises:
        SpecError: it cannot be read, or one line a mistake, each with file and line.
    """
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"A sweep must be a readable YAML file. Got {reason_of(error)} at {path}. Give its path."
        ) from error
    problems: dict[KeyPath, str] = {}
    sweep = validated(document, SweepRecipe, problems)
    if sweep is None:
        raise SpecError("\n".join(f"{document.where(place)}: {told}".rstrip() for place, told in problems.items()))
    beside = path.parent / sweep.recipe
    return sweep.model_copy(update={"recipe": str(beside)}) if beside.is_file() else sweep
