"""The page of an audit: what was not tested is not called clear, and what is not known leaves no row."""

import re
from dataclasses import replace

from audit_sets import make_set

from chiron.audit.findings import audit_manifest
from chiron.data.reading import read_dataset
from chiron.report.audit_page import LIMITS_OF_PROBES, render_audit, verdicts


def table_of(page: str, title: str) -> str:
    """The row of a probe, without its tags."""
    (row,) = (part for part in re.findall(r"<tr>.*?</tr>", page) if f">{title}</th>" in part)
    return re.sub(r"<[^>]+>", " ", row)


def test_a_probe_of_perfect_order_in_three_classes_shows_its_value_without_an_interval(tmp_path):
    manifest, _ = make_set(
        tmp_path, count=150, classes=("a", "b", "c"), columns=lambda label, number: {"device": f"scanner {label}"}
    )
    audit = audit_manifest(replace(manifest, roles={"device": "technical"}))
    (probe,) = (result for result in audit.shortcuts.technical if result.key == "column:device")
    assert (probe.auroc, probe.low) == (1.0, None)
    row = table_of(render_audit(audit), probe.title)
    assert "1.00" in row
    assert "can be told from" in row
    assert "not tested" not in row
    assert LIMITS_OF_PROBES in render_audit(audit)


def test_too_few_groups_are_no_clear_verdict(tmp_path):
    manifest, _ = make_set(tmp_path, count=24)
    audit = audit_manifest(manifest)
    assert audit.shortcuts.num_tests == 0
    told = {sentence: weight for weight, sentence in verdicts(audit)}
    assert told["Whether a technical property of the files tells the label was not tested: too few groups."] == "look"
    assert not any(sentence.startswith("No technical property") for sentence in told)


def test_tested_without_an_alarm_is_clear(tmp_path):
    manifest, _ = make_set(tmp_path)
    told = {sentence: weight for weight, sentence in verdicts(audit_manifest(manifest))}
    assert told["No technical property of the files tells the label."] == "clear"


def test_where_no_image_is_readable_facts_of_pictures_are_left_out(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "data" / label / f"{label}{number}.png").write_bytes(b"no image %d" % number)
    audit = audit_manifest(read_dataset(tmp_path / "data", conflicts="note"))
    assert audit.fingerprint.widths == ()
    page = render_audit(audit)
    assert "the label was not tested: too few groups" in page
    assert "unreadable 6" in page
    assert "Width / height" not in page
