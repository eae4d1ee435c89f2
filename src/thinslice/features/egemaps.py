"""eGeMAPS functionals: 88 numbers on pitch, loudness, spectrum and voice quality, computed by openSMILE.

Source: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective
Computing", IEEE TAC 2015, as Fodor et al. ("Enhancing Apparent Personality Trait Analysis with Cross-Modal
Embeddings", section 3.1) use it. openSMILE's licence is audEERING's, for research; it is never needed to predict with
the default bundle.

Deviations: eGeMAPSv02 is computed, the set's present version; the paper does not say which it used.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np

from thinslice.errors import MediaError, MissingExtraError
from thinslice.features.extractor import Extractor
from thinslice.media.mixing import is_silent
from thinslice.media.source import Source

NUM_FUNCTIONALS: Final = 88
RATE_HZ: Final = 44100


def extract_egemaps(source: Source, rate_hz: int = RATE_HZ, allow_missing: bool = False) -> np.ndarray:
    """Return the functionals of a source's sound.

    Args:
        source: the window of a media file.
        rate_hz: sampling rate to bring it to.
        allow_missing: whether a clip without sound gives NaN; else it is an error.

    Returns:
        float32 array (88,), in the order of `functional_names`.

    Raises:
        MediaError: the file cannot be read, has no sound or less than 1 s of it, or holds digital silence.
        MissingExtraError: openSMILE is not installed.
    """
    smile = _smile()
    try:
        samples = source.audio(rate_hz)
        if is_silent(samples):
            raise MediaError(f"{source.path}: its sound is digital silence; give a clip with a voice")
    except MediaError:
        if allow_missing and source.info.has_video:
            return np.full(NUM_FUNCTIONALS, np.nan, np.float32)
        raise
    return np.asarray(smile.process_signal(samples, rate_hz), dtype=np.float32).reshape(-1)


EGEMAPS_EXTRACTOR = Extractor(name="egemaps", version=2, serves=(1,), extract=extract_egemaps, extra="egemaps")


def functional_names() -> list[str]:
    """Return the names that openSMILE gives the 88 numbers."""
    return list(_smile().feature_names)


@lru_cache(maxsize=1)
def _smile() -> Any:
    try:
        import opensmile
    except ImportError:
        raise MissingExtraError("the feature egemaps (openSMILE)", "egemaps") from None
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
