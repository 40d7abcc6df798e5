"""A thorax without a finding: one patient's frontal projection, as a map of X-ray density on a plate.

Density is the logarithm of attenuation in arbitrary units: 0 air, about 1 the middle of the body. Soft tissue, bone and
vessels add to it, air in the lungs takes away from it. Nothing here knows a label.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from chiron.data.phantoms.canvas import Canvas, Field, Points, ellipse, smooth_curve, soften

SIDES = (-1, 1)  # -1: the patient's right, on the image left


@dataclass(frozen=True)
class Plate:
    """One patient's projection: density, the part that air took away, and the two lung fields."""

    density: Float[np.ndarray, "size size"]
    air: Float[np.ndarray, "size size"]
    lungs: UInt8[np.ndarray, "size size"]


@dataclass(frozen=True)
class Build:
    """The numbers that make one thorax differ from the next; lengths in body units."""

    view: str  # PA, or AP: the heart stands further from the detector and looks larger
    age: float  # 0 infant .. 1 adult
    chest: float  # half width of the rib cage
    apex: float  # y of the lung tops
    dome: tuple[float, float]  # y of the diaphragm, patient's right and left
    heart: float  # width of the heart, 1 = usual for the age
    upper: float  # half width of the upper mediastinum (a thymus is wide)
    air: tuple[float, float]  # how dark the patient's right and left lung are
    turn: float  # axial rotation: how far the front of the chest lies beside the spine
    lean: float  # curve of the spine
    flesh: float  # thickness of the chest wall
    arms: tuple[float, float]  # angle of each upper arm, 0 down, pi raised
    clutter: float  # strength of everything that could be taken for a finding


def draw_build(rng: np.random.Generator, difficulty: float) -> Build:
    """Random numbers for one thorax."""
    age, view = rng.uniform(), "AP" if rng.uniform() < 0.4 else "PA"
    raised = rng.uniform(1.9, 2.7) if rng.uniform() < 0.6 else rng.uniform(0.05, 0.45)
    dome = rng.uniform(0.24, 0.40)
    air = rng.uniform(0.42, 0.82)
    return Build(
        view=view,
        age=age,
        chest=rng.uniform(0.60, 0.70),
        apex=rng.uniform(-0.74, -0.62),
        dome=(dome, dome + rng.uniform(0.0, 0.07)),
        heart=rng.uniform(0.86, 1.16) * (1.10 - 0.14 * age) * (1.06 if view == "AP" else 1.0),
        upper=rng.uniform(0.075, 0.115) + (1 - age) * rng.uniform(0.0, 0.06),
        air=(air * rng.uniform(0.85, 1.15), air * rng.uniform(0.85, 1.15)),
        turn=rng.normal(0, 0.02),
        lean=rng.normal(0, 0.015),
        flesh=rng.uniform(0.06, 0.17),
        arms=(raised + rng.normal(0, 0.15), raised + rng.normal(0, 0.15)),
        clutter=0.2 + 1.1 * difficulty,
    )


def draw_plate(canvas: Canvas, build: Build, rng: np.random.Generator) -> Plate:
    """One patient's projection; `rng` draws what is random beyond the build: vessels, gas, overlaps, texture."""
    right, left = (canvas.fill(lung_outline(build, side)) for side in SIDES)
    lung = np.maximum(right, left)
    heart = canvas.fill(heart_outline(build), blur=0.010)
    above = 1 / (1 + np.exp((canvas.axes()[1] - max(build.dome) - 0.12) / 0.03))  # thick belly hides the lower ribs
    bones = _draw_ribs(canvas, build, rng) * (0.30 + 0.70 * np.maximum(lung, above)) * (1 - 0.35 * heart)
    spine = _draw_spine(canvas, build)
    inside = (lung > 0.5) & (heart < 0.5)

    # Lungs are thinner towards their edges; a little lung lies behind the heart and below the dome.
    depth = (build.air[0] * right + build.air[1] * left) * (0.45 + 0.55 * soften(lung, 0.10 * canvas.px_per_unit))
    air = depth * (1 - 0.90 * heart) * (1 + _unevenness(canvas, build, rng))
    body = _draw_body(canvas, build)
    air = np.minimum(soften(air, 0.008 * canvas.px_per_unit), 0.8 * body)
    density = body - air
    density += 0.06 * heart * soften(heart, 0.12 * canvas.px_per_unit) + bones + spine
    density += _draw_vessels(canvas, build, rng) * soften(lung, 0.01 * canvas.px_per_unit) * (1 - 0.7 * heart)
    density += _draw_overlaps(canvas, build, rng) * (0.25 + 0.75 * soften(lung, 0.02 * canvas.px_per_unit))
    density -= _draw_airway(canvas, build) + _draw_gas(canvas, build, rng) * (1 - lung)
    return Plate(density=np.maximum(density, 0), air=air, lungs=inside.astype(np.uint8))


def _lateral(build: Build) -> Points:
    """The outer edge of the patient's left lung from apex to costophrenic angle (mirror it for the right)."""
    c, top, low = build.chest, build.apex, max(build.dome) + 0.19
    shares = [(0.36, 0.0), (0.60, 0.06), (0.80, 0.22), (0.92, 0.47), (0.99, 0.75), (1.02, 1.0)]
    return np.array([(c * x, top + (low - top) * y) for x, y in shares])


def lung_outline(build: Build, side: int) -> Points:
    """The outline of one lung; its heart side lies hidden behind heart and mediastinum."""
    c, dome = build.chest, build.dome[0 if side < 0 else 1]
    lateral = smooth_curve(_lateral(build))
    corner = lateral[-1, 1]
    floor = [(1.02 * c, corner), (0.92 * c, dome + 0.085), (0.72 * c, dome + 0.015), (0.52 * c, dome)]
    floor += [(0.30 * c, dome + 0.03), (0.10 * c, dome + 0.10)]
    medial = [(0.05, dome + 0.10), (0.05, -0.30), (0.08, build.apex + 0.12), (0.15, build.apex + 0.03)]
    medial.append((lateral[0, 0], lateral[0, 1]))
    outline = np.vstack([lateral, smooth_curve(floor), smooth_curve(medial)])
    outline[:, 0] = side * outline[:, 0] + build.lean
    return outline


def heart_outline(build: Build) -> Points:
    """Heart and mediastinum as one outline; the apex points to the patient's left."""
    h, u, dome = build.heart, build.upper, build.dome
    shape = [(-u, -0.85), (-u, -0.42), (-0.105 * h, -0.20), (-0.175 * h, 0.02), (-0.19 * h, dome[0] - 0.12)]
    shape += [(-0.12 * h, dome[0] + 0.06), (0.12 * h, dome[1] + 0.16), (0.36 * h, dome[1] + 0.13)]
    shape += [(0.44 * h, dome[1] + 0.01), (0.40 * h, dome[1] - 0.14), (0.28 * h, -0.03), (0.18 * h, -0.14)]
    shape += [(0.155 * h, -0.22), (u + 0.055, -0.30), (u + 0.03, -0.38), (u, -0.45), (u, -0.85)]
    return smooth_curve(shape, closed=True) + np.array([build.turn + build.lean, 0.0])


def _draw_body(canvas: Canvas, build: Build) -> Field:
    """Soft tissue: a torso that is thickest in the middle, shoulders, arms and the chin."""
    x, y = canvas.axes()
    rows = y[:, 0]
    wall = build.chest + build.flesh
    knots = [-1.3, -1.0, *(build.apex + np.array([-0.20, -0.08, 0.04, 0.22, 0.46])), 0.5, 1.3]
    widths = [0.27, 0.27, 0.34, 0.60, build.chest + 0.27, build.chest + 0.27, wall + 0.02, wall * 1.01, wall * 1.04]
    reach = round(0.07 * canvas.px_per_unit)  # rounds the corners of the outline
    mean = np.full(2 * reach + 1, 1 / (2 * reach + 1))
    half = np.convolve(np.pad(np.interp(rows, knots, widths), reach, "edge"), mean, "valid")
    torso = np.sqrt(np.clip(1 - (x / half[:, None]) ** 2, 0, 1)) ** 0.8
    torso *= np.interp(rows, [-1.2, build.apex, 0.2, 0.55, 1.3], [0.62, 0.76, 0.90, 1.08, 1.16])[:, None]

    joints = [(side * (build.chest + 0.20), build.apex + 0.16) for side in SIDES]
    reach_out = [(0.9 * side * np.sin(a), 0.9 * np.cos(a)) for side, a in zip(SIDES, build.arms, strict=True)]
    uppers = [np.array([joint, np.add(joint, out)]) for joint, out in zip(joints, reach_out, strict=True)]
    arms = canvas.stroke(uppers, 0.26 + 0.5 * build.flesh, blur=0.04)
    humerus = canvas.stroke(uppers, 0.07, core=0.75, blur=0.005) + canvas.fill(
        *(ellipse(jx, jy, 0.07, 0.075) for jx, jy in joints), blur=0.008
    )
    chin = canvas.fill(ellipse(0, build.apex - 0.62, 0.40, 0.30), blur=0.02)
    flesh = np.maximum(torso, 0.55 * arms) + 0.15 * np.minimum(torso, arms)
    return (flesh + 0.13 * np.minimum(humerus, 1) + 0.35 * chin).astype(np.float32)


def _draw_ribs(canvas: Canvas, build: Build, rng: np.random.Generator) -> Field:
    """Ribs, clavicles and the edges of the shoulder blades, as added density."""
    lateral = smooth_curve(_lateral(build))
    t = np.linspace(0, 1, 24)
    behind, front = [], []
    spacing, fall = rng.uniform(0.112, 0.130), rng.uniform(0.08, 0.13) + 0.08 * build.age
    for side in SIDES:
        for i in range(10):
            root = build.apex + 0.05 + spacing * i
            drop = fall + 0.013 * i
            edge = np.interp(root + drop, lateral[:, 1], lateral[:, 0]) + 0.012
            x = 0.07 + (edge - 0.07) * np.sin(t * np.pi / 2)
            y = root - 0.035 * np.sin(np.pi * np.minimum(1, 1.3 * t)) + drop * t**2.4
            behind.append(np.stack([side * x + build.lean, y], axis=1))
            if 1 <= i <= 6:
                end = build.chest * (0.40 + 0.03 * i)
                x, y = edge - (edge - end) * t**1.5, root + drop + (0.16 + 0.012 * i) * t
                front.append(np.stack([side * x + build.lean + build.turn, y], axis=1))
    clavicle = smooth_curve([(0.06, 0.17), (0.20, 0.10), (0.42, 0.05), (0.66, -0.03)])
    collar = [clavicle * (side, 1) + (build.turn + build.lean, build.apex) for side in SIDES]
    scapula = smooth_curve([(0.88, 0.02), (0.95, 0.16), (0.93, 0.34), (0.86, 0.52)])
    blade = [scapula * (side * build.chest / 0.95, 1) + (build.lean, build.apex) for side in SIDES]
    width = rng.uniform(0.052, 0.066)
    return (
        0.17 * canvas.stroke(behind, width, core=0.60, blur=0.006)
        + 0.08 * canvas.stroke(front, 1.15 * width, core=0.75, blur=0.009)
        + 0.24 * canvas.stroke(collar, 0.055, core=0.65, blur=0.006)
        + 0.07 * canvas.stroke(blade, 0.030, blur=0.010)
    )


def _draw_spine(canvas: Canvas, build: Build) -> Field:
    """Vertebral bodies with the discs between them, and their spinous processes."""
    half = 0.062 + 0.012 * build.age
    bodies, processes = [], []
    for y in np.arange(-1.25, 1.25, 0.098):
        x = build.lean * np.cos(1.6 * y)
        corners = [(-half, 0), (-0.86 * half, 0.038), (-half, 0.076), (half, 0.076), (0.86 * half, 0.038), (half, 0)]
        bodies.append(np.add(corners, (x, y)))
        processes.append(ellipse(x + 0.3 * build.turn, y + 0.05, 0.012, 0.024))
    return 0.15 * canvas.fill(*bodies, blur=0.008) + 0.06 * canvas.fill(*processes, blur=0.006)


def _draw_airway(canvas: Canvas, build: Build) -> Field:
    """Trachea and main bronchi: the dark stripe over the spine."""
    x = build.lean + 0.5 * build.turn - 0.008
    trachea = smooth_curve([(x, -1.1), (x, -0.6), (x - 0.012, -0.30)])
    bronchi = [np.array([(x - 0.012, -0.31), (x - 0.10, -0.19)]), np.array([(x - 0.012, -0.31), (x + 0.12, -0.17)])]
    return 0.17 * canvas.stroke([trachea], 0.055, blur=0.008) + 0.06 * canvas.stroke(bronchi, 0.04, blur=0.010)


def _draw_gas(canvas: Canvas, build: Build, rng: np.random.Generator) -> Field:
    """Gas below the diaphragm: often a stomach bubble under the left dome, some bowel loops lower down."""
    seen = rng.uniform()
    bubble = ellipse(rng.uniform(0.26, 0.40), build.dome[1] + 0.15, rng.uniform(0.08, 0.15), rng.uniform(0.05, 0.09))
    loops = [
        ellipse(x, y, wide, high, degrees)
        for x, y, wide, high, degrees in rng.uniform((-0.5, 0.75, 0.04, 0.04, 0), (0.5, 1.2, 0.11, 0.11, 180), (6, 5))
    ]
    strength = rng.uniform(0.12, 0.30) if seen < 0.65 else 0.0
    return strength * canvas.fill(bubble, blur=0.012) + rng.uniform(0.03, 0.14) * canvas.fill(*loops, blur=0.025)


def _draw_vessels(canvas: Canvas, build: Build, rng: np.random.Generator) -> Field:
    """Bronchovascular markings: trees that branch from both hila and thin out towards the pleura."""
    total = np.zeros((canvas.size, canvas.size), np.float32)
    hila = []
    for side in SIDES:
        hilum = np.array([side * rng.uniform(0.13, 0.19) + build.lean + build.turn, rng.uniform(-0.12, 0.0)])
        hila.append(ellipse(hilum[0], hilum[1], rng.uniform(0.05, 0.075), rng.uniform(0.09, 0.14), side * 15))
        angle = np.linspace(-1.35, 1.45, 9) + rng.normal(0, 0.12, 9)
        tips = np.repeat(hilum[None], 9, axis=0)
        for level, (width, strength) in enumerate(((0.034, 0.11), (0.022, 0.09), (0.014, 0.065), (0.010, 0.045))):
            length = (0.20 - 0.025 * level) * rng.uniform(0.7, 1.2, len(angle))
            bend = angle + rng.normal(0, 0.4, len(angle))
            step = np.stack([side * np.cos(angle), np.sin(angle)], axis=1) * length[:, None]
            onward = np.stack([side * np.cos(bend), np.sin(bend)], axis=1) * length[:, None]
            middle, end = tips + 0.5 * step, tips + 0.5 * step + 0.5 * onward
            lines = list(np.stack([tips, middle, end], axis=1))
            total = np.maximum(total, strength * canvas.stroke(lines, width, blur=0.2 * width))
            spread = rng.uniform(0.25, 0.6, len(angle))
            angle, tips = np.concatenate([bend - spread, bend + spread]), np.concatenate([end, end])
    hilar = rng.uniform(0.06, 0.12) * canvas.fill(*hila, blur=0.035)
    return (0.60 + 0.40 * build.clutter) * (total + hilar)


def _unevenness(canvas: Canvas, build: Build, rng: np.random.Generator) -> Field:
    """Relative differences in the lungs' air: broad ones (rotation, muscle, breathing) and a fine grain."""
    x, y = canvas.axes()
    slope = 0.16 * rng.standard_normal() * x + 0.16 * rng.standard_normal() * y
    broad = 0.17 * canvas.noise(rng, 8)
    grain = 0.02 * canvas.noise(rng, 45) + 0.02 * canvas.noise(rng, 90)
    return np.clip(build.clutter * (slope + broad), -0.5, 0.35) + grain


def _draw_overlaps(canvas: Canvas, build: Build, rng: np.random.Generator) -> Field:
    """Shadows that are no finding: soft tissue over the bases, skin folds, small round shadows, plate-like lines."""
    breast_y, breast_r = rng.uniform(0.05, 0.35), rng.uniform(0.18, 0.34)
    breasts = [ellipse(side * rng.uniform(0.38, 0.5), breast_y, breast_r, 0.8 * breast_r) for side in SIDES]
    round_ones = rng.uniform((-0.6, -0.6, 0.015, 0.015), (0.6, 0.4, 0.035, 0.035), (rng.integers(0, 4), 4))
    nodules = [ellipse(x, y, wide, high) for x, y, wide, high in round_ones]
    long_ones = rng.uniform((-0.6, -0.5, -0.14, -0.2), (0.6, 0.2, 0.14, 0.2), (rng.integers(0, 3), 4))
    folds = [smooth_curve([(x, y), (x + bend, y + 0.25), (x + end, y + 0.5)]) for x, y, bend, end in long_ones]
    thin_ones = rng.uniform((-0.55, -0.4, -0.2, -0.08), (0.55, 0.3, 0.2, 0.08), (rng.integers(0, 4), 4))
    streaks = [np.array([(x, y), (x + along, y + down)]) for x, y, along, down in thin_ones]
    return build.clutter * (
        rng.uniform(0.0, 0.08) * canvas.fill(*breasts, blur=0.06)
        + rng.uniform(0.04, 0.10) * canvas.fill(*nodules, blur=0.006)
        + rng.uniform(0.02, 0.06) * canvas.stroke(folds, 0.10, blur=0.03)
        + rng.uniform(0.03, 0.07) * canvas.stroke(streaks, 0.016, blur=0.005)
    )
