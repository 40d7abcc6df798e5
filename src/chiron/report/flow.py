"""The flow of images: from all that were found, over what was left out and why, to those that were scored.

Every step adds up: found = left out + usable, usable = all splits together, the split told of = scored + not scored.
"""

from typing import Any

import polars as pl

from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS
from chiron.data.predictions import Predictions
from chiron.data.split import UNASSIGNED

REASONS = {
    "unreadable": "could not be read",
    "no_reference": "no reference label",
    "excluded": "excluded",
    "indeterminate": "indeterminate",
    "recalibrated_on": "recalibrated on, so never scored",
}
EVERYTHING = "all"  # the part that is every image, whatever its split


def flow_of(
    manifest: Manifest | None, predictions: Predictions, part: str, *, whole: Predictions | None = None
) -> dict[str, Any]:
    """Images and groups at every step, as plain values.

    Keys: found; left_out (status, numbers), usable; splits (role, numbers); part, scored, not_scored.

    Args:
        manifest: all images that were found; without one the rows of the table are the beginning.
        part: the split that was scored, or "all".
        whole: the table before rows of one split were chosen.
    """
    frame = _manifest_rows(manifest) if manifest is not None else _table_rows(whole or predictions)
    if again := predictions.facts.get("recalibration"):
        frame = _without_fitted(frame, again["split"])
    usable = frame.filter(pl.col("status") == "ok")
    present = set(usable["split"])
    roles = [role for role in (*SPLITS, UNASSIGNED) if role in present]
    chosen = usable if part == EVERYTHING or part not in present else usable.filter(pl.col("split") == part)
    scored = chosen.filter(pl.col("sample_id").is_in(predictions.scored["sample_id"].implode()))
    return {
        "found": _numbers(frame),
        "left_out": [
            (status, _numbers(rows)) for status in REASONS if (rows := frame.filter(pl.col("status") == status)).height
        ],
        "usable": _numbers(usable),
        "splits": [(role, _numbers(usable.filter(pl.col("split") == role))) for role in roles],
        "part": part,
        "scored": _numbers(scored),
        "not_scored": chosen.height - scored.height,
    }


def _manifest_rows(manifest: Manifest) -> pl.DataFrame:
    labeled = pl.any_horizontal(pl.col(manifest.label_columns).is_not_null())
    status = pl.when(pl.col("status") != "ok").then(pl.col("status")).when(labeled).then(pl.lit("ok"))
    return manifest.frame.select(
        "sample_id", "group_id", pl.col("split").fill_null(UNASSIGNED), status.otherwise(pl.lit("no_reference"))
    )


def _table_rows(predictions: Predictions) -> pl.DataFrame:
    """The rows of a table; groups where it names them, splits where it names known ones."""
    frame = predictions.frame
    group = pl.col("group_id") if "group_id" in frame.columns else pl.lit(None, pl.String)
    split = pl.col("split") if "split" in frame.columns else pl.lit(None, pl.String)
    known = pl.when(split.is_in(SPLITS)).then(split).otherwise(pl.lit(UNASSIGNED))
    return frame.select("sample_id", group.alias("group_id"), known.alias("split"), "status")


def _without_fitted(frame: pl.DataFrame, split: str) -> pl.DataFrame:
    """The rows with a reason of their own for images that the decision was fitted on again."""
    fitted = (pl.col("split") == split) & (pl.col("status") == "ok")
    status = pl.when(fitted).then(pl.lit("recalibrated_on")).otherwise(pl.col("status"))
    return frame.with_columns(status.alias("status"))


def _numbers(rows: pl.DataFrame) -> dict[str, int | None]:
    unknown = rows["group_id"].null_count() > 0
    return {"images": rows.height, "groups": None if unknown else rows["group_id"].n_unique()}
