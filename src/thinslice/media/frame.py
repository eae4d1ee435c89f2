"""One picture of a clip and when it is shown."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    Attributes:
        time_s: the frame's own time stamp, seconds from the window's start.
        image: uint8 array (height, width, 3), RGB, turned upright as the file's rotation says. Frames that were
            asked for twice, or at times between which no other is shown, share one array.
        asked_s: the time that was asked for, seconds from the window's start.
    """

    time_s: float
    image: np.ndarray
    asked_s: float
