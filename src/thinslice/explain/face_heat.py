"""The face that a model looked at, and where in it a score comes from."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from thinslice.explain.occlusion import draw_heat, draw_strip, occlusion_map
from thinslice.targets import more_of
from thinslice.types import Picture

PATCH: Final = 44
STRIDE: Final = 33
"""Side of the covered square and distance between squares, pixels of a 176 x 176 picture: 25 squares.

Eyes and mouth are each about as large; every square costs one run of the networks.
"""

BLUR: Final = 22
"""Side of the blocks whose mean colour covers a square, pixels: no feature is left, skin stays skin."""

SMALLEST_LIMIT: Final = 0.005
"""Heat, in score units, that gets at least the full colour."""

ScoreFaces = Callable[[np.ndarray], np.ndarray]
"""uint8 (k, rows, columns, 3) in, scores (k, outputs) out: each picture's own."""


def face_heat(score: ScoreFaces, face: np.ndarray) -> np.ndarray:
    """Return how much each place of a face raised each score; as `thinslice.explain.occlusion.occlusion_map`.

    A square is covered by what is left of it when the picture is blurred until no feature can be seen.

    Args:
        score: the model's part that looks.
        face: uint8 (rows, columns, 3), in standard position.

    Returns:
        float64 (rows, columns, outputs), score units.
    """
    return occlusion_map(lambda seen: score(seen[None])[0], face, blurred(face), PATCH, STRIDE)


def blurred(face: np.ndarray) -> np.ndarray:
    """Return a picture of the same shape, each block of `BLUR` pixels of its mean colour."""
    rows, columns = face.shape[:2]
    out = np.empty_like(face)
    for top in range(0, rows, BLUR):
        for left in range(0, columns, BLUR):
            block = (slice(top, top + BLUR), slice(left, left + BLUR))
            out[block] = face[block].mean(axis=(0, 1)).round()
    return out


def draw_face(score: ScoreFaces, faces: np.ndarray, outputs: Sequence[str]) -> tuple[Picture, ...]:
    """Return the faces that were looked at, and a heat map of the middle one for each score.

    Args:
        score: the model's part that looks.
        faces: uint8 (k, rows, columns, 3), in time order.
        outputs: names of the scores.
    """
    middle = faces[len(faces) // 2]
    heat = face_heat(score, middle)
    limit = max(float(np.abs(heat).max()), SMALLEST_LIMIT)
    maps = [
        Picture(f"{name}: blue made it {more_of(name)}, orange less", draw_heat(middle, heat[..., index], limit, 1))
        for index, name in enumerate(outputs)
    ]
    return (Picture("the face that was looked at, in standard position", draw_strip(middle[None])), *maps)
