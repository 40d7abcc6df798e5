"""The same augmentation for a batch of stored tensors, on whatever device they lie: what `augment` does to each image.

Geometry, blur, color and erasing run for the whole batch at once; a policy's steps that are not linear, image by image.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from chiron.data.augment.apply import erase_values, pixels_of, tone_steps
from chiron.data.augment.color import IDENTITY, ColorMap
from chiron.data.augment.draw import Draw
from chiron.data.augment.policies import Operation, Step
from chiron.data.augment.tones import equalizing_curve
from chiron.data.augment.warp import Warp, kernel_side, warp_of
from chiron.spec.input_spec import InputSpec

Batch = Float[Tensor, "_batch _channels _height _width"]
Pixels = Float[Tensor, "_channels _height _width"]


def augment_batch(stored: Shaped[Tensor, "batch channels s s"], draws: Sequence[Draw], spec: InputSpec) -> Batch:
    """The augmented images at their final size, float32 in the stored value range.

    Within 0.5 gray levels of `augment` on average; where steps count gray levels (posterize, equalize) a pixel on the
    border between two may fall to the other side.
    """
    warps = [warp_of(draw, stored_size=stored.shape[-1], img_size=spec.img_size) for draw in draws]
    pixels = _smooth(stored.float(), [warp.presmooth for warp in warps], [None] * len(draws))
    moved = _warp(pixels, warps, spec.img_size)
    pixels, mask = moved[:, : spec.in_chans], moved[:, spec.in_chans :]  # of the mask the values stay
    pixels = _smooth(pixels, [draw.blur_sigma for draw in draws], [draw.blur_kernel for draw in draws])
    pixels = _change_tones(pixels, [tone_steps(draw) for draw in draws], spec.max_value)
    for image, draw in zip(pixels, draws, strict=True):
        if draw.erased is not None:
            rows, columns = pixels_of(draw.erased, spec.img_size)
            image[:, rows, columns] = image.new_tensor(erase_values(draw, spec))[:, None, None]
    return torch.cat([pixels, mask], dim=1)


def _warp(pixels: Batch, warps: Sequence[Warp], img_size: int) -> Batch:
    """Bilinear samples; what lies outside of a crop is black where the image moves, else its border goes on."""
    device, side = pixels.device, pixels.shape[-1]
    edges = torch.tensor([[w.left, w.top, w.right, w.bottom] for w in warps], dtype=torch.float32, device=device)
    first, last = edges[:, None, :2], edges[:, None, 2:] - 1
    moves = torch.tensor([w.moves for w in warps], device=device)
    points = _sources(warps, img_size, device) + first
    points = torch.where(moves[:, None, None], points, points.clamp(first, last))
    places = torch.arange(side, device=device)
    columns = (places >= first[..., :1]) & (places <= last[..., :1])
    rows = (places >= first[..., 1:]) & (places <= last[..., 1:])
    view = pixels * (rows[:, 0, :, None] & columns[:, 0, None, :])[:, None]
    grid = (2 * points / max(side - 1, 1) - 1).view(len(warps), img_size, img_size, 2)
    return functional.grid_sample(view, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _sources(warps: Sequence[Warp], img_size: int, device: torch.device) -> Float[Tensor, "batch pixels 2"]:
    """Where every final pixel comes from, in its view."""
    line = torch.arange(img_size, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    final = torch.stack([x.flatten(), y.flatten(), torch.ones(img_size**2, device=device)])
    matrices = torch.from_numpy(np.stack([warp.matrix for warp in warps])).float().to(device)
    homogeneous = matrices @ final
    return (homogeneous[:, :2] / homogeneous[:, 2:]).transpose(1, 2)


def _smooth(pixels: Batch, sigmas: Sequence[float], kernels: Sequence[int | None]) -> Batch:
    """Gaussian blur with a sigma an image; those of sigma 0 stay exactly as they are."""
    changed = [k for k, sigma in enumerate(sigmas) if sigma]
    if not changed:
        return pixels
    sides = [kernels[k] or kernel_side(sigmas[k]) for k in changed]
    reach, channels = max(sides) // 2, pixels.shape[1]
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.stack(
        [
            torch.exp(-(places**2) / (2 * sigmas[k] ** 2)) * (places.abs() <= side // 2)
            for k, side in zip(changed, sides, strict=True)
        ]
    )
    weights = (weights / weights.sum(1, keepdim=True)).float().repeat_interleave(channels, 0).to(pixels.device)
    flat = pixels[changed].flatten(0, 1)[None]
    padded = functional.pad(flat, (reach,) * 4, mode="reflect")
    down = functional.conv2d(padded, weights[:, None, :, None], groups=len(weights))
    smooth = functional.conv2d(down, weights[:, None, None, :], groups=len(weights))
    result = pixels.clone()
    result[changed] = smooth[0].unflatten(0, (len(changed), channels))
    return result


def _change_tones(pixels: Batch, steps: Sequence[list[ColorMap | Step]], max_value: int) -> Batch:
    """The first linear map of every image at once, then image by image what is left."""
    first = [own[0] if own and isinstance(own[0], ColorMap) else IDENTITY for own in steps]
    pixels = torch.where(_tensor([c.changes for c in first], pixels), _recolor(pixels, first, max_value), pixels)
    for place, (own, color) in enumerate(zip(steps, first, strict=True)):
        for step in own[1:] if own and own[0] is color else own:
            image = pixels[place]
            if isinstance(step, ColorMap):
                pixels[place] = _recolor(image[None], [step], max_value)[0]
            else:
                pixels[place] = _STEPS[step.name](image, step.strength, max_value)
    return pixels


def _tensor(flags: list[bool], pixels: Batch) -> Shaped[Tensor, "batch 1 1 1"]:
    return torch.tensor(flags, device=pixels.device)[:, None, None, None]


def _recolor(pixels: Batch, colors: Sequence[ColorMap], max_value: int) -> Batch:
    linear = pixels.new_tensor(np.stack([color.linear for color in colors]))
    offset = pixels.new_tensor(np.stack([color.offset for color in colors]))
    if pixels.shape[1] == 1:  # gray is the color with three equal parts
        linear, offset = (matrix[:, :1].sum(2, keepdim=True) for matrix in (linear, offset))
    shift = torch.einsum("bij,bj->bi", offset, pixels.mean(dim=(2, 3)))
    mapped = torch.einsum("bij,bjhw->bihw", linear, pixels) + shift[..., None, None]
    return mapped.clamp(0, max_value)


def _sharpen(image: Pixels, factor: float, max_value: int) -> Pixels:
    kernel = image.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = functional.conv2d(image[:, None], kernel[None, None])[:, 0]
    changed = image.clone()
    changed[:, 1:-1, 1:-1] = smooth + factor * (image[:, 1:-1, 1:-1] - smooth)
    return changed.clamp(0, max_value)


def _posterize(image: Pixels, bits: float, max_value: int) -> Pixels:
    level, step = max_value / 255, 2 ** (8 - int(bits))
    return torch.floor(torch.round(image / level) / step) * step * level


def _solarize(image: Pixels, threshold: float, max_value: int) -> Pixels:
    return torch.where(image >= threshold * max_value, max_value - image, image)


def _autocontrast(image: Pixels, _: float, max_value: int) -> Pixels:
    low, high = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
    flat = low == high
    return torch.where(flat, image, (image - low) * (max_value / torch.where(flat, torch.ones_like(low), high - low)))


def _equalize(image: Pixels, _: float, max_value: int) -> Pixels:
    """As the CPU path; only the 256 counts of a channel leave the device."""
    levels = image * (255 / max_value)
    changed = []
    for channel in levels:
        counts = torch.bincount(channel.round().long().flatten(), minlength=256).cpu().numpy()
        curve = channel.new_tensor(equalizing_curve(counts))
        below = channel.floor().clamp(0, 254).long()
        changed.append(curve[below] + (curve[below + 1] - curve[below]) * (channel - below))
    return torch.stack(changed) * (max_value / 255)


_STEPS: Mapping[Operation, Callable[[Pixels, float, int], Pixels]] = {
    "sharpness": _sharpen,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
