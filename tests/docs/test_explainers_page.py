"""The page of explainers is made of the shipped evidence."""

from pathlib import Path

from chiron.explanation.choose import EVIDENCE, read_evidence
from chiron.report.explainers_page import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "explainers.md"


def test_the_page_is_up_to_date():
    """Otherwise: chiron bench explainers --out DIR, then copy explainers.md here and evidence.json beside choose.py."""
    assert PAGE.read_text(encoding="utf-8") == page(read_evidence(EVIDENCE))
