"""The page of metrics is made of the registry, and every metric and function that it advises exists."""

import re
from importlib import import_module

from metrics_page import ADVICE, FAMILIES, PAGE, page

from chiron.metrics.metric import Family
from chiron.metrics.multi_label import AVERAGED, MICRO
from chiron.spec.metric_names import directions


def test_the_page_is_up_to_date():
    """Otherwise: python tests/metrics_page.py."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_family_is_told():
    assert set(FAMILIES) == set(Family)


def test_what_is_advised_exists():
    known = {*directions(), "exact_match", *(f"macro_{key}" for key in AVERAGED), *(f"micro_{key}" for key in MICRO)}
    advised = set(re.findall(r"`(\w+)`", " ".join(f"{report} {mind}" for _, report, mind in ADVICE)))
    assert len(advised) > 20
    assert advised <= known
    for name in re.findall(r"`(chiron\.metrics[\w.]+)", page()):
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function))
