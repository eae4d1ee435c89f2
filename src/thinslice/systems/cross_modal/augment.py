"""Frames changed on the device, a batch at once: what reads them sends bytes, and what is to be changed."""

import colorsys
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

Space = Literal["hsv", "yiq"]

_TO_YIQ: Final = torch.from_numpy(np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)]))
"""RGB rows -> YIQ."""


def change_frames(frames: Tensor, changes: Tensor, space: Space) -> Tensor:
    """Return changed frames, float32, of uint8 ones (batch, n, height, width, 3), all in [0, 255].

    Contrast is about the mean of each frame's channel; hue and saturation are those of the HSV colour space, as
    TensorFlow's, in which the authors worked. With "yiq" hue is a rotation about the grey axis in YIQ, and saturation
    the distance from the grey of the same brightness.

    Args:
        frames: of a batch of clips.
        changes: (batch, 5) of each clip, see `thinslice.systems.cross_modal.look.Augmentation.draw`.
        space: where hue and saturation are changed.
    """
    flip, turn, saturation, light, spread = changes.double().t()[..., None, None, None, None]
    with torch.autocast(frames.device.type, enabled=False):
        out = torch.where(flip > 0, frames.flip(3), frames).float()
        colours = shift_colours(out, turn, saturation) if space == "hsv" else turn_in_yiq(out, turn, saturation)
        out = torch.where((turn == 0) & (saturation == 1), out, colours)
        out = out + (light * 255).float()
        mean = out.mean((2, 3), keepdim=True)
        out = torch.where(spread == 1, out, (out - mean) * spread.float() + mean)
        return out.clamp(0, 255)


def shift_colours(pictures: Tensor, turn: Tensor, saturation: Tensor) -> Tensor:
    """Return pictures whose hue and saturation in the HSV colour space are changed; the value stays.

    Equal to TensorFlow's ``adjust_hue`` and ``adjust_saturation``, which clips the saturation at 1.

    Args:
        pictures: float32 (..., 3), RGB, not below 0.
        turn: of the hue, parts of a full turn, of a shape that broadcasts; red goes towards green.
        saturation: factor, likewise.
    """
    red, green, blue = pictures.unbind(-1)
    turn, saturation = turn[..., 0], saturation[..., 0]
    value = pictures.amax(-1)
    chroma = value - pictures.amin(-1)
    scaled = torch.minimum(chroma * saturation.float(), value)
    divisor = chroma.clamp(min=1e-9)  # Grey has no hue; all that is divided is 0 there.
    hue = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    hue = torch.where(value == red, (green - blue) / divisor, hue)
    hue = hue + (6 * turn + 6).float()  # Now in (0, 18).
    planes = []
    for start in (5, 3, 1):
        k = torch.remainder(hue + start, 6)
        planes.append(value - scaled * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(planes, -1)


def turn_in_yiq(pictures: Tensor, turn: Tensor, saturation: Tensor) -> Tensor:
    """Return pictures (batch, n, height, width, 3) whose colours are turned about grey, and scaled, in YIQ.

    Args:
        pictures: float32, RGB.
        turn: of the hue, parts of a full turn, of a shape that broadcasts; red goes towards green.
        saturation: factor of the distance from grey, likewise.
    """
    matrices = colour_matrices(turn.flatten(), saturation.flatten())
    return (pictures.flatten(1, 3) @ matrices).view_as(pictures)


def colour_matrices(turn: Tensor, saturation: Tensor) -> Tensor:
    """Return the float32 matrices (batch, 3, 3) by which RGB rows are multiplied to turn hues and scale saturations."""
    to_yiq = _TO_YIQ.to(turn.device)
    angle = -2 * np.pi * turn.double()
    cos, sin = saturation * torch.cos(angle), saturation * torch.sin(angle)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [torch.stack(row, -1) for row in ((one, zero, zero), (zero, cos, sin), (zero, -sin, cos))]
    return (to_yiq @ torch.stack(rows, -2) @ torch.linalg.inv(to_yiq)).float()
