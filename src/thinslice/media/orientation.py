"""Showing a picture as its file says: quarter turns and mirroring by its display matrix, and pixels' aspect."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from thinslice.media.limits import MAX_PIXELS

# A display matrix maps a stored pixel (x, y) to the shown one: x' = a x + c y, y' = b x + d y, with the nine
# numbers in the order a b u c d v x y w (ISO/IEC 14496-12 section 8.3.2; y points down). Offsets do not matter
# for whole pictures. A camera writes quarter turns, so only the larger of each pair counts.

_LARGEST_ASPECT = 4.0  # Anamorphic film has 2; more is damage.


def read_matrix(side_data: bytes) -> tuple[int, ...]:
    """Return the nine numbers of FFmpeg's DISPLAYMATRIX side data; () where it is too short."""
    return struct.unpack_from("=9i", side_data) if len(side_data) >= 36 else ()


def swaps_sides(matrix: Sequence[int]) -> bool:
    """Return whether width and height change places."""
    return len(matrix) == 9 and abs(matrix[1]) > abs(matrix[0])


def rotation_deg(matrix: Sequence[int]) -> int:
    """Return by how much the picture is turned counterclockwise for showing: 0, 90, 180 or 270 degrees."""
    if len(matrix) != 9:
        return 0
    if swaps_sides(matrix):
        return 90 if matrix[1] < 0 else 270
    return 180 if matrix[0] < 0 and matrix[4] < 0 else 0


def turn_upright(image: np.ndarray, matrix: Sequence[int]) -> np.ndarray:
    """Return an image (height, width, channels) as it is to be shown, contiguous in memory."""
    if len(matrix) != 9:
        return image
    if swaps_sides(matrix):
        image = image.swapaxes(0, 1)
        flip_x, flip_y = matrix[3] < 0, matrix[1] < 0
    else:
        flip_x, flip_y = matrix[0] < 0, matrix[4] < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def pixel_aspect(stream: Any) -> float:
    """Return the width of a video stream's pixels by their height; 1 where it does not say, or makes no sense."""
    aspect = float(stream.sample_aspect_ratio or 1)
    num_shown = stream.codec_context.width * aspect * stream.codec_context.height
    return aspect if 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT and num_shown <= MAX_PIXELS else 1.0


def shown_width(width: int, aspect: float) -> int:
    """Return how many square pixels wide a stored picture is shown; its height stays."""
    return max(round(width * aspect), 1)
