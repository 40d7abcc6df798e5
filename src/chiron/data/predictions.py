"""Predictions: one row a sample, the only thing that evaluation ever sees. Also read from other frameworks."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from pydantic import ValidationError

from chiron.core.errors import DataError, reason_of
from chiron.core.files import write_text
from chiron.core.suggest import did_you_mean
from chiron.data.assessed import assessed
from chiron.data.groups import connected_groups, is_blank
from chiron.data.manifest_columns import UNCERTAIN
from chiron.decide.members import probabilities
from chiron.spec.decision import Decision
from chiron.spec.labels import UncertainPolicy

STATUSES = ("ok", "unreadable", "excluded", "indeterminate", "no_reference")
ID_COLUMNS = ("sample_id", "unit_id", "patient_id", "group_id")
LABEL_CODES = (1, 0, UNCERTAIN)
REFERENCE_PREFIX = "y_true_"  # before the class, in a table of several labels an image


@dataclass(frozen=True)
class Predictions:
    """A table of model outputs and what it takes to read it.

    Columns of `frame`: sample_id, unit_id, patient_id, group_id, split, fold, seed, model_id, y_true (a class name) or
    y_true_<class> (1, 0, -1 = uncertain, null = not assessed) where there is no `y_true`, status, and `logit_<class>`
    (or `prob_<class>` from other frameworks) in the order of `classes`; further columns are carried. Unreadable rows
    stay in the table; only rows of status `ok` are scored. Logits are the network's own; the decision in `facts` says
    how they become probabilities. Of networks that were calibrated one by one the logits of each are there too
    (`member_<k>_logit_<class>`).
    """

    frame: pl.DataFrame
    classes: tuple[str, ...]
    positive: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # bundle id, decision, what uncertain labels count as...
    row_groups: tuple[str, ...] | None = None  # of every row, where they were found in a table of the rows' images

    def __post_init__(self) -> None:
        _check(self.frame, self.classes, self.positive)

    @property
    def is_multi_label(self) -> bool:
        """Whether a sample can have several classes."""
        return "y_true" not in self.frame.columns

    @property
    def uncertain(self) -> UncertainPolicy:
        """What a label -1 counts as.

        Raises:
            DataError: the facts beside the table name no policy that there is.
        """
        policy = self.facts.get("uncertain", "ignore")
        if policy not in get_args(UncertainPolicy):
            raise DataError(
                f"Uncertain labels must count as one of {', '.join(get_args(UncertainPolicy))}. Got {policy!r}. "
                "Mend the .json beside the table."
            )
        return policy

    @property
    def num_uncertain(self) -> int:
        """How many labels of the scored rows are uncertain."""
        columns = reference_columns(self.classes) if self.is_multi_label else []
        return sum(int((self.scored[name] == UNCERTAIN).sum()) for name in columns)

    @property
    def scored(self) -> pl.DataFrame:
        """The rows that count: read, and with a reference label."""
        return self.frame.filter(pl.col("status") == "ok")

    @property
    def y_true(self) -> Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"]:
        """Place of the reference label in `classes`, one a scored row; of several labels 1, 0 or NaN a class."""
        if self.is_multi_label:
            labels = self.scored.select(pl.col(reference_columns(self.classes)).cast(pl.Float64)).to_numpy()
            return assessed(labels, self.uncertain)
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place[name] for name in self.scored["y_true"]], dtype=np.int64)

    @property
    def decision(self) -> Decision:
        """How these logits become what is told, as the bundle had it; a table from elsewhere has none.

        Raises:
            DataError: what stands beside the table is no decision.
        """
        try:
            return Decision.model_validate_json(json.dumps(self.facts.get("decision", {})))
        except ValidationError as error:
            raise DataError(
                f"The decision beside a table must be one of a bundle. Got {error.errors()[0]['msg']}. "
                "Mend the .json beside the table, or score the images again."
            ) from error

    @property
    def y_prob(self) -> Float[np.ndarray, "n classes"]:
        """Probabilities, one row a scored row: of logits as the decision says, or rounded ones made to sum to 1.

        Of several labels each on its own: calibrated, by a sigmoid, or as they are.
        """
        if score_kind(self.frame, self.classes) == "logit":
            logits = member_scores(self.scored, self.classes)
            return probabilities(logits, self.decision.calibration, several=self.is_multi_label)
        scores = self.scored.select([f"prob_{name}" for name in self.classes]).to_numpy().astype(np.float64)
        return scores if self.is_multi_label else scores / scores.sum(axis=1, keepdims=True)

    @property
    def group_of_rows(self) -> list[str] | None:
        """The group of every row, from group_id or else from patients and units; None without any of them.

        A blank id is its own group.
        """
        if self.row_groups is not None:
            return list(self.row_groups)
        return groups_of_rows(self.frame)

    @property
    def groups(self) -> list[str] | None:
        """The group of every scored row, see `group_of_rows`."""
        every = self.group_of_rows
        if every is None:
            return None
        return [group for group, status in zip(every, self.frame["status"], strict=True) if status == "ok"]

    def with_facts(self, **facts: Any) -> "Predictions":
        """The same table with further facts beside it."""
        return replace(self, facts=self.facts | facts)

    def of_model(self, bundle_id: str) -> "Predictions":
        """The same table as that of a bundle which holds the same networks."""
        frame = self.frame.with_columns(pl.lit(bundle_id).alias("model_id"))
        return replace(self, frame=frame, facts=self.facts | {"bundle_id": bundle_id})

    def save(self, path: Path) -> None:
        """Writes `path` (CSV) and the facts beside it (`.json`), each as a whole or not at all."""
        write_text(path, self.frame.write_csv())
        facts = {"classes": self.classes, "positive": self.positive, **self.facts}
        write_text(path.with_suffix(".json"), json.dumps(facts, indent=2, ensure_ascii=False))

    @classmethod
    def load(cls, path: Path, *, positive: str | None = None) -> "Predictions":
        """The table at `path`; classes and facts from the `.json` beside it where Chiron wrote one.

        Args:
            positive: the class of interest; needed for two classes where no `.json` names it.
        Raises:
            DataError: the file is missing, is not CSV, or lacks a column that scoring needs.
        """
        try:
            frame = pl.read_csv(path.read_bytes(), infer_schema=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"A predictions table must be a readable CSV file. Got {reason_of(error)} at {path}. Give another."
            ) from error
        facts: dict[str, Any] = {}
        if path.with_suffix(".json").is_file():
            facts = read_facts(path.with_suffix(".json"))
        found = [c.split("_", 1)[1] for c in frame.columns if c.startswith("logit_")] or [
            c.split("_", 1)[1] for c in frame.columns if c.startswith("prob_")
        ]
        classes = tuple(facts.pop("classes", found))
        positive = positive or facts.pop("positive", None)
        facts.pop("positive", None)
        return cls(_typed(frame, classes, path), classes, positive, facts)


def groups_of_rows(frame: pl.DataFrame) -> list[str] | None:
    """The group of every row of a table, from group_id or else from patients and units; None without any of them."""
    names = ["group_id"] if "group_id" in frame.columns else ["patient_id", "unit_id"]
    columns = [frame[name].cast(pl.String).to_list() for name in names if name in frame.columns]
    if not any(not is_blank(value) for column in columns for value in column):
        return None
    return connected_groups(frame["sample_id"].cast(pl.String).to_list(), columns)


def read_facts(path: Path) -> dict[str, Any]:
    """What Chiron wrote beside a table; a file of another program's is left alone.

    Raises:
        DataError: it is not JSON.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The facts beside a table must be readable JSON. Got {reason_of(error)} at {path}. Mend it."
        ) from error
    return facts if isinstance(facts, dict) and "classes" in facts else {}


def reference_columns(classes: tuple[str, ...]) -> list[str]:
    """`y_true_<class>` of every class."""
    return [f"{REFERENCE_PREFIX}{name}" for name in classes]


def score_kind(frame: pl.DataFrame, classes: tuple[str, ...]) -> str:
    """`logit` or `prob`: which of the two the table holds for all classes."""
    for kind in ("logit", "prob"):
        if all(f"{kind}_{name}" in frame.columns for name in classes):
            return kind
    raise DataError(
        f"A predictions table must hold logit_<class> or prob_<class> for every class ({', '.join(classes)}). "
        f"Got the columns {', '.join(frame.columns)}."
    )


def member_columns(member: int, classes: tuple[str, ...]) -> list[str]:
    """`member_<k>_logit_<class>` of every class."""
    return [f"member_{member}_logit_{name}" for name in classes]


def member_column_sets(frame: pl.DataFrame, classes: tuple[str, ...]) -> list[list[str]]:
    """The columns of each network's logits, as far as the table has them."""
    sets: list[list[str]] = []
    while all(name in frame.columns for name in member_columns(len(sets), classes)):
        sets.append(member_columns(len(sets), classes))
    return sets


def member_scores(frame: pl.DataFrame, classes: tuple[str, ...]) -> Float[np.ndarray, "members n classes"]:
    """The logits of each network where the table keeps them, or else the one set that it has."""
    sets = member_column_sets(frame, classes) or [[f"logit_{name}" for name in classes]]
    return np.stack([frame.select(pl.col(names).cast(pl.Float64)).to_numpy() for names in sets])


def _typed(frame: pl.DataFrame, classes: tuple[str, ...], path: Path) -> pl.DataFrame:
    if not classes:
        raise DataError(
            f"A predictions table must hold logit_<class> or prob_<class> columns. Got {', '.join(frame.columns)} "
            f"in {path}."
        )
    kind = score_kind(frame, classes)
    columns = [f"{kind}_{name}" for name in classes]
    columns += [name for own in member_column_sets(frame, classes) for name in own]
    several = [name for name in reference_columns(classes) if name in frame.columns]
    if references := ["y_true"] if "y_true" in frame.columns else several:
        labeled = pl.any_horizontal(pl.col(name).fill_null("").str.strip_chars() != "" for name in references)
        before = pl.col("status") if "status" in frame.columns else pl.lit("no_reference")
        # Also labels that were filled in after predicting.
        filled = pl.when((before == "no_reference") & labeled).then(pl.lit("ok")).otherwise(before)
        frame = frame.with_columns(filled.alias("status"))
    if references == several:
        frame = frame.with_columns(_label_cells(frame[name], path) for name in several)
    try:
        return frame.with_columns(pl.col(columns).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"Scores must be numbers. Got another value in {path}: {error}.") from error


def _label_cells(column: pl.Series, path: Path) -> pl.Series:
    """1, 0, -1 and blank, also as other programs write whole numbers."""
    plain = column.str.strip_chars().replace("", None)
    numbers = plain.cast(pl.Float64, strict=False)
    wrong = plain.filter(
        (plain.is_not_null() & numbers.is_null()) | ~numbers.is_in([float(code) for code in LABEL_CODES])
    )
    if len(wrong):
        raise DataError(
            f"{column.name} must hold 1, 0, -1 (uncertain) or nothing (not assessed). Got {wrong[0]!r} in {path}."
        )
    return numbers.cast(pl.Int8)


def _check(frame: pl.DataFrame, classes: tuple[str, ...], positive: str | None) -> None:
    several = [name for name in reference_columns(classes) if name in frame.columns]
    is_multi_label = "y_true" not in frame.columns and bool(several)
    references = reference_columns(classes) if is_multi_label else ["y_true"]
    for name in ("sample_id", *references, "status"):
        if name not in frame.columns:
            hint = did_you_mean(name, frame.columns)
            raise DataError(f"A predictions table must have the column {name!r}. Got {frame.columns}. {hint}".rstrip())
    if frame["sample_id"].null_count() or frame["sample_id"].n_unique() < frame.height:
        raise DataError("Every row of a predictions table must have its own sample_id. Got missing or repeated ids.")
    unknown = set(frame["status"].unique()) - set(STATUSES)
    if unknown:
        raise DataError(f"status must be one of {', '.join(STATUSES)}. Got {sorted(map(str, unknown))}.")
    if positive is not None and positive not in classes:
        raise DataError(f"The positive class must be one of {', '.join(classes)}. Got {positive!r}.")
    scored = frame.filter(pl.col("status") == "ok")
    kind = score_kind(frame, classes)
    scores = scored.select([f"{kind}_{name}" for name in classes]).to_numpy().astype(np.float64)
    if not np.isfinite(scores).all():
        raise DataError("Scores of rows with status ok must be finite numbers. Got missing, NaN or infinite ones.")
    if is_multi_label:
        _check_several(scored, references, positive)
        if kind == "prob" and scores.size and (scores.min() < 0 or scores.max() > 1):
            raise DataError("prob_<class> columns of several labels must lie in 0..1. Got other values.")
        return
    strangers = sorted({str(name) for name in scored["y_true"].unique()} - set(classes))
    if strangers:
        raise DataError(f"y_true must be one of {', '.join(classes)}. Got {', '.join(strangers[:5])}.")
    tolerance = max(1e-3, 5e-4 * len(classes))  # three decimals a class
    if kind == "prob" and scores.size and (scores.min() < 0 or np.abs(scores.sum(axis=1) - 1).max() > tolerance):
        raise DataError("prob_<class> columns must be at least 0 and sum to 1 in every row. Got other values.")


def _check_several(scored: pl.DataFrame, references: list[str], positive: str | None) -> None:
    if positive is not None:
        raise DataError(
            f"A positive class belongs to two classes that exclude each other. Got {positive!r} for a table with "
            f"{', '.join(references[:3])}. Leave it out."
        )
    for name in references:
        if strangers := sorted(set(scored[name].drop_nulls().to_list()) - set(LABEL_CODES)):
            raise DataError(f"{name} must hold 1, 0, -1 (uncertain) or nothing (not assessed). Got {strangers[0]}.")
