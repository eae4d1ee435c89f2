"""Where in the aligned face a score comes from: what changes when a patch of it is covered."""

from collections.abc import Callable
from io import BytesIO

import numpy as np

PATCH = 28
STRIDE = 21
"""Side of the covered square and distance between squares, pixels of a 112 x 112 face: 25 squares.

A quarter of the face covers an eye or half a mouth; every square costs one run of the model.
"""


RAISED, LOWERED = np.array([27.0, 96.0, 148.0]), np.array([168.0, 71.0, 12.0])
"""The report's --accent and --down (templates/style.css): one colour code for words, cues and faces."""


def occlusion_map(
    score: Callable[[np.ndarray], np.ndarray],
    pictures: np.ndarray,
    fill: np.ndarray,
    patch: int = PATCH,
    stride: int = STRIDE,
) -> np.ndarray:
    """Return how much each place of the picture raised each score.

    The same square of every picture is replaced by the same square of `fill`; the score lost is put on the
    square's pixels, and overlapping squares are averaged.

    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2.

    Args:
        score: pictures of the same shape in, scores (outputs,) out.
        pictures: uint8 (..., rows, columns, 3).
        fill: what covers, uint8, of a shape that broadcasts to that of `pictures`; a face of one colour, or a mean.
        patch: side of the square, pixels.
        stride: distance between squares, pixels; the last one ends at the edge.

    Returns:
        float64 (rows, columns, outputs): positive where the picture raised the score, in score units.
    """
    rows, columns = pictures.shape[-3:-1]
    cover = np.broadcast_to(fill, pictures.shape)
    whole = np.asarray(score(pictures), dtype=np.float64)
    total = np.zeros((rows, columns, len(whole)))
    count = np.zeros((rows, columns, 1))
    for top in _starts(rows, patch, stride):
        for left in _starts(columns, patch, stride):
            square = (slice(top, top + patch), slice(left, left + patch))
            covered = pictures.copy()
            covered[(..., *square, slice(None))] = cover[(..., *square, slice(None))]
            total[square] += whole - np.asarray(score(covered), dtype=np.float64)
            count[square] += 1
    return total / count


def draw_heat(image: np.ndarray, heat: np.ndarray, limit: float, scale: int = 2) -> bytes:
    """Return a PNG of a picture under a heat map, in the report's colours: blue raised the score, orange lowered it.

    Args:
        image: uint8 (rows, columns, 3).
        heat: float (rows, columns).
        limit: heat that gets the full colour; positive.
        scale: whole factor by which the picture is enlarged.
    """
    strength = np.clip(heat / limit, -1.0, 1.0)[..., None]
    colour = np.where(strength > 0, RAISED, LOWERED)
    alpha = 0.65 * np.abs(strength)
    grey = image.mean(axis=-1, keepdims=True)
    mixed = (1 - alpha) * grey + alpha * colour
    return encode_png(_enlarged(np.clip(mixed, 0, 255).astype(np.uint8), scale))


def draw_strip(images: np.ndarray, gap: int = 2) -> bytes:
    """Return a PNG of pictures side by side; images uint8 (count, rows, columns, 3)."""
    count, rows, columns, _ = images.shape
    strip = np.full((rows, count * (columns + gap) - gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        left = index * (columns + gap)
        strip[:, left : left + columns] = image
    return encode_png(strip)


def encode_png(image: np.ndarray) -> bytes:
    """Return uint8 (rows, columns, 3) as a PNG file's bytes."""
    # Imported here: matplotlib is slow to import, and a prediction without pictures does not need it.
    from matplotlib.image import imsave

    buffer = BytesIO()
    imsave(buffer, image, format="png")
    return buffer.getvalue()


def _starts(length: int, patch: int, stride: int) -> list[int]:
    if patch >= length:
        return [0]
    return sorted({*range(0, length - patch, stride), length - patch})


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, axis=0).repeat(scale, axis=1)
