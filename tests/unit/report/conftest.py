"""Small evaluations made by the real metrics, so that report and metrics cannot drift apart unseen."""

import copy
from functools import cache

import numpy as np
import pytest

from chiron.metrics.evaluation import evaluate
from chiron.report.context import ReportContext
from chiron.report.figures import draw_figures, inline_svg
from chiron.report.page import render_report

SEVEN = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


@cache
def make_evaluation(classes=("normal", "opacity"), positive="opacity", absent=None, num_images=240, seed=0):
    """An evaluation of simulated outputs; `absent` names a class without an image."""
    rng = np.random.default_rng(seed)
    present = [index for index, name in enumerate(classes) if name != absent]
    y_true = rng.choice(present, size=num_images)
    logits = rng.normal(size=(num_images, len(classes)))
    logits[np.arange(num_images), y_true] += 2
    y_prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = [int(group) for group in rng.integers(0, int(num_images * 0.8), num_images)]
    settings = {"classes": classes, "positive": positive, "groups": groups, "num_resamples": 200}
    return evaluate(y_true, y_prob, **settings).to_json()


@pytest.fixture
def evaluation_of():
    """A function that gives a fresh copy of an evaluation, so that a test may change it."""
    return lambda *args, **kwargs: copy.deepcopy(make_evaluation(*args, **kwargs))


@pytest.fixture
def binary(evaluation_of):
    """Two classes, one of them positive."""
    return evaluation_of()


@pytest.fixture
def seven(evaluation_of):
    """Seven classes, one of them without an image: its numbers are not defined."""
    return evaluation_of(SEVEN, None, absent="df")


def make_history():
    """Four epochs, the third the best."""
    aurocs = (0.71, 0.84, 0.92, 0.9)
    return [
        {"epoch": n, "train_loss": 1 / n, "val_loss": 1.2 / n, "val_auroc": auroc, "lr": 1e-3 / n, "seconds": 30.0}
        for n, auroc in enumerate(aurocs, start=1)
    ]


@pytest.fixture
def history():
    """The epochs of `make_history`."""
    return make_history()


def make_context(**changes):
    """A context in which as few limits hold as a context can decide; changes switch single limits on."""
    values = {
        "title": "a run",
        "model": "chiron_h_coatnet_nano",
        "init": "imagenet",
        "recipe_text": "model:\n  name: chiron_h_coatnet_nano\n",
        "data_source": "phantom-cxr",
        "reader": "class_folders",
        "grouping": "A group is one patient",
        "splits": {"train": {"normal": {"images": 400, "groups": 300}, "opacity": {"images": 380, "groups": 310}}},
        "table_one": {"splits": {"train": {"images": 780, "groups": 600, "patients": 590}}, "columns": []},
        "num_patients": 139,
        "task": "Does this image show an opacity?",
        "population": "Synthetic images",
        "reference_standard": "Drawn truth",
        "clinic_prevalence": {},
        "num_parameters": 612_844,
        "patients": "known",
        "ids": "certain",
        "test_looks": 1,
        "split_scored": "test",
        "selection_metric": "val_auroc",
        "best_epoch": 3,
        "seeds": [0, 1, 2],
        "environment": {"python": "3.12", "libraries": {"numpy": "2.1"}},
        "created": "2026-01-02T03:04:05+00:00",
        "command": "chiron train recipe --data phantoms --out runs/a",
    }
    return ReportContext(**(values | changes))


@pytest.fixture
def context_of():
    """A function that makes a context with changes."""
    return make_context


@pytest.fixture(scope="session")
def binary_html():
    """The page of the binary evaluation with history, made once."""
    return render_report(make_evaluation(), make_context(), make_history())


@pytest.fixture(scope="session")
def binary_figures():
    """The binary evaluation's figures as inline SVG, by name, made once: (drawing, svg)."""
    drawings = draw_figures(make_evaluation(), make_history(), selection_metric="val_auroc", best_epoch=3)
    return {drawing.name: (drawing, inline_svg(drawing)) for drawing in drawings}
