"""How unlike the voices of the training clips a voice profile is: silence, music or noise is not a voice to be judged.

The measure is a Mahalanobis distance to the mean of the 5,998 profiles of First Impressions V2's training split: once
with the columns as they are, which sees what is too quiet or clipped, and once with loudness and spectrum as
logarithms, which sees pauses, music and telephones. Each counts relative to its own 99% point, and the larger one
counts. ``typical_voices.npz`` holds means, covariances and these points, no clip's own values. It is made again by
``python -m thinslice.features.typical_voices DATA``.
"""

import csv
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.features.voice import VOICE_PROFILE_COLUMNS

REFERENCE: Final = Path(__file__).with_name("typical_voices.npz")

_SHARES: Final = (0.5, 0.9, 0.99, 0.999)
_LOG_COLUMNS: Final = [VOICE_PROFILE_COLUMNS.index(name) for name in VOICE_PROFILE_COLUMNS[1:6]]
_LOG_FLOOR: Final = 1e-4
_LOUDNESS: Final = VOICE_PROFILE_COLUMNS.index("rms")
_ENERGY: Final = VOICE_PROFILE_COLUMNS.index("mfcc1")


def share_nearer(profiles: np.ndarray) -> np.ndarray:
    """Return how many of the training clips are nearer to the mean voice: 0, 0.5, 0.9, 0.99 or 0.999 at least.

    Args:
        profiles: float array (n, 26) in the order of `VOICE_PROFILE_COLUMNS`.
    """
    reference = _reference()
    steps = np.searchsorted(reference["points"], unlikeness(profiles, reference), side="right")
    return np.concatenate(([0.0], _SHARES))[steps]


def unlikeness(profiles: np.ndarray, reference: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Return how unlike the training voices profiles (n, 26) are, (n,), at least 0; about 1 for one in a hundred."""
    return np.asarray(distances(profiles, reference).max(axis=0))


def distances(profiles: np.ndarray, reference: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Return both distances of profiles (n, 26), (2, n), in units of their 99% points: as they are, with logarithms."""
    known = _reference() if reference is None else reference
    rows = np.asarray(profiles, dtype=np.float64)
    return np.stack(
        [
            _distance(rows, known["mean"], known["covariance"]) / known["point"],
            _distance(_logs(rows), known["log_mean"], known["log_covariance"]) / known["log_point"],
        ]
    )


def loudness_db(profile: np.ndarray) -> float:
    """Return a profile's level, dB below full scale."""
    return 20 * float(np.log10(max(float(profile[_LOUDNESS]), 1e-6)))


def typical_db() -> float:
    """Return the training clips' median level, dB below full scale."""
    return 20 * float(np.log10(_reference()["typical_rms"]))


def change_level(profiles: np.ndarray, gain_db: float | np.ndarray) -> np.ndarray:
    """Return the profiles (n, 26) of the same recordings made louder by so many dB, () or (n,); below 0 quieter."""
    out = np.array(profiles, dtype=np.float64)
    out[:, _LOUDNESS] *= 10 ** (gain_db / 20)
    # g dB add g to each of 128 mel bands in dB, so sqrt(128) g to the first coefficient of their cosine transform.
    out[:, _ENERGY] += np.sqrt(128) * gain_db
    return out


def build_reference(profiles: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of ``typical_voices.npz`` for training profiles (n, 26)."""
    rows, logs = np.asarray(profiles, dtype=np.float64), _logs(profiles)
    found = {
        "mean": rows.mean(axis=0),
        "covariance": np.cov(rows.T),
        "log_mean": logs.mean(axis=0),
        "log_covariance": np.cov(logs.T),
        "typical_rms": np.median(rows[:, _LOUDNESS]),
    }
    found["point"] = np.quantile(_distance(rows, found["mean"], found["covariance"]), 0.99)
    found["log_point"] = np.quantile(_distance(logs, found["log_mean"], found["log_covariance"]), 0.99)
    found["points"] = np.quantile(unlikeness(rows, found), _SHARES)
    return found


def load_profiles(path: Path) -> np.ndarray:
    """Read the profiles (n, 26) of ``voice_profile_train.csv``."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([[float(row[name]) for name in VOICE_PROFILE_COLUMNS] for row in csv.DictReader(file)])


def _distance(rows: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    apart = rows - mean
    return np.sqrt(np.einsum("ij,ij->i", apart, np.linalg.solve(covariance, apart.T).T))


def _logs(profiles: np.ndarray) -> np.ndarray:
    rows = np.array(profiles, dtype=np.float64)
    rows[:, _LOG_COLUMNS] = np.log(np.maximum(rows[:, _LOG_COLUMNS], 0.0) + _LOG_FLOOR)
    return rows


@lru_cache(maxsize=1)
def _reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


if __name__ == "__main__":
    np.savez(REFERENCE, **build_reference(load_profiles(Path(sys.argv[1]) / "voice_profile_train.csv")))  # type: ignore[arg-type]
    print(REFERENCE)
