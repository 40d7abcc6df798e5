"""What leaves the project: no name, no small count, and nothing from which a small count could be worked out."""

import re
from collections import defaultdict
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chiron.core.hashing import keyed_hash
from chiron.metrics.evaluation import evaluate
from chiron.report import limits
from chiron.report.coarse import (
    OF_OTHER_DECISIONS,
    OF_OUTPUTS,
    SMALL_CELL,
    coarse,
    coarse_calibration,
    coarse_other,
    share_in_words,
    shareable_evaluation,
)
from chiron.report.figures import draw_figures, inline_svg
from chiron.report.format import Few, count, number
from chiron.report.gallery import Failure, Gallery
from chiron.report.page import render_report
from chiron.report.sentences import calibration, per_thousand
from chiron.report.sharing import shareable_context, shareable_gallery, shareable_history
from chiron.report.small_cells import sums_told, too_small, withheld_classes

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


@cache
def evaluation_from(cells, positive=None, num_resamples=100):
    """The numbers that the metrics make of a confusion matrix (rows of whole numbers)."""
    matrix = np.asarray(cells)
    y_true, y_pred = (np.repeat(place.ravel(), matrix.ravel()) for place in np.indices(matrix.shape))
    classes = ("no", "yes") if positive else tuple("abcdefg"[: len(matrix)])
    y_prob = np.full((len(y_true), len(matrix)), 0.2 / len(matrix)) + 0.8 * np.eye(len(matrix))[y_pred]
    settings = {"classes": classes, "positive": positive, "groups": None, "num_resamples": num_resamples}
    return evaluate(y_true, y_prob, **settings).to_json()


def two_classes(missed, found, alarmed, rejected):
    return evaluation_from(((rejected, alarmed), (missed, found)), "yes")


def told(found):
    """Keys of the overall numbers that have a value."""
    return {key for key, it in found["overall"].items() if it["value"] is not None}


def numbers_of(evaluation):
    """Every estimate with the place where it stands, the prevalences left out."""
    yield "majority", evaluation["baselines"]["majority_class"]["accuracy"]
    yield from evaluation["overall"].items()
    for name, results in evaluation["per_class"].items():
        yield from ((f"{name} {key}", it) for key, it in results.items() if key != "support")


def four_cells(matrix, place):
    right, of_class, called = matrix[place, place], matrix[place].sum(), matrix[:, place].sum()
    return right, of_class - right, called - right, matrix.sum() - of_class - called + right


RATES_OF_TWO = {"sensitivity", "specificity", "ppv", "npv", "f1", "balanced_accuracy"}
MATRICES = st.integers(2, 4).flatmap(
    lambda size: st.lists(
        st.lists(st.one_of(st.integers(0, 8), st.integers(0, 90)), min_size=size, max_size=size).map(tuple),
        min_size=size,
        max_size=size,
    ).map(tuple)
)


@settings(max_examples=20, deadline=None)
@given(MATRICES)
def test_every_number_is_the_exact_one_or_none(cells):
    matrix = np.asarray(cells)
    assume(matrix.sum() >= 25)
    exact = evaluation_from(cells, "yes" if len(cells) == 2 else None)
    found = shareable_evaluation(exact)
    classes, small = exact["confusion_matrix"]["labels"], {}
    for (where, here), (_, there) in zip(numbers_of(found), numbers_of(exact), strict=True):
        if here["value"] is None and there["value"] is not None:
            assert here["withheld"], where
            assert "withheld" in here["note"], where
            assert (here["low"], here["high"]) == (None, None), where
        else:
            assert [here[key] for key in ("value", "low", "high")] == [there[key] for key in ("value", "low", "high")]
    for place, name in enumerate(classes):
        numbers = found["per_class"][name].items()
        others = [it for key, it in numbers if key.startswith(OF_OTHER_DECISIONS)]
        assert all(it["value"] is None for it in others)
        rates = {k: it for k, it in numbers if k not in ("support", *OF_OUTPUTS) and it not in others}
        small[name] = {it["value"] is None for it in rates.values()}
        assert len(small[name]) == 1
        if min(four_cells(matrix, place)) < 5:
            assert small[name] == {True}
    hidden = [name for name in classes if True in small[name]]
    assert len(hidden) != 1
    if hidden:
        assert told(found) <= {*OF_OUTPUTS, "accuracy"}
        assert found["confusion_matrix"]["per_thousand"] == []
    right = np.trace(matrix)
    if min(right, matrix.sum() - right) < 5:
        assert "accuracy" not in told(found)
    counts = np.asarray(found["confusion_matrix"]["counts"], dtype=object)
    for shown, cell in zip(counts.ravel(), matrix.ravel(), strict=True):
        assert isinstance(shown, Few) if cell < 5 else shown == cell - cell % 5


@pytest.mark.parametrize("lowest", [(90, 10, 0, 60), (90, 0, 0, 30), (0, 15, 0, 30), (40, 10, 0, 40)])
def test_no_small_cell_of_two_classes_comes_out(lowest):
    """Whoever tries all tables that would print the same has several to choose from for every small cell."""
    alike = defaultdict(list)
    for above in product(range(5), repeat=4):
        matrix = (np.array(lowest) + above).reshape(2, 2)
        told, total, sizes = sums_told(matrix), matrix.sum(), matrix.sum(axis=1)
        looks = [*sizes // 5, total // 5, (total - np.trace(matrix)) // 5, sizes.argmax()]
        looks.append(("accuracy" in told) and Fraction(int(np.trace(matrix)), int(total)))
        looks.append(("majority" in told) and Fraction(int(sizes.max()), int(total)))
        alike[tuple(looks)].append(above)
    small = [place for place, cell in enumerate(lowest) if cell == 0]
    for tables in alike.values():
        assert all(len({above[place] for above in tables}) >= 2 for place in small)


def test_specificity_of_zero_is_withheld_and_no_bound():
    found = shareable_evaluation(two_classes(2, 30, 14, 0))
    assert not told(found) & RATES_OF_TWO
    assert found["overall"]["specificity"]["note"].startswith("withheld: ")
    assert not {"num_images", "num_groups"} & found["overall"]["ppv"].keys()  # its images would be a sum of cells
    assert {"auroc", "brier", "ece"} <= told(found)


def test_rates_of_seven_classes_are_withheld_and_the_accuracy_is_exact():
    cells = np.diag([250, 240, 235, 210, 204, 200, 145])
    cells[0, 1], cells[2, 3], cells[4, 5] = 7, 6, 3  # 1,484 of 1,500 are right
    assert (cells.sum(), np.trace(cells)) == (1500, 1484)
    evaluation = evaluation_from(tuple(map(tuple, cells.tolist())))
    found = shareable_evaluation(evaluation)
    assert number(found["overall"]["accuracy"]["value"]) == "0.989"
    assert found["overall"]["accuracy"]["low"] == evaluation["overall"]["accuracy"]["low"]
    of_ranking = {"macro_auroc", "macro_partial_auroc", "macro_average_precision"}
    assert told(found) == {"accuracy", "brier", "log_loss", "ece", *of_ranking}
    assert found["per_class"]["a"]["sensitivity"]["value"] is None
    assert found["per_class"]["a"]["auroc"]["value"] == evaluation["per_class"]["a"]["auroc"]["value"]


def test_no_cell_is_small_and_all_is_exact():
    evaluation = two_classes(12, 61, 13, 93)
    found = shareable_evaluation(evaluation)
    assert told(found) == {key for key in told(evaluation) if not key.startswith(OF_OTHER_DECISIONS)}
    assert found["confusion_matrix"]["per_thousand"] == per_thousand(evaluation)
    assert found["baselines"]["majority_class"]["accuracy"]["value"] == 106 / 179


def test_a_single_withheld_class_takes_the_next_one_with_it():
    matrix = np.array([[60, 3, 1, 9], [1, 50, 6, 7], [2, 8, 70, 11], [0, 6, 12, 90]])
    assert [min(four_cells(matrix, place)) for place in range(4)] == [3, 14, 19, 18]
    assert withheld_classes(matrix) == {0, 1}
    assert too_small([9, 8, 7]) == set()
    assert too_small([3]) == {0}


def test_a_sum_that_tells_a_cell_is_not_told():
    """All 8 wrong ones of class a are 4 and 4: shown as <5 and <5 they would come out."""
    matrix = np.array([[60, 4, 4], [9, 50, 8], [7, 8, 70]])
    assert 0 in withheld_classes(matrix)
    assert withheld_classes(matrix + np.array([[0, 0, -1], [0, 0, 0], [0, 0, 0]])) == set()
    only = np.array([[60, 10, 0], [0, 50, 0], [0, 0, 70]])
    assert "accuracy" not in sums_told(only)
    assert "accuracy" in sums_told(only + np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]))


def test_a_class_below_five_has_no_numbers():
    found = shareable_evaluation(two_classes(1, 3, 12, 90))
    of_class = {key: it for key, it in found["per_class"]["yes"].items() if key != "support"}
    assert all(it["value"] is None and it["withheld"] for it in of_class.values())
    assert isinstance(found["per_class"]["yes"]["support"]["images"], Few)
    assert found["baselines"]["majority_class"]["accuracy"]["value"] is None


def test_fewer_than_25_images_have_counts_alone():
    found = shareable_evaluation(two_classes(6, 6, 6, 6))
    assert told(found) == set()
    assert calibration(found) == "Calibration is withheld: fewer than 25 images."


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_prevalences_are_bounds_of_the_true_one(inside, outside):
    assume(inside + outside >= 25)
    text = share_in_words(inside, inside + outside)
    low, high = map(int, re.fullmatch(r"about (\d+)–(\d+)\xa0%", text).groups())
    assert low <= 100 * inside / (inside + outside) <= high
    assert text == share_in_words(inside - inside % 5, inside + outside - (inside + outside) % 5)


def test_beside_another_model_stand_accuracy_and_ranking_alone():
    evaluation = two_classes(12, 61, 13, 93)
    found = coarse_other({key: evaluation[key] for key in ("num_images", "num_groups", "overall")})
    assert told(found) == {"accuracy", "auroc", "partial_auroc", "average_precision", "brier", "log_loss", "ece"}
    assert found["overall"]["accuracy"]["value"] == evaluation["overall"]["accuracy"]["value"]
    assert "accuracy" not in told(coarse_other(two_classes(2, 61, 2, 93)))


def test_limits_do_not_compare_what_is_withheld(context_of):
    """An accuracy no better than the constant answer is a limit where both numbers stand there, and else not told."""
    for evaluation, expected in ((two_classes(20, 8, 7, 93), True), (two_classes(2, 60, 0, 300), False)):
        evaluation = evaluation | {
            "overall": evaluation["overall"] | {"accuracy": {**evaluation["overall"]["accuracy"], "low": 0.1}}
        }
        exact = (evaluation, context_of())
        shown = limits.limits_of(shareable_evaluation(evaluation), shareable_context(context_of(), KEY), exact=exact)
        assert ("no_better_than_majority" in {it.rule for it in shown}) == expected
        assert "no_better_than_majority" in {it.rule for it in limits.limits_of(*exact)}


def test_shares_of_coarse_counts_stand_in_no_limit(context_of):
    context = context_of(
        clinic_prevalence={"yes": 0.01},
        init="scratch",
        splits={
            "train": {"no": {"images": 409, "groups": 409}, "yes": {"images": 404, "groups": 404}},
            "test": {"no": {"images": 306, "groups": 306}, "yes": {"images": 73, "groups": 73}},
        },
    )
    evaluation = two_classes(12, 61, 13, 293)
    found = limits.limits_of(
        shareable_evaluation(evaluation), shareable_context(context, KEY), exact=(evaluation, context)
    )
    by_rule = {it.rule: it.sentence for it in found}
    for rule in ("split_unlike_others", "prevalence_unlike_clinic", "random_init"):
        assert not re.search(r"\d", by_rule[rule])


def test_epochs_keep_losses_and_ranking_alone():
    row = {
        "epoch": 1,
        "train_loss": 0.5,
        "val_auroc": 0.9,
        "val_accuracy": 0.8,
        "val_balanced_accuracy": 0.7,
        "lr": 0.1,
    }
    assert shareable_history([row]) == [{"epoch": 1, "lr": 0.1, "train_loss": 0.5, "val_auroc": 0.9}]


def test_withheld_results_say_so_in_the_figures():
    drawings = {it.name: it for it in draw_figures(shareable_evaluation(two_classes(2, 60, 14, 90)))}
    assert "withheld" in inline_svg(drawings["per_class"])
    assert f"Sensitivity {SMALL_CELL}" in drawings["per_class"].alt
    assert "open circle" not in drawings["roc"].caption
    assert "open circle" in {it.name: it for it in draw_figures(two_classes(12, 60, 14, 90))}["roc"].caption


def bin_of(count, right):
    entry = {"low": 0.5, "high": 0.6, "confidence": 0.55, "band_low": 0.1, "band_high": 0.9}
    return {**entry, "count": count, "accuracy": right / count if count else None}


def test_bins_are_exact_or_left_out():
    stored = {"ece": 0.1, "bins": [bin_of(0, 0), bin_of(33, 20), bin_of(61, 40), bin_of(80, 77)]}
    found = coarse_calibration(stored, 174, accuracy=True)["bins"]
    assert [(it["count"], it["accuracy"]) for it in found] == [(60, 40 / 61)]  # the one of 33 would tell that of 80
    assert coarse_calibration(stored, 174, accuracy=False)["bins"] == []


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


def test_direction_of_miscalibration_is_that_of_all_bins(evaluation_of):
    evaluation = evaluation_of()
    evaluation["calibration"]["consistency_band"] = [0.0, 0.001]
    exact, told = calibration(evaluation), calibration(shareable_evaluation(evaluation))
    assert exact.split(" (mean")[0] + "." == told
