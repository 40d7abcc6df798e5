import json

import pytest

from chiron.audit.ledger import (
    LEDGER,
    count_looks,
    entered_plans,
    open_ledger,
    project_folder,
    record_look,
    record_plan,
)

CONTENTS = [f"{k:064x}" for k in range(10, 40)]


def look(project, contents=CONTENTS, bundle="a"):
    record_look(project, bundle_id=bundle, contents=contents, command="chiron evaluate run")


def test_looks_are_counted_and_survive(tmp_path):
    assert count_looks(tmp_path, CONTENTS) == 0
    look(tmp_path)
    look(tmp_path, bundle="b")
    assert count_looks(tmp_path, CONTENTS) == 2


def test_order_renaming_and_subsets_are_recognized(tmp_path):
    look(tmp_path)
    assert count_looks(tmp_path, reversed(CONTENTS)) == 1
    assert count_looks(tmp_path, CONTENTS[:5]) == 1
    assert count_looks(tmp_path, [f"f{k:063x}" for k in range(5)]) == 0


@pytest.mark.parametrize("damage", ["edit", "remove", "garbage", "cut last line"])
def test_broken_chain_is_unknown_never_a_number(tmp_path, damage):
    for bundle in "abc":
        look(tmp_path, bundle=bundle)
    path = tmp_path / LEDGER
    lines = path.read_text().splitlines()
    if damage == "edit":
        entry = json.loads(lines[1])
        entry["command"] = "nothing happened"
        lines[1] = json.dumps(entry)
    elif damage == "remove":
        del lines[1]
    elif damage == "garbage":
        lines[1] = "{"
    else:
        lines[2] = lines[2][:20]
    path.write_text("\n".join(lines) + "\n\n")
    assert count_looks(tmp_path, CONTENTS) is None
    look(tmp_path)  # a further look is still written down, and does not mend the chain
    assert count_looks(tmp_path, CONTENTS) is None


def test_project_is_the_nearest_folder_with_a_ledger(tmp_path):
    run = tmp_path / "project" / "runs" / "one"
    assert project_folder(run) == tmp_path / "project" / "runs"
    look(tmp_path / "project")
    assert project_folder(run) == tmp_path / "project"


def test_a_plan_is_in_the_chain_and_is_no_look(tmp_path):
    look(tmp_path)
    first = record_plan(tmp_path, study="s", plan="a" * 64, contents=CONTENTS, command="chiron study s.yaml")
    assert first.looks_before == 1
    look(tmp_path, bundle="b")
    assert count_looks(tmp_path, CONTENTS) == 2
    again = record_plan(tmp_path, study="s", plan="a" * 64, contents=CONTENTS, command="chiron study s.yaml")
    assert again == first
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 3
    other = record_plan(tmp_path, study="s", plan="b" * 64, contents=CONTENTS, command="chiron study s.yaml")
    assert other.looks_before == 2
    assert [entry.plan[0] for entry in entered_plans(tmp_path, "s", CONTENTS)] == ["a", "b"]
    assert entered_plans(tmp_path, "another", CONTENTS) == []
    assert record_plan(tmp_path, study="t", plan="c", contents=["f" * 64], command="").looks_before == 0


def test_a_plan_that_was_changed_breaks_the_chain(tmp_path):
    record_plan(tmp_path, study="s", plan="a" * 64, contents=CONTENTS, command="chiron study s.yaml")
    look(tmp_path)
    path = tmp_path / LEDGER
    path.write_text(path.read_text().replace("a" * 64, "b" * 64))
    assert count_looks(tmp_path, CONTENTS) is None
    (entered,) = entered_plans(tmp_path, "s", CONTENTS)
    assert entered.looks_before is None


def test_an_open_ledger_is_the_project_of_all_below(tmp_path):
    open_ledger(tmp_path / "project")
    assert project_folder(tmp_path / "project" / "study" / "runs" / "one") == tmp_path / "project"
    assert count_looks(tmp_path / "project", CONTENTS) == 0
