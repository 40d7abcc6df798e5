"""`chiron data make`: phantoms in the layout of a real data set."""

from collections.abc import Callable, Mapping
from pathlib import Path

from chiron.core.errors import DataError, SpecError
from chiron.core.files import require_new
from chiron.core.suggest import did_you_mean
from chiron.data.phantoms import cxr, derm
from chiron.data.phantoms.phantom_set import PhantomSet
from chiron.data.phantoms.planted import NOTHING_PLANTED, Planted
from chiron.data.phantoms.write import require_layout, write_phantoms

KINDS: Mapping[str, Callable[..., PhantomSet]] = {
    cxr.NAME: cxr.draw_phantom_cxr,
    derm.NAME: derm.draw_phantom_derm,
}


def make_phantoms(
    kind: str,
    out: str | Path,
    *,
    num_images: int = 2000,
    img_size: int = 96,
    difficulty: float = 0.5,
    layout: str = "manifest",
    seed: int = 0,
    planted: Planted = NOTHING_PLANTED,
    force: bool = False,
) -> Path:
    """Draws phantoms into the folder `out`, their masks and truth into `<out>-truth`; returns the path to read from.

    Raises:
        DataError: the kind or layout is unknown, or the one cannot have the other.
        SpecError: something stands at `out`, and it is not a folder of phantoms that `force` may replace.
    """
    if kind not in KINDS:
        raise DataError(f"The phantom must be one of {', '.join(KINDS)}. Got {kind!r}. {did_you_mean(kind, KINDS)}")
    form = require_layout(layout, kind)
    folder = Path(out)
    truth = folder.with_name(folder.name + "-truth")
    for place in (folder, truth):
        require_new(place, force=force)
    if folder.exists() and any(folder.iterdir()) and not (truth / "truth.csv").is_file():
        raise SpecError(f"--force replaces only phantoms. Got another folder at {folder}. Choose another --out.")
    several = {"several_findings": True} if form.several_labels else {}
    phantoms = KINDS[kind](
        num_images=num_images, img_size=img_size, seed=seed, difficulty=difficulty, planted=planted, **several
    )
    return write_phantoms(phantoms, folder, layout=layout, seed=seed)
