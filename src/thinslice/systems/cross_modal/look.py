"""How a clip is looked at in training and in tests: frames are cut and changed."""

import colorsys
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from thinslice.train.recipe import Arrays, ClipReader, Mode


@dataclass(frozen=True)
class Augmentation:
    """How frames are changed in training (section 3.1), each with a probability of one half, a clip's all alike.

    Attributes:
        hue: largest shift of the hue, parts of a full turn.
        brightness: largest shift, parts of the full range.
        lowest: smallest factor of saturation and of contrast.
        highest: largest factor.
        space: where hue and saturation are: "hsv", as TensorFlow's, or "yiq".
    """

    hue: float = 0.15
    brightness: float = 0.2
    lowest: float = 0.8
    highest: float = 1.2
    space: Literal["hsv", "yiq"] = "hsv"

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return changed frames, float32, of uint8 ones (n, height, width, 3), all in [0, 255].

        Contrast is about the mean of each frame's channel; hue and saturation are those of the HSV colour space, as
        TensorFlow's, in which the authors worked. With "yiq" hue is a rotation about the grey axis in YIQ, and
        saturation the distance from the grey of the same brightness.
        """
        flip, hue, brightness, saturation, contrast = rng.random(5) < 0.5
        shift, light = rng.uniform(-self.hue, self.hue), rng.uniform(-self.brightness, self.brightness)
        colour, spread = rng.uniform(self.lowest, self.highest, 2)
        out = frames[:, :, ::-1].astype(np.float32) if flip else frames.astype(np.float32)
        if hue or saturation:
            change = shift if hue else 0.0, colour if saturation else 1.0
            out = shift_colours(out, *change) if self.space == "hsv" else out @ colour_matrix(*change)
        if brightness:
            out = out + np.float32(light * 255)
        if contrast:
            mean = out.mean((1, 2), keepdims=True)
            out = (out - mean) * np.float32(spread) + mean
        return np.clip(out, 0, 255)


def shift_colours(pictures: np.ndarray, turn: float, saturation: float) -> np.ndarray:
    """Return pictures whose hue and saturation in the HSV colour space are changed; the value stays.

    Equal to TensorFlow's ``adjust_hue`` and ``adjust_saturation``, which clips the saturation at 1.

    Args:
        pictures: float32 (..., 3), RGB, not below 0.
        turn: of the hue, parts of a full turn; red goes towards green.
        saturation: factor.
    """
    red, green, blue = planes = np.ascontiguousarray(np.moveaxis(pictures, -1, 0))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    scaled = np.minimum(chroma * np.float32(saturation), value)
    divisor = np.maximum(chroma, np.float32(1e-9))  # Grey has no hue; all that is divided is 0 there.
    if turn == 0:  # Channels keep their places between the largest and the smallest.
        planes = value - (value - planes) * (scaled / divisor)
    else:
        hue = (red - green) / divisor + np.float32(4)
        np.copyto(hue, (blue - red) / divisor + np.float32(2), where=value == green)
        np.copyto(hue, (green - blue) / divisor, where=value == red)
        hue += np.float32(6 * turn + 6)  # Now in (0, 18).
        for channel, start in enumerate((5, 3, 1)):
            k = hue + np.float32(start)
            k -= np.float32(6) * np.floor(k / np.float32(6))
            planes[channel] = value - scaled * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.moveaxis(planes, 0, -1)


_TO_YIQ: Final = np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)])
"""RGB rows -> YIQ."""


def colour_matrix(turn: float, saturation: float) -> np.ndarray:
    """Return the float32 matrix (3, 3) by which RGB rows are multiplied to turn their hue and scale their saturation.

    Args:
        turn: of the hue, parts of a full turn; red goes towards green.
        saturation: factor of the distance from grey.
    """
    angle = -2 * np.pi * turn
    rotation = np.eye(3)
    rotation[1:, 1:] = saturation * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix: np.ndarray = (_TO_YIQ @ rotation @ np.linalg.inv(_TO_YIQ)).astype(np.float32)
    return matrix


@dataclass(frozen=True)
class Look:
    """How a clip is looked at: as stored, in training the frames cut at one random place and changed.

    Attributes:
        names: of the inputs.
        side: of the crop, pixels; in validation and tests the network cuts the middle itself.
        augmentation: of the frames.
    """

    names: tuple[str, ...]
    side: int
    augmentation: Augmentation = Augmentation()

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "egemaps" (88,), "frames" (frames, height, width, 3) and "words" (words, size), those asked for."""
        out = {name: clip.read(name) for name in self.names}
        if mode == "train" and "frames" in out:
            height, width = out["frames"].shape[1:3]
            top, left = rng.integers(height - self.side + 1), rng.integers(width - self.side + 1)
            cut = out["frames"][:, top : top + self.side, left : left + self.side]
            out["frames"] = self.augmentation(cut, rng)
        return out
