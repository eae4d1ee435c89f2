"""Whether a face is drawn and not filmed: drawings have flat areas and sharp edges where skin and video have texture.

A logistic regression on how steep and how curved brightness is at three sizes, and on how many colours there are. It
learned from portraits of the training clips against the same portraits turned into drawings by filters, and against
planted speakers: ``benchmarks/drawn_faces.py``. docs/faces.md has how often it errs.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

WEIGHTS: Final = Path(__file__).with_name("drawn_faces.npz")
LIMIT: Final = 2.3
"""Log-odds above which a clip's face is called drawn; no real one of 725 that were held back was higher."""

_FACE = (slice(30, 160), slice(30, 146))  # Of a picture of 176 x 176 in standard position: the face without background.
_STEEPNESS: Final = (0, 0.5, 1, 2, 4, 8, 16, 32, 1e9)
_BENDING: Final = (0, 0.25, 0.5, 1, 2, 4, 1e9)


def looks_drawn(faces: np.ndarray) -> float:
    """Return how much a person's faces look drawn, as log-odds; above `LIMIT` they do.

    Args:
        faces: uint8 (k, 176, 176, 3), RGB, as `thinslice.features.face_portraits` gives them; k at least 1.
    """
    weights = _weights()
    return float(np.mean([describe_texture(face) @ weights["slope"] + weights["offset"] for face in faces]))


def describe_texture(face: np.ndarray) -> np.ndarray:
    """Return the numbers that drawings are told by, float64 (47,), of a face (176, 176, 3)."""
    pixels = face[_FACE].astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    found: list[float] = []
    for size in (1, 2, 4):
        rows, columns = grey.shape[0] // size, grey.shape[1] // size
        small = grey[: rows * size, : columns * size].reshape(rows, size, columns, size).mean(axis=(1, 3))
        steep = np.hypot(np.diff(small, axis=1)[:-1], np.diff(small, axis=0)[:, :-1])
        middle = small[1:-1, 1:-1]
        bent = np.abs(4 * middle - small[:-2, 1:-1] - small[2:, 1:-1] - small[1:-1, :-2] - small[1:-1, 2:])
        relative = bent / (steep[: bent.shape[0], : bent.shape[1]] + 2)
        found += _log_shares(steep, _STEEPNESS) + _log_shares(relative, _BENDING)
    coarse = face[_FACE].astype(np.int32) >> 3
    num_colours = len(np.unique(coarse @ np.array([1024, 32, 1])))
    levels = np.histogram(grey, 64, (0, 256))[0] / grey.size
    strength = pixels.max(axis=-1) - pixels.min(axis=-1)
    found += [float(np.log(num_colours)), -float((levels * np.log(levels + 1e-9)).sum())]
    found += [float(np.log(value + 1)) for value in (strength.mean(), strength.std(), grey.std())]
    return np.array(found)


def _log_shares(values: np.ndarray, edges: tuple[float, ...]) -> list[float]:
    shares = np.histogram(values, edges)[0] / values.size
    return [float(value) for value in np.log(shares + 1e-3)]


@lru_cache(maxsize=1)
def _weights() -> dict[str, np.ndarray]:
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
