import json

import pytest

from chiron.audit.ledger import LEDGER, count_looks, project_folder, record_look

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
