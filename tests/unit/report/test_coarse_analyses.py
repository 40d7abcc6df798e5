"""What leaves a project about parts of the images: counts in fives, no rate that tells few, none that follows."""

from dataclasses import asdict

import numpy as np

from chiron.metrics.question import Question
from chiron.metrics.readers import Answers, reader_numbers
from chiron.metrics.subgroups import Attribute, part_numbers, subgroup_numbers
from chiron.metrics.worst_case import worst_case
from chiron.report.coarse_analyses import shareable_analyses
from chiron.report.format import Few


def drawn(n: int = 400, wrong: float = 0.15) -> Question:
    rng = np.random.default_rng(4)
    positive = np.arange(n) % 2 == 0
    called = np.where(rng.uniform(size=n) < wrong, ~positive, positive)
    return Question("sick", positive, np.clip(called * 0.4 + 0.4 * rng.uniform(size=n), 0, 1), called, np.arange(n))


def counts_in(value) -> list[int]:
    if isinstance(value, dict):
        return [n for it in value.values() for n in counts_in(it)]
    if isinstance(value, list):
        return [n for it in value for n in counts_in(it)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def analyses() -> dict:
    question = drawn()
    sizes = np.repeat([0, 1, 2, 3], [180, 180, 36, 4])
    attribute = Attribute("site", ("a", "b", "c", "not recorded"), sizes)
    parts = {name: {"images": 0, "questions": {"sick": part_numbers(question, attribute.rows(name))}} for name in "abc"}
    said = np.where(np.arange(400) % 9 == 0, ~question.positive, question.positive).astype(float)
    return {
        "subgroups": subgroup_numbers(question, [attribute]),
        "strata": [{"attribute": "dx_type", "groups": parts}],
        "worst_case": {
            "statuses": {"ok": 400, "unreadable": 3},
            "questions": {"sick": worst_case(question, np.array([True, True, False]), np.arange(400, 403))},
        },
        "readers": reader_numbers(question, [Answers("anna", np.ones(400, bool), said)], num_resamples=200),
    }


def test_every_count_is_a_multiple_of_five_or_few():
    told = shareable_analyses(analyses())
    counts = counts_in(told)
    assert len(counts) > 40
    assert all(isinstance(count, Few) or count % 5 == 0 for count in counts)
    assert isinstance(told["worst_case"]["statuses"]["unreadable"], Few)
    (entry,) = told["subgroups"]
    assert isinstance(entry["groups"]["not recorded"]["groups"], Few)


def test_rates_of_few_are_withheld_and_never_one_alone():
    exact, told = analyses()["subgroups"][0]["groups"], shareable_analyses(analyses())["subgroups"][0]["groups"]
    small = exact["c"]["sensitivity"]
    assert small["num_images"] - round(small["value"] * small["num_images"]) < 5
    for rate in ("sensitivity", "specificity"):
        missing = [name for name, group in told.items() if group[rate]["value"] is None]
        assert {"c", "not recorded"} <= set(missing)
        assert "b" not in missing
        assert told["b"][rate]["value"] == exact["b"][rate]["value"]
    assert told["c"]["difference_to_rest"]["sensitivity"]["value"] is None


def test_sentences_of_withheld_groups_are_left_out():
    question = drawn(wrong=0.02)
    attribute = Attribute("sex", ("x", "y"), np.arange(400) // 200)
    exact = subgroup_numbers(question, [attribute])
    assert any(said.startswith("sensitivity") for said in exact[0]["cannot_be_excluded"])
    (told,) = shareable_analyses({"subgroups": exact})["subgroups"]
    assert not any(said.startswith("sensitivity") for said in told["cannot_be_excluded"])
    assert asdict(question.sensitivity())["value"] is not None
