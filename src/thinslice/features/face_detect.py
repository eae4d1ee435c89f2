"""Finding every face in a picture, small ones included, with a detector chosen by name."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from thinslice.assets import asset_files, find_asset
from thinslice.errors import UsageError
from thinslice.features.face_align import Face
from thinslice.features.face_boxes import overlaps
from thinslice.features.face_landmarker import Landmarker
from thinslice.features.face_light import load_light_detector

DETECTORS: Final = ("landmarker", "mtcnn", "hog", "light")
"""MediaPipe's face landmarker, the default; MTCNN, which CR-Net and PersEmoN use; dlib's histograms of gradients; and
the networks that travel with the package (`thinslice.features.face_light`)."""

MIN_EYE_DISTANCE: Final = 14.0
"""A face found only by searching closer must have its eyes this far apart, pixels: less shows no expression."""

_MIN_TILE = 256  # Pixels; smaller tiles would find nothing but faces that are too small anyway.
_CONFIRM_OVERLAP = 0.6  # Of a face found in a tile with what a second, closer look finds.
_CLOSE_LOOK = 3.0  # The closer look is at a square this many times the face's size.


class Detector(Protocol):
    """What finds faces in one picture."""

    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces in a uint8 (height, width, 3) RGB picture, the surest first."""


def find_faces_in_image(image: np.ndarray, detector: str = "landmarker", expected: Sequence[Face] = ()) -> list[Face]:
    """Return every face in one picture.

    Args:
        image: uint8 (height, width, 3), RGB.
        detector: one of `DETECTORS`.
        expected: faces of the frame before; one that is not found again is looked for where it was.

    Returns:
        The faces, the surest first.

    Raises:
        UsageError: an unknown detector.
        AssetError: the detector's files are not on this machine and cannot be had.
        MissingExtraError: what runs the detector is not installed.

    Deviations:
        The landmarker's detector overlooks faces narrower than about a twelfth of the picture. Where it finds none,
        overlapping square tiles of the picture's shorter side are searched, then of half of it. A face in a
        tile counts if a second, closer look finds it again: this drops what only resembles one.
    """
    if detector not in DETECTORS:
        raise UsageError(f"unknown face detector {detector!r}; there are {', '.join(DETECTORS)}")
    loaded = _load(detector, os.getpid())
    faces = loaded.find(image)
    if not isinstance(loaded, Landmarker):
        return faces
    for lost in expected:
        if not any(_near(face, lost) for face in faces):
            faces += [face for face in loaded.find(image, _around(lost)) if _is_new(face, faces)]
    if not faces:
        faces = _search_tiles(loaded, image)
    return sorted(faces, key=lambda face: -face.score)


def _search_tiles(landmarker: Landmarker, image: np.ndarray) -> list[Face]:
    height, width = image.shape[:2]
    for side in (min(height, width), min(height, width) // 2):
        if side < _MIN_TILE or side == max(height, width):
            continue
        faces: list[Face] = []
        for left, top in _tiles(height, width, side):
            for suspect in landmarker.find(image, (left, top, side)):
                if suspect.eye_distance < MIN_EYE_DISTANCE or not _is_new(suspect, faces):
                    continue
                again = landmarker.find(image, _around(suspect))
                faces += [face for face in again if _overlap(face, suspect) > _CONFIRM_OVERLAP and _is_new(face, faces)]
        if faces:
            return faces
    return []


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[int, int]]:
    """Yield left, top of squares that cover a picture, neighbours sharing at least a third."""

    def starts(length: int) -> np.ndarray:
        num_tiles = int(np.ceil((length - side) / (side * 2 / 3))) + 1
        return np.linspace(0, length - side, num_tiles).round().astype(int)

    for top in starts(height):
        for left in starts(width):
            yield int(left), int(top)


def _around(face: Face) -> tuple[float, float, float]:
    """Return left, top, side of the square around a face that a closer look is at."""
    left, top, right, bottom = face.box
    side = max(right - left, bottom - top) * _CLOSE_LOOK
    x, y = face.centre
    return x - side / 2, y - side / 2, side


def _overlap(face: Face, other: Face) -> float:
    return float(overlaps(np.array(face.box), np.array(other.box))[0])


def _is_new(face: Face, faces: Sequence[Face]) -> bool:
    return all(_overlap(face, other) < 0.3 for other in faces)


def _near(face: Face, other: Face) -> bool:
    return float(np.hypot(*np.subtract(face.centre, other.centre))) < max(face.size, other.size)


@lru_cache(maxsize=len(DETECTORS))
def _load(detector: str, process_id: int) -> Detector:
    """Return a detector, one of each per process: native state does not survive a fork."""
    if detector == "landmarker":
        return Landmarker(find_asset("face_landmarker"))
    if detector == "light":
        return load_light_detector()
    if detector == "hog":
        from thinslice.features.face_hog import HogDetector

        return HogDetector(Landmarker(find_asset("face_landmarker")))
    from thinslice.features.face_mtcnn import MtcnnDetector

    find_asset("mtcnn")
    return MtcnnDetector(asset_files("mtcnn"))
