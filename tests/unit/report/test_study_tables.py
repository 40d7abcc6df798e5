"""What stands under the table of a study."""

from chiron.report.study_tables import table_notes


def result(note):
    return {"value": 0.9, "low": 0.8, "high": 0.95, "note": note}


def arm(name, **notes):
    return {"arm": name, "off_budget": None, "results": {metric: result(note) for metric, note in notes.items()}}


def test_a_reason_is_told_once_with_rows_only_where_others_do_without():
    study = {
        "confidence": 0.95,
        "folds": None,
        "seeds": [0, 1, 2],
        "metrics": ["accuracy", "auroc", "macro_f1"],
        "arms": [
            arm("a", accuracy=None, auroc="few", macro_f1="few"),
            arm("b", accuracy="odd", auroc=None, macro_f1="few"),
        ],
        "baselines": [],
    }
    marks = [note for note in table_notes(study) if note.startswith("* ")]
    assert marks == ["* AUROC of a, F1, macro: few.", "* Accuracy of b: odd."]
