"""The waveform itself, as networks on raw sound take it."""

import numpy as np

from thinslice.features.extractor import Extractor
from thinslice.media.source import Source


def extract_waveform(source: Source, rate_hz: int, duration_s: float | None = None) -> np.ndarray:
    """Return a source's sound, channels averaged.

    Args:
        source: the window of a media file.
        rate_hz: sampling rate to bring it to.
        duration_s: how much of it, seconds from the window's start; None for all. No more is decoded.

    Returns:
        float32 array (n,), shorter than asked where the sound ends before.

    Raises:
        MediaError: the file cannot be read, or has no sound or less than 1 s of it.
    """
    return source.audio(rate_hz, duration_s)


WAVEFORM_EXTRACTOR = Extractor(name="waveform", version=2, serves=(1,), extract=extract_waveform)
