"""`phantom-derm`: synthetic dermoscopic images of skin lesions in HAM10000's seven classes, with their masks.

All classes come from the same skin, pose, light, hairs and noise: what the label decides is how the lesion itself looks
(`signs.py`), and the lesion ends before the border of the image. Nothing measured on an image feeds back into it. So
two versions of an image with different classes are equal everywhere but at the lesion.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.core.errors import DataError
from chiron.data.phantoms.canvas import EXTENT, Canvas, generator_of
from chiron.data.phantoms.deal import deal_classes, normalized_shares
from chiron.data.phantoms.dermoscope import draw_dermoscope_shot, draw_hairs, pose_of, take_picture
from chiron.data.phantoms.lesion import EXTENT as LESION_EXTENT
from chiron.data.phantoms.lesion import SHOWS_FROM, draw_lesion
from chiron.data.phantoms.phantom_set import Finding, PhantomRow, PhantomSet
from chiron.data.phantoms.planted import NOTHING_PLANTED, Mark, Planted
from chiron.data.phantoms.signs import CLASSES, OUTLINE, Signs, draw_signs
from chiron.data.phantoms.skin import draw_skin, draw_skin_plate, fitzpatrick_of

NAME = "phantom-derm"
CLASS_OF_INTEREST = "mel"
# Shares of HAM10000's lesions (not images). Source: Tschandl et al. 2018, doi:10.1038/sdata.2018.161.
SHARES: Mapping[str, float] = {
    "akiec": 0.031, "bcc": 0.044, "bkl": 0.097, "df": 0.010, "mel": 0.082, "nv": 0.723, "vasc": 0.013,
}  # fmt: skip
_LESIONS_OF_A_PATIENT = (0.82, 0.12, 0.06)  # probability of 1, 2, 3
_IMAGES_OF_A_LESION = (0.74, 0.19, 0.07)
_SITES: Mapping[str, float] = {
    "back": 0.22, "lower extremity": 0.21, "trunk": 0.14, "upper extremity": 0.11, "abdomen": 0.10, "face": 0.08,
    "chest": 0.05, "foot": 0.03, "unknown": 0.02, "neck": 0.02, "scalp": 0.01, "hand": 0.01,
}  # fmt: skip
_MIN_VIEW_PX = 192  # small images are drawn large and then shrunk, so that hairs and networks stay fine
_TONE_SHIFT = 0.35  # what the shortcut `tone` adds to the skin


def draw_phantom_derm(
    *,
    num_images: int,
    img_size: int,
    seed: int,
    class_shares: Mapping[str, float] = SHARES,
    difficulty: float = 0.5,
    planted: Planted = NOTHING_PLANTED,
) -> PhantomSet:
    """Synthetic dermoscopic images (RGB) together with all that is true about them.

    Image i is a function of the other arguments and i alone: a larger `num_images` only adds images.

    Args:
        num_images: how many images; the last patient may lose some.
        img_size: side in pixels, at least 28.
        seed: names the set; other seeds share no patient.
        class_shares: share of the lesions by class; classes that are not named do not come.
        difficulty: 0 (every lesion typical of its class) to 1 (many that look like what they are mistaken for).
        planted: shortcut (class of interest: mel), wrong labels and error in dark skin.
    Raises:
        DataError: an argument lies outside its range.
    """
    if num_images < 1:
        raise DataError(f"A phantom set must have at least one image. Got {num_images}. Ask for more.")
    if img_size < 28:
        raise DataError(f"A skin phantom must be at least 28 pixels wide. Got {img_size}. Choose a larger img_size.")
    if not 0 <= difficulty <= 1:
        raise DataError(f"difficulty must lie in 0..1. Got {difficulty}. Choose a value between.")
    shares = normalized_shares(class_shares, CLASSES)
    images = np.empty((num_images, img_size, img_size, 3), np.uint8)
    lesions, hairs = np.zeros(images.shape[:3], np.uint8), np.zeros(images.shape[:3], np.uint8)
    rows: list[PhantomRow] = []
    for case in _cases(seed, shares, planted):
        for drawn in _draw_case(case, img_size, seed, difficulty, planted):
            images[len(rows)], lesions[len(rows)], hairs[len(rows)], row = drawn
            rows.append(row)
            if len(rows) == num_images:
                return PhantomSet(NAME, CLASSES, images, {"lesion": lesions, "hair": hairs}, tuple(rows))
    raise AssertionError("cases never end")


Picture: TypeAlias = UInt8[np.ndarray, "size size"]
Drawn: TypeAlias = tuple[UInt8[np.ndarray, "size size 3"], Picture, Picture, PhantomRow]  # image, lesion, hair, truth


@dataclass(frozen=True)
class _Case:
    """One lesion of one patient."""

    patient: int
    number: int
    true_label: str
    label: str


@dataclass(frozen=True)
class _Site:
    """One lesion on its skin, ready for pictures."""

    canvas: Canvas
    density: Float[np.ndarray, "size size 3"]
    mask: UInt8[np.ndarray, "size size"]  # 255 where the lesion reaches
    radius: float
    signs: Signs
    tone: float
    kept: float
    mark: Mark


def _cases(seed: int, shares: Mapping[str, float], planted: Planted) -> Iterator[_Case]:
    dealt = deal_classes(shares, NAME, seed)
    for patient in count():
        num_lesions = 1 + int(generator_of(NAME, seed, patient, "count").choice(3, p=_LESIONS_OF_A_PATIENT))
        for number in range(num_lesions):
            true_label = next(dealt)
            rng = generator_of(NAME, seed, patient, "given-label", number)
            yield _Case(patient, number, true_label, planted.draw_label(rng, true_label, shares))


def _draw_case(case: _Case, img_size: int, seed: int, difficulty: float, planted: Planted) -> Iterator[Drawn]:
    """The images of one lesion. Every draw has its own name, so the class shifts none of the others."""
    named = lambda *names: generator_of(NAME, seed, case.patient, *names)  # noqa: E731
    of_lesion = lambda *names: named("lesion", case.number, *names)  # noqa: E731
    side = img_size * -(-_MIN_VIEW_PX // img_size)
    site = _draw_site(case, side, named, difficulty, planted)
    about = _about_patient(named("patient"), of_lesion("site"), site.tone)
    for number in range(1 + int(of_lesion("count").choice(3, p=_IMAGES_OF_A_LESION))):
        mark, shot = site.mark, draw_dermoscope_shot(of_lesion("shot", number), difficulty)
        if planted.shortcut in ("ruler", "corner_marker"):
            rng = of_lesion("mark", number)
            mark = planted.draw_mark(rng, is_of_interest=case.true_label == CLASS_OF_INTEREST)
        if planted.shortcut == "ruler":
            shot = replace(shot, ruler=int(mark.present))
        to_image = pose_of(shot, site.canvas, side)
        hairs = _shrunk(draw_hairs(of_lesion("hair", number), shot.hairs, side), img_size) / np.float32(255)
        image = take_picture(
            _shrunk(_seen(site.density, to_image, side), img_size),
            hairs,
            shot,
            of_lesion("camera", number),
            gain=float(np.exp(0.45 * site.tone)),  # the camera opens for dark skin
            corner_mark=mark.present and planted.shortcut == "corner_marker",
        )
        # The mask takes every pixel of which the lesion reaches a tenth.
        lesion = (_shrunk(cv2.warpAffine(site.mask, to_image, (side, side)), img_size) >= 26).astype(np.uint8)
        row = PhantomRow(
            sample_id=f"s{seed}-p{case.patient:05d}-l{case.number + 1}-{number + 1}",
            patient_id=f"s{seed}-p{case.patient:05d}",
            unit_id=f"s{seed}-p{case.patient:05d}-l{case.number + 1}",
            label=case.label,
            true_label=case.true_label,
            params={name: round(value, 4) for name, value in asdict(shot).items()},
            findings=_signs_seen(site, to_image, side, shot.zoom),
            metadata=about,
            planted=planted.outcome(mark, site.kept),
        )
        yield image, lesion, (hairs > 0.3).astype(np.uint8), row


def _draw_site(
    case: _Case, side: int, named: Callable[..., np.random.Generator], difficulty: float, planted: Planted
) -> _Site:
    """One lesion on its skin. Skin and lesion do not know of each other's draws."""
    of_lesion = lambda *names: named("lesion", case.number, *names)  # noqa: E731
    canvas = Canvas(px_per_unit=side // 2)
    skin = draw_skin(named("skin"))
    mark = planted.draw_mark(of_lesion("mark"), is_of_interest=case.true_label == CLASS_OF_INTEREST)
    is_shifted = mark.present and planted.shortcut == "tone"
    tone = min(1.0, skin.tone + _TONE_SHIFT * is_shifted)
    kept = planted.sign_strength(float(np.clip((tone - 0.30) / 0.40, 0, 1)))
    signs = draw_signs(case.true_label, of_lesion("signs"), difficulty=difficulty, kept=kept)
    density = draw_skin_plate(canvas, skin, tone, of_lesion("skin"))
    margin = round((EXTENT - LESION_EXTENT) * canvas.px_per_unit)
    inner = slice(margin, canvas.size - margin)
    lesion_canvas = Canvas(canvas.px_per_unit, extent=(canvas.size - 2 * margin) / (2 * canvas.px_per_unit))
    lesion = draw_lesion(lesion_canvas, signs, lambda *names: of_lesion("drawn", *names))
    density[inner, inner] = lesion.over(density[inner, inner])
    mask = np.zeros((canvas.size, canvas.size), np.uint8)
    mask[inner, inner] = 255 * lesion.mask
    return _Site(canvas, density, mask, lesion.radius, signs, tone, kept, mark)


def _about_patient(of_patient: np.random.Generator, of_site: np.random.Generator, tone: float) -> dict[str, Any]:
    """What a data set may tell of a patient and a lesion; drawn without a look at the class. Some is not known."""
    age = float(np.clip(5 * round(of_patient.normal(52, 16) / 5), 0, 85))
    is_known, sex = of_patient.uniform(size=2)
    return {
        "age": age if is_known > 0.008 else "",
        "sex": "male" if sex < 0.53 else "female" if sex < 0.993 else "unknown",
        "localization": str(of_site.choice(list(_SITES), p=np.array(list(_SITES.values())))),
        "skin_tone": round(tone, 4),
        "fitzpatrick": fitzpatrick_of(tone),
    }


def _seen(
    plate: Float[np.ndarray, "_plate _plate 3"], to_image: Float[np.ndarray, "2 3"], side: int
) -> Float[np.ndarray, "side side 3"]:
    return cv2.warpAffine(plate, to_image, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _shrunk(view: np.ndarray, img_size: int) -> np.ndarray:
    return cv2.resize(view, (img_size, img_size), interpolation=cv2.INTER_AREA)


def _signs_seen(site: _Site, to_image: Float[np.ndarray, "2 3"], side: int, zoom: float) -> tuple[Finding, ...]:
    """The structures that were drawn, each at the lesion's middle, as shares of the image side."""
    middle = EXTENT * site.canvas.px_per_unit - 0.5
    x, y = (round(float(value), 4) for value in (to_image @ [middle, middle, 1.0] + 0.5) / side)
    radius = round(site.radius * zoom / 2, 4)
    drawn = {name: value for name, value in asdict(site.signs).items() if name not in OUTLINE and value > SHOWS_FROM}
    return tuple(Finding(name, x, y, radius, value) for name, value in drawn.items())
