"""ExportSpec: all that an exported file says of itself beside its graph; it travels in the file."""

from typing import Literal

from chiron.spec.bundle_spec import BundleSpec
from chiron.spec.experience import Experience
from chiron.spec.frozen import Frozen
from chiron.spec.provenance import DISCLAIMER

Precision = Literal["fp32", "bf16", "fp16", "int8"]


class QualityCheck(Frozen):
    """What a lower precision was judged by: real images, paired with fp32."""

    words: str
    split: str
    num_images: int
    num_flipped: int  # decisions that are other ones than in fp32


class Agreement(Frozen):
    """How far the exported graph is from the bundle's networks in eager fp32, over the golden images."""

    largest_difference: float  # of a probability
    num_images: int
    quality: QualityCheck | None = None  # of lower precisions alone


class ExportSpec(Frozen):
    """What an exported file holds beside its graph; `agreement` is None while it is still being proven."""

    format: Literal["chiron-export 1"] = "chiron-export 1"
    bundle_id: str
    precision: Precision = "fp32"
    agreement: Agreement | None = None
    bundle: BundleSpec
    experience: Experience | None = None  # with its outputs, as it stood beside the bundle
    disclaimer: str = DISCLAIMER
