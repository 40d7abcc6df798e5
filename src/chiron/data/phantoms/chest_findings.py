"""Several findings of one chest phantom: an opacity, an effusion, a large heart; each comes or not on its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from chiron.data.phantoms.canvas import Canvas, soft_step
from chiron.data.phantoms.opacity import draw_opacity
from chiron.data.phantoms.phantom_set import Finding
from chiron.data.phantoms.thorax import SIDES, Build, Plate, draw_plate

FINDINGS: Mapping[str, float] = {"cardiomegaly": 0.25, "effusion": 0.3, "opacity": 0.4}  # share of the patients
LARGER_HEART = (1.42, 1.25)  # times its usual width: at difficulty 0 and 1


@dataclass(frozen=True)
class Chest:
    """One patient: the plate without what lies in the lungs, what is added there, and where it is, in body units."""

    build: Build
    plate: Plate
    added: Float[np.ndarray, "size size"] | None
    mask: UInt8[np.ndarray, "size size"] | None
    findings: tuple[Finding, ...]


def draw_chest(
    canvas: Canvas,
    build: Build,
    shown: Mapping[str, bool],
    named: Callable[..., np.random.Generator],
    difficulty: float,
) -> Chest:
    """One chest with the findings that are `shown`; each is drawn from its own name, so none shifts another."""
    seen: list[Finding] = []
    if shown.get("cardiomegaly"):
        times = np.interp(difficulty, (0, 1), LARGER_HEART) * named("heart").uniform(0.96, 1.04)
        build = replace(build, heart=build.heart * times)
        seen.append(Finding("cardiomegaly", build.turn + build.lean, 0.05, 0.3 * build.heart, times - 1))
    plate = draw_plate(canvas, build, named("thorax"))
    added: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    if shown.get("effusion"):
        density, mask, finding = _draw_effusion(canvas, build, plate, named("effusion"), difficulty)
        added, masks, seen = [*added, density], [*masks, mask], [*seen, finding]
    if shown.get("opacity"):
        opacity = draw_opacity(canvas, plate, named("opacity"), difficulty)
        added, masks = [*added, opacity.density], [*masks, opacity.mask]
        seen += [Finding("opacity", focus.x, focus.y, focus.radius, focus.strength) for focus in opacity.foci]
    return Chest(
        build,
        plate,
        # Where two lie over each other the denser one is seen: air can only be taken once.
        np.maximum.reduce(added) if added else None,
        np.maximum.reduce(masks) if masks else None,
        tuple(seen),
    )


def _draw_effusion(
    canvas: Canvas, build: Build, plate: Plate, rng: np.random.Generator, difficulty: float
) -> tuple[np.ndarray, np.ndarray, Finding]:
    """Fluid at the base of one lung: it takes the air below a level that rises towards the ribs."""
    side = SIDES[int(rng.integers(2))]
    height = rng.uniform(0.30, 0.52) * (1.10 - 0.35 * difficulty)
    strength = rng.uniform(0.80, 1.05) * (1.15 - 0.30 * difficulty)
    x, y = canvas.axes()
    floor = build.dome[0 if side < 0 else 1] + 0.19
    outward = np.clip(side * x / build.chest, 0, 1)
    level = floor - height * (0.45 + 0.55 * outward**2)
    fluid = soft_step((y - level) / 0.07) * (side * (x - build.lean) > 0)
    density = (strength * fluid * plate.air * plate.lungs).astype(plate.density.dtype)
    mask = ((fluid > 0.05) & (plate.lungs > 0)).astype(np.uint8)
    return density, mask, Finding("effusion", side * 0.75 * build.chest, floor - height / 2, height / 2, strength)
