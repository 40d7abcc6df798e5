"""Networks. Importing this package puts every family into timm's registry, so that `timm.create_model` finds it."""

from chiron.core.registry import leaf_names, load_leaf
from chiron.spec.model_names import FAMILIES

for _name in leaf_names(FAMILIES):
    load_leaf(FAMILIES, _name, kind="model family")
