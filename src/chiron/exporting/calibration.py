"""Calibration as a part of a graph: what `chiron.decide` does in float64, in fp32 and in torch.

Every method but isotonic regression is a softmax of slopes times logits plus intercepts, so that two layers do for all.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ExportError
from chiron.spec.decision import Calibration

Parameters = Mapping[str, Sequence[float]]


class Probabilities(nn.Module):
    """Calibrated probabilities of the networks' logits: of their mean, or the mean of networks calibrated one by one.

    Args:
        several: each class on its own (sigmoid) and not one of all (softmax).
    """

    def __init__(self, calibration: Calibration, num_classes: int, *, several: bool) -> None:
        super().__init__()
        sets: Sequence[Parameters] = calibration.parameters or ({},)
        self.calibrators = nn.ModuleList(
            _Isotonic(own, num_classes, several=several)
            if calibration.method == "isotonic"
            else _Affine(calibration.method, own, num_classes, several=several)
            for own in sets
        )

    def forward(self, logits: Float[Tensor, "members batch classes"]) -> Float[Tensor, "batch classes"]:
        """In the order of the classes."""
        if len(self.calibrators) == 1:
            return self.calibrators[0](logits.mean(0))
        return torch.stack([own(logits[k]) for k, own in enumerate(self.calibrators)]).mean(0)


class _Affine(nn.Module):
    """No calibration, temperature, temperature_bias, platt and vector."""

    slope: Tensor
    intercept: Tensor

    def __init__(self, method: str, parameters: Parameters, num_classes: int, *, several: bool) -> None:
        super().__init__()
        self.several = several
        own = [_of_class(parameters, k) for k in range(num_classes)] if several else [parameters]
        pairs = [_slope_and_intercept(method, each, 1 if several else num_classes) for each in own]
        slope, intercept = (torch.cat([pair[k] for pair in pairs]).float() for k in range(2))
        self.register_buffer("slope", slope)
        self.register_buffer("intercept", intercept)

    def forward(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        if self.several:
            return (logits * self.slope + self.intercept).sigmoid()
        centered = logits - logits.mean(dim=1, keepdim=True)  # what all logits of a row share says nothing
        return (centered * self.slope + self.intercept).softmax(dim=1)


def _slope_and_intercept(method: str, parameters: Parameters, count: int) -> tuple[Tensor, Tensor]:
    """Slopes and intercepts of `count` classes in float64; of one label those of `present` against `absent`."""
    ones, zeros = torch.ones(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    given = {key: torch.tensor(values, dtype=torch.float64) for key, values in parameters.items()}
    match method:
        case "none":
            return ones, zeros
        case "temperature" | "temperature_bias":
            return ones / given["temperature"], given.get("intercept", zeros)
        case "platt":
            return ones * given["slope"], torch.cat([zeros[1:], given["intercept"]])  # the second class, or the label
        case "vector":
            return given["slope"], given["intercept"]
        case _:
            raise ExportError(
                f"A calibration must have a form in graphs to be exported. Got {method!r}. "
                "`chiron calibrate RUN --set decision.calibration=...` fits another."
            )


class _Isotonic(nn.Module):
    """A rising curve from log-odds to probability a class; of two classes the second alone has one."""

    def __init__(self, parameters: Parameters, num_classes: int, *, several: bool) -> None:
        super().__init__()
        self.several, self.is_pair = several, num_classes == 2 and not several
        if several:
            own = [_of_class(parameters, k) for k in range(num_classes)]
            curves = [_Curve(each["x_1"], each["y_1"]) for each in own]
        else:
            numbers = [1] if self.is_pair else range(num_classes)
            curves = [_Curve(parameters[f"x_{k}"], parameters[f"y_{k}"]) for k in numbers]
        self.curves = nn.ModuleList(curves)

    def forward(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        if self.several:
            return torch.stack([curve(logits[:, k]) for k, curve in enumerate(self.curves)], dim=1)
        if self.is_pair:
            second = self.curves[0](logits[:, 1] - logits[:, 0])
            return torch.stack([1 - second, second], dim=1)
        probs = torch.stack([curve(_log_odds(logits, k)) for k, curve in enumerate(self.curves)], dim=1)
        return probs / probs.sum(dim=1, keepdim=True)


class _Curve(nn.Module):
    """Straight lines between corners, and the ends of the curve beyond them."""

    x: Tensor
    y: Tensor
    slope: Tensor

    def __init__(self, x: Sequence[float], y: Sequence[float]) -> None:
        super().__init__()
        # A single corner becomes two of equal height; equal neighbors in fp32 make a step of no width.
        places, levels = (torch.tensor([*values, values[-1]], dtype=torch.float64) for values in (x, y))
        widths = places.float().diff().double()
        slope = torch.where(widths > 0, levels.diff() / widths.clamp(min=1e-30), 0.0)
        for name, values in (("x", places), ("y", levels), ("slope", slope)):
            self.register_buffer(name, values.float())

    def forward(self, z: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        held = z.clamp(min=self.x[0], max=self.x[-1])
        left = ((held[:, None] >= self.x).sum(dim=1) - 1).clamp(min=0, max=len(self.slope) - 1)
        return self.y[left] + (held - self.x[left]) * self.slope[left]


def _log_odds(logits: Float[Tensor, "batch classes"], k: int) -> Float[Tensor, "batch"]:
    """Logit of the probability of class `k`."""
    others = torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1)
    return logits[:, k] - others.logsumexp(dim=1)


def _of_class(parameters: Parameters, k: int) -> Parameters:
    """Parameters of label `k` of several, under the names that those of one question have."""
    return {key.removesuffix(f"_{k}"): values for key, values in parameters.items() if key.endswith(f"_{k}")}
