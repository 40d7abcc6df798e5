"""The forest plot and the table of a comparison."""

import numpy as np
import pytest

from chiron.report.comparison_table import comparison_markdown, comparison_rows, difference_text
from chiron.report.plots import forest
from chiron.report.plots.style import BLUE, INK, figure_style


def row(second, difference, limits, verdict, **changes):
    return {
        "metric": "auroc",
        "first": "a",
        "second": second,
        "first_value": 0.8,
        "second_value": 0.8 + (difference or 0),
        "difference": difference,
        "low": limits and limits[0],
        "high": limits and limits[1],
        "simultaneous": None,
        "p_value": 0.0004,
        "adjusted_p": 0.02,
        "margin": None,
        "verdict": verdict,
        "words": f"auroc: {verdict}",
        "note": None,
        "test": "paired DeLong, t",
        "method": "paired DeLong, t",
    } | changes


@pytest.fixture
def comparison():
    rows = [
        row("b", 0.05, (0.02, 0.08), "better", simultaneous=[0.01, 0.09], margin={"margin": 0.02, "words": "w"}),
        row("c|d", -0.01, (-0.03, 0.01), "no evidence of a difference"),
        row("e", None, None, "no verdict", note="too few cases", first_value=None),
    ]
    return {
        "question": "these models on these cases, trainings fixed",
        "kind": "models",
        "split": "val",
        "unit": "image",
        "num_images": 1200,
        "num_groups": 300,
        "left_out": {"b": 3},
        "confidence_level": 0.95,
        "reference": "a",
        "family": {"size": 3, "how": "Holm"},
        "comparisons": rows,
    }


def test_lines_are_the_intervals_that_the_words_rest_on(comparison):
    with figure_style():
        drawing = forest.draw(comparison)
    axis = drawing.figure.axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == line.get_ydata()[1]]
    assert [list(line.get_xdata()) for line in lines] == [[0.01, 0.09], [-0.03, 0.01]]
    assert [line.get_color() for line in lines] == [BLUE, INK]
    points = [line for line in axis.lines if len(line.get_xdata()) == 1]
    assert [float(np.ravel(line.get_xdata())[0]) for line in points] == [0.05, -0.01]
    assert [line.get_marker() for line in points] == ["D", "o"]
    assert "auroc, b: +0.050 (+0.010 to +0.090), better." in drawing.alt
    assert "simultaneous" in drawing.caption


def test_nothing_defined_gives_no_figure(comparison):
    comparison["comparisons"] = comparison["comparisons"][2:]
    assert forest.draw(comparison) is None


def test_the_table_and_the_words(comparison):
    rows = comparison_rows(comparison)
    assert rows[0] == ("auroc", "a", "b", "0.800", "0.850", "+0.050 (+0.010 to +0.090)", "<0.001", "0.020")
    assert difference_text(comparison["comparisons"][1]) == "−0.010 (−0.030 to +0.010)"
    text = comparison_markdown(comparison)
    assert "c\\|d" in text
    assert "not defined" in text
    assert "auroc: too few cases" in text
    assert "Left out, as other tables lack them: 3 of b." in text
    assert "val was used to choose or to fit" in text


def test_a_ratio_is_told_as_one(comparison):
    comparison["comparisons"][0] |= {
        "metric": "positive_likelihood_ratio",
        "scale": "log",
        "difference": np.log(2),
        "simultaneous": [np.log(1.5), np.log(3)],
        "margin": None,
    }
    assert difference_text(comparison["comparisons"][0]) == "×2.000 (1.500 to 3.000)"
    assert "| ×2.000 (1.500 to 3.000) |" in comparison_markdown(comparison)
    with figure_style():
        drawing = forest.draw(comparison)
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert [", log ratio" in label for label in labels] == [True, False]
