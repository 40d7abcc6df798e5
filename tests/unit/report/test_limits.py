"""Every limit appears exactly when its rule holds, with its numbers."""

import numpy as np
import pytest

from chiron.metrics.multi_label import evaluate_multi_label
from chiron.report import limits


def rules_of(evaluation, context):
    return {limit.rule: limit.sentence for limit in limits.limits_of(evaluation, context)}


def cells(normal, opacity):
    counts = {"normal": normal, "opacity": opacity}
    return {name: {"images": images, "groups": images // 2} for name, images in counts.items()}


# rule -> (change of the context that switches it on, words its sentence must hold)
BY_CONTEXT = {
    "sanity_run": ({"sanity_steps": 3}, "trained for 3 steps only, to see that all works. No number here is a result"),
    "leaks_accepted": ({"leaks_accepted": ["val/7 = train/3"]}, "1 known leak between splits, accepted by name: val/7"),
    "selected_where_scored": ({"split_scored": "val"}, "chose epoch 3 by val_auroc"),
    "split_unknown": ({"split_scored": "unknown"}, "240 images"),
    "test_looks": ({"test_looks": 4}, "scored 4 times"),
    "patients_unknown": ({"patients": "unknown"}, "Patients are unknown"),
    "one_source": ({"num_sites": 1}, "all images of training and testing come from one site. How far 240 images"),
    "ids_inferred": ({"ids": "inferred"}, "inferred by the reader class_folders"),
    "prevalence_unlike_clinic": ({"clinic_prevalence": {"opacity": 0.02}}, "opacity: 2.0 % expected"),
    "unreadable_images": ({"num_unreadable": 2}, "2 images could not be read and are"),
    "population_not_described": ({"population": ""}, "population behind the"),
    "reference_not_described": ({"reference_standard": ""}, "normal and opacity"),
    "random_init": ({"init": "scratch"}, "780 training images alone"),
    "imbalance_corrected_twice": ({"sampler": "balanced", "class_weights": "balanced"}, "class_weights: balanced)"),
    "probabilities_shifted": (
        {"class_weights": "balanced", "splits": {"train": cells(600, 180)}},
        "equally frequent (class_weights: balanced)",
    ),
    "characteristics_not_recorded": (
        {"columns": ["age_approx", "image"]},
        "Sex and skin tone are not recorded with these 240 images (recorded: age)",
    ),
    "split_unlike_others": (
        {"splits": {role: cells(*counts) for role, counts in {"train": (400, 400), "test": (150, 50)}.items()}},
        "opacity is 50.0 % of train and 25.0 % of the others",
    ),
    "one_seed": ({"seeds": [7]}, "One training run (seed 7)"),
}


def few(evaluation, groups):
    evaluation["class_counts"]["opacity"]["groups"] = groups


def worthless(evaluation):
    evaluation["overall"]["accuracy"]["low"] = evaluation["baselines"]["majority_class"]["accuracy"]["value"] - 0.01


def without_interval(evaluation):
    evaluation["overall"]["f1"].update(low=None, high=None, note="too many resamples without a class")


def too_few(evaluation):
    evaluation["overall"]["f1"]["note"] = "too few cases for a reliable interval (7 of 20 needed)"


def enough(evaluation):
    """No interval rests on too few cases."""
    for numbers in (evaluation["overall"], *evaluation["per_class"].values()):
        for estimate in numbers.values():
            if "too few cases" in (estimate.get("note") or ""):
                estimate["note"] = None


def one_image_a_group(evaluation):
    evaluation["num_groups"] = evaluation["num_images"]


def calibrated(evaluation):
    evaluation["calibration"]["consistency_band"] = [0, 1]


def miscalibrated(evaluation):
    evaluation["calibration"]["consistency_band"] = [0.0, evaluation["calibration"]["ece"] - 0.001]


def frozen(sensitivity, fitted_on="cal"):
    """A question whose threshold was to reach a sensitivity of 0.95."""
    threshold = {"sensitivity": 0.95, "fitted_on": fitted_on}

    def change(evaluation):
        found = evaluation["overall"]["sensitivity"] | {"value": sensitivity, "low": 0.8, "high": 0.94}
        evaluation["questions"] = {"opacity": {"threshold": threshold, "sensitivity": found}}

    return change


def refitted(evaluation):
    sizes = {"num_images": 80, "num_units": 80, "num_groups": 70}
    evaluation["recalibration"] = {"former_bundle_id": "abc", "split": "cal", "unit": "image", **sizes}
    evaluation["recalibration"]["thresholds"] = {"malignant": [0.125, 0.25]}


# rule -> (change that switches it on, change that switches it off, words its sentence must hold)
BY_NUMBERS = {
    "views_averaged": (lambda e: e.update(tta="hflip"), lambda e: e.update(tta="none"), "its mirror image"),
    "promise_not_kept": (frozen(0.9), frozen(0.95), "opacity: 0.95 promised, 0.900 (95 % CI 0.800–0.940) found"),
    "fitted_where_selected": (frozen(0.9, "reuse_val"), frozen(0.9), "fitted on val, which also chose the network"),
    "recalibrated": (
        refitted,
        lambda e: None,
        "on 80 images of 70 groups of these data (split cal), which are not scored. The threshold of malignant was "
        "0.125 and is 0.250.",
    ),
    "no_better_than_majority": (worthless, lambda e: None, "not shown to be better than always answering"),
    "image_level": (lambda e: None, one_image_a_group, "The unit is the image: 240 images of"),
    "small_class": (lambda e: few(e, 19), lambda e: few(e, 20), "Fewer than 20 groups in 1 class: opacity (19)"),
    "few_positives": (lambda e: few(e, 99), lambda e: few(e, 100), "99 groups (fewer than 100)"),
    "unreliable_intervals": (too_few, enough, " intervals rest on too few cases"),
    "undefined_numbers": (without_interval, lambda e: None, "0 are not defined and 1 has no interval"),
    "miscalibrated": (miscalibrated, calibrated, "The probabilities are not calibrated: ECE 0."),
}


def plain(text):
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize("rule", BY_CONTEXT)
def test_rule_follows_the_context(rule, binary, context_of):
    change, words = BY_CONTEXT[rule]
    assert rule not in rules_of(binary, context_of())
    assert words in plain(rules_of(binary, context_of(**change))[rule])


@pytest.mark.parametrize("rule", BY_NUMBERS)
def test_rule_follows_the_numbers(rule, evaluation_of, context_of):
    switch_on, switch_off, words = BY_NUMBERS[rule]
    on, off = evaluation_of(), evaluation_of()
    switch_on(on)
    switch_off(off)
    assert rule not in rules_of(off, context_of())
    assert words in plain(rules_of(on, context_of())[rule])


@pytest.mark.parametrize(("images", "is_told"), [((400, 200), True), ((210, 200), False), ((200, 200), False)])
def test_weights_shift_nothing_where_classes_are_equally_frequent(binary, context_of, images, is_told):
    context = context_of(class_weights="balanced", splits={"train": cells(*images)})
    assert ("probabilities_shifted" in rules_of(binary, context)) == is_told


def test_calibration_with_an_intercept_mends_shifted_probabilities(binary, context_of):
    context = context_of(class_weights="balanced", splits={"train": cells(600, 180)})
    for method, words in (("temperature", "one temperature cannot mend that"), ("platt", None)):
        binary["calibration_fit"] = {"method": method, "fitted_on": "cal", "by_class": {}}
        found = rules_of(binary, context).get("probabilities_shifted")
        assert (found is None) if words is None else (words in found)


def test_a_promise_that_the_interval_still_allows_is_told_as_such(binary, context_of):
    frozen(0.9)(binary)
    binary["questions"]["opacity"]["sensitivity"]["high"] = 0.96
    assert "found, which the interval allows" in rules_of(binary, context_of())["promise_not_kept"]


def test_external_data_lifts_the_internal_limit(binary, context_of):
    assert "all 240 images come from phantom-cxr" in plain(rules_of(binary, context_of())["no_external_data"])
    assert "no_external_data" not in rules_of(binary, context_of(split_scored="external"))


def test_looks_without_a_record_are_unknown(binary, context_of):
    for looks in ("unknown", None, 0):
        assert "is unknown" in rules_of(binary, context_of(test_looks=looks))["test_looks"]
    assert "test_looks" not in rules_of(binary, context_of(split_scored="val", test_looks=None))


def test_other_models_are_untested_and_must_share_the_images(binary, evaluation_of, context_of):
    same = {"name": "cnn", "params": 5, "init": "scratch", "evaluation": evaluation_of()}
    found = rules_of(binary, context_of(others=[same]))
    assert "Differences to cnn are not tested" in found["untested_differences"]
    assert "other_images" not in found
    fewer = same | {"evaluation": evaluation_of(num_images=200)}
    assert "cnn (200 images), against 240 images" in plain(rules_of(binary, context_of(others=[fewer]))["other_images"])
    assert not {"untested_differences", "other_images"} & rules_of(binary, context_of()).keys()


def test_prevalence_not_stated_is_a_limit_and_a_like_one_is_none(binary, context_of):
    assert "is not stated" in rules_of(binary, context_of(clinic_prevalence=None))["prevalence_unlike_clinic"]
    here = binary["class_counts"]["opacity"]["prevalence"]["value"]
    assert "prevalence_unlike_clinic" not in rules_of(binary, context_of(clinic_prevalence={"opacity": here}))


def test_absent_class_is_counted_as_undefined(seven, context_of):
    found = rules_of(seven, context_of())
    assert "df (0)" in found["small_class"]
    undefined = sum(
        seven["per_class"][name][key]["value"] is None
        for name in seven["classes"]
        for key in seven["per_class"][name]
        if key != "support"
    ) + sum(estimate["value"] is None for estimate in seven["overall"].values())
    assert undefined > 5
    assert f", {undefined} are not defined" in plain(found["undefined_numbers"])
    assert "few_positives" not in found


def test_small_or_uncertain_differences_between_splits_are_none(binary, context_of):
    for train, test in (((400, 400), (104, 96)), ((40, 40), (7, 5))):
        splits = {"train": cells(*train), "test": cells(*test)}
        assert "split_unlike_others" not in rules_of(binary, context_of(splits=splits))


def test_recorded_characteristics_and_gray_images_are_no_limit(binary, context_of):
    for changes in (
        {"columns": ["Age", "sex", "Fitzpatrick skin type"]},
        {"columns": ["age", "gender"], "color": False},
    ):
        assert "characteristics_not_recorded" not in rules_of(binary, context_of(**changes))
    assert "characteristics_not_recorded" not in rules_of(binary, context_of(columns=None))


def test_what_holds_is_decided_by_the_exact_numbers(evaluation_of, context_of):
    """A limit that rounding would hide is told in general words; one that rounding would bring up is not told."""
    exact, coarse = evaluation_of(), evaluation_of()
    few(exact, 99)
    few(coarse, 100)
    worthless(coarse)
    found = {it.rule: it.sentence for it in limits.limits_of(coarse, context_of(), exact=(exact, context_of()))}
    assert found["few_positives"] == "Two classes and few cases of the class of interest."
    assert "no_better_than_majority" not in found


def test_labels_that_were_not_assessed_are_counted(context_of, binary):
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 2, (60, 2)).astype(float), rng.random((60, 2))
    whole = evaluate_multi_label(y_true, y_prob, classes=["a", "b"], groups=None, num_resamples=100).to_json()
    assert "labels_not_assessed" not in rules_of(whole, context_of())
    assert "labels_not_assessed" not in rules_of(binary, context_of())
    whole["uncertain_labels"] = {"labels": 3, "counted_as": "ones"}
    sentence = limits.numbers.labels_not_assessed(whole, context_of())
    assert sentence.replace("\u00a0", " ") == "3 uncertain labels are counted as present."
    y_true[:7, 1] = np.nan
    part = evaluate_multi_label(y_true, y_prob, classes=["a", "b"], groups=None, num_resamples=100).to_json()
    sentence = limits.numbers.labels_not_assessed(part, context_of())
    assert "Assessed of 60 images: b (53)." in sentence.replace("\u00a0", " ")


def test_every_rule_is_tested_on_and_off():
    apart = {"labels_not_assessed", "no_external_data", "other_images", "untested_differences"}
    assert {rule.__name__ for rule in limits.RULES} == BY_CONTEXT.keys() | BY_NUMBERS.keys() | apart
