"""`augment`: an image and its draw give a training image. With nothing drawn it equals `finish`.

A mask is a further channel of the stored image: it moves with the picture in one warp, and nothing else touches it.
Between 0 and the largest value it is how much of a pixel is covered; `finish` decides which are inside.
"""

import cv2
import numpy as np
from jaxtyping import Float

from chiron.data.augment.color import ColorMap, composed_colors
from chiron.data.augment.draw import Box, Draw
from chiron.data.augment.policies import GEOMETRY, Step
from chiron.data.augment.tones import change_tones
from chiron.data.augment.warp import kernel_side, warp_image, warp_of
from chiron.preprocess.resize import StoredImage
from chiron.spec.input_spec import InputSpec

Picture = Float[np.ndarray, "img_size img_size in_chans"]


def augment(image: StoredImage, draw: Draw, spec: InputSpec) -> Float[np.ndarray, "_img_size _img_size _channels"]:
    """The augmented image at its final size, float32 in the stored value range; outside the image lies black."""
    warp = warp_of(draw, stored_size=image.shape[0], img_size=spec.img_size)
    picture = _change_values(warp_image(image[..., : spec.in_chans], warp, spec.img_size), draw, spec)
    if spec.mask == "none":
        return picture
    # By itself: two channels at once OpenCV would sample at 32nds of a pixel.
    return np.concatenate([picture, warp_image(image[..., spec.in_chans :], warp, spec.img_size)], axis=2)


def _change_values(pixels: Picture, draw: Draw, spec: InputSpec) -> Picture:
    """The picture after blur, tones and erasing."""
    if draw.blur_sigma:
        side = draw.blur_kernel or kernel_side(draw.blur_sigma)
        pixels = cv2.GaussianBlur(pixels, (side, side), draw.blur_sigma).reshape(pixels.shape)
    for step in tone_steps(draw):
        pixels = change_tones(pixels, step, spec.max_value)
    if draw.erased is not None:
        rows, columns = pixels_of(draw.erased, spec.img_size)
        pixels[rows, columns] = erase_values(draw, spec)
    return pixels


def tone_steps(draw: Draw) -> list[ColorMap | Step]:
    """What changes pixel values, in order: the recipe's own colors, then the policy's."""
    return composed_colors(
        draw, (step for step in draw.policy if step.name not in GEOMETRY and step.name != "identity")
    )


def pixels_of(box: Box, img_size: int) -> tuple[slice, slice]:
    """Rows and columns of a box in the final image; at least one pixel."""
    height, width = (max(1, round(share * img_size)) for share in (box.height, box.width))
    top, left = (round(share * img_size) for share in (box.y, box.x))
    return slice(top, top + height), slice(left, left + width)


def erase_values(draw: Draw, spec: InputSpec) -> Float[np.ndarray, "_channels"]:
    """What an erased box is filled with, a value a channel in the stored range."""
    share = np.array(spec.channel_mean if draw.erase_fill == "mean" else (0.0,) * spec.in_chans)
    return share * spec.max_value
