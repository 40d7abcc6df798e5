"""The flow of images adds up, whatever was found; Table 1 counts what is there and what is missing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.report.data_tables import table_one_rows
from chiron.report.flow import flow_of
from chiron.report.table_one import OTHERS, carried_columns, table_one

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["train", "val", "test", None]),
        st.sampled_from(["ok", "ok", "unreadable"]),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=30,
)


def manifest_of(rows, **columns):
    frame = pl.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(len(rows))],
            "group_id": [f"g{row[3]}" for row in rows],
            "path": [f"{k}.png" for k in range(len(rows))],
            "label": pl.Series([row[2] for row in rows], dtype=pl.String),
            "split": pl.Series([row[0] for row in rows], dtype=pl.String),
            "status": [row[1] for row in rows],
            **columns,
        }
    )
    roles = dict.fromkeys(columns, "subgroup")
    return Manifest(frame=frame, classes=("a", "b"), root=Path("."), reader="manifest", roles=roles)


def scored_of(manifest, part):
    frame = manifest.frame if part == "all" else manifest.frame.filter(pl.col("split") == part)
    labeled = (pl.col("status") == "ok") & pl.col("label").is_null()
    status = pl.when(labeled).then(pl.lit("no_reference")).otherwise(pl.col("status"))
    table = frame.select("sample_id", "group_id", "split", pl.col("label").alias("y_true"), status.alias("status"))
    scores = [pl.lit(0.0).alias("logit_a"), pl.lit(1.0).alias("logit_b")]
    return Predictions(table.with_columns(scores), ("a", "b"), "b")


@given(ROWS, st.sampled_from(["test", "val", "all"]))
def test_every_step_adds_up(rows, part):
    manifest = manifest_of(rows)
    predictions = scored_of(manifest, part)
    flow = flow_of(manifest, predictions, part)
    assert flow["found"]["images"] == len(rows)
    assert flow["found"]["images"] == flow["usable"]["images"] + sum(n["images"] for _, n in flow["left_out"])
    assert flow["usable"]["images"] == sum(n["images"] for _, n in flow["splits"])
    splits = dict(flow["splits"])
    chosen = flow["usable"] if part == "all" else splits.get(part, {"images": 0})
    if part in (*splits, "all"):
        assert flow["scored"]["images"] + flow["not_scored"] == chosen["images"]
    assert flow["scored"]["images"] == predictions.scored.height
    assert flow["scored"]["groups"] == predictions.scored["group_id"].n_unique()


def test_reasons_are_counted_apart():
    rows = [("test", "ok", "a", 0), ("test", "unreadable", "a", 1), ("train", "ok", None, 2), (None, "ok", "b", 3)]
    manifest = manifest_of(rows)
    flow = flow_of(manifest, scored_of(manifest, "test"), "test")
    assert {status: n["images"] for status, n in flow["left_out"]} == {"unreadable": 1, "no_reference": 1}
    assert [role for role, _ in flow["splits"]] == ["test", "unassigned"]


@given(ROWS, st.sampled_from(["test", "all"]))
def test_images_that_are_recalibrated_on_are_a_reason_of_their_own(rows, part):
    manifest = manifest_of(rows)
    scored = scored_of(manifest, part).with_facts(recalibration={"split": "val"})
    kept = scored.frame.filter((pl.col("split") != "val").fill_null(True))
    flow = flow_of(manifest, Predictions(kept, scored.classes, scored.positive, scored.facts), part)
    left_out = {status: n["images"] for status, n in flow["left_out"]}
    fitted = [row for row in rows if row[0] == "val" and row[1] == "ok" and row[2] is not None]
    assert left_out.get("recalibrated_on", 0) == len(fitted)
    assert flow["found"]["images"] == flow["usable"]["images"] + sum(left_out.values()) == len(rows)
    assert flow["usable"]["images"] == sum(n["images"] for _, n in flow["splits"])
    assert "val" not in dict(flow["splits"])
    if part == "all":
        assert flow["scored"]["images"] + flow["not_scored"] == flow["usable"]["images"]
    assert flow["not_scored"] == 0 or part not in dict(flow["splits"])


def test_a_table_alone_begins_with_its_rows():
    manifest = manifest_of([("test", "ok", "a", 0), ("test", "unreadable", "b", 1), ("val", "ok", "b", 2)])
    table = scored_of(manifest, "all")
    part = Predictions(table.frame.filter(pl.col("split") == "test"), table.classes, table.positive)
    flow = flow_of(None, part, "test", whole=table)
    assert (flow["found"]["images"], flow["usable"]["images"], flow["scored"]["images"]) == (3, 2, 1)


def test_table_one_counts_means_and_what_is_missing():
    rows = [("train", "ok", "a", k) for k in range(4)] + [("test", "ok", "b", 9), ("test", "unreadable", "b", 9)]
    manifest = manifest_of(rows, age=["50", "60", None, "70", "33", "99"], sex=["F", "F", "M", None, "M", "M"])
    found = table_one(manifest)
    assert found["splits"]["train"] == {"images": 4, "groups": 4, "patients": None}
    age, sex = (dict(column["rows"]) for column in found["columns"])
    assert age["mean (SD)"]["train"] == pytest.approx((60.0, 10.0))
    assert age["mean (SD)"]["test"] == (33.0, None)
    assert age["missing"] == {"train": 1, "test": 0}
    assert sex["F"]["train"] == (2, pytest.approx(2 / 3))
    assert sex["missing"]["train"] == 1


def test_rare_values_are_counted_together():
    rows = [("train", "ok", "a", k) for k in range(12)]
    manifest = manifest_of(rows, site=[f"place {k}" for k in range(12)])
    cells = dict(table_one(manifest)["columns"][0]["rows"])
    assert len(cells) == 9
    assert cells[OTHERS]["train"][0] == 5


def test_columns_without_a_role_are_carried_and_not_shown():
    manifest = manifest_of([("train", "ok", "a", 0)])
    manifest = Manifest(
        frame=manifest.frame.with_columns(pl.lit("x").alias("note")), classes=("a", "b"), root=Path("."), reader="r"
    )
    assert carried_columns(manifest.frame) == ["note"]
    assert table_one(manifest)["columns"] == []


def test_table_one_compares_train_with_test(context_of):
    rows = [("train", "ok", "a", k) for k in range(4)] + [("test", "ok", "b", 9), ("test", "ok", "a", 8)]
    ages = ["50", "60", None, "70", "33", "43"]
    manifest = manifest_of(rows, age=ages, sex=["F", "F", "M", "M", "M", "F"])
    age, sex = (column["differences"] for column in table_one(manifest)["columns"])
    assert age == {
        "mean (SD)": pytest.approx((38 - 60) / np.sqrt((100 + 50) / 2)),
        "missing": pytest.approx(-0.25 / np.sqrt(0.1875 / 2)),
    }
    assert sex == {"F": 0.0, "M": 0.0, "missing": 0.0}
    splits = {
        role: {"a": {"images": n, "groups": n}, "b": {"images": 8, "groups": 8}}
        for role, n in (("train", 8), ("test", 2))
    }
    view = table_one_rows(context_of(splits=splits, table_one=table_one(manifest)), ["a", "b"])
    assert view["compared"] == ["train", "test"]
    assert [row["difference"] for row in view["sections"][1]["rows"]] == ["−0.66", "0.66"]
    assert [row["difference"] for row in view["sections"][2]["rows"]] == ["−2.54", "−0.82"]


def test_one_split_is_compared_with_nothing(context_of):
    manifest = manifest_of([("train", "ok", "a", 0), ("train", "ok", "b", 1)], age=["1", "2"])
    assert "differences" not in table_one(manifest)["columns"][0]
    assert table_one_rows(context_of(), ["normal", "opacity"])["compared"] == []
