"""What leaves the project: no name, no small count, and nothing from which a small count could be worked out."""

import json
import re
from collections import defaultdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.audit.sharing_key import keyed_hash
from chiron.report.coarse import coarse, shareable_evaluation, step_of
from chiron.report.figures import draw_figures, inline_svg
from chiron.report.format import Few, count, share
from chiron.report.gallery import Failure, Gallery
from chiron.report.page import render_report
from chiron.report.sentences import calibration, per_thousand
from chiron.report.sharing import shareable_context, shareable_gallery

KEY = b"key"
NAME = "Quux"


@given(st.integers(0, 100_000))
def test_counts_are_rounded_down_and_small_ones_say_nothing(value):
    found = coarse(value)
    if value < 5:
        assert isinstance(found, Few)
        assert count(found) == "<5"
        assert found == coarse(0)
    else:
        assert value - 5 < found <= value
        assert found % 5 == 0


@given(st.integers(25, 100_000))
def test_rounding_hides_five_counts(images):
    assert step_of(images) * images >= 5
    assert share(Few(), images) == "–"


def proportion(hits, images):
    return {"value": hits / images, "low": None, "high": None, "num_images": images, "num_groups": images, "note": None}


def small_evaluation(missed, found, alarmed, rejected):
    """The numbers of a two-class confusion matrix, by their definitions."""
    positives, negatives = missed + found, alarmed + rejected
    images = positives + negatives
    sensitivity, specificity = proportion(found, positives), proportion(rejected, negatives)
    ppv, npv = proportion(found, found + alarmed), proportion(rejected, rejected + missed)
    accuracy = proportion(found + rejected, images)
    f1 = accuracy | {"value": 2 * found / (2 * found + missed + alarmed)}
    balanced = accuracy | {"value": (sensitivity["value"] + specificity["value"]) / 2}
    of_class = {"sensitivity": sensitivity, "specificity": specificity, "f1": f1}
    sizes = {"yes": positives, "no": negatives}
    classes = {
        name: {"images": size, "groups": size, "prevalence": proportion(size, images)} for name, size in sizes.items()
    }
    return {
        "num_images": images,
        "num_groups": images,
        "classes": ["no", "yes"],
        "positive_class": "yes",
        "class_counts": classes,
        "baselines": {
            "majority_class": {
                "class": "no",
                "accuracy": classes["no"]["prevalence"],
                "balanced_accuracy": proportion(1, 2),
            }
        },
        "overall": {**of_class, "ppv": ppv, "npv": npv, "accuracy": accuracy, "balanced_accuracy": balanced},
        "per_class": {"yes": {"support": {"images": positives, "groups": positives}, **of_class, "precision": ppv}},
        "confusion_matrix": {"labels": ["no", "yes"], "counts": [[rejected, alarmed], [missed, found]]},
        "calibration": {},
        "curves": {},
    }


def test_no_complement_tells_a_small_cell():
    """Whoever tries all tables that would print the same text has several to choose from for the small cell."""
    alike = defaultdict(set)
    for missed, positives, alarmed, negatives in product(range(5), range(60, 65), range(10, 15), range(100, 105)):
        evaluation = small_evaluation(missed, positives - missed, alarmed, negatives - alarmed)
        alike[json.dumps(shareable_evaluation(evaluation))].add(missed)
    assert min(map(len, alike.values())) >= 2
    assert max(map(len, alike.values())) == 5


def test_rates_next_to_small_counts_are_bounds():
    found = shareable_evaluation(small_evaluation(2, 60, 12, 90))["overall"]
    assert found["sensitivity"]["value"] is None
    assert found["sensitivity"]["note"].startswith("above 0.917")
    assert found["specificity"]["value"] == pytest.approx(0.88, abs=0.03)
    assert found["npv"]["note"].startswith("above 0.944")


def test_a_class_below_five_has_no_numbers():
    found = shareable_evaluation(small_evaluation(1, 3, 12, 90))
    of_class = {key: it for key, it in found["per_class"]["yes"].items() if key != "support"}
    assert all(it["value"] is None and it["withheld"] for it in of_class.values())
    assert isinstance(found["per_class"]["yes"]["support"]["images"], Few)


def test_different_numbers_of_images_and_groups_stay_different(evaluation_of):
    evaluation = evaluation_of()
    evaluation.update(num_images=242, num_groups=241)
    found = shareable_evaluation(evaluation)
    assert found["num_groups"] < found["num_images"]


@pytest.mark.parametrize("classes", [("normal", "opacity"), ("a", "b", "c", "d", "e", "f", "g")])
def test_no_small_or_exact_count_stands_in_the_page(evaluation_of, context_of, classes):
    """Tables, figures and their text alternatives hold multiples of five and "<5" alone."""
    evaluation = evaluation_of(classes, "opacity" if len(classes) == 2 else None, num_images=243)
    splits = {"train": {name: {"images": 3, "groups": 2, "share": 0.1} for name in classes}}
    context = shareable_context(context_of(splits=splits, num_unreadable=3, num_patients=3, recipe_text=""), KEY)
    coarse_one = shareable_evaluation(evaluation)
    page = render_report(coarse_one, context, shareable=True).replace("\u00a0", " ")
    alternatives = " ".join(drawing.alt for drawing in draw_figures(coarse_one)).replace("\u00a0", " ")
    counted = r"(\d[\d,]*) (?:image|group|positive|patient|error)"
    for text in (re.sub(r"<[^>]*>", " ", page), alternatives):
        numbers = [int(n.replace(",", "")) for n in re.findall(counted, text)]
        assert numbers
        assert not [n for n in numbers if n % 5 or n < 5]
    assert "243" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    for cells in re.findall(r"<tr>(.*?)</tr>", page[page.index("The scored split by") :], flags=re.DOTALL):
        for whole in re.findall(r"<td>([\d,]+)</td>", cells):
            assert int(whole.replace(",", "")) % 5 == 0
    matrix = inline_svg(draw_figures(coarse_one)[0])
    small = [n for row in evaluation["confusion_matrix"]["counts"] for n in row if n < 5]
    assert matrix.count("&lt;5") == len(small)
    assert "confusion_matrix_normalized" not in {drawing.name for drawing in draw_figures(coarse_one)}


def test_names_paths_and_free_words_are_left_out(context_of):
    recipe = f"model:\n  name: m\ndata:\n  accept_leaks: [{NAME}1~{NAME}2]\n  group_by: [{NAME}]\n"
    planted = context_of(
        **dict.fromkeys(("title", "data_source", "grouping", "command"), f"/home/{NAME}/images"),
        recipe_text=recipe,
        data_notes=[f"{NAME}.png cannot be decoded"],
        leaks_accepted=[f"{NAME}1~{NAME}2"],
        columns=[NAME, f"age of {NAME}"],
        table_one={"splits": {}, "columns": [{"name": NAME, "role": "subgroup", "kind": "name", "rows": []}]},
    )
    found = shareable_context(planted, KEY)
    assert NAME not in str(found)
    assert "1 left out" in found.recipe_text
    assert found.columns == ["age"]
    assert found.leaks_accepted == [keyed_hash(KEY, f"{NAME}1~{NAME}2")]


def failure(number, reference="a", output="b"):
    return Failure(f"{NAME}{number}", reference, output, 0.9, 0.1, picture="data:image/jpeg;base64,AAAA")


def test_failures_are_hashed_without_pictures_and_only_of_common_kinds():
    shown = [failure(k) for k in range(6)] + [failure(k, "b", "a") for k in range(6, 10)]
    found = shareable_gallery(Gallery(23, 201, random=shown, confident=shown[:7]), KEY)
    assert (found.num_errors, found.num_images) == (20, 200)
    assert [it.sample_id for it in found.random] == [keyed_hash(KEY, f"{NAME}{k}") for k in range(6)]
    assert not any(it.picture for it in (*found.random, *found.confident))
    few = shareable_gallery(Gallery(4, 201, confident=shown[:4]), KEY)
    assert (str(few.num_errors), few.confident) == ("<5", [])


def test_per_thousand_comes_from_the_middles_and_bounds_small_cells():
    found = dict(per_thousand(shareable_evaluation(small_evaluation(2, 60, 12, 90))))
    assert found == {"found": 369, "missed": "<30", "falsely alarmed": 71, "rightly negative": 548}


def test_direction_of_miscalibration_is_that_of_all_bins(evaluation_of):
    evaluation = evaluation_of()
    evaluation["calibration"]["consistency_band"] = [0.0, 0.001]
    exact, told = calibration(evaluation), calibration(shareable_evaluation(evaluation))
    assert exact.split(" (mean")[0] + "." == told
