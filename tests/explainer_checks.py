"""Checks of explainers as a bundle keeps them, for tests."""

from typing import Any

from chiron.spec.explainer_check import CheckedMean, ExplainerCheck


def explainer_check(**changes: Any) -> ExplainerCheck:
    """One that passed on a test split; `changes` are its fields."""
    usual: dict[str, Any] = {
        "method": "hires_cam",
        "title": "HiRes-CAM",
        "label": "recommended",
        "reasons": (),
        "means": {"stability": CheckedMean(value=0.9, low=0.8, high=0.95)},
        "source": "test",
        "num_images": 40,
        "num_units": 31,
        "class_name": None,
        "with_findings": False,
        "created": "2026-11-22T08:00:00+00:00",
        "chiron_version": "0.1.0",
    }
    return ExplainerCheck(**(usual | changes))
