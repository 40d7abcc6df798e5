"""Predictions of many images: kinds of input, tables that go on after a kill, bad files, several bundles."""

import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from small_bundles import pictures, small_bundle

from chiron.classifier import load
from chiron.core.errors import BundleError, DataError, SpecError
from chiron.data.predictions import Predictions
from chiron.predictor import Predictor, find_inputs
from chiron.spec.decision import Calibration, Decision
from chiron.spec.labels import LabelSpace
from chiron.workflows import growing_table
from chiron.workflows.predict import load_scorer, predict, predict_stream, predict_units

KINDS = ("csv", "jsonl", "parquet")
COUNT = 11


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Eleven images of several sizes, one of them broken, one with a name of two lines and a quote."""
    folder = tmp_path_factory.mktemp("images")
    for k, pixels in enumerate(pictures(COUNT)):
        name = f"{k:02d}.png" if k != 4 else '04 "x"\n, ä.png'
        Image.fromarray(pixels[k:, :, 0]).save(folder / name)
    (folder / "07.png").write_bytes(b"broken")
    return folder


def test_every_kind_of_input_says_the_same(bundle, images, tmp_path):
    path = images / "02.png"
    pixels = np.array(Image.open(path))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as packed:
        packed.write(path, "in/02.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "02.png").write_bytes(path.read_bytes())
    expected = load(bundle).predict(path)
    kinds = [path, str(path), path.read_bytes(), Image.open(path), pixels, pixels[..., None], torch.from_numpy(pixels)]
    kinds += [
        torch.from_numpy(pixels)[None],
        tmp_path / "z.zip",
        tmp_path / "folder",
        str(tmp_path / "folder" / "*.png"),
    ]
    for kind in kinds:
        rows = predict(bundle, kind, device="cpu")
        assert [row.prediction for row in rows] == [expected]
        together = predict(bundle, [kind, images / "03.png"], device="cpu")
        assert together[0].prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert predict(bundle, [pixels, path, pixels], device="cpu")[2].name == "image_2"
    with pytest.raises(DataError, match=r"uint8 or uint16\. Got int\. Convert it first\."):
        predict(bundle, [3], device="cpu")


def test_a_color_tensor_is_channels_first(bundle):
    pixels = pictures(1, channels=3)[0]
    classifier = load(bundle)
    assert classifier.predict(torch.from_numpy(pixels.transpose(2, 0, 1).copy())) == classifier.predict(pixels)


def test_many_at_once_are_those_one_by_one(bundle, images):
    classifier = load(bundle)
    paths = [path for path in sorted(images.iterdir()) if path.stem != "07"]
    for one, path in zip(classifier.predict_batch(paths), paths, strict=True):
        assert one.probabilities == pytest.approx(classifier.predict(path).probabilities, abs=1e-6)
    assert classifier.predict_batch([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_holds_what_was_said_and_a_bad_file_stops_nothing(bundle, images, tmp_path, kind):
    out = tmp_path / f"p.{kind}"
    rows = predict(bundle, images, out=out, device="cpu", batch_size=4, top_k=2)
    if kind == "csv":
        told = pl.read_csv(out, infer_schema=False).to_dicts()
    elif kind == "jsonl":
        told = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    else:
        told = pl.read_parquet(out).to_dicts()
    assert [row["sample_id"] for row in told] == [row.name for row in rows]
    assert [row["status"] for row in told] == ["unreadable" if k == 7 else "no_reference" for k in range(COUNT)]
    assert "07.png" in told[7]["problem"]
    for row, own in zip(told, rows, strict=True):
        if own.prediction is None:
            continue
        if kind == "jsonl":
            assert row["probabilities"] == own.prediction.probabilities
            assert row["top_k_predictions"] == own.prediction.top(2)
            assert row["scope"]["percentile"] == own.prediction.scope.percentile
            assert row["disclaimer"] == own.prediction.disclaimer
        else:
            probs = {name: float(row[f"prob_{name}"]) for name in "abc"}
            assert probs == own.prediction.probabilities
            assert row["refer"] == ("yes" if own.prediction.referral.refer else "no")
            assert float(row["scope_distance"]) == own.prediction.scope.distance
    facts = json.loads((tmp_path / "p.json").read_text())
    assert (facts["num_images"], facts["num_unreadable"]) == (COUNT, 1)


def test_a_filled_in_table_can_be_evaluated(bundle, images, tmp_path):
    rows = predict(bundle, images, out=tmp_path / "p.csv", device="cpu")
    filled = (tmp_path / "p.csv").read_text().replace(",,no_reference", ",b,no_reference")
    (tmp_path / "p.csv").write_text(filled)
    expected = [list(row.prediction.probabilities.values()) for row in rows if row.prediction]
    np.testing.assert_allclose(Predictions.load(tmp_path / "p.csv").y_prob, expected, atol=1e-12)


def rows_of(out: Path) -> list[tuple]:
    """Name, status and probability of every row; a batch of other images rounds otherwise in the seventh digit."""
    if out.suffix == ".jsonl":
        read = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        return [(it["sample_id"], it["status"], round(it.get("probabilities", {"a": -1})["a"], 5)) for it in read]
    table = pl.read_csv(out) if out.suffix == ".csv" else pl.read_parquet(out / "part-*.parquet")
    return table.select("sample_id", "status", pl.col("prob_a").fill_null(-1).round(5)).rows()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_cut_anywhere_goes_on_without_a_lost_or_doubled_row(bundle, images, tmp_path, kind):
    whole, out = tmp_path / f"whole.{kind}", tmp_path / f"cut.{kind}"
    predict(bundle, images, out=whole, device="cpu", batch_size=4)
    said, facts = whole.read_bytes(), (tmp_path / "whole.json").read_bytes()
    odd = said.index(b"04 ")
    cuts = {0, 1, 40, odd, odd + 6, odd + 9, odd + 14, said.index(b"\n") + 1, len(said) // 2, len(said) - 1, len(said)}
    for cut in sorted(cuts):
        out.write_bytes(said[:cut])
        out.with_suffix(".json").write_bytes(facts)
        stream = predict_stream(bundle, images, out=out, resume=True, device="cpu", batch_size=3)
        new = list(stream)
        assert rows_of(out) == rows_of(whole), cut
        assert out.read_bytes().startswith(said[: said.rfind(b"\n", 0, odd) + 1] if cut > odd else b"")
        assert (stream.num_done, stream.num_failed) == (COUNT, 1)
        assert (len(new) == COUNT) == (cut <= 40 or (kind == "csv" and cut == said.index(b"\n") + 1))


def test_parts_of_a_parquet_table_go_on_too(bundle, images, tmp_path, monkeypatch):
    monkeypatch.setattr(growing_table, "ROWS_A_PART", 4)
    out = tmp_path / "p.parquet"
    predict(bundle, images, out=out, device="cpu", batch_size=3)
    whole = rows_of(out)
    assert len(list(out.glob("part-*"))) == 3
    for left in (0, 1, 2, 3):
        for part in sorted(out.glob("part-*"))[left:]:
            part.unlink()
        (out / ".part-000009.parquet.tmp-1").write_bytes(b"half")
        predict(bundle, images, out=out, resume=True, device="cpu", batch_size=3)
        assert rows_of(out) == whole
    (out / "part-000000.parquet").unlink()
    with pytest.raises(DataError, match="another number: part-000001"):
        predict(bundle, images, out=out, resume=True, device="cpu")


def test_more_images_are_added_to_the_end(bundle, images, tmp_path):
    first = sorted(images.iterdir())
    predict(bundle, first[:5], out=tmp_path / "p.csv", device="cpu")
    rows = predict(bundle, first, out=tmp_path / "p.csv", resume=True, device="cpu")
    assert len(rows) == COUNT - 5
    assert pl.read_csv(tmp_path / "p.csv")["sample_id"].to_list() == [str(path) for path in first]


def test_what_cannot_be_gone_on_with_is_refused_and_kept(bundle, images, tmp_path):
    out, other = tmp_path / "p.csv", small_bundle(tmp_path / "other", seed=1)
    predict(bundle, images, out=out, device="cpu")
    said = out.read_bytes()
    with pytest.raises(SpecError, match="must not exist yet"):
        predict(bundle, images, out=out, device="cpu")
    for how, message in (
        ({"bundle": other}, "same bundle and options. Got bundle_id"),
        ({"tta": "hflip"}, "same bundle and options. Got tta none there and hflip now"),
        ({"images": [images / "03.png"]}, "in row 1, where .*03.png stands now"),
        ({"images": sorted(images.iterdir())[:3]}, "in row 4, where no image is left"),
    ):
        asked = {"bundle": bundle, "images": images} | how
        with pytest.raises(DataError, match=message):
            predict(out=out, resume=True, device="cpu", **asked)
        assert out.read_bytes() == said
    out.write_bytes(said.replace(b"status", b"state", 1))
    with pytest.raises(DataError, match="other columns than this bundle"):
        predict(bundle, images, out=out, resume=True, device="cpu")
    out.with_suffix(".json").unlink()
    with pytest.raises(SpecError, match=r"called \*.csv, \*.jsonl, \*.parquet"):
        predict(bundle, images, out=tmp_path / "p.txt", device="cpu")
    predict(bundle, images, out=out, force=True, device="cpu")
    assert out.read_bytes() == said


def test_two_processes_never_write_one_table(bundle, images, tmp_path):
    first = iter(predict_stream(bundle, images, out=tmp_path / "p.csv", device="cpu", batch_size=2))
    next(first)
    with pytest.raises(SpecError, match="which another one is writing"):
        predict(bundle, images, out=tmp_path / "p.csv", resume=True, device="cpu")
    assert len(list(first)) == COUNT - 1


def test_rows_stand_on_disk_before_the_next_batch(bundle, images, tmp_path):
    stream = iter(predict_stream(bundle, images, out=tmp_path / "p.jsonl", device="cpu", batch_size=2))
    for _ in range(3):
        next(stream)
    assert (tmp_path / "p.jsonl").read_bytes().count(b"\n") == 4
    assert "num_images" not in json.loads((tmp_path / "p.json").read_text())


def test_no_more_is_decoded_than_a_few_batches_ahead(bundle):
    class Counted:
        def __init__(self):
            self.asked = 0

        def __iter__(self):
            for item in find_inputs(list(pictures(40))):
                self.asked += 1
                yield item

    inputs = Counted()
    rows = Predictor(load(bundle), batch_size=4).rows(inputs)
    for given in range(1, 41):
        next(rows)
        assert inputs.asked <= given + 4 * 4
    assert next(rows, None) is None


def test_many_images_and_units_get_the_same_views_and_rule_as_one(bundle, images):
    classifier = load(bundle)
    paths = [images / "02.png", images / "03.png", images / "05.png"]
    for row, path in zip(predict(bundle, paths, tta="dihedral", device="cpu"), paths, strict=True):
        alone = classifier.predict(path, tta="dihedral")
        assert row.prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
        assert alone.probabilities != pytest.approx(classifier.predict(path).probabilities, abs=1e-6)
    unit = predict_units(bundle, paths, by="folder", tta="dihedral", device="cpu")[0].prediction
    together = classifier.predict_unit(paths, tta="dihedral")
    assert unit.probabilities == pytest.approx(together.probabilities, abs=1e-6)
    assert unit.scope.distance == pytest.approx(together.scope.distance, abs=1e-6)


def test_a_file_that_vanishes_after_it_was_found_stops_nothing(bundle, tmp_path):
    for k, pixels in enumerate(pictures(3)):
        Image.fromarray(pixels[..., 0]).save(tmp_path / f"{k}.png")
    inputs = find_inputs(tmp_path)
    (tmp_path / "1.png").unlink()
    rows = list(Predictor(load(bundle), batch_size=2).rows(inputs))
    assert [bool(row.prediction) for row in rows] == [True, False, True]
    assert "1.png" in rows[1].problem


@pytest.mark.parametrize("place", ["run", "run/bundle"])
def test_a_run_that_was_stopped_says_how_to_go_on(tmp_path, place):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(BundleError, match=r"before it is used\. Got \S+run without a bundle\. .*run --resume`"):
        load(tmp_path / place)


def test_units_can_be_written_as_lines(bundle, images, tmp_path):
    units = predict_units(bundle, images, by="folder", out=tmp_path / "u.jsonl", device="cpu")
    told = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert [row["probabilities"] for row in told] == [units[0].prediction.probabilities]
    assert told[0]["num_images"] == COUNT - 1
    assert len((tmp_path / "u_images.jsonl").read_text().splitlines()) == COUNT


def test_several_bundles_say_the_mean_of_what_each_says(tmp_path, images):
    cool = Decision(
        calibration=Calibration(method="temperature", parameters=({"temperature": (0.5,)},), fitted_on="cal")
    )
    one, two = small_bundle(tmp_path / "1"), small_bundle(tmp_path / "2", seed=5, decision=cool)
    path = images / "01.png"
    both = predict(one, path, others=[two], out=tmp_path / "p.csv", device="cpu")[0].prediction
    first, second = load(one).predict(path), load(two).predict(path)
    for name in "abc":
        each = first.probabilities[name], second.probabilities[name]
        assert both.probabilities[name] == pytest.approx(np.mean(each), abs=1e-12)
        assert both.spread[name] == pytest.approx((min(each), max(each)), abs=1e-12)
    assert (first.spread, both.calibrated) == (None, False)
    assert both.scope.distance == pytest.approx((first.scope.distance + second.scope.distance) / 2)
    assert both.scope.percentile == pytest.approx((first.scope.percentile + second.scope.percentile) / 2)
    text = (tmp_path / "p.csv").read_text()
    assert "logit_" not in text.splitlines()[0]
    (tmp_path / "p.csv").write_text(text.replace(",,no_reference", ",b,no_reference"))
    table = Predictions.load(tmp_path / "p.csv")
    np.testing.assert_allclose(table.y_prob[0], list(both.probabilities.values()), atol=1e-12)


def test_bundles_that_differ_do_not_answer_together(tmp_path):
    one = small_bundle(tmp_path / "1")
    other = small_bundle(tmp_path / "2", labels=LabelSpace(names=("a", "b", "d")))
    with pytest.raises(
        BundleError, match=r"must have the same classes\. Got names \['a', 'b', 'c'\] and \['a', 'b', 'd'\]"
    ):
        load_scorer(one, [other], device="cpu")
    wider = small_bundle(tmp_path / "3", spec=load(one).input_spec.model_copy(update={"img_size": 40}))
    with pytest.raises(BundleError, match=r"must have the same input\. Got img_size 32 and 40"):
        load_scorer(one, [wider], device="cpu")


def test_the_keys_of_the_lesion_predictor_are_there(bundle, images):
    said = load(bundle).predict(images / "01.png").to_dict(top_k=3)
    assert {
        *("predicted_class", "predicted_class_description", "confidence", "probabilities", "top_k_predictions"),
        "disclaimer",
    } <= set(said)
    ranked = said["top_k_predictions"]
    assert [it["class"] for it in ranked] == sorted("abc", key=lambda name: -said["probabilities"][name])
    assert ranked[0] == {"class": said["predicted_class"], "probability": said["confidence"]}
    assert json.loads(json.dumps(said, allow_nan=False)) == json.loads(json.dumps(said))
