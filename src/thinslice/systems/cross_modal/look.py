"""How a clip is looked at in training and in tests: frames are cut, and it is drawn how they are to be changed."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.train.recipe import Arrays, ClipReader, Mode

CHANGES: Final = "changes"
"""Input that says how the frames of a clip are to be changed; only in training."""


@dataclass(frozen=True)
class Augmentation:
    """How frames are changed in training (section 3.1), each with a probability of one half, a clip's all alike.

    Attributes:
        hue: largest shift of the hue, parts of a full turn.
        brightness: largest shift, parts of the full range.
        lowest: smallest factor of saturation and of contrast.
        highest: largest factor.
    """

    hue: float = 0.15
    brightness: float = 0.2
    lowest: float = 0.8
    highest: float = 1.2

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return what is changed of a clip's frames, float64 (5,), for `thinslice.systems.cross_modal.augment`.

        Whether they are mirrored (1 or 0), the turn of the hue, the factor of saturation, the shift of brightness, and
        the factor of contrast: 0, 1, 0 and 1 where it is left alone.
        """
        flip, hue, brightness, saturation, contrast = rng.random(5) < 0.5
        shift, light = rng.uniform(-self.hue, self.hue), rng.uniform(-self.brightness, self.brightness)
        colour, spread = rng.uniform(self.lowest, self.highest, 2)
        factors = colour if saturation else 1.0, light if brightness else 0.0, spread if contrast else 1.0
        return np.array([flip, shift if hue else 0.0, *factors])


@dataclass(frozen=True)
class Look:
    """How a clip is looked at: as stored, in training the frames cut at one random place, with what is to be changed.

    Attributes:
        names: of the inputs.
        side: of the crop, pixels; in validation and tests the network cuts the middle itself.
        augmentation: of the frames.
    """

    names: tuple[str, ...]
    side: int
    augmentation: Augmentation = Augmentation()

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "egemaps" (88,), "frames" (frames, height, width, 3) and "words" (words, size), those asked for.

        With frames in training also "changes" (5,), which the loss does.
        """
        out = {name: clip.read(name) for name in self.names}
        if mode == "train" and "frames" in out:
            height, width = out["frames"].shape[1:3]
            top, left = rng.integers(height - self.side + 1), rng.integers(width - self.side + 1)
            out["frames"] = out["frames"][:, top : top + self.side, left : left + self.side]
            out[CHANGES] = self.augmentation.draw(rng)
        return out
