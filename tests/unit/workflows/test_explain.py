"""`chiron explain`: what lies in its folder, what it refuses, and the same maps in a run's report."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from explainer_checks import explainer_check
from PIL import Image

from chiron.bundle import write_explainer_checks
from chiron.classifier import load
from chiron.cli.main import run
from chiron.core.errors import ChironError, DataError, ExplainError, SpecError
from chiron.explanation.explain import explain
from chiron.workflows.evaluate import evaluate
from chiron.workflows.explain import explain_images
from chiron.workflows.explain_run import NUM_COUNTED
from chiron.workflows.report import report
from chiron.workflows.run_folder import RunFolder

ONCE = {"device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def images(trained_run) -> list[Path]:
    return sorted((trained_run.path.parent / "data" / "sick").iterdir())[:3]


@pytest.fixture(scope="module")
def masks(images, tmp_path_factory) -> Path:
    """The patch of the first image, and an empty mask of the second; the third has none."""
    folder = tmp_path_factory.mktemp("masks")
    for image, value in zip(images, (1, 0), strict=False):
        mask = np.zeros((40, 40), np.uint8)
        mask[8:20, 8:20] = value
        Image.fromarray(mask).save(folder / image.name)
    return folder


@pytest.fixture(scope="module")
def done(trained_run, images, masks, tmp_path_factory):
    broken = images[0].parents[2] / "broken.png"
    broken.write_bytes(b"no image")
    out = tmp_path_factory.mktemp("explained") / "out"
    asked = {"method": "grad_cam", "masks": masks, "class_name": "well"}
    return explain_images(trained_run.bundle, [*images, broken], out, **asked, **ONCE)


def test_maps_are_those_of_the_public_function(done, images, trained_run):
    direct = explain(load(trained_run.bundle), images, method=done.facts["method"], class_name="well")
    for row, own in zip(done.facts["images"], direct, strict=False):
        stored = np.load(done.folder / row["map"], allow_pickle=False)
        np.testing.assert_allclose(stored, own.map, rtol=1e-5, atol=1e-7)
        assert row["probability"] == pytest.approx(own.probability)
        assert row["class"] == own.class_name == "well"


def test_pictures_hold_no_metadata_and_the_words(done):
    for row in done.facts["images"][:3]:
        data = (done.folder / row["picture"]).read_bytes()
        assert b"tEXt" not in data
        assert b"iTXt" not in data
        with Image.open(done.folder / row["picture"]) as picture:
            assert picture.width == 800
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 200


def test_scores_know_the_findings(done):
    first, second, third = (row["scores"] for row in done.facts["images"][:3])
    assert 0 < first["energy"] < 1
    assert (second["energy"], third["energy"]) == (None, None)
    assert {"deletion_gain", "insertion_gain", "road", "stability", "randomization", "pointing", "iou"} <= set(first)
    assert done.facts["scores"]["energy"]["num_images"] == 1
    assert done.facts["scores"]["energy"]["value"] == pytest.approx(first["energy"])


def test_findings_that_maps_miss_are_told_and_the_verdict_is_kept_with_the_bundle(trained_run, tmp_path, capsys):
    """Masks in a corner that few maps reach: 20 images of 20 units are enough to weigh them, and to be kept."""
    own = shutil.copytree(trained_run.path, tmp_path / "run")
    images = sorted((trained_run.path.parent / "data" / "sick").iterdir())[:20]
    (tmp_path / "masks").mkdir()
    corner = np.zeros((40, 40), np.uint8)
    corner[39:, :1] = 1
    for image in images:
        Image.fromarray(corner).save(tmp_path / "masks" / image.name)
    out = ["--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1", "-q"]
    asked = ["--method", "feature_maps", "--masks", str(tmp_path / "masks")]
    assert run(["explain", str(own), *map(str, images), *asked, *out]) == 0
    facts = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))
    assert facts["verdict"]["label"] == "experimental"
    assert any("better than the control 'center'" in reason for reason in facts["verdict"]["reasons"])
    assert facts["images"][0]["controls"]["center"]["pointing"] == 0
    assert "Hits above center" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Hits above center" in capsys.readouterr().out

    classifier = load(own)
    (check,) = classifier.explainers
    assert (check.method, check.label, check.source) == ("feature_maps", "experimental", "given")
    assert (check.num_images, check.num_units, check.with_findings) == (20, 20, True)
    assert check.means["stability"].value == pytest.approx(facts["scores"]["stability"]["value"])
    assert images[0].stem not in (own / "bundle" / "explainers.json").read_text(encoding="utf-8")
    assert classifier.bundle_id == load(trained_run.bundle).bundle_id == facts["bundle_id"]
    one = explain_images(own, images[:1], tmp_path / "one", method="feature_maps", **ONCE).facts["verdict"]
    assert one["words"].startswith("experimental for this bundle, by 20 images that were given, with their findings")
    assert any("better than the control 'center'" in reason for reason in one["reasons"])
    assert not any("too few" in reason for reason in one["reasons"])
    assert load(own).explainers == (check,)  # one image changes nothing


def test_a_single_map_is_shown_where_the_bundle_was_checked(trained_run, images, tmp_path):
    own = shutil.copytree(trained_run.bundle, tmp_path / "bundle")
    alone = explain_images(own, images[:1], tmp_path / "before", method="grad_cam", **ONCE)
    assert "chiron evaluate RUN --explain grad_cam" in alone.facts["verdict"]["reasons"][1]
    assert 'class="folded' in alone.page.read_text(encoding="utf-8")
    assert load(own).explainers == ()  # one image is no check
    write_explainer_checks(own, load(own).bundle_id, [explainer_check(method="grad_cam")])
    shown = explain_images(own, images[:1], tmp_path / "after", **ONCE)
    assert shown.facts["method"] == "grad_cam"  # auto prefers what passed on this bundle
    assert shown.facts["verdict"]["label"] == "recommended"
    page = shown.page.read_text(encoding="utf-8")
    assert "Grad-CAM is recommended for this bundle, by 40 images of its test split (2026-11-22)." in page
    assert 'class="folded' not in page
    assert load(own).explainers == (explainer_check(method="grad_cam"),)


def test_few_images_recommend_nothing_and_their_maps_are_folded_away(done):
    assert done.facts["verdict"]["label"] == "experimental"
    assert "too few units to tell: 3" in done.facts["verdict"]["reasons"][0]
    page = done.page.read_text(encoding="utf-8")
    folded = page[page.index('<details class="folded experimental">') : page.index("</details>")]
    assert "blank: no place stands out" in page  # nothing speaks for the other class in this small network
    assert "open" not in re.search("<details[^>]*>", page)[0]
    assert "Too few units to tell: 3" in folded[: folded.index("</summary>")]
    assert folded.count("data:image/jpeg") == page.count("data:image/jpeg") > 3 * 2
    assert "Where the model reacted, not where disease is." in page


def test_the_page_loads_nothing_and_every_picture_has_words(done):
    page = done.page.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    assert len(re.findall(r"<img ", page)) == len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", page)) > 0


def test_a_broken_file_stops_nothing_and_is_told(done):
    last = done.facts["images"][-1]
    assert set(last) == {"image", "problem"}
    assert "broken.png" in last["problem"]
    assert "broken.png" in done.page.read_text(encoding="utf-8")


def test_images_of_a_unit_count_as_one(trained_run, images, tmp_path):
    same = explain_images(trained_run.bundle, images[:2], tmp_path / "a", by="folder", method="grad_cam", **ONCE)
    assert same.facts["scores"]["stability"]["num_groups"] == 1
    assert same.facts["scores"]["stability"]["num_images"] == 2


def test_results_do_not_depend_on_the_batch(done, trained_run, images, masks, tmp_path):
    alone = explain_images(
        trained_run.bundle, images[1:2], tmp_path / "one", class_name="well", batch_size=1, method="grad_cam", **ONCE
    )
    here, there = alone.facts["images"][0]["scores"], done.facts["images"][1]["scores"]
    for name in ("deletion", "insertion", "road", "stability"):
        assert here[name] == pytest.approx(there[name], abs=1e-4), name


def test_private_names_are_nowhere_in_the_folder(trained_run, images, tmp_path):
    made = explain_images(trained_run.bundle, images[:1], tmp_path / "out", privacy="strict", **ONCE)
    written = [path for path in made.folder.rglob("*") if path.is_file()]
    assert len(written) == 4
    for path in written:
        assert images[0].stem not in path.name
        assert images[0].stem.encode() not in path.read_bytes()
    assert made.facts["images"][0]["image"].startswith("s-")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"class_name": "sickk"}, ExplainError, "The class must be one of .*Did you mean 'sick'"),
        ({"method": "grad_can"}, ChironError, "The explainer must be one of .*Did you mean 'grad_cam'"),
        ({"method": "attention"}, ExplainError, "attention must fit the network"),
        ({"by": "patient"}, DataError, "Add --table FILE.csv"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(trained_run, images, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        explain_images(trained_run.bundle, images[:1], tmp_path / "out", **options, **ONCE)
    assert not (tmp_path / "out").exists()


def test_masks_must_fit_the_images(trained_run, images, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((40, 40), np.uint8)).save(tmp_path / "masks" / "other.png")
    with pytest.raises(DataError, match=r"Masks must have the names of the images. Got 1 masks"):
        explain_images(trained_run.bundle, images[:1], tmp_path / "out", masks=tmp_path / "masks", **ONCE)
    Image.fromarray(np.ones((20, 40), np.uint8)).save(tmp_path / "masks" / images[0].name)
    with pytest.raises(DataError, match=r"A mask must have the size of its image. Got 40 x 20 pixels"):
        explain_images(trained_run.bundle, images[:1], tmp_path / "out", masks=tmp_path / "masks", **ONCE)
    shutil.copy(tmp_path / "masks" / images[0].name, tmp_path / "masks" / f"{images[0].stem}.bmp")
    with pytest.raises(DataError, match="Got 1 images and 2 masks called"):
        explain_images(trained_run.bundle, images[:1], tmp_path / "out", masks=tmp_path / "masks", **ONCE)


def test_force_replaces_explanations_alone(trained_run, images, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(SpecError, match="replaces only explanations"):
        explain_images(trained_run.bundle, images[:1], tmp_path / "mine", force=True, **ONCE)
    with pytest.raises(SpecError, match="add --force"):
        explain_images(trained_run.bundle, images[:1], tmp_path / "mine", **ONCE)
    with pytest.raises(SpecError, match="outside the images"):
        explain_images(trained_run.bundle, [images[0].parent], images[0].parent / "maps", **ONCE)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"


def test_the_command_line_says_verdict_scores_and_notice(trained_run, images, tmp_path, capsys):
    arguments = ["explain", str(trained_run.path), str(images[0]), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert run([*arguments, "-q"]) == 0
    said = capsys.readouterr().out
    assert "is experimental (chiron_fair_cnn_nano)" in said
    assert "Deletion, gain" in said
    assert "Where the model reacted, not where disease is." in said
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    assert run([*arguments, str(bad), "--force", "--json", "-q"]) == 2
    assert json.loads(capsys.readouterr().out)["images"][1]["problem"]
    assert run([*arguments[:2], str(bad), "--out", str(tmp_path / "none"), "-q"]) == 2
    assert "bad.png" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_report_shows_right_and_wrong_images_where_it_was_asked(trained_run, tmp_path):
    shutil.copytree(trained_run.path, tmp_path / "run")
    own = RunFolder(tmp_path / "run")
    assert 'id="maps"' not in evaluate(own.path, device="cpu").report.read_text(encoding="utf-8")
    page = evaluate(own.path, explain="grad_cam", device="cpu").report.read_text(encoding="utf-8")
    facts = json.loads((own.explanations("test") / "explanations.json").read_text(encoding="utf-8"))
    test_images = json.loads(own.metrics.read_text(encoding="utf-8"))["num_images"]
    assert sum(row["counted"] for row in facts["images"]) == min(test_images, NUM_COUNTED)
    section = page[page.index('<section id="maps"') :]
    section = section[: section.index("</section>")]
    assert facts["rule"] in section
    assert ("Right answers" in section) == any(row["right"] for row in facts["images"])
    assert [(it.method, it.source) for it in load(own.bundle).explainers] == (
        [("grad_cam", "test")] if facts["verdict"]["has_enough"] else []
    )
    again = tmp_path / "again.html"
    report(own.path, out=again)
    assert 'id="maps"' in again.read_text(encoding="utf-8")  # shown from what is stored
    for options in ({"shareable": True}, {"pictures": False}):
        report(own.path, out=again, force=True, **options)
        assert 'id="maps"' not in again.read_text(encoding="utf-8")


def test_maps_of_a_report_need_a_run(trained_run, tmp_path):
    with pytest.raises(SpecError, match="--explain is for a run"):
        evaluate(trained_run.predictions("test"), explain="auto", out=tmp_path / "out")
