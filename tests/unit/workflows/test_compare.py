"""`chiron compare` on tables, runs, methods and folds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import special

from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.metrics.comparison.models import compare_models
from chiron.workflows.compare import Settings, compare

FAST = Settings(num_resamples=200)


def write_table(path, strength, *, seed, rows=range(120), label=None, columns=("well", "sick"), by_patient=False):
    """Cases c0..; the label of a case, or of both of a patient, and its difficulty are the same in every table."""
    rows = np.array(rows)
    everyone = np.random.default_rng(9)
    sick, hard = everyone.random(1000) < 0.5, everyone.normal(size=1000)
    sick = sick.repeat(2) if by_patient else sick
    noise = np.random.default_rng([seed, int(rows[0])]).normal(size=len(rows))
    prob = special.expit(strength * (2 * sick[rows] - 1) + hard[rows] + noise)
    outputs = {"sick": prob, "well": 1 - prob}
    frame = pl.DataFrame(
        {
            "sample_id": [f"c{k}" for k in rows],
            "patient_id": [f"p{k // 2}" for k in rows],
            "y_true": [label or ("well", "sick")[int(sick[k])] for k in rows],
            "status": ["ok"] * len(rows),
        }
        | {f"prob_{name}": outputs[name] for name in columns}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.sample(fraction=1, shuffle=True, seed=seed).write_csv(path)
    return str(path)


def test_it_equals_the_statistics_on_the_sorted_cases(tmp_path):
    paths = [write_table(tmp_path / f"{name}.csv", s, seed=k) for k, (name, s) in enumerate([("a", 1), ("b", 2)])]
    made = compare(paths, positive="sick", settings=Settings(metrics=("auroc", "accuracy"), num_resamples=200))
    tables = [Predictions.load(tmp_path / f"{name}.csv", positive="sick") for name in "ab"]
    order = [np.argsort(table.scored["sample_id"].to_list()) for table in tables]
    expected = compare_models(
        tables[0].y_true[order[0]],
        {name: table.y_prob[rows] for name, table, rows in zip("ab", tables, order, strict=True)},
        classes=("well", "sick"),
        positive="sick",
        groups=[tables[0].groups[k] for k in order[0]],
        metrics=("auroc", "accuracy"),
        num_resamples=200,
    )
    assert [row["p_value"] for row in made["comparisons"]] == [one.finding.p_value for one in expected]
    assert made["comparisons"][0]["simultaneous"] == pytest.approx(expected[0].finding.simultaneous)
    assert (made["num_images"], made["num_groups"], made["split"]) == (120, 60, None)
    assert (made["reference"], [model["name"] for model in made["models"]]) == ("a", ["a", "b"])


def test_columns_in_another_order_are_the_same_model(tmp_path):
    paths = [
        write_table(tmp_path / f"{'-'.join(columns)}.csv", 1, seed=1, columns=columns)
        for columns in (("well", "sick"), ("sick", "well"))
    ]
    made = compare(paths, positive="sick", settings=FAST)
    assert made["comparisons"][0]["verdict"] == "identical predictions"


def test_other_cases_are_refused_with_counts_and_compared_by_common(tmp_path):
    one = write_table(tmp_path / "one.csv", 1, seed=1)
    other = write_table(tmp_path / "other.csv", 1, seed=2, rows=range(20, 130))
    with pytest.raises(DataError, match=r"120 in one, 110 in other, 100 in all.*--common"):
        compare([one, other], positive="sick", settings=FAST)
    made = compare([one, other], positive="sick", common=True, settings=FAST)
    assert made["num_images"] == 100
    assert made["left_out"] == {"one": 20, "other": 10}
    apart = write_table(tmp_path / "apart.csv", 1, seed=2, rows=range(500, 600))
    with pytest.raises(DataError, match="0 in all"):
        compare([one, apart], positive="sick", common=True, settings=FAST)


def test_other_labels_are_refused_with_counts(tmp_path):
    one, other = (write_table(tmp_path / f"{name}.csv", 1, seed=1, rows=range(40)) for name in ("one", "other"))
    frame = pl.read_csv(other)
    flipped = pl.when(pl.col("sample_id").is_in(["c3", "c7"])).then(pl.lit("sick")).otherwise(pl.lit("well"))
    frame.with_columns(flipped.alias("y_true")).write_csv(other)
    with pytest.raises(DataError, match=r"of 40 cases with other labels in other than in one"):
        compare([one, other], positive="sick", settings=FAST)


def test_other_classes_are_refused(tmp_path):
    one = write_table(tmp_path / "one.csv", 1, seed=1)
    frame = pl.read_csv(one).rename({"prob_well": "prob_fine"}).with_columns(y_true=pl.lit("sick"))
    frame.write_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match="same classes"):
        compare([one, str(tmp_path / "other.csv")], positive="sick", settings=FAST)


def test_names_are_given_or_told_to_be_missing(tmp_path):
    paths = [write_table(tmp_path / name / "predictions.csv", 1, seed=k) for k, name in enumerate("ab")]
    made = compare([str(tmp_path / name) for name in "ab"], positive="sick", settings=FAST)
    assert [model["name"] for model in made["models"]] == ["a", "b"]
    with pytest.raises(SpecError, match="NAME=PATH"):
        compare([paths[0], paths[0]], positive="sick", settings=FAST)
    made = compare([f"first={paths[0]}", f"again={paths[0]}"], positive="sick", settings=FAST)
    assert made["comparisons"][0]["words"] == (
        "auroc: identical predictions: first and again give the same output for every case"
    )
    with pytest.raises(SpecError, match="takes run folders"):
        compare([paths[0], str(tmp_path / "nowhere")], positive="sick", settings=FAST)


def test_methods_over_seeds(tmp_path):
    for k in range(3):
        write_table(tmp_path / f"cnn-{k}.csv", 1, seed=10 + k)
        write_table(tmp_path / f"hybrid-{k}.csv", 2, seed=20 + k)
    targets = [f"cnn={tmp_path}/cnn-*.csv", f"hybrid={tmp_path}/hybrid-*.csv"]
    made = compare(targets, methods=True, positive="sick", settings=FAST, out=tmp_path / "out")
    (row,) = made["comparisons"]
    assert made["kind"] == "seeds"
    assert (row["first"], row["second"], len(row["first_values"])) == ("cnn", "hybrid", 3)
    assert row["verdict"] == "better"
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "SD over seeds cnn" in text
    assert "standard error from the cases" in text
    assert json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8")) == made
    assert "<title>forest</title>" in (tmp_path / "out" / "forest.svg").read_text(encoding="utf-8")
    with pytest.raises(SpecError, match="must not exist yet"):
        compare(targets, methods=True, positive="sick", settings=FAST, out=tmp_path / "out")
    with pytest.raises(SpecError, match="Got nothing at"):
        compare([targets[0], f"hybrid={tmp_path}/none-*"], methods=True, positive="sick")
    with pytest.raises(SpecError, match="write NAME=RUNS"):
        compare(["cnn"], methods=True)
    with pytest.raises(SpecError, match="--exact"):
        compare(targets, methods=True, settings=Settings(exact=True))


def test_methods_over_folds_are_not_pooled(tmp_path):
    for k in range(4):
        write_table(tmp_path / f"cnn-{k}.csv", 1, seed=10 + k, rows=range(50 * k, 50 * k + 50))
        write_table(tmp_path / f"hybrid-{k}.csv", 3, seed=20 + k, rows=range(50 * k, 50 * k + 50))
    targets = [f"cnn={tmp_path}/cnn-*.csv", f"hybrid={tmp_path}/hybrid-*.csv"]
    made = compare(targets, methods=True, positive="sick", settings=FAST)
    (row,) = made["comparisons"]
    assert (made["kind"], made["num_images"], len(row["first_values"])) == ("folds", 200, 4)
    assert row["test"] == "t over folds (Nadeau-Bengio)"
    (tmp_path / "hybrid-3.csv").unlink()
    with pytest.raises(DataError, match=r"4 folds.*hybrid"):
        compare(targets, methods=True, positive="sick", settings=FAST)


def write_run(folder, **table):
    """A run folder as far as a comparison reads it: test cases, and 90 for training and 30 for choosing the epoch."""
    write_table(folder / "predictions" / "test.csv", by_patient=True, **table)
    facts = {"classes": ["well", "sick"], "positive": "sick", "bundle_id": "b"}
    (folder / "predictions" / "test.json").write_text(json.dumps(facts))
    (folder / "run.json").write_text(json.dumps({"bundle_id": "b"}))
    (folder / "recipe.yaml").write_text("")
    splits = ["train"] * 90 + ["val"] * 30
    names, patients = [f"t{k}" for k in range(120)], [f"q{k // 2}" for k in range(120)]
    ids = {"sample_id": names, "patient_id": patients, "group_id": patients, "path": names}
    frame = pl.DataFrame(ids | {"label": ["well"] * 120, "split": splits})
    Manifest(frame, ("well", "sick"), Path("/nowhere"), "table").save(folder)


def test_folds_of_runs_count_the_cases_that_taught(tmp_path):
    """50 images test and 90 taught: 50 / 90 stands where 50 / 150 of all other folds would; of patients 25 / 45."""
    for k in range(4):
        for name, strength in (("cnn", 1), ("hybrid", 3)):
            rows = range(50 * k, 50 * k + 50)
            write_run(tmp_path / f"{name}-{k}", strength=strength, seed=10 * strength + k, rows=rows)
    targets = [f"{name}={tmp_path}/{name}-*" for name in ("cnn", "hybrid")]
    for unit, share in (("image", 50 / 90), ("patient", 25 / 45)):
        (row,) = compare(targets, methods=True, settings=replace(FAST, unit=unit))["comparisons"]
        differences = np.array(row["second_values"]) - np.array(row["first_values"])
        assert row["error"] == pytest.approx(np.sqrt((1 / 4 + share) * differences.var(ddof=1)))


def test_one_of_several_labels_is_compared_on_its_assessed_images(tmp_path, random):
    nodule = [1, 0, None, 0] * 20
    base = {"sample_id": [f"c{k}" for k in range(80)], "y_true_nodule": nodule, "y_true_cyst": [0, 1] * 40}
    for name in "ab":
        scores = {f"prob_{c}": random.random(80) for c in ("nodule", "cyst")}
        pl.DataFrame(base | {"status": ["ok"] * 80} | scores).write_csv(tmp_path / f"{name}.csv")
    paths = [str(tmp_path / f"{name}.csv") for name in "ab"]
    made = compare(paths, settings=Settings(metrics=("auroc:nodule", "sensitivity:nodule"), num_resamples=200))
    assert [row["num_images"] for row in made["comparisons"]] == [60, 20]
    assert [row["metric"] for row in made["comparisons"]] == ["auroc:nodule", "sensitivity:nodule"]
    for metrics in ((), ("auroc:nodule", "auroc:cyst"), ("macro_auroc",)):
        with pytest.raises(SpecError, match="a comparison is of one class"):
            compare(paths, settings=Settings(metrics=metrics))


def test_a_run_stands_beside_its_own_table(trained_run):
    made = compare([str(trained_run.path), f"table={trained_run.predictions('test')}"], settings=FAST)
    assert made["split"] == "test"
    assert made["comparisons"][0]["verdict"] == "identical predictions"
    with pytest.raises(DataError, match=r"chiron evaluate .* --split external"):
        compare([str(trained_run.path), f"again={trained_run.path}"], split="external")
    with pytest.raises(SpecError, match="The split of runs"):
        compare([str(trained_run.path), f"again={trained_run.path}"], split="best")


def test_patients_are_compared_by_their_combined_outputs(tmp_path, random):
    """Two images a patient: the comparison of patients is that of tables which hold a row a patient."""
    sick, noise = np.arange(60) % 2 == 0, random.normal(size=(2, 60, 2))
    labels = [("well", "sick")[int(it)] for it in sick]
    for name, strength, own in zip("ab", (1.0, 2.0), noise, strict=True):
        logits = strength * sick[:, None] + own
        base = {"status": ["ok"] * 60, "y_true": labels, "logit_well": [0.0] * 60}
        one = pl.DataFrame({"sample_id": [f"p{k}" for k in range(60)], **base, "logit_sick": logits.mean(axis=1)})
        one.write_csv(tmp_path / f"{name}_patients.csv")
        two = [
            pl.DataFrame(
                {"sample_id": [f"p{k}-{view}" for k in range(60)], "patient_id": one["sample_id"], **base}
            ).with_columns(pl.Series("logit_sick", logits[:, view]))
            for view in range(2)
        ]
        pl.concat(two).write_csv(tmp_path / f"{name}.csv")
    how = {"positive": "sick"}
    expected = compare([f"{name}={tmp_path / name}_patients.csv" for name in "ab"], settings=FAST, **how)
    asked = Settings(num_resamples=200, unit="patient")
    made = compare([str(tmp_path / f"{name}.csv") for name in "ab"], settings=asked, **how)
    assert (made["unit"], made["num_images"]) == ("patient", 60)
    assert made["comparisons"][0]["p_value"] == pytest.approx(expected["comparisons"][0]["p_value"], rel=1e-9)
    images = compare([str(tmp_path / f"{name}.csv") for name in "ab"], settings=FAST, **how)
    assert (images["unit"], images["num_images"]) == ("image", 120)


def test_models_that_answer_for_different_units_are_not_compared_unasked(tmp_path):
    paths = [write_table(tmp_path / f"{name}.csv", 1, seed=1) for name in "ab"]
    facts = {"classes": ["well", "sick"], "positive": "sick", "decision": {"unit": "patient"}}
    (tmp_path / "b.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"must answer for the same unit\. Got image in a, patient in b"):
        compare(paths, positive="sick", settings=FAST)
