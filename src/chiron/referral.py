"""Whether a person must decide: is an image one that the bundle was made for, and is the output sure enough?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chiron.prediction import Answer, Referral, Scope
from chiron.preprocess.looks import Looks
from chiron.spec.decision import Decision
from chiron.spec.input_spec import InputSpec
from chiron.spec.scope import ScopeSpec

BLANK = "There is nothing to be seen in it: all pixels are nearly alike."


def problems_of(looks: Looks, spec: ScopeSpec | None, input_spec: InputSpec) -> tuple[str, ...]:
    """What speaks against using an image, seen without any network; without a scope only whether it is blank."""
    if looks.is_blank:
        return (BLANK,)
    if spec is None:
        return ()
    told = []
    if looks.side_px < min(input_spec.img_size, spec.least_side_px) / 2:
        told.append(
            f"It is too small: its shorter side has {looks.side_px} px, the network reads {input_spec.img_size} px and "
            f"the smallest image that the scope was fitted on has {spec.least_side_px} px."
        )
    if looks.detail < spec.least_detail:
        told.append("It is blurred: it shows less detail than the images that the scope was fitted on.")
    if spec.colors != "both" and looks.is_color != (spec.colors == "color"):
        told.append(
            f"It is in {'color' if looks.is_color else 'gray'}, and all images that the scope was fitted on were in "
            f"{spec.colors}."
        )
    return tuple(told)


def scope_of(distances: Float[np.ndarray, "bundles"], problems: Sequence[str], spec: ScopeSpec) -> Scope:
    """Where an image stands among the fitting images; of several bundles the mean of what each says.

    Args:
        distances: of the image from the training images of each bundle.
        problems: what else speaks against the image.
    """
    percents = np.linspace(0, 100, len(spec.quantiles[0]))
    percentile = np.mean([np.interp(it, own, percents) for it, own in zip(distances, spec.quantiles, strict=True)])
    limit = np.mean([np.interp(spec.limit_percent, percents, own) for own in spec.quantiles])
    distance = float(distances.mean())
    return Scope(
        distance=distance,
        percentile=float(percentile),
        limit=float(limit),
        problems=tuple(problems),
        in_scope=bool(distance <= limit) and not problems,
    )


def referral_of(
    scope: Scope | None,
    problems: Sequence[str],
    answers: dict[str, Answer],
    prediction_set: tuple[str, ...] | None,
    confidence: float | None,
    decision: Decision,
) -> Referral:
    """The reasons for which a person must decide, by rule.

    Args:
        problems: of the image; those of a scope are the same.
        confidence: the probability of the class named.
    """
    reasons = list(problems)
    if scope is not None and scope.distance > scope.limit:
        reasons.append(
            f"It is out of the bundle's scope: less like the training images than {_percent(scope.percentile)} of the "
            "images that the scope was fitted on."
        )
    if decision.conformal is not None and prediction_set is not None and len(prediction_set) != 1:
        left = f"{len(prediction_set)} are left: {', '.join(prediction_set)}" if prediction_set else "none fits"
        reasons.append(f"No single class can be told at the error rate of {decision.conformal.alpha:.0%}: {left}.")
    for question, answer in answers.items():
        found = decision.threshold_of(question)
        if found and found.low is not None and found.high is not None and found.low <= answer.score <= found.high:
            reasons.append(
                f"The score of {question}, {answer.score:.4f}, lies in the 95 % interval of its threshold "
                f"({found.low:.4f} to {found.high:.4f})."
            )
    if decision.refer_below is not None and confidence is not None and confidence < decision.refer_below:
        reasons.append(
            f"The probability of the class named, {confidence:.4f}, is below the bundle's limit for referral, "
            f"{decision.refer_below:.4f}."
        )
    return Referral(bool(reasons), tuple(reasons))


def _percent(percentile: float) -> str:
    return "all" if percentile >= 100 else f"{min(percentile, 99.9):.1f} %"
