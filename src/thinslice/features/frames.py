"""Whole frames, evenly spread over a clip and scaled to one size."""

import numpy as np

from thinslice.errors import UsageError
from thinslice.features.extractor import Extractor
from thinslice.media.source import Source

PLACEMENTS = ("centres", "starts")
"""Where in its share of the clip a frame is taken: in the middle, or at the start."""


def frame_times(duration_s: float, num_frames: int, placement: str = "centres") -> np.ndarray:
    """Return float64 (num_frames,) times, seconds, one in each of `num_frames` equal parts of a duration."""
    if num_frames < 1 or placement not in PLACEMENTS:
        raise UsageError(f"{num_frames} frames at {placement!r}: take 1 or more, at one of {', '.join(PLACEMENTS)}")
    offset = 0.5 if placement == "centres" else 0.0
    return (np.arange(num_frames) + offset) * (duration_s / num_frames)


def look_times(source: Source, num_frames: int, first_s: float) -> np.ndarray:
    """Return float64 times at which to look at a clip's first seconds: as `frame_times`, or each still picture once.

    Of more than `num_frames` still pictures that many are taken, evenly spread, the first and the last among them.
    """
    if source.pictures is None:
        return frame_times(min(source.duration_s, first_s), num_frames)
    times = np.array(source.pictures.times_s) - source.start_s
    inside = times[(times >= 0) & (times < source.duration_s)]
    if not len(inside):
        return np.zeros(1)
    chosen = np.linspace(0, len(inside) - 1, min(num_frames, len(inside))).round().astype(int)
    return np.asarray(inside[chosen])


def extract_frames(source: Source, num_frames: int, width: int, height: int, placement: str = "centres") -> np.ndarray:
    """Return frames spread evenly over a source, scaled without regard to their proportions.

    Args:
        source: the window of a media file.
        num_frames: how many.
        width: width to scale to, pixels.
        height: height to scale to, pixels.
        placement: one of `PLACEMENTS`.

    Returns:
        uint8 array (num_frames, height, width, 3), RGB, upright.

    Raises:
        MediaError: the file cannot be read, or has no pictures.
        UsageError: no frames asked for, or an unknown placement.
    """
    times = frame_times(source.duration_s, num_frames, placement)
    return np.stack([frame.image for frame in source.frames(times, size=(width, height))])


FRAMES_EXTRACTOR = Extractor(name="frames", version=2, serves=(1,), extract=extract_frames)
