"""The stages of any network, in order from the image to the logits: what freezing goes by."""

from collections import defaultdict
from typing import Any

from timm.models._manipulate import group_with_matcher

from chiron.core.errors import ModelError

__all__ = ["is_below", "layers_of_stages", "named_stages", "names_below"]

Model = Any  # an nn.Module with timm's further methods, which no type of timm describes

_UNMATCHED = "~"  # a name that no pattern of timm's matches


def named_stages(model: Model) -> dict[str, tuple[str, ...]]:
    """Prefixes of parameter names by stage; every parameter is in one stage, the last, `head`, has the classifier.

    A Chiron family names its stages itself. Those of a timm model are its coarse `group_matcher` groups: `stem`,
    `stage1`, `stage2`, ..., and `head` with everything that the matcher leaves over.
    Raises:
        ModelError: the model has neither.
    """
    if hasattr(model, "named_stages"):
        return model.named_stages()
    if not hasattr(model, "group_matcher"):
        raise ModelError(
            f"A model must say its stages, by named_stages or timm's group_matcher. Got {type(model).__name__} "
            "without either. Choose another model."
        )
    names = [name for name, _ in model.named_parameters()]
    matcher = model.group_matcher(coarse=True)
    groups = group_with_matcher(((name, None) for name in [*names, _UNMATCHED]), matcher, reverse=True)
    in_classifier = _classifier_names(model)
    stages: dict[int, list[str]] = defaultdict(list)
    for name in names:
        stages[groups[_UNMATCHED] if name in in_classifier else groups[name]].append(name)
    head = stages.pop(groups[_UNMATCHED], [])
    body = {f"stage{i}" if i else "stem": tuple(stages[group]) for i, group in enumerate(sorted(stages))}
    return {**body, "head": tuple(head)}


def is_below(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the prefixes or continues one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def names_below(model: Model, prefixes: tuple[str, ...]) -> list[str]:
    """Names of the parameters that begin with one of the prefixes, in the model's order."""
    return [name for name, _ in model.named_parameters() if is_below(name, prefixes)]


def layers_of_stages(model: Model) -> dict[str, list[str]]:
    """Names of the layers all of whose parameters belong to one stage, by stage; those of the head are left out."""
    stage_of = {name: stage for stage, prefixes in named_stages(model).items() for name in names_below(model, prefixes)}
    found: dict[str, list[str]] = {}
    for name, layer in model.named_modules():
        stages = {stage_of.get(f"{name}.{key}" if name else key) for key, _ in layer.named_parameters()}
        if len(stages) == 1 and stages.isdisjoint({None, "head"}):
            found.setdefault(str(stages.pop()), []).append(name)
    return found


def _classifier_names(model: Model) -> set[str]:
    """Parameters of the classifier, or of both where timm's distilled models have two."""
    classifier = model.get_classifier()
    layers = classifier if isinstance(classifier, tuple | list) else (classifier,)
    own = {id(parameter) for layer in layers for parameter in layer.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}
