"""LabelSpace: the one fixed label list that travels from the manifest to the bundle."""

from typing import Literal, Self

from pydantic import Field, model_validator

from chiron.spec.frozen import Frozen

# What an uncertain label counts as, in training and in scoring alike: nothing, an absent or a present class.
UncertainPolicy = Literal["ignore", "zeros", "ones"]


class LabelSpace(Frozen):
    """What the numbers of a network mean.

    `single_label`: exactly one class is true (softmax over the names, or one logit for two classes).
    `multi_label`: each class is true or not on its own (sigmoid a name); labels may be uncertain or not assessed.
    """

    kind: Literal["single_label", "multi_label"] = "single_label"
    names: tuple[str, ...] = Field(min_length=1)
    positive: str | None = Field(default=None, description="the class of interest when there are two")
    descriptions: dict[str, str] = Field(default_factory=dict, description="one plain sentence a class")
    one_logit: bool = Field(default=False, description="two classes from one logit: z for positive, 0 for the other")
    ordinal: bool = Field(default=False, description="the names are in order, as grades are")
    uncertain: UncertainPolicy = Field(default="ignore", description="what an uncertain label of several counts as")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("class names must differ")
        if self.kind == "single_label" and len(self.names) < 2:
            raise ValueError("a classifier needs at least two classes")
        if self.positive is not None and self.positive not in self.names:
            raise ValueError(f"positive must be one of {', '.join(self.names)}")
        if self.kind == "single_label" and len(self.names) == 2 and self.positive is None:
            raise ValueError(f"positive must name the class of interest, one of {', '.join(self.names)}")
        if self.one_logit and (self.kind != "single_label" or len(self.names) != 2):
            raise ValueError("one_logit needs exactly two classes")
        if self.ordinal and (self.kind != "single_label" or len(self.names) < 3):
            raise ValueError("ordinal needs at least three classes of which an image has one")
        if self.kind == "multi_label" and self.positive is not None:
            raise ValueError("a positive class belongs to two classes that exclude each other")
        if self.kind == "single_label" and self.uncertain != "ignore":
            raise ValueError("uncertain belongs to several labels an image")
        unknown = sorted(set(self.descriptions) - set(self.names))
        if unknown:
            raise ValueError(f"descriptions must be of known classes, not {', '.join(unknown)}")
        return self

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can show several classes, or none."""
        return self.kind == "multi_label"

    @property
    def num_outputs(self) -> int:
        """Number of logits that the network itself gives."""
        return 1 if self.one_logit else len(self.names)

    @property
    def positive_index(self) -> int | None:
        """Place of the positive class in `names`, or None when there is none."""
        return None if self.positive is None else self.names.index(self.positive)
