"""What a table of predictions holds: its columns, a row's cells, and the facts beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chiron.data.predictions import reference_columns
from chiron.data.units import NUM_IMAGES, UNIT_COLUMNS
from chiron.predictor import Row, UnitRow
from chiron.scorer import Scorer
from chiron.workflows.growing_table import NAME, STATUS

Columns = dict[str, Any]
Cells = dict[str, Any]


class PredictionTable:
    """Columns and cells of what one scorer says; the kind of file decides whether a row is flat.

    A flat row (CSV, Parquet) is one that `chiron evaluate` reads once y_true, or y_true_<class> of several classes, is
    filled in. A row of JSON Lines is what `Prediction.to_dict` gives, with the logits.

    Args:
        path: of the table; its suffix is the kind.
        unit: `column` where images have a column for their unit, `rows` where a row is a unit.
        top_k: see `Prediction.to_dict`; of JSON Lines.
    """

    def __init__(self, path: Path, scorer: Scorer, *, unit: str | None = None, top_k: int | None = None) -> None:
        self.scorer, self.unit, self.top_k = scorer, unit, top_k
        self.is_flat = path.suffix.lower() != ".jsonl"
        self.unit_column = UNIT_COLUMNS.get(scorer.decision.unit, "unit_id")

    @property
    def columns(self) -> Columns:
        """Name -> polars type, in order."""
        labels = self.scorer.labels
        text: Columns = {NAME: pl.String, "model_id": pl.String}
        if self.unit == "column":
            text[self.unit_column] = pl.String
        if self.unit == "rows":
            text[NUM_IMAGES] = pl.Int64
        if not self.is_flat:
            return text | dict.fromkeys((STATUS, *_JSON_KEYS, "logits", "problem"), pl.Object)
        references = reference_columns(labels.names) if labels.is_multi_label else ["y_true"]
        text |= dict.fromkeys(references, pl.String) | {STATUS: pl.String}
        if not labels.is_multi_label:
            text |= {"predicted_class": pl.String, "confidence": pl.Float64}
        for question in self.scorer.questions:
            text |= {f"score_{question}": pl.Float64, f"answer_{question}": pl.String}
        if self.scorer.has_prediction_sets:
            text["prediction_set"] = pl.String
        if self.scorer.scope is not None:
            text |= {"scope_distance": pl.Float64, "scope_percentile": pl.Float64, "in_scope": pl.String}
        text |= {"refer": pl.String, "refer_reasons": pl.String}
        kinds = ("prob", "logit") if self.scorer.logits_say_all else ("prob",)
        numbers = [f"{kind}_{name}" for kind in kinds for name in labels.names]
        numbers += [f"member_{k}_logit_{name}" for k in range(self._num_members) for name in labels.names]
        return text | dict.fromkeys(numbers, pl.Float64) | {"problem": pl.String}

    @property
    def _num_members(self) -> int:
        """Networks whose own logits probabilities are made of; 0 where their mean says all."""
        count = len(self.scorer.decision.calibration.parameters)
        return count if count > 1 else 0

    def cells(self, row: Row | UnitRow, *, unit: str | None = None) -> Cells:
        """A row of the table; a cell that has no value is left out."""
        cells: Cells = {NAME: row.name, "model_id": self.scorer.bundle_id, "problem": row.problem or None}
        if self.unit == "column":
            cells[self.unit_column] = unit
        if isinstance(row, UnitRow):
            cells[NUM_IMAGES] = row.num_images
        if row.prediction is None:
            return cells | {STATUS: "unreadable"}
        return cells | {STATUS: "no_reference"} | (self._flat(row) if self.is_flat else self._nested(row))

    def _nested(self, row: Row | UnitRow) -> Cells:
        assert row.prediction is not None
        assert row.outputs is not None
        mean = row.outputs.logits[:, 0].mean(axis=0).tolist()
        logits = dict(zip(self.scorer.labels.names, mean, strict=True))
        return row.prediction.to_dict(top_k=self.top_k) | {"logits": logits}

    def _flat(self, row: Row | UnitRow) -> Cells:
        said, outputs, names = row.prediction, row.outputs, self.scorer.labels.names
        assert said is not None
        assert outputs is not None
        cells: Cells = {"predicted_class": said.predicted_class, "confidence": said.confidence}
        for question, answer in said.decisions.items():
            cells |= {f"score_{question}": answer.score, f"answer_{question}": answer.answer}
        cells["prediction_set"] = said.prediction_set
        if said.scope is not None:
            cells |= {"scope_distance": said.scope.distance, "scope_percentile": said.scope.percentile}
            cells["in_scope"] = "yes" if said.scope.in_scope else "no"
        cells |= {"refer": "yes" if said.referral.refer else "no", "refer_reasons": " ".join(said.referral.reasons)}
        members = outputs.logits[:, 0].tolist()
        for name, logit in zip(names, np.mean(members, axis=0).tolist(), strict=True):
            cells |= {f"prob_{name}": said.probabilities[name], f"logit_{name}": logit}
        for member, logits in enumerate(members):
            cells |= {f"member_{member}_logit_{name}": logit for name, logit in zip(names, logits, strict=True)}
        return cells


_JSON_KEYS = (
    *("predicted_class", "predicted_class_description", "confidence", "probabilities", "classes_above_half"),
    *("calibrated", "decisions", "prediction_set", "spread", "scope", "referral", "top_k_predictions", "disclaimer"),
)


def facts_of(scorer: Scorer, asked: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a table: what it takes to make the same probabilities of its logits, and how it was made.

    Args:
        asked: options that decide what its rows say.
    """
    labels = scorer.labels
    facts: dict[str, Any] = {
        "classes": labels.names,
        "positive": labels.positive,
        "bundle_id": scorer.bundle_id,
        "model": scorer.network_spec.name,
        "decision": scorer.decision.model_dump(mode="json"),
    }
    if labels.is_multi_label:
        facts["uncertain"] = labels.uncertain
    return facts | asked
