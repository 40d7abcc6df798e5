"""What a metric is called for people, and what it tells them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A metric's name in a table and one short line that explains it."""

    name: str
    meaning: str
    unit_interval: bool = True  # whether its values lie in 0 to 1, so that a range can be drawn


WORDS = {
    "auroc": Word("AUROC", "chance that a positive image gets a higher output than a negative one"),
    "average_precision": Word("Average precision", "area below the precision-sensitivity curve; depends on prevalence"),
    "macro_auroc": Word("AUROC, macro", "mean over the classes, each against the rest"),
    "macro_average_precision": Word("Average precision, macro", "mean over the classes, each against the rest"),
    "accuracy": Word("Accuracy", "share of images whose model output agrees with the reference standard"),
    "balanced_accuracy": Word("Balanced accuracy", "mean sensitivity over the classes"),
    "sensitivity": Word("Sensitivity (recall)", "share of positive images that the model calls positive"),
    "specificity": Word("Specificity", "share of negative images that the model calls negative"),
    "ppv": Word("PPV (precision)", "share of positive outputs that are right; depends on prevalence"),
    "npv": Word("NPV", "share of negative outputs that are right; depends on prevalence"),
    "precision": Word("Precision (PPV)", "share of outputs of this class that are right; depends on prevalence"),
    "f1": Word("F1", "harmonic mean of precision and sensitivity"),
    "macro_precision": Word("Precision, macro", "mean over the classes"),
    "macro_sensitivity": Word("Sensitivity, macro", "mean over the classes; equals balanced accuracy"),
    "macro_specificity": Word("Specificity, macro", "mean over the classes"),
    "macro_f1": Word("F1, macro", "mean over the classes"),
    "weighted_precision": Word("Precision, weighted", "mean over the classes by number of images"),
    "weighted_sensitivity": Word("Sensitivity, weighted", "mean over the classes by number of images; equals accuracy"),
    "weighted_specificity": Word("Specificity, weighted", "mean over the classes by number of images"),
    "weighted_f1": Word("F1, weighted", "mean over the classes by number of images"),
    "mcc": Word("MCC", "correlation of output and reference; 0 is chance", unit_interval=False),
    "kappa": Word("Cohen's kappa", "agreement beyond chance, unweighted", unit_interval=False),
    "kappa_linear": Word("Kappa, linear", "agreement beyond chance; costs grow with the distance", unit_interval=False),
    "kappa_quadratic": Word(
        "Kappa, quadratic", "agreement beyond chance; costs: squared distance", unit_interval=False
    ),
    "positive_likelihood_ratio": Word("LR+", "factor on the odds when the output is positive", unit_interval=False),
    "negative_likelihood_ratio": Word("LR−", "factor on the odds when the output is negative", unit_interval=False),
    "top_3_accuracy": Word("Top-3 accuracy", "share of images with the reference class among the three likeliest"),
    "top_5_accuracy": Word("Top-5 accuracy", "share of images with the reference class among the five likeliest"),
    "partial_auroc": Word("Partial AUROC", "specificity of 0.9 and more, McClish: 0.5 is chance, 1 is best"),
    "macro_partial_auroc": Word("Partial AUROC, macro", "mean over the classes; specificity of 0.9 and more, McClish"),
    "sensitivity_at_specificity_90": Word(
        "Sensitivity at specificity 0.90", "the best on these images; no operating point"
    ),
    "sensitivity_at_specificity_95": Word(
        "Sensitivity at specificity 0.95", "the best on these images; no operating point"
    ),
    "specificity_at_sensitivity_90": Word(
        "Specificity at sensitivity 0.90", "the best on these images; no operating point"
    ),
    "specificity_at_sensitivity_95": Word(
        "Specificity at sensitivity 0.95", "the best on these images; no operating point"
    ),
    "weighted_auroc": Word("AUROC, weighted", "mean over the classes by number of images"),
    "weighted_average_precision": Word("Average precision, weighted", "mean over the classes by number of images"),
    "macro_npv": Word("NPV, macro", "mean over the classes"),
    "weighted_npv": Word("NPV, weighted", "mean over the classes by number of images"),
    "micro_precision": Word("Precision, micro", "over all decisions together; of one class an image the accuracy"),
    "micro_sensitivity": Word("Sensitivity, micro", "over all decisions together; of one class an image the accuracy"),
    "macro_brier": Word("Brier score, macro", "mean over the classes; 0 is best", unit_interval=False),
    "micro_auroc": Word("AUROC, micro", "over all assessed labels together, whatever their class"),
    "micro_f1": Word("F1, micro", "over all decisions together; of one class an image the accuracy"),
    "exact_match": Word("Exact match", "share of images with every class called rightly, where all were assessed"),
    "brier": Word("Brier score", "mean squared error of the probabilities; 0 is best", unit_interval=False),
    "log_loss": Word("Log loss", "mean negative log probability of the right class; 0 is best", unit_interval=False),
    "ece": Word("ECE", "mean gap between confidence and accuracy; 0 is best", unit_interval=False),
}

DECISIONS = "Decisions: the class with the highest output"
DECISIONS_OF_SEVERAL = "Decisions: every class with an output of 0.5 and more"
GROUPS = (
    (
        "Ranking of the outputs, no threshold",
        (
            *("auroc", "macro_auroc", "weighted_auroc", "micro_auroc", "partial_auroc", "macro_partial_auroc"),
            *("average_precision", "macro_average_precision", "weighted_average_precision"),
            *("sensitivity_at_specificity_90", "sensitivity_at_specificity_95"),
            *("specificity_at_sensitivity_90", "specificity_at_sensitivity_95"),
        ),
    ),
    (
        DECISIONS,
        (
            *("sensitivity", "specificity", "ppv", "npv", "positive_likelihood_ratio", "negative_likelihood_ratio"),
            *("f1", "accuracy", "balanced_accuracy", "mcc", "kappa", "kappa_linear", "kappa_quadratic"),
            *("top_3_accuracy", "top_5_accuracy"),
            *("macro_precision", "macro_npv", "macro_sensitivity", "macro_specificity", "macro_f1"),
            *("micro_precision", "micro_sensitivity", "micro_f1", "exact_match"),
            *("weighted_precision", "weighted_npv", "weighted_sensitivity", "weighted_specificity", "weighted_f1"),
        ),
    ),
    ("Probabilities", ("brier", "macro_brier", "log_loss", "ece")),
)

# What means over classes are where an image can have several.
MEANINGS_OF_SEVERAL = dict.fromkeys(
    (
        "macro_auroc",
        "macro_partial_auroc",
        "macro_average_precision",
        "macro_sensitivity",
        "macro_specificity",
        "macro_f1",
    ),
    "mean over the classes, each on the images assessed for it",
)
# In the table by class where an image can have several classes or none.
PER_CLASS_OF_SEVERAL = ("auroc", "average_precision", "sensitivity", "specificity", "precision", "npv", "f1", "brier")
PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "auroc", "average_precision")

INITS = {"scratch": "random weights", "imagenet": "ImageNet weights"}

ROLES = {
    "train": "train",
    "val": "val (tuning)",
    "cal": "cal (calibration)",
    "test": "test (internal testing)",
    "external": "external testing",
    "unknown": "not stated",
}


def word(key: str) -> Word:
    """The words for a metric key; a key without an entry is spelled out."""
    return WORDS.get(key) or Word(key.replace("_", " ").capitalize(), "", unit_interval=False)


def init_text(init: str) -> str:
    """What the weights started from, with the recipe's own word."""
    return f"{init} ({INITS[init]})" if init in INITS else init


def grouped_keys(keys: list[str]) -> list[tuple[str, list[str]]]:
    """Metric keys under the headings of the results table, in its order; unknown keys come last under "Other"."""
    known = [(title, [key for key in wanted if key in keys]) for title, wanted in GROUPS]
    rest = [key for key in keys if not any(key in wanted for _, wanted in GROUPS)]
    return [(title, found) for title, found in [*known, ("Other", rest)] if found]
