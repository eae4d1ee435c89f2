"""A smooth function of the voice profile: radial bumps around typical voices."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

NUM_COLUMNS = 26
LOG_COLUMNS = (1, 2, 3, 4, 5)
"""Columns that enter as logarithms, since loudness and pitch are heard so: rms, the four spectral shapes, crossings."""
LOG_FLOOR = 1e-4
Z_LIMIT = 4.0
"""Standardised values are cut here, so that no odd recording leaves the range that was trained on by far."""


@dataclass(frozen=True)
class Bumps:
    """Bumps of one width.

    Attributes:
        centres: float64 (m, 26), standardised; each a mean of at least three training clips, so no clip's own values.
        gamma: the bump around a centre is exp(-gamma * mean squared difference).
        weights: float64 (m, 6).
    """

    centres: np.ndarray
    gamma: float
    weights: np.ndarray


@dataclass(frozen=True)
class VoiceFunction:
    """Voice profile -> deviations of the six targets from their baseline.

    Attributes:
        mean: float64 (26,), of the training clips' transformed columns.
        scale: float64 (26,), their standard deviation.
        bumps: one entry for each width. Wide bumps tell kinds of voices apart, narrow ones single voices.
        offset: float64 (6,).
    """

    mean: np.ndarray
    scale: np.ndarray
    bumps: tuple["Bumps", ...]
    offset: np.ndarray

    def standardise(self, profiles: np.ndarray) -> np.ndarray:
        """Return profiles (n, 26) on the scale that the function works on, cut to +-4."""
        return np.clip((transform(profiles) - self.mean) / self.scale, -Z_LIMIT, Z_LIMIT)

    def predict(self, profiles: np.ndarray) -> np.ndarray:
        """Return deviations (n, 6) in score units for finite profiles (n, 26)."""
        return self.predict_standardised(self.standardise(np.asarray(profiles, dtype=np.float64)))

    def predict_standardised(self, rows: np.ndarray) -> np.ndarray:
        """Return deviations (n, 6) for rows (n, 26) that `standardise` has been applied to."""
        result = np.zeros((len(rows), len(self.offset))) + self.offset
        for width in self.bumps:
            result += bumps(rows, width.centres, width.gamma) @ width.weights
        return result

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], mode: str) -> "VoiceFunction":
        """Read the arrays that `thinslice.voice_words.trainer` writes for one mode; KeyError where one is missing."""
        return cls(
            mean=arrays["voice_mean"].astype(np.float64),
            scale=arrays["voice_scale"].astype(np.float64),
            bumps=tuple(
                Bumps(
                    centres=arrays[f"voice_centres{width}"].astype(np.float64),
                    gamma=float(gamma),
                    weights=arrays[f"voice_bumps{width}:{mode}"].astype(np.float64),
                )
                for width, gamma in enumerate(arrays["voice_gammas"])
            ),
            offset=arrays[f"voice_offset:{mode}"].astype(np.float64),
        )


def transform(profiles: np.ndarray) -> np.ndarray:
    """Return profiles (n, 26) with `LOG_COLUMNS` as natural logarithms."""
    result = np.array(profiles, dtype=np.float64)
    columns = list(LOG_COLUMNS)
    result[:, columns] = np.log(np.maximum(result[:, columns], 0.0) + LOG_FLOOR)
    return result


def squared_differences(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the mean squared differences of rows (n, d) and centres (m, d): (n, m)."""
    squared = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * rows @ centres.T
    return np.maximum(squared, 0.0) / rows.shape[1]


def bumps(rows: np.ndarray, centres: np.ndarray, gamma: float) -> np.ndarray:
    """Return exp(-gamma * mean squared difference) of rows (n, d) and centres (m, d): (n, m)."""
    return np.exp(-gamma * squared_differences(rows, centres))
