"""MTCNN, the cascaded face detector that CR-Net and PersEmoN use.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE
Signal Processing Letters 23(10), 2016. A small network (P-Net) proposes boxes in pictures of many scales, a second
(R-Net) refuses most of them, a third (O-Net) refines the rest and finds five points. The weights are those of
facenet-pytorch (MIT). The networks run on ONNX Runtime, pictures are scaled and boxes chosen in NumPy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.features.mtcnn_networks import Network, build_network

THRESHOLDS: Final = (0.6, 0.7, 0.7)
"""How sure each of the three networks must be, as the authors' and facenet-pytorch's defaults."""

SCALE_FACTOR: Final = 0.709
"""Ratio of neighbouring scales: half the area."""

_CELL = 12  # P-Net sees 12 x 12 pixels ...
_STRIDE = 2  # ... every 2 pixels.
_BATCH = 256


@dataclass(frozen=True)
class Detections:
    """Faces of one picture, the surest first.

    Attributes:
        boxes: float64 (n, 4), left, top, right, bottom, pixels.
        scores: float64 (n,), in [0, 1].
        points: float64 (n, 5, 2): left eye, right eye, nose, left and right corner of the mouth, in the picture's
            sense of left, pixels.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray


class Mtcnn:
    """The three networks.

    Args:
        weights: network ("pnet", "rnet", "onet") -> name of a parameter -> array, see `thinslice.formats.torch_pickle`.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        self._p, self._r, self._o = (build_network(name, weights[name]) for name in ("pnet", "rnet", "onet"))

    def detect(self, image: np.ndarray, min_size: float = 20.0) -> Detections:
        """Return the faces in a picture.

        Args:
            image: uint8 (height, width, 3), RGB.
            min_size: side of the smallest face to find, pixels, 12 or more; the time taken falls with its square.

        Deviations:
            Where a picture is scaled, pixels are averaged, as in facenet-pytorch, whose boxes and points these are; the
            authors' code reads pixels bilinearly.
        """
        sums = _running_sums(image)
        boxes = self._propose(sums, max(min_size, float(_CELL)))
        boxes = self._refuse(sums, boxes)
        return self._refine(sums, boxes)

    def _propose(self, sums: np.ndarray, min_size: float) -> np.ndarray:
        """Stage 1: return float64 (n, 4) square boxes."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        scale = _CELL / min_size
        found = []
        while min(height, width) * scale >= _CELL:
            small = _scaled(sums, (0, 0, width, height), int(width * scale + 1), int(height * scale + 1))
            shifts, scores = self._p(_normalize(small[None]))
            rows, columns = np.nonzero(scores[0] >= THRESHOLDS[0])
            if len(rows):
                corner = np.column_stack([columns, rows]) * _STRIDE
                boxes = np.column_stack([np.floor((corner + 1) / scale), np.floor((corner + _CELL) / scale)])
                candidates = np.column_stack([boxes, scores[0, rows, columns], shifts[0, rows, columns]])
                found.append(candidates[suppress(boxes, candidates[:, 4], 0.5)])
            scale *= SCALE_FACTOR
        if not found:
            return np.zeros((0, 4))
        candidates = np.concatenate(found)
        candidates = candidates[suppress(candidates[:, :4], candidates[:, 4], 0.7)]
        extent = np.tile(candidates[:, 2:4] - candidates[:, :2], 2)
        return _square(candidates[:, :4] + candidates[:, 5:] * extent)

    def _refuse(self, sums: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Stage 2: return the float64 (n, 4) square boxes that may be faces."""
        patches, boxes = _patches(sums, boxes, 24)
        if not len(boxes):
            return boxes
        shifts, scores = _batched(self._r, patches)
        sure = scores > THRESHOLDS[1]
        boxes, scores, shifts = boxes[sure], scores[sure], shifts[sure]
        kept = suppress(boxes, scores, 0.7)
        return _square(_shifted(boxes[kept], shifts[kept]))

    def _refine(self, sums: np.ndarray, boxes: np.ndarray) -> Detections:
        """Stage 3."""
        patches, boxes = _patches(sums, boxes, 48)
        if not len(boxes):
            return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))
        shifts, points, scores = _batched(self._o, patches)
        sure = scores > THRESHOLDS[2]
        boxes, scores, shifts = boxes[sure], scores[sure], shifts[sure]
        points = points[sure].reshape(-1, 2, 5).swapaxes(1, 2)  # Five x, then five y.
        extent = boxes[:, 2:] - boxes[:, :2] + 1
        places = boxes[:, None, :2] + points * extent[:, None] - 1
        boxes = _shifted(boxes, shifts)
        kept = suppress(boxes, scores, 0.7, over_smaller=True)
        return Detections(boxes[kept], scores[kept].astype(np.float64), places[kept].astype(np.float64))


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, over_smaller: bool = False) -> np.ndarray:
    """Non-maximum suppression: return the indices of boxes that no surer one covers, the surest first.

    Args:
        boxes: float (n, 4).
        scores: float (n,).
        threshold: a box goes if its overlap with a surer one is larger.
        over_smaller: measure the overlap over the smaller box's area, not over that of both together.
    """
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        extent = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        shared = np.clip(extent, 0, None).prod(axis=1)
        whole = np.minimum(areas[best], areas[left]) if over_smaller else areas[best] + areas[left] - shared
        left = left[shared <= threshold * whole]
    return np.array(kept, np.intp)


def _normalize(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) - 127.5) / 128


def _square(boxes: np.ndarray) -> np.ndarray:
    """Widen boxes to squares of their longer side about the same centre."""
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([centre - side / 2, centre + side / 2])


def _shifted(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move the corners of boxes by shares of their extent, of which the last pixel is part."""
    return boxes + shifts * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _patches(sums: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 (n, size, size, 3) of what the boxes hold of the picture, and those that hold anything."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    patches, kept = [], []
    for index, (left, top, right, bottom) in enumerate(np.trunc(boxes).astype(int)):
        inside = (max(left, 1) - 1, max(top, 1) - 1, min(right, width), min(bottom, height))
        if inside[2] > inside[0] and inside[3] > inside[1]:
            patches.append(_scaled(sums, inside, size, size))
            kept.append(index)
    if not kept:
        return np.zeros((0, size, size, 3), np.float32), boxes[:0]
    return _normalize(np.stack(patches)), boxes[kept]


def _batched(run: Network, patches: np.ndarray) -> tuple[np.ndarray, ...]:
    """Run a network over patches, so many at a time that memory stays small."""
    parts = [run(patches[start : start + _BATCH]) for start in range(0, len(patches), _BATCH)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def _running_sums(image: np.ndarray) -> np.ndarray:
    """Return uint32 (height + 1, width + 1, 3): sums of all pixels above and to the left.

    Sums of very large pictures wrap around, which the differences taken of them undo.
    """
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1, 3), np.uint32)
    sums[1:, 1:] = image
    for row in range(2, len(sums)):  # Whole rows: three times as fast as NumPy's sum along the first axis.
        sums[row] += sums[row - 1]
    np.cumsum(sums[1:, 1:], axis=1, dtype=np.uint32, out=sums[1:, 1:])
    return sums


def _scaled(sums: np.ndarray, box: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    """Return float32 (height, width, 3): means of the pixels that each cell of a grid over a box touches."""
    left, top, right, bottom = box
    x0, x1 = _edges(left, right, width)
    y0, y1 = _edges(top, bottom, height)
    lower, upper = sums[y1], sums[y0]
    total = lower[:, x1] - lower[:, x0] - upper[:, x1] + upper[:, x0]
    return (total / ((y1 - y0)[:, None, None] * (x1 - x0)[:, None])).astype(np.float32)


def _edges(start: int, end: int, num_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel of each cell and the one after its last, as torch's adaptive pooling."""
    cells, length = np.arange(num_cells), end - start
    return start + cells * length // num_cells, start - (-(cells + 1) * length // num_cells)
