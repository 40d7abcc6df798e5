"""Networks. Importing this package puts every family into timm's registry, so that `timm.create_model` finds it.

A family is a file here, or an entry point of the group `chiron.models` whose name its models carry after `chiron_`.
"""

from chiron.core.registry import leaf_names, load_leaf

_NOT_FAMILIES = {
    "claims",
    "contract",
    "create",
    "head",
    "headed",
    "index",
    "outputs",
    "pretrained",
    "registry",
    "stages",
}

for _name in leaf_names(__name__):
    if _name not in _NOT_FAMILIES:
        load_leaf(__name__, _name, kind="model family")
