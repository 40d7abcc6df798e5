"""Which words a bundle's own checks allow."""

from explainer_checks import explainer_check

from chiron.explanation.checked import standing_in_bundle

FAILED = {"label": "experimental", "reasons": ("not shown to be stable",)}


def test_what_was_not_checked_is_experimental_and_says_how_to_check_it():
    told = standing_in_bundle([explainer_check()], "grad_cam")
    assert not told.may_be_shown
    assert not told.is_checked
    assert "chiron evaluate RUN --explain grad_cam" in told.reasons[0]
    assert "at least 20 units" in told.reasons[0]


def test_what_passed_may_be_shown_with_what_it_rests_on():
    told = standing_in_bundle([explainer_check()], "hires_cam")
    assert told.may_be_shown
    assert told.words == "recommended for this bundle, by 40 images of its test split (2026-11-22)"
    given = explainer_check(source="given", num_images=25, with_findings=True)
    assert "and 25 images that were given, with their findings known (" in (
        standing_in_bundle([explainer_check(), given], "hires_cam").words
    )


def test_one_check_that_failed_is_enough():
    for checks in ([explainer_check(), explainer_check(source="given", **FAILED)], [explainer_check(**FAILED)]):
        told = standing_in_bundle(checks, "hires_cam")
        assert not told.may_be_shown
        assert told.is_checked
        assert len(told.reasons) == 1
        assert told.reasons[0].endswith("(2026-11-22): not shown to be stable")


def test_a_check_of_one_class_counts_for_that_class_alone():
    checks = [explainer_check(class_name="sick")]
    assert standing_in_bundle(checks, "hires_cam", class_name="sick").may_be_shown
    assert not standing_in_bundle(checks, "hires_cam", class_name="well").may_be_shown
    assert not standing_in_bundle(checks, "hires_cam").may_be_shown
    assert standing_in_bundle([explainer_check()], "hires_cam", class_name="well").may_be_shown
