"""`ReportContext`: what a report says that is not in the evaluation. Plain values, so that it can be stored as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chiron.core.errors import ReportError

SplitScored = Literal["val", "cal", "test", "external", "unknown"]  # unknown: a foreign table that does not say
SplitCounts = Mapping[str, Mapping[str, Mapping[str, int]]]  # role -> class -> {"images": n, "groups": g}


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """Where an evaluation comes from. `dataclasses.asdict` and `ReportContext(**values)` go to JSON and back."""

    title: str  # name of the run
    model: str
    init: str  # scratch | imagenet | ...
    recipe_text: str  # resolved recipe, YAML
    data_source: str  # name of the data set
    reader: str
    grouping: str  # a sentence: what a group is
    splits: SplitCounts

    task: str = ""  # the question in the author's words
    population: str = ""  # who is in the data, in the author's words
    reference_standard: str = ""  # how the labels were made, in the author's words
    clinic_prevalence: Mapping[str, float] | None = None  # class -> share, where the classifier would be used
    num_parameters: int | None = None
    patients: Literal["known", "unknown"] = "unknown"
    ids: Literal["certain", "inferred", "absent"] = "absent"
    data_notes: list[str] = field(default_factory=list)
    num_unreadable: int = 0
    num_patients: int | None = None  # among the scored images; None where not every image's patient is known
    num_sites: int | None = None  # values of the column of sites in all images; None where there is no such column
    columns: list[str] | None = None  # metadata that comes with the images; None: nothing is known of it
    color: bool | None = None  # whether the network sees color
    flow: Mapping[str, Any] | None = None  # numbers from images found to images scored, see `report.flow`
    table_one: Mapping[str, Any] | None = None  # who is in each split, see `report.table_one`
    sampler: str = "none"  # as in the recipe
    class_weights: str = "none"  # as in the recipe
    sanity_steps: int | None = None  # of a sanity run, which is no result
    leaks_accepted: list[str] = field(default_factory=list)  # names of the pairs that stand in two splits
    test_looks: int | Literal["unknown"] | None = None  # None: the test split was not scored
    split_scored: SplitScored = "test"
    selection_metric: str = ""  # column of the training history, for example val_auroc
    best_epoch: int | None = None
    seeds: list[int] = field(default_factory=list)
    environment: Mapping[str, Any] = field(default_factory=dict)
    others: list[Mapping[str, Any]] = field(default_factory=list)  # {"name", "params", "init", "evaluation"}
    created: str = ""  # when the images were scored, ISO 8601
    command: str = ""

    def __post_init__(self) -> None:
        if self.split_scored not in get_args(SplitScored):
            raise ReportError(
                f"The scored split must be one of {', '.join(get_args(SplitScored))}. Got {self.split_scored!r}. "
                "Score one of these splits."
            )
        if self.test_looks is not None and self.test_looks != "unknown" and not isinstance(self.test_looks, int):
            raise ReportError(
                f"The number of looks at the test split must be a whole number or 'unknown'. Got {self.test_looks!r}. "
                "Take it from the test ledger."
            )
