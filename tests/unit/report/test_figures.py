"""Figures: written, the same each time, free of outside addresses, and told in words."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from PIL import Image

from chiron.core.errors import OutputError
from chiron.report.figures import draw_figures, inline_svg, png_of, svg_of, write_figures
from chiron.report.plots.style import short_labels

NAMES = ["confusion_matrix_counts", "confusion_matrix_normalized", "roc", "per_class", "reliability", "learning_curves"]
LONG = tuple(f"Finding {n}, a remarkably long name that goes on and on, of the other lobe" for n in range(12))
ODD = ("<b>bold</b> & $x^2$", "_hidden", 'quote " and \n line')


def test_figures_are_written_as_svg_and_png(binary, history, tmp_path):
    drawings = draw_figures(binary, history, selection_metric="val_auroc", best_epoch=3)
    written = write_figures(drawings, tmp_path / "figures")
    assert list(written) == NAMES
    for name, (svg, png) in written.items():
        assert (svg.name, png.name) == (f"{name}.svg", f"{name}.png")
        ElementTree.parse(svg)
        with Image.open(png) as image:
            assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
            assert len(image.convert("L").getcolors(256)) > 20
            assert image.info["Description"]


def test_figures_are_the_same_each_time(binary, history, binary_figures):
    for drawing in draw_figures(binary, history, selection_metric="val_auroc", best_epoch=3):
        assert inline_svg(drawing) == binary_figures[drawing.name][1]
    one, other = (draw_figures(binary)[0] for _ in range(2))
    assert svg_of(one) == svg_of(other)
    assert png_of(one) == png_of(other)
    assert "<dc:date>" not in svg_of(one)


def test_a_figure_is_placed_once_for_all_its_files(binary):
    """Whichever is made first; matplotlib would place the parts anew, at the resolution of each file."""
    one, other = (draw_figures(binary)[2] for _ in range(2))
    png, svg = png_of(one), svg_of(one)
    assert (svg_of(other), png_of(other)) == (svg, png)
    placed = [axes.get_position().bounds for axes in one.figure.axes]
    png_of(one)
    assert [axes.get_position().bounds for axes in one.figure.axes] == placed
    assert one.figure.get_layout_engine() is None


def test_without_history_there_are_no_learning_curves(binary):
    for absent in (None, []):
        assert [drawing.name for drawing in draw_figures(binary, absent)] == NAMES[:-1]


def test_a_folder_below_a_file_is_one_clear_error(binary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        write_figures(draw_figures(binary), tmp_path / "file" / "figures")


@pytest.mark.parametrize("classes", [LONG[:2], (*LONG, *ODD)], ids=["2", "15"])
def test_long_and_odd_names_are_drawn_and_told(evaluation_of, classes):
    evaluation = evaluation_of(classes, classes[0] if len(classes) == 2 else None)
    drawings = draw_figures(evaluation, None)
    assert [drawing.name for drawing in drawings] == NAMES[:-1]
    for drawing in drawings:
        ElementTree.fromstring(inline_svg(drawing))
    for name in classes:
        assert f"{name}: " in drawings[0].alt
    if len(classes) > 2:
        assert "$x^2$" in inline_svg(drawings[0])  # as text, not as a formula
        assert "_hidden" in inline_svg(drawings[2])


def test_alternatives_hold_the_numbers(binary, binary_figures):
    drawings = {name: drawing.alt for name, (drawing, _) in binary_figures.items()}
    counts = binary["confusion_matrix"]["counts"]
    assert f"normal: {counts[0][0]} of {sum(counts[0])} agree" in drawings["confusion_matrix_counts"]
    assert f"({100 * counts[1][1] / sum(counts[1]):.1f}\u00a0%)" in drawings["confusion_matrix_normalized"]
    assert f"opacity {binary['overall']['auroc']['value']:.3f} (95\u00a0% CI" in drawings["roc"]
    assert f"ECE {binary['calibration']['ece']:.3f}; calibrated model: " in drawings["reliability"]
    for name in binary["classes"]:
        assert f"Sensitivity {binary['per_class'][name]['sensitivity']['value']:.3f}" in drawings["per_class"]
    assert "AUROC, val (tuning): from 0.710 to 0.900. " in drawings["learning_curves"]
    assert "Learning rate: from 0.001000 to " in drawings["learning_curves"]
    assert drawings["learning_curves"].endswith("Epoch 3 was kept.")


def test_undefined_numbers_are_told_and_leave_no_curve(seven):
    drawings = {drawing.name: drawing for drawing in draw_figures(seven, None)}
    assert "df: no image." in drawings["confusion_matrix_counts"].alt
    assert "Sensitivity not defined: " in drawings["per_class"].alt
    assert "not defined" in inline_svg(drawings["per_class"])
    assert "df" not in drawings["roc"].alt


def test_roc_has_one_curve_for_two_classes_and_the_auroc_in_words(binary, seven, binary_figures):
    auroc = binary["overall"]["auroc"]
    label = f"{auroc['value']:.3f} ({auroc['low']:.3f}–{auroc['high']:.3f})  opacity"
    assert label in binary_figures["roc"][1]
    svg = inline_svg(draw_figures(seven, None)[2])
    for name in set(seven["classes"]) - {"df"}:
        auroc = seven["per_class"][name]["auroc"]
        assert f"{auroc['value']:.3f} ({auroc['low']:.3f}–{auroc['high']:.3f})" in svg


def test_inline_svg_has_a_role_its_words_and_no_outside_address(binary_figures):
    for drawing, svg in binary_figures.values():
        assert ElementTree.fromstring(svg).attrib["aria-label"] == drawing.alt
        assert 'role="img"' in svg
        assert "http" not in svg
        assert "<style" not in svg
        ids = re.findall(r' id="([^"]+)"', svg)
        assert all(name.startswith(f"{drawing.name}-") for name in ids)
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) <= set(ids)


def test_nothing_global_changes(binary):
    before = dict(matplotlib.rcParams)
    png_of(draw_figures(binary, None)[0])
    assert dict(matplotlib.rcParams) == before


def test_a_matplotlibrc_of_the_user_changes_nothing(binary):
    plain = svg_of(draw_figures(binary, None)[0])
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        assert svg_of(draw_figures(binary, None)[0]) == plain


def test_pyplot_is_never_imported():
    code = "import sys, chiron.report.page; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figures_without_color_still_differ(binary):
    """In gray print the diagonal of a good model is darker than the rest."""
    drawing = draw_figures(binary, None)[1]
    image = Image.open(io.BytesIO(png_of(drawing))).convert("L")
    assert image.getextrema()[0] < 80 < 240 < image.getextrema()[1]


@pytest.mark.parametrize("width", [12, 24])
def test_short_labels_stay_short_and_different(width):
    short = short_labels([*LONG, *ODD, ""], width=width)
    assert len(set(short)) == len(short)
    assert max(map(len, short)) <= width
    assert short_labels(["nevus", "mel"]) == ["nevus", "mel"]
