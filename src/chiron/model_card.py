"""The model card of a bundle: what a stranger must know before using it, from the bundle's own facts."""

from chiron.core.printable import as_markdown
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import DISCLAIMER, Provenance
from chiron.spec.recipe import IntendedUse

NOT_STATED = "not stated by the author"


def model_card(
    bundle_id: str, model_name: str, labels: LabelSpace, intended_use: IntendedUse, provenance: Provenance
) -> str:
    """Markdown text; facts that only a person can know are marked as not stated."""
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
    return f"""# {model_name} ({bundle_id})

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
Probabilities are the network's own; they are not calibrated. {decided}
Made {provenance.created} with Chiron {provenance.chiron_version} ({versions}).

## Data
| split | images | groups |
|---|---|---|
{splits}

Grouping: {provenance.grouping}
Leaks: {leaks}
Data digest: `{provenance.data_digest}`

## Limits
Scores hold for data like the above. No external testing is recorded in this bundle.

## Use
```python
import chiron
print(chiron.load("path/to/this/folder").predict("image.png"))
```
"""


def _first_weights(provenance: Provenance) -> str:
    """A line of where they came from, and one more where their license binds what is trained from them."""
    origin = provenance.weights
    if origin is None:
        return ""
    bound = "**Their license forbids commercial use.**\n" if origin.is_noncommercial else ""
    return f"First weights: {as_markdown(origin.describe())}; SHA-256 of the file `{origin.sha256}`.\n{bound}"
