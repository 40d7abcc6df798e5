"""Studies: what is refused before anything runs, the plan in the ledger, the table, and a study that was stopped."""

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import TINY_RECIPE, write_class_folders
from scipy import special

from chiron.audit.ledger import LEDGER, entered_plans, record_look
from chiron.core.errors import EngineError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.report.study_tables import latex_table, table_notes
from chiron.spec.library import packaged_studies
from chiron.spec.study import read_study
from chiron.workflows import one_run
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.study import study
from chiron.workflows.study_compare import exploratory_differences, planned_comparison, untested_pairs
from chiron.workflows.study_plan import make_study

pytestmark = pytest.mark.usefixtures("undrawn", "unchecked")

PLAN = """\
question: Is the one with more augmentation better?
data: data
metric: auroc
secondary: [accuracy, adjusted_balanced_accuracy]
set: [train.epochs=1, "data.fractions={train: 0.5, val: 0.2, test: 0.3}"]
arms:
  strong: {recipe: tiny.yaml, set: [augment.degrees=20]}
  mild: {recipe: tiny.yaml}
comparisons: [[strong, mild]]
seeds: [0, 1, 2]
budget: {epochs: 1}
"""


@pytest.fixture
def start(tmp_path, tiny_recipe, class_folders):
    """Starts a study of the text given; the same folder every time."""

    def call(text: str = PLAN, *, resume=False, out="out", **options):
        (tmp_path / "study.yaml").write_text(text)
        return study(tmp_path / "study.yaml", tmp_path / out, resume=resume, device="cpu", threads=1, **options)

    return call


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("metric: auroc", "metric: aurok", "Got 'aurok'. Did you mean 'auroc'?"),
        ("metric: auroc", "metric: xyz", "Got 'xyz'. There are accuracy, auroc, "),
        ("metric: auroc", "metric: adjusted_accuracy", "adjusted_accuracy may stand in secondary"),
        ("[strong, mild]]", "[strong, wild]]", "comparisons must name arms (strong, mild), not 'wild'"),
        ("[[strong, mild]]", "[[strong, mild], [mild, strong]]", "one arm in second place"),
        ("[strong, mild]]", "[mild, mild]]", "a comparison needs two different arms"),
        ("[augment.degrees=20]", "[augment.degres=20]", "arm strong: "),
        ("[augment.degrees=20]", "[data.split_seed=3]", "another data in arm mild than in arm strong"),
        ("[augment.degrees=20]", "[evaluate.num_resamples=300]", "another evaluate in arm mild"),
        ("  mild: {", "  Strong: {recipe: tiny.yaml}\n  mild: {", "arms must differ in more than case"),
        ("budget: {epochs: 1}", "budget: {epochs: 1}\nfeatures: {recipe: tiny.yaml, set: [model.nam=x]}", "features: "),
        ("seeds: [0, 1, 2]", "seeds: [0, 0]", "seeds must differ from each other"),
        ("budget: {epochs: 1}", "budget: {epochs: 1}\nbaselines: [knm]", "not 'knm'"),
        ("budget: {epochs: 1}", "budget: {epochs: 1}\nmargin: -1", "margin"),
        ("data: data", "data: nowhere", "A study needs images"),
        ("  mild: {recipe: tiny.yaml}", "  mild: {recipe: tiny.yaml, search: {train.lr: {low: 0.1, high: 1}}}",
         "arm mild has a search; say budget.trials"),
        ("[augment.degrees=20]", "[decision.unit_label=most]", "another decision.unit_label in arm mild"),
        ("strong: {recipe:", "strong: {recip:",
         "unknown key 'arms.strong.recip'. Did you mean 'recipe'? Known here: recipe, set, pretraining"),
        ("{recipe: tiny.yaml}", "{recipe: tiny.yaml, search: {train.lr: {lo: 1}}}",
         "unknown key 'arms.mild.search.train.lr.lo'. Did you mean 'low'? Known here: low, high"),
        ("question: Is", "qestion: Is", "Did you mean 'question'?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_runs(start, tmp_path, old, new, told):
    assert old in PLAN
    with pytest.raises(SpecError) as error:
        start(PLAN.replace(old, new))
    assert told in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_hash_of_a_plan_is_of_what_its_files_say_and_not_of_where_they_lie(tmp_path):
    write_class_folders(tmp_path / "data", count=4)

    def hash_of(folder: str, *, lr: str = "1e-3") -> str:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.yaml").write_text(TINY_RECIPE)
        (tmp_path / folder / "read.yaml").write_text(TINY_RECIPE.replace("lr: 1e-3", f"lr: {lr}"))
        (tmp_path / folder / "study.yaml").write_text(PLAN + "features: {recipe: read.yaml}\n")
        plan = read_study(tmp_path / folder / "study.yaml")
        return make_study(plan, tmp_path / "data", tmp_path / "out", device="cpu", threads=1).plan_hash

    assert hash_of("a") == hash_of("b")
    assert hash_of("a2", lr="2e-3") != hash_of("a3")


def scored_as_planned(study_, lacking):
    """Tables of test as trainings would have left them, but for those of `lacking` (arm, fold)."""
    for run in study_.runs:
        random = np.random.default_rng([run.seed, len(run.arm), run.fold or 0])
        y_true = np.tile([0, 1], 40)
        prob = special.expit((2 if run.arm == "strong" else 1) * (2 * y_true - 1) + random.normal(size=80))
        names = [f"{run.fold}-{k}" for k in range(80)]
        frame = pl.DataFrame(
            {
                "sample_id": names,
                "y_true": [("no", "yes")[k] for k in y_true],
                "status": ["ok"] * 80,
                "logit_no": np.log1p(-prob),
                "logit_yes": np.log(prob),
            }
        )
        table = Predictions(frame, ("no", "yes"), "yes", {"bundle_id": "b"})
        if (run.arm, run.fold) not in lacking:
            table.save(RunFolder(run.folder).predictions("test"))
            (run.folder / "recipe.yaml").write_text("")
            RunFolder(run.folder).write_facts(bundle_id="b")
            taught = pl.DataFrame({"sample_id": ["t"], "path": ["t"], "label": ["no"], "split": ["train"]})
            Manifest(taught, ("no", "yes"), Path("/nowhere"), "table").save(run.folder)


def planned(tmp_path, text):
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE)
    (tmp_path / "study.yaml").write_text(text)
    write_class_folders(tmp_path / "data", count=4)
    return make_study(read_study(tmp_path / "study.yaml"), tmp_path / "data", tmp_path / "out", device="cpu", threads=1)


THREE_ARMS = PLAN.replace("[[strong, mild]]", "[[strong, mild], [other, mild]]").replace(
    "  mild:", "  other: {recipe: tiny.yaml}\n  mild:"
)


def test_an_arm_without_trainings_counts_in_the_planned_family(tmp_path):
    made = planned(tmp_path, THREE_ARMS)
    scored_as_planned(made, {("other", None)})
    comparison = planned_comparison(made)
    strong, other = comparison["comparisons"]
    assert comparison["family"]["size"] == 2
    assert strong["adjusted_p"] == pytest.approx(2 * strong["p_value"])
    assert (other["second"], other["p_value"]) == ("other", None)
    assert other["words"] == "auroc: no verdict: no training of other has been scored"
    assert exploratory_differences(made) == []  # of the arm that lacks there is nothing to tell


def test_without_the_reference_the_pairs_are_listed(tmp_path):
    made = planned(tmp_path, THREE_ARMS)
    scored_as_planned(made, {("mild", None), ("other", None)})
    assert planned_comparison(made) is None
    assert untested_pairs(made) == [
        {"first": "mild", "second": "strong", "reason": "no training of mild has been scored"},
        {
            "first": "mild",
            "second": "other",
            "reason": "no training of mild has been scored; no training of other has been scored",
        },
    ]


def test_an_arm_that_lacks_a_fold_is_untested_and_the_others_are_compared(tmp_path):
    made = planned(tmp_path, THREE_ARMS.replace("seeds: [0, 1, 2]", "seeds: [0]\nfolds: 4"))
    scored_as_planned(made, {("other", 1), ("other", 3)})
    comparison = planned_comparison(made)
    strong, other = comparison["comparisons"]
    assert (comparison["kind"], comparison["family"]["size"]) == ("folds", 2)
    assert strong["adjusted_p"] == pytest.approx(min(1, 2 * strong["p_value"]))
    assert other["note"] == "no training of other of fold 1, 3 has been scored"


@pytest.mark.slow
def test_a_study_from_plan_to_table(start, tmp_path, monkeypatch):
    """Killed in its second training; resumed; a plan that changes before the scoring, and one that changes after it."""
    real, trained = one_run.train, []

    def killed(recipe, data, folder, **options):
        trained.append(folder.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(recipe, data, folder, **options)

    monkeypatch.setattr(one_run, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        start()
    with pytest.raises(SpecError, match="Add --resume to continue it"):
        start()
    with pytest.raises(SpecError, match="Got others than before in arm strong"):
        start(PLAN.replace("degrees=20", "degrees=30"), resume=True)
    assert entered_plans(tmp_path, json.loads((tmp_path / "out/study_plan.json").read_text())["study"], ()) == []
    changed = PLAN.replace("secondary: [accuracy, ", "margin: 0.2\nsecondary: [accuracy, f1, ")
    done = start(changed, resume=True)
    assert trained[1:] == [name for name in trained if name != "strong_seed-0"]  # nothing is trained twice
    assert [run["status"] for run in done["runs"]] == ["finished"] * 6

    lines = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    assert [line.get("kind", "look") for line in lines] == ["plan", *["look"] * (6 + 4)]  # metadata has no column here
    assert lines[0]["plan"] == done["plan_hash"]
    assert done["exploratory_because"] is None

    for arm in done["arms"]:
        values = [run["results"]["auroc"]["value"] for run in done["runs"] if run["arm"] == arm["arm"]]
        assert list(arm["results"]["auroc"]["values"]) == pytest.approx(values, abs=1e-12)
        assert arm["num_parameters"] == 11_898 or arm["num_parameters"] > 1000
        assert arm["num_macs"] > 0
        assert arm["off_budget"] is None
    for run in done["runs"]:
        stored = RunFolder(tmp_path / "out/runs" / run["run"]).read_metrics()
        assert stored["split"] == "test"
        assert run["results"]["accuracy"] == stored["overall"]["accuracy"]
    assert [row["name"] for row in done["baselines"]] == ["majority", "histogram", "knn", "linear_probe"]
    assert done["baselines"][0]["results"]["auroc"]["value"] == 0.5
    assert 0 <= done["baselines"][0]["results"]["adjusted_balanced_accuracy"]["strength"] <= 2

    row = done["comparison"]["comparisons"][0]
    means = {arm["arm"]: arm["results"]["auroc"]["value"] for arm in done["arms"]}
    assert row["difference"] == pytest.approx(means["strong"] - means["mild"], abs=1e-12)
    page = (tmp_path / "out/study.md").read_text()
    assert row["words"] in page
    assert row["verdict"] == "better" or "strong is not shown to be better than mild" in page
    assert "| `augment.degrees` | 20.0 | 5.0 |" in page
    table = list(csv.reader((tmp_path / "out/table.csv").open()))
    assert [line[0] for line in table] == ["model", "strong", "mild", "always the commonest class",
        "logistic regression, color histogram", "k nearest neighbors, frozen features",
        "linear probe, frozen features"]  # fmt: skip
    assert latex_table(done).count(r"\\") == 7
    assert (tmp_path / "out/forest.svg").is_file()

    again = start(changed, resume=True)
    assert json.loads(json.dumps(again)) == json.loads((tmp_path / "out/study.json").read_text())
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 11
    with pytest.raises(SpecError, match="A plan must stay as it was before the test split was scored"):
        start(PLAN, resume=True)


@pytest.mark.slow
def test_images_that_were_scored_before_make_a_study_exploratory(start, tmp_path, monkeypatch):
    stop = PLAN.replace("[0, 1, 2]", "[0]").replace("epochs=1", "epochs=1, train.sanity_steps=1")
    done = start(stop + "baselines: []\n")  # a check: nothing of test is scored
    assert done["is_check"]
    assert (tmp_path / LEDGER).read_text() == ""
    contents = Manifest.load(tmp_path / "out/runs/mild_seed-0").select("test").content_hashes()
    record_look(tmp_path, bundle_id="earlier", contents=contents, command="chiron evaluate earlier")
    done = start(PLAN.replace("[0, 1, 2]", "[0]") + "baselines: []\n", out="second")
    assert done["exploratory_because"] == "these test images were scored once before the plan was entered"
    assert "**All results are exploratory**" in (tmp_path / "second/study.md").read_text()
    assert done["comparison"]["comparisons"][0]["verdict"] == "no verdict"  # one seed is no method


@pytest.mark.slow
def test_what_fails_is_listed_and_another_budget_is_flagged(start, tmp_path, monkeypatch):
    real = one_run.train

    def train(recipe, data, folder, **options):
        run = real(recipe, data, folder, **options)
        if folder.name == "strong_seed-1":
            raise EngineError("The training loss must be finite. Got nan.")
        return run

    monkeypatch.setattr(one_run, "train", train)
    text = PLAN.replace("[0, 1, 2]", "[0, 1]").replace("budget: {epochs: 1}", "budget: {epochs: 2}\nbaselines: []")
    done = start(text)
    assert [run["status"] for run in done["runs"]] == ["finished", "finished", "failed", "finished"]
    assert (done["arms"][0]["trainings"], done["arms"][0]["planned"]) == (1, 2)
    assert done["arms"][0]["off_budget"] == "1 epochs, not 2"
    assert any(note.startswith("† another budget") for note in table_notes(done))
    assert "- strong_seed-1: The training loss must be finite. Got nan." in (tmp_path / "out/study.md").read_text()


@pytest.mark.slow
def test_a_mistake_that_only_the_data_show_is_told_before_the_first_look(start, tmp_path):
    with pytest.raises(SpecError, match=r"A subgroup must be a column of the data\. Got 'sex'"):
        start(PLAN.replace("[0, 1, 2]", "[0]") + "baselines: [majority]\nsubgroups: [sex]\n")
    assert (tmp_path / LEDGER).read_text() == ""
    assert [folder.name for folder in (tmp_path / "out/runs").glob("*_seed-*")] == ["strong_seed-0"]  # told after one
    done = start(PLAN.replace("[0, 1, 2]", "[0]") + "baselines: [majority]\n", resume=True)
    lines = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    assert [line.get("kind", "look") for line in lines] == ["plan", "look", "look", "look"]
    assert lines[0]["plan"] == done["plan_hash"]
    assert done["exploratory_because"] is None
    for run in done["runs"]:
        stored = RunFolder(tmp_path / "out/runs" / run["run"]).read_metrics()
        assert run["results"]["auroc"] == stored["overall"]["auroc"]
    page = (tmp_path / "out/study.md").read_text()
    assert "each method needs at least 3 seeds" in page
    assert "strong is not shown to be better than mild" in page
    with pytest.raises(SpecError, match="A plan must stay as it was before the test split was scored"):
        start(PLAN.replace("[0, 1, 2]", "[0]"), resume=True)


def test_several_labels_an_image_are_refused_before_the_first_training(start, tmp_path):
    rows = [f"{path.relative_to(tmp_path / 'data')},{k % 2},{k % 3 % 2}" for k, path in _images(tmp_path)]
    (tmp_path / "data/labels.csv").write_text("\n".join(["image,edema,nodule", *rows]))
    with pytest.raises(SpecError, match=r"of one class an image\. Got several classes an image in .*data\."):
        start()
    assert not (tmp_path / "out").exists()


def _images(folder):
    return enumerate(sorted((folder / "data").rglob("*.png")))


@pytest.mark.slow
def test_a_study_at_patients_counts_patients_everywhere(start, tmp_path):
    """Numbers of each training are those of its own evaluation; baselines and subgroups count patients as well."""
    rows = [f"{path.relative_to(tmp_path / 'data')},{path.parent.name},p{k // 2},{'fm'[k // 2 % 2]}"
            for k, path in _images(tmp_path)]  # fmt: skip
    (tmp_path / "data/labels.csv").write_text("\n".join(["image,label,patient_id,sex", *rows]))
    text = PLAN.replace("[0, 1, 2]", "[0]").replace(
        "metric: auroc\n", "metric: auroc\nunit: patient\nsubgroups: [sex]\n"
    )
    done = start(text + "baselines: [majority, histogram]\n")
    test = Manifest.load(tmp_path / "out/runs/mild_seed-0").select("test").frame
    patients = test["patient_id"].n_unique()
    assert test.height == 2 * patients
    for run in done["runs"]:
        stored = RunFolder(tmp_path / "out/runs" / run["run"]).read_metrics()
        assert stored["unit"]["num_units"] == patients
        assert run["results"]["accuracy"] == stored["overall"]["accuracy"]
        assert run["results"]["auroc"] == stored["overall"]["auroc"]
    assert (done["comparison"]["unit"], done["comparison"]["num_images"]) == ("patient", patients)
    shares = test.group_by("patient_id").agg(pl.col("label").first())["label"].value_counts()["count"]
    assert done["baselines"][0]["results"]["accuracy"]["value"] == pytest.approx(max(shares) / patients)
    assert sum(row["cases"] for row in done["subgroups"] if row["arm"] == "mild") == patients
    assert "patients): under 10 of a class" in (tmp_path / "out/study.md").read_text()


@pytest.mark.parametrize("name", packaged_studies())
def test_a_packaged_study_is_a_right_plan(name, tmp_path):
    from chiron.workflows.study_plan import make_study

    plan = read_study(name)
    write_class_folders(tmp_path / "data")
    made = make_study(plan, tmp_path / "data", tmp_path / "out", device="cpu", threads=1)
    assert all(made.off_budget(arm) is None for arm in plan.arms)
    assert len(made.runs) == 6


@pytest.mark.slow
def test_a_study_of_a_strict_project_names_no_folder(start, tmp_path, monkeypatch):
    (tmp_path / "data").rename(tmp_path / "Perutz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["chiron", "study", "study.yaml", "--data", "Perutz"])
    text = PLAN.replace("[0, 1, 2]", "[0]").replace("epochs=1,", "epochs=1, data.privacy=strict,")
    start(text.replace("data: data", "data: Perutz") + "baselines: [majority]\n")
    lines = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    assert [line["command"] for line in lines] == ["chiron study study.yaml --data DATA"] * 4
    kept = [path for path in (tmp_path / "out").rglob("*") if path.suffix in {".json", ".yaml", ".csv", ".md", ".html"}]
    assert [path for path in kept if "Perutz" in path.read_text()] == []
