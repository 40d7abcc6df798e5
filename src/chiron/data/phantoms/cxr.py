"""`phantom-cxr`: synthetic frontal chest radiographs with lung and finding masks; the finding is an opacity.

On request several findings come or not, each on its own (`chest_findings.py`).

Both classes come from the same anatomy, pose, exposure and noise: what the label decides is added to the density map
inside a lung field before exposure, and nothing measured on an image (window, mean, file size) feeds back into it. So
the two versions of a patient are equal everywhere but at the finding.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.core.errors import DataError
from chiron.data.phantoms.canvas import EXTENT, Canvas, generator_of, soften
from chiron.data.phantoms.chest_findings import FINDINGS, Chest, draw_chest
from chiron.data.phantoms.phantom_set import Finding, PhantomRow, PhantomSet
from chiron.data.phantoms.planted import NOTHING_PLANTED, Mark, Planted
from chiron.data.phantoms.thorax import draw_build

NAME = "phantom-cxr"
CLASSES = ("normal", "opacity")
CLASS_OF_INTEREST = "opacity"
_MIN_CANVAS_PX = 192  # small images are drawn large and then shrunk, so that ribs stay ribs
_TONE_WHITE = 1.25  # what the shortcut `tone` does to the white end of the window: a darker picture


@dataclass(frozen=True)
class Shot:
    """How one image was taken: pose, exposure and what the detector adds. Never depends on the label."""

    rotation_degrees: float
    scale: float
    inspiration: float
    shift_x: float
    shift_y: float
    black: float
    white: float
    gamma: float
    blur_px: float
    noise: float
    vignette: float
    marker: int


def draw_phantom_cxr(
    *,
    num_images: int,
    img_size: int,
    seed: int,
    finding_share: float = 0.5,
    difficulty: float = 0.5,
    images_per_patient: tuple[int, int] = (1, 4),
    planted: Planted = NOTHING_PLANTED,
    several_findings: bool = False,
) -> PhantomSet:
    """Synthetic chest radiographs, `normal` or with an `opacity`, together with all that is true about them.

    Image i is a function of the other arguments and i alone: a larger `num_images` only adds images.

    Args:
        num_images: how many images; the last patient may lose some.
        img_size: side in pixels, at least 28.
        seed: names the set; other seeds share no patient.
        finding_share: probability that a patient has the finding; the label belongs to the patient.
        difficulty: 0 (large, dense opacities, quiet lungs) to 1 (small, faint ones in noise and clutter).
        images_per_patient: fewest and most images of one patient.
        planted: shortcut, wrong labels and error in dark exposures; without them an image's pixels stay what they are.
        several_findings: each of `FINDINGS` comes or not, with its own share, and is a label of its own.
    Raises:
        DataError: an argument lies outside its range.
    """
    _check(num_images, img_size, finding_share, difficulty, images_per_patient)
    images = np.empty((num_images, img_size, img_size), np.uint8)
    lungs, finding = np.zeros_like(images), np.zeros_like(images)
    rows: list[PhantomRow] = []
    shares = FINDINGS if several_findings else {CLASS_OF_INTEREST: finding_share}
    patient = 0
    while len(rows) < num_images:
        for drawn in _draw_patient(patient, img_size, seed, shares, difficulty, images_per_patient, planted):
            if len(rows) == num_images:
                break
            images[len(rows)], lungs[len(rows)], finding[len(rows)], row = drawn
            rows.append(row)
        patient += 1
    return PhantomSet(
        NAME,
        tuple(FINDINGS) if several_findings else CLASSES,
        images,
        {"lungs": lungs, "finding": finding},
        tuple(rows),
    )


def _check(num_images: int, img_size: int, share: float, difficulty: float, per_patient: tuple[int, int]) -> None:
    if num_images < 1:
        raise DataError(f"A phantom set must have at least one image. Got {num_images}. Ask for more.")
    if img_size < 28:
        raise DataError(f"A chest phantom must be at least 28 pixels wide. Got {img_size}. Choose a larger img_size.")
    for name, value in (("finding_share", share), ("difficulty", difficulty)):
        if not 0 <= value <= 1:
            raise DataError(f"{name} must lie in 0..1. Got {value}. Choose a value between.")
    if not 1 <= per_patient[0] <= per_patient[1]:
        raise DataError(
            f"images_per_patient must be (fewest, most) with 1 <= fewest <= most. Got {per_patient}. Order the two."
        )


Picture: TypeAlias = UInt8[np.ndarray, "size size"]
Drawn: TypeAlias = tuple[Picture, Picture, Picture, PhantomRow]  # image, lungs, finding and what is true of them


def _draw_patient(
    patient: int,
    img_size: int,
    seed: int,
    shares: Mapping[str, float],
    difficulty: float,
    per_patient: tuple[int, int],
    planted: Planted,
) -> Iterator[Drawn]:
    """The images of one patient. Every draw has its own name, so the label shifts none of the others."""
    named = lambda *names: generator_of(NAME, seed, patient, *names)  # noqa: E731
    oversampling = max(2, -(-_MIN_CANVAS_PX // img_size))
    canvas = Canvas(px_per_unit=oversampling * img_size // 2)
    shown, label, labels = _draw_labels(named, shares, planted)
    true_label = _label_of(shown)
    chest = draw_chest(canvas, draw_build(named("build"), difficulty), shown, named, difficulty)
    build, plate = chest.build, chest.plate
    for shot_number in range(named("count").integers(per_patient[0], per_patient[1] + 1)):
        rng = named("shot", shot_number)
        mark = planted.draw_mark(named("mark", shot_number), is_of_interest=shown[CLASS_OF_INTEREST])
        shot = _draw_shot(rng, difficulty)
        if mark.present and planted.shortcut == "tone":
            shot = replace(shot, white=shot.white * _TONE_WHITE)
        kept = planted.sign_strength(_darkness(shot))
        density = plate.density if chest.added is None else plate.density + kept * chest.added
        to_image = _pose(canvas, shot, img_size * oversampling)
        gray = _expose(_view(density, to_image, img_size, oversampling), shot, rng)
        image = np.round(255 * _with_mark(_with_side_letter(gray, shot), mark, planted.shortcut)).astype(np.uint8)
        lungs = _view_mask(plate.lungs, to_image, img_size, oversampling)
        finding = np.zeros_like(lungs)
        if chest.mask is not None:  # a finding's mask takes every pixel that the finding reaches
            finding = lungs & _view_mask(chest.mask, to_image, img_size, oversampling, covered=0.1)
        row = PhantomRow(
            sample_id=f"s{seed}-p{patient:05d}-{shot_number + 1}",
            patient_id=f"s{seed}-p{patient:05d}",
            label=label,
            true_label=true_label,
            params={"view": build.view, "age": round(build.age, 4), **_rounded(shot)},
            findings=_findings_seen(chest, canvas, to_image, img_size * oversampling, shot.scale, kept),
            planted=planted.outcome(mark, kept),
            labels=labels,
        )
        yield image, lungs, finding, row


def _draw_labels(
    named: Callable[..., np.random.Generator], shares: Mapping[str, float], planted: Planted
) -> tuple[dict[str, bool], str, dict[str, int]]:
    """What a patient shows, the label that is given, and of several findings the labels that are given."""
    if len(shares) == 1:
        share = shares[CLASS_OF_INTEREST]
        shown = {CLASS_OF_INTEREST: bool(named("label").uniform() < share)}
        given = {"normal": 1 - share, CLASS_OF_INTEREST: share}
        return shown, planted.draw_label(named("given-label"), _label_of(shown), given), {}
    shown = {name: bool(named("label", name).uniform() < share) for name, share in shares.items()}
    wrong = {name: bool(named("given-label", name).uniform() < planted.label_noise) for name in shares}
    labels = {name: int(shown[name] != wrong[name]) for name in shares}
    return shown, _label_of(labels), labels


def _label_of(shown: Mapping[str, bool] | Mapping[str, int]) -> str:
    """The names of what is there, `normal` without any."""
    return "|".join(name for name, is_there in shown.items() if is_there) or CLASSES[0]


def _rounded(shot: Shot) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(shot).items()}


def _draw_shot(rng: np.random.Generator, difficulty: float) -> Shot:
    return Shot(
        rotation_degrees=rng.normal(0, 2.0),
        scale=rng.uniform(1.05, 1.25),
        inspiration=rng.uniform(0.96, 1.06),
        shift_x=rng.uniform(-0.06, 0.06),
        shift_y=rng.uniform(-0.06, 0.08),
        black=rng.uniform(-0.02, 0.10),
        white=rng.uniform(1.22, 1.55),
        gamma=rng.uniform(0.85, 1.15),
        blur_px=rng.uniform(0.0025, 0.0045),
        noise=rng.uniform(0.6, 1.4) * (0.006 + 0.013 * difficulty),
        vignette=rng.uniform(0, 0.12),
        marker=int(rng.integers(0, 4)),
    )


def _darkness(shot: Shot) -> float:
    """0 for a bright exposure, 1 for a dark one: from the gray level of ordinary tissue, never from the picture."""
    tissue = ((0.7 - shot.black) / (shot.white - shot.black)) ** shot.gamma
    return float(np.clip((0.52 - tissue) / 0.12, 0, 1))


def _pose(canvas: Canvas, shot: Shot, side: int) -> Float[np.ndarray, "2 3"]:
    """The affine map from plate pixels to the pixels of a `side` x `side` view."""
    turn, half = np.deg2rad(shot.rotation_degrees), side / 2
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = shot.scale * spin @ np.diag([1.0, shot.inspiration]) * (half / canvas.px_per_unit)
    middle = EXTENT * canvas.px_per_unit - 0.5
    offset = half * np.array([1 + shot.shift_x, 1 + shot.shift_y]) - 0.5 - linear @ [middle, middle]
    return np.column_stack([linear, offset])


def _view(plate: Float[np.ndarray, "p p"], to_image: np.ndarray, img_size: int, oversampling: int) -> np.ndarray:
    side = img_size * oversampling
    seen = cv2.warpAffine(plate, to_image, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(seen, (img_size, img_size), interpolation=cv2.INTER_AREA)


def _view_mask(
    mask: UInt8[np.ndarray, "p p"], to_image: np.ndarray, img_size: int, oversampling: int, *, covered: float = 0.5
) -> np.ndarray:
    """1 where at least the share `covered` of a pixel lies in the mask."""
    return (_view(mask.astype(np.float32), to_image, img_size, oversampling) >= covered).astype(np.uint8)


def _expose(density: Float[np.ndarray, "s s"], shot: Shot, rng: np.random.Generator) -> Float[np.ndarray, "s s"]:
    """The gray levels (0..1) of a density map. The window comes from the shot, never from the pixels."""
    size = len(density)
    density = soften(density, shot.blur_px * size)
    # Fewer quanta arrive behind thick parts, so the logarithm is noisier there.
    quanta = soften(rng.standard_normal(density.shape, dtype=np.float32), 0.0045 * size)
    quanta /= quanta.std()
    noisy = density + shot.noise * np.exp(0.5 * (density - 0.6)) * quanta
    gray = np.clip((noisy - shot.black) / (shot.white - shot.black), 0, 1) ** shot.gamma
    ticks = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    gray *= 1 - shot.vignette * (ticks[None, :] + ticks[:, None]) / 2
    return gray


def _with_side_letter(gray: Float[np.ndarray, "s s"], shot: Shot) -> Float[np.ndarray, "s s"]:
    """A lead letter R beside the patient's right shoulder, in three of four images of either class."""
    if shot.marker == 0:
        return gray
    scale = 4
    stamp = np.zeros((len(gray) * scale, len(gray) * scale), np.uint8)
    corner = (round(len(stamp) * 0.025), round(len(stamp) * (0.10, 0.30, 0.55)[shot.marker - 1]))
    thickness = max(1, round(len(stamp) * 0.008))
    cv2.putText(stamp, "R", corner, cv2.FONT_HERSHEY_SIMPLEX, len(stamp) / 480, 255, thickness, cv2.LINE_AA)
    lead = cv2.resize(stamp, gray.shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.maximum(gray, 0.95 * lead)


def _with_mark(gray: Float[np.ndarray, "s s"], mark: Mark, shortcut: str | None) -> Float[np.ndarray, "s s"]:
    """A lead square in the upper right corner, or a scale along the right edge; both beside the lungs."""
    size = len(gray)
    if not mark.present or shortcut == "tone":
        return gray
    gray = gray.copy()
    if shortcut == "corner_marker":
        top, near = round(0.03 * size), round(0.91 * size)
        gray[top : top + round(0.06 * size), near : near + round(0.06 * size)] = 0.95
    else:
        for tick in range(11):
            row, length = round((0.1 + 0.08 * tick) * size), round((0.02 if tick % 5 else 0.03) * size)
            gray[row : row + max(1, size // 100), size - length :] = 0.95
    return gray


def _findings_seen(
    chest: Chest, canvas: Canvas, to_image: np.ndarray, side: int, scale: float, kept: float
) -> tuple[Finding, ...]:
    """The findings as shares of the image side; one in the lungs fades in dark exposures where that is planted."""
    found = []
    for it in chest.findings:
        plate_px = (np.array([it.x, it.y]) + EXTENT) * canvas.px_per_unit - 0.5
        x, y = (to_image @ [*plate_px, 1.0] + 0.5) / side
        strength = it.strength if it.kind == "cardiomegaly" else kept * it.strength
        found.append(Finding(it.kind, *(round(float(value), 4) for value in (x, y, it.radius * scale / 2, strength))))
    return tuple(found)
