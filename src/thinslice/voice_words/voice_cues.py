"""Which part of the voice moved a score: Shapley values over groups of the voice profile's columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import factorial
from typing import Final

import numpy as np

from thinslice.voice_words.voice_function import VoiceFunction

CUES: Final[Mapping[str, tuple[int, ...]]] = {
    "loudness": (1, 6),
    "brightness": (2, 3, 4),
    "spectral tilt": (7, 8),
    "noisiness": (5,),
    "tonality": (0,),
    "timbre": (9, 10, 11, 12, 13, 14),
    "fine timbre": (15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25),
}
"""Human name -> columns of the voice profile, each in one cue.

loudness: rms, mfcc1 (level in dB); brightness: spectral centroid, bandwidth, roll-off; spectral tilt: mfcc2, mfcc3 (low
against high); noisiness: zero-crossing rate; tonality: chroma; timbre: mfcc4-9, the coarse shape that the
vocal tract gives; fine timbre: mfcc10-20.
"""

_PERCENT = np.linspace(0.0, 100.0, 101)

LEVELS: Final[Mapping[str, Mapping[int, float]]] = {
    "loudness": {1: 1.0},
    "brightness": {2: 1.0, 3: 1.0, 4: 1.0},
    "spectral tilt": {7: 1.0},
    "noisiness": {5: 1.0},
    "tonality": {0: -1.0},
}
"""Cue -> columns and signs whose standardised sum is its level; a timbre is neither high nor low.

The mean of librosa's chroma is high where the energy spreads over all pitch classes, so tonality is its negative. A
high level of spectral tilt means that the lows outweigh the highs.
"""


def level_directions() -> np.ndarray:
    """Return float64 (cues, 26): the combination of standardised columns that is each cue's level; zeros for none."""
    directions = np.zeros((len(CUES), 26))
    for row, name in enumerate(CUES):
        for column, sign in LEVELS.get(name, {}).items():
            directions[row, column] = sign
    return directions


@dataclass(frozen=True)
class VoiceReference:
    """What a clip's voice and pace are compared with.

    Attributes:
        background: float64 (b, 26), standardised means of clusters of training clips, so no single person's voice.
        background_weights: float64 (b,), how many clips each stands for, summing to 1.
        cue_quantiles: float64 (cues, 101), quantiles of the training clips' levels, in the order of `CUES`.
        num_words_quantiles: float64 (101,), of the training clips' numbers of words.
    """

    background: np.ndarray
    background_weights: np.ndarray
    cue_quantiles: np.ndarray
    num_words_quantiles: np.ndarray

    def pace_level(self, num_words: float) -> float:
        """Return the percentile, in [0, 100], of a number of words among the training clips."""
        return float(np.interp(num_words, self.num_words_quantiles, _PERCENT))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "VoiceReference":
        """Read the arrays that `thinslice.voice_words.trainer` writes; KeyError where one is missing."""
        weights = arrays["background_weights"].astype(np.float64)
        return cls(
            background=arrays["background"].astype(np.float64),
            background_weights=weights / weights.sum(),
            cue_quantiles=arrays["cue_quantiles"].astype(np.float64),
            num_words_quantiles=arrays["num_words_quantiles"].astype(np.float64),
        )


def cue_levels(function: VoiceFunction, profile: np.ndarray, reference: VoiceReference) -> dict[str, float | None]:
    """Return each cue's level among the training clips, as a percentile in [0, 100]; None for the timbres.

    Args:
        function: the voice function.
        profile: float array (26,).
        reference: what to compare with.
    """
    values = level_directions() @ function.standardise(profile[None])[0]
    return {
        name: float(np.interp(values[row], reference.cue_quantiles[row], _PERCENT)) if name in LEVELS else None
        for row, name in enumerate(CUES)
    }


def shapley_shares(function: VoiceFunction, profile: np.ndarray, reference: VoiceReference) -> dict[str, np.ndarray]:
    """Return each cue's Shapley value, (6,) in score units; they sum to ``function.predict``, up to rounding.

    The value of a coalition is the mean prediction when the columns of the other cues come from the background
    (interventional Shapley values: Lundberg and Lee 2017, section 2.4; Janzing et al. 2020). All 2^7 coalitions are
    evaluated. The function is centred so that the empty coalition is worth nothing.

    Args:
        function: the voice function.
        profile: float array (26,).
        reference: what to compare with.
    """
    row = function.standardise(profile[None])[0]
    groups = list(CUES.values())
    coalitions = np.array(list(product((False, True), repeat=len(groups))))
    takes = np.zeros((len(coalitions), len(row)), dtype=bool)
    for index, columns in enumerate(groups):
        takes[:, list(columns)] = coalitions[:, index, None]
    mixed = np.where(takes[:, None], row, reference.background).reshape(-1, len(row))
    values = function.predict_standardised(mixed).reshape(len(coalitions), len(reference.background), -1)
    worth = np.einsum("cbt,b->ct", values, reference.background_weights)
    sizes = coalitions.sum(axis=1)
    total = len(groups)
    result = {}
    for index, name in enumerate(CUES):
        without = np.flatnonzero(~coalitions[:, index])
        joined = without + 2 ** (total - 1 - index)  # product() counts in binary, the first group slowest
        share = [factorial(size) * factorial(total - 1 - size) / factorial(total) for size in sizes[without]]
        result[name] = np.asarray(share) @ (worth[joined] - worth[without])
    return result
