"""What the two users of BlazeFace and the face mesh share: anchors, merging of detections, points by name."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from thinslice.features.face_align import Face

MERGE_OVERLAP: Final = 0.3
"""Detections that overlap more than this are one face."""

MESH_LANDMARKS: Final[Mapping[str, tuple[int, ...]]] = {
    "left_eye_outer": (33,),
    "left_eye_inner": (133,),
    "right_eye_inner": (362,),
    "right_eye_outer": (263,),
    "nose_bridge": (168,),
    "nose_base": (2,),
    "mouth_left": (61,),
    "mouth_right": (291,),
    "nose_tip": (1, 4),
    "left_eye": (33, 133),
    "right_eye": (362, 263),
}
"""Name -> indices in the mesh, whose mean it is; docs/faces.md has the residuals of the alternatives."""


def anchor_centres() -> np.ndarray:
    """Return float64 (896, 2): the detector's fixed places, 2 in each cell of 16 x 16, 6 in each of 8 x 8."""
    centres = []
    for num_cells, num_anchors in ((16, 2), (8, 6)):
        middles = (np.arange(num_cells) + 0.5) / num_cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        centres.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), num_anchors, axis=0))
    return np.concatenate(centres)


def place_detections(values: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return float64 (n, 8, 2) points from what the detector says of its anchors, in shares of the picture's side.

    Args:
        values: float (n, 16), in shares of the side: centre, extent, then six points, all but the extent from the
            anchor.
        anchors: float (n, 2).

    Returns:
        Two corners of the box, eyes, nose, mouth, ears.
    """
    points = values.astype(np.float64).reshape(-1, 8, 2)
    extent = points[:, 1].copy()
    points[:, 1] = 0.0
    points += anchors[:, None]
    points[:, :2] = points[:, :1] + np.stack([-extent, extent], axis=1) / 2
    return points


def merge_detections(scores: np.ndarray, points: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Average overlapping detections into one each, weighted by score (BlazeFace's blending, its section 3.4)."""
    merged = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        boxes = points[left, :2].reshape(-1, 4)
        same = overlaps(boxes[0], boxes) > MERGE_OVERLAP
        same[0] = True
        weights = scores[left[same]].astype(np.float64)
        merged.append((float(scores[left[0]]), np.average(points[left[same]], axis=0, weights=weights)))
        left = left[~same]
    return merged


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return float64 (n,): area shared by a box and each of (n, 4), over the area of both together, in [0, 1]."""
    box, boxes = np.asarray(box, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)
    extent = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(extent, 0, None).prod(axis=1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return shared / np.maximum(np.clip(box[2:] - box[:2], 0, None).prod() + areas - shared, np.finfo(float).tiny)


def mesh_point(mesh: np.ndarray, name: str) -> np.ndarray:
    """Return float64 (2,): a landmark of `MESH_LANDMARKS` in a mesh (n, 2)."""
    return np.asarray(mesh[list(MESH_LANDMARKS[name])].mean(axis=0))


def mesh_face(mesh: np.ndarray, score: float) -> Face:
    """Return the face of a mesh (n, 2), pixels."""
    (left, top), (right, bottom) = mesh.min(axis=0), mesh.max(axis=0)
    landmarks = {}
    for name in MESH_LANDMARKS:
        x, y = mesh_point(mesh, name)
        landmarks[name] = (float(x), float(y))
    return Face((float(left), float(top), float(right), float(bottom)), landmarks, score)
