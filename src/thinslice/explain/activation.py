"""Where a network's last feature maps are high, and whether a face's points lie there.

Source: Li et al. 2020 (CR-Net), section 5.6 and figure 12.

Deviations: the paper does not say which of the 512 maps is shown; here their mean.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

FACE_POINTS: Final = ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right", "mouth_middle")
"""MTCNN's five points and, between the corners of the mouth, a sixth."""

HIGHEST: Final = 0.3
"""Share of the pixels that counts as highlighted."""


def activation_map(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the mean of feature maps, scaled to a picture's size and to [0, 1].

    Args:
        maps: float (channels, h, w).
        height: of the picture, pixels.
        width: of the picture, pixels.

    Returns:
        float64 (height, width); all 0 where the maps are flat.
    """
    mean = np.asarray(maps, np.float64).mean(0)
    rows = _weights(mean.shape[0], height)
    columns = _weights(mean.shape[1], width)
    large = rows @ mean @ columns.T
    low, high = large.min(), large.max()
    scaled: np.ndarray = (large - low) / (high - low) if high - low > 1e-12 else np.zeros_like(large)
    return scaled


def highlighted(heat: np.ndarray, share: float = HIGHEST) -> np.ndarray:
    """Return which pixels, bool (height, width), are among the highest `share` of a map; ties count."""
    count = max(round(share * heat.size), 1)
    threshold = np.partition(heat.ravel(), heat.size - count)[heat.size - count]
    return heat >= threshold


def share_of_points_inside(
    heats: Iterable[np.ndarray], points: Iterable[Mapping[str, tuple[float, float]]], share: float = HIGHEST
) -> float:
    """Return the share of face points, over all pictures, that lie in highlighted regions: 0.7396 published.

    A map that knows nothing of faces has `share`.

    Args:
        heats: a map (height, width) of each picture.
        points: MTCNN's five points of each, name -> (x, y), pixels; those outside the picture are not inside.
        share: of the pixels that counts as highlighted.

    Returns:
        In [0, 1]; NaN without pictures.
    """
    inside = total = 0
    for heat, five in zip(heats, points, strict=True):
        regions = highlighted(heat, share)
        left, right = five["mouth_left"], five["mouth_right"]
        six = {**five, "mouth_middle": ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)}
        for name in FACE_POINTS:
            column, row = int(np.floor(six[name][0])), int(np.floor(six[name][1]))
            is_within = 0 <= row < heat.shape[0] and 0 <= column < heat.shape[1]
            inside += int(is_within and regions[row, column])
            total += 1
    return inside / total if total else float("nan")


def _weights(count: int, length: int) -> np.ndarray:
    """Return the matrix (length, count) of linear interpolation between cell centres, constant beyond the last."""
    places = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    low = np.minimum(places.astype(int), max(count - 2, 0))
    out = np.zeros((length, count))
    out[np.arange(length), low] = 1 - (places - low)
    if count > 1:
        out[np.arange(length), low + 1] += places - low
    return out
