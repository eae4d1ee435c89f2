"""Cutting turned and scaled squares out of pictures, with NumPy alone: where they shrink, pixels are averaged."""

import numpy as np

_MAX_TAPS = 4  # Of one side of the block of pixels that is averaged; of larger blocks, so many are spread over it.


def sample_picture(image: np.ndarray, matrix: np.ndarray, height: int, width: int, extend: bool = False) -> np.ndarray:
    """Return a part of a picture, moved, turned and scaled.

    Where the part shrinks by 2 or more, blocks of pixels are averaged first, so that a face looks alike in a small and
    in a large picture; then pixels are read bilinearly.

    Args:
        image: uint8 (image_height, image_width, 3).
        matrix: float (2, 3) that takes a place of the result (x, y) to one of `image`; (0, 0) is the middle of the
            first pixel of each.
        height: of the result, pixels.
        width: of the result, pixels.
        extend: whether the picture's edge goes on outside it; else it is black there.

    Returns:
        uint8 (height, width, 3).
    """
    matrix = np.asarray(matrix, np.float64)
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]) @ matrix[:, :2].T
    corners += matrix[:, 2]
    factor = max(int(np.sqrt(abs(np.linalg.det(matrix[:, :2]))) + 1e-6), 1)
    low = np.floor(corners.min(axis=0)).astype(int) - factor
    high = np.ceil(corners.max(axis=0)).astype(int) + factor + 1
    part, origin = _cut(image, low, high, factor)
    step = matrix[:, :2] / factor
    start = (matrix[:, 2] - origin - (factor - 1) / 2) / factor
    columns, rows = np.arange(width), np.arange(height)
    x = (start[0] + step[0, 0] * columns)[None, :] + (step[0, 1] * rows)[:, None]
    y = (start[1] + step[1, 0] * columns)[None, :] + (step[1, 1] * rows)[:, None]
    return _bilinear(part, x.astype(np.float32), y.astype(np.float32), extend)


def _cut(image: np.ndarray, low: np.ndarray, high: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a picture between two corners, made smaller by a whole factor, and where it begins."""
    bounds = np.array([image.shape[1], image.shape[0]])
    low, high = np.clip(low, 0, bounds - 1), np.clip(high, 1, bounds)
    high = np.maximum(high, low + 1)
    # Whole blocks only; a picture smaller than one block is repeated at its edge.
    blocks = np.maximum((high - low) // factor, 1)
    part = image[low[1] : low[1] + blocks[1] * factor, low[0] : low[0] + blocks[0] * factor]
    if factor == 1:
        return part, low.astype(np.float64)
    missing = blocks[::-1] * factor - part.shape[:2]
    if missing.any():
        part = np.pad(part, ((0, int(missing[0])), (0, int(missing[1])), (0, 0)), mode="edge")
    taps = np.unique(np.linspace(0, factor - 1, min(factor, _MAX_TAPS)).round().astype(int))
    if len(taps) < factor:  # In the middles of equal shares of the block, not at its ends.
        taps = ((np.arange(_MAX_TAPS) + 0.5) * factor / _MAX_TAPS).astype(int)
    total = np.zeros((int(blocks[1]), int(blocks[0]), image.shape[2]), np.uint16)
    for row in taps:
        for column in taps:
            total += part[row::factor, column::factor]
    return total / np.float32(len(taps) ** 2), low.astype(np.float64)


def _bilinear(part: np.ndarray, x: np.ndarray, y: np.ndarray, extend: bool) -> np.ndarray:
    """Return uint8 (h, w, 3): a picture read at places (h, w), float32."""
    height, width = part.shape[:2]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    across, down = x - left, y - top
    # One column and row more, so that every pixel has a neighbour to the right and below.
    planes = np.pad(part.transpose(2, 0, 1), ((0, 0), (0, 1), (0, 1)), mode="edge").reshape(part.shape[2], -1)
    first = top * (width + 1) + left
    corners = (
        (first, (1 - across) * (1 - down)),
        (first + 1, across * (1 - down)),
        (first + width + 1, (1 - across) * down),
        (first + width + 2, across * down),
    )
    result = np.empty((*x.shape, part.shape[2]), np.uint8)
    for channel, plane in enumerate(planes):
        total = sum(plane.take(places) * weights for places, weights in corners) + np.float32(0.5)
        result[..., channel] = total if extend else np.where(inside, total, 0)
    return result
