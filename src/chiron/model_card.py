"""The model card of a bundle: what a stranger must know before using it, from the bundle's own facts."""

import yaml

from chiron.core.printable import as_markdown
from chiron.decide.conformal import CROSS_FITTED
from chiron.spec.bundle_spec import BundleSpec
from chiron.spec.decision import Decision, Threshold
from chiron.spec.provenance import DISCLAIMER, Provenance
from chiron.spec.scope import ScopeSpec

NOT_STATED = "not stated by the author"


def model_card(bundle_id: str, spec: BundleSpec, *, license: str = "unknown") -> str:
    """Markdown text; facts that only a person can know are marked as not stated.

    It begins as the Hugging Face Hub wants its cards, so that a bundle can be shared there as it is.

    Args:
        license: of the bundle, by the Hub's name for it; its author alone can say.
    """
    model_name, labels, decision = spec.network.name, spec.labels, spec.decision
    intended_use, provenance, scope = spec.intended_use, spec.provenance, spec.scope
    classes = "\n".join(f"- `{name}`: {labels.descriptions.get(name, NOT_STATED)}" for name in labels.names)
    splits = "\n".join(
        f"| {split} | {counts['images']:,} | {counts['groups']:,} |" for split, counts in provenance.data_counts.items()
    )
    if labels.is_multi_label:
        counted = {"ignore": "are left out", "zeros": "count as absent", "ones": "count as present"}[labels.uncertain]
        told = f"An image can have several classes or none. Labels that are uncertain {counted}."
        decided = "Each class has its own probability; none is named."
    else:
        told = f"Positive class: {labels.positive or 'none (more than two classes)'}"
        decided = "The class named is the one with the largest probability."
    selection = "not defined" if provenance.selection_value is None else f"{provenance.selection_value:.4f}"
    leaks = (
        f"**accepted by name: {provenance.accepted_leaks}. The same images or patients stand in two splits; "
        "scores may be too good.**"
        if provenance.accepted_leaks
        else "None was found between splits (ids, bytes, pixels)."
    )
    shares = [f"{as_markdown(name)} {share:.2%}" for name, share in intended_use.prevalence.items()]
    prevalence = ", ".join(shares) or NOT_STATED
    first_weights = _first_weights(provenance)
    steps = provenance.recipe.get("train", {}).get("sanity_steps")
    sanity = "" if steps is None else f"\n**Sanity run: {steps} steps of training. Not a trained network.**\n"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(provenance.library_versions.items()))
    return f"""{_front_matter(model_name, license)}# {model_name} ({bundle_id})

{DISCLAIMER}
{sanity}
## Intended use
Question: {intended_use.question or NOT_STATED}
Population: {intended_use.population or NOT_STATED}
Reference standard: {intended_use.reference_standard or NOT_STATED}
Prevalence at the place of use: {prevalence}

## Classes
{classes}

{told}

## How it was made
Network: {model_name}, {provenance.num_parameters:,} parameters, init: {provenance.init}.
{first_weights}Chosen by {provenance.selected_by} on the val split: epoch {provenance.best_epoch}, {selection}.
{decided}
Made {provenance.created} with Chiron {provenance.chiron_version} ({versions}).

## Decision
{_decision(decision)}

## Data
| split | images | groups |
|---|---|---|
{splits}

{_recalibration(provenance, decision)}Grouping: {provenance.grouping}
Leaks: {leaks}
Data digest: `{provenance.data_digest}`

## Scope
{_scope(scope)}

## Limits
Scores hold for data like the above. No external testing is recorded in this bundle.

## Use
```python
import chiron
print(chiron.load("path/to/this/folder").predict("image.png"))
```
"""


def _front_matter(model_name: str, license: str) -> str:
    """What the Hub reads. Source: https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    content = {
        "license": license,
        "library_name": "chiron",
        "pipeline_tag": "image-classification",
        "tags": ["medical", "chiron", model_name],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n"


def _scope(scope: ScopeSpec | None) -> str:
    """How an image is recognized that the bundle was not made for."""
    if scope is None:
        return "No out-of-scope score: any picture gets an output."
    only = {"gray": " All of them were gray.", "color": " All of them were in color.", "both": ""}[scope.colors]
    return (
        f"An image is out of scope where its picture is less like {scope.num_train_images:,} training images than "
        f"{scope.limit_percent:g} % of {scope.num_images:,} images of {scope.fitted_on} are; and where it is blank, "
        f"blurred, or has less than half the side of the smallest of these ({scope.least_side_px} px).{only} The score "
        "looks at brightness, color and detail: an image in scope may still show what no training image did."
    )


def _first_weights(provenance: Provenance) -> str:
    """A line of where they came from, and one more where their license binds what is trained from them."""
    origin = provenance.weights
    if origin is None:
        return ""
    bound = "**Their license forbids commercial use.**\n" if origin.is_noncommercial else ""
    return f"First weights: {as_markdown(origin.describe())}; SHA-256 of the file `{origin.sha256}`.\n{bound}"


def _recalibration(provenance: Provenance, decision: Decision) -> str:
    """A line of the images that the decision was fitted on again, which are none of the above."""
    found = provenance.recalibration
    if found is None:
        return ""
    units = "" if decision.unit == "image" else f" of {found.num_units:,} {decision.unit}s"
    return (
        f"**Recalibrated** on {found.num_images:,} images{units} in {found.num_groups:,} groups of other data (split "
        f"{found.split}, digest `{found.data_digest}`), which trained nothing. The weights are those of the bundle "
        f"{found.former_bundle_id}; its calibration, thresholds and prediction sets were replaced.\n\n"
    )


_FITTED_ON = {
    "cal": "on the cal split, which neither training nor selection has seen",
    "reuse_val": "on the val split, which also chose the weights: **optimistic**",
    "cross_fit": "by cross-fitting: each network on images that it was not trained on",
    "other_data": "on other data than the training's",
}
_RULES = {
    "point": "which found so many there; later cases may be found less often",
    "expected": "which is reached on average",
    "guaranteed": "which is reached with 95 % confidence",
}
_COMBINED = {
    "mean_logit": "the mean of their logits",
    "mean_prob": "the mean of their probabilities",
    "max_prob": "the image with the most positive output",
}


def _decision(decision: Decision) -> str:
    """What one answer is for, and how logits become it: a sentence each."""
    told = [f"One answer is for one {decision.unit}."]
    if decision.unit != "image":
        told.append(f"Several images of one {decision.unit} are combined by {_COMBINED[decision.combine]}.")
    found = decision.calibration
    if found.method == "none":
        told.append("Probabilities are the network's own; they are not calibrated.")
    else:
        told.append(
            f"Probabilities are calibrated ({found.method}) {_FITTED_ON[found.fitted_on]}: {found.num_units:,} "
            f"{decision.unit}s in {found.num_groups:,} groups."
        )
    told += [_threshold(threshold) for threshold in decision.thresholds]
    asked = [question for question in decision.questions if decision.threshold_of(question) is None]
    told += [
        f"{as_markdown(question)}: yes where the class named is one of "
        f"{as_markdown(', '.join(decision.questions[question]))}."
        for question in asked
    ]
    if any(it.fitted_on == "cross_fit" and it.rule in ("expected", "guaranteed") for it in decision.thresholds):
        told.append("These promises are of each network by itself; of their mean, which answers, they are not proven.")
    if decision.refer_below is not None:
        told.append(
            f"A person must decide where the probability of the class named is below {decision.refer_below:.4f}."
        )
    if decision.conformal is not None:
        by = "" if decision.conformal.by == "all" else f", by {as_markdown(decision.conformal.by)}"
        told.append(
            f"Prediction sets ({decision.conformal.score}) may miss the reference class in "
            f"{decision.conformal.alpha:.0%} of cases{by}; fitted {_FITTED_ON[decision.conformal.fitted_on]}."
        )
        if decision.conformal.fitted_on == "cross_fit":
            told.append(f"{CROSS_FITTED[0].upper()}{CROSS_FITTED[1:]}.")
    return "\n".join(told)


def _threshold(threshold: Threshold) -> str:
    classes = as_markdown(", ".join(threshold.classes))
    aim = "the most of sensitivity + specificity"
    if threshold.sensitivity is not None:
        aim = f"a sensitivity of {threshold.sensitivity:.0%}, {_RULES[threshold.rule]}"
    return (
        f"{as_markdown(threshold.question)} ({classes}): yes from a score of {threshold.value:.4f} on, for {aim} "
        f"({threshold.num_found} of {threshold.num_positive} positives found where it was fitted, "
        f"{_FITTED_ON[threshold.fitted_on]}). A `no` does not rule out disease."
    )
