"""Bringing a face into a standard position: similarity transforms to named references, and plain boxes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.errors import UsageError
from thinslice.media.pictures import opencv

Point = tuple[float, float]
"""x to the right and y down, pixels; (0, 0) is the centre of the first pixel."""


@dataclass(frozen=True)
class Face:
    """One face in one frame.

    Attributes:
        box: left, top, right, bottom, pixels; may reach beyond the frame.
        landmarks: name -> (x, y), pixels. Left and right are the picture's, not the person's. Always there:
            left_eye, right_eye (middle of the corners), nose_tip, mouth_left, mouth_right (corners of the
            lips); from detector "landmarker" also left_eye_outer, left_eye_inner, right_eye_inner,
            right_eye_outer, nose_bridge (between the eyes), nose_base (where the nose meets the lip).
        score: how sure the detector is, in [0, 1].
    """

    box: tuple[float, float, float, float]
    landmarks: Mapping[str, Point]
    score: float = 1.0

    @property
    def centre(self) -> Point:
        """Middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def size(self) -> float:
        """Side of the square as large as the box, pixels."""
        left, top, right, bottom = self.box
        return float(np.sqrt(max(right - left, 1e-3) * max(bottom - top, 1e-3)))

    @property
    def eye_distance(self) -> float:
        """Distance between the middles of the eyes, pixels."""
        return float(np.hypot(*np.subtract(self.landmarks["right_eye"], self.landmarks["left_eye"])))


@dataclass(frozen=True)
class Reference:
    """Where landmarks lie in a standard crop.

    Attributes:
        height: of the crop, pixels.
        width: of the crop, pixels.
        points: name of a landmark -> (x, y) in the crop.
        fallback_points: used instead where a face lacks some of `points`; None if there is no substitute.
    """

    height: int
    width: int
    points: Mapping[str, Point]
    fallback_points: Mapping[str, Point] | None = None


def _dlib_reference(size: int, padding: float) -> Reference:
    """Return where dlib's ``get_face_chip`` puts the corners of the eyes and the nose's base.

    Its mean face in the unit square, with a margin of `padding` of it on each side (dlib, ``interpolation.h``,
    ``get_face_chip_details``, five points).
    """
    unit = {
        "left_eye_outer": (0.1205750620789, 0.2137274526848),
        "left_eye_inner": (0.3340850613712, 0.2290642403242),
        "right_eye_inner": (0.6460604764104, 0.2289674387677),
        "right_eye_outer": (0.8595674595992, 0.2134981538014),
        "nose_base": (0.4901123135679, 0.6277975316475),
    }
    # dlib's square ends at the outer edges of the pixels; here 0 is the middle of the first.
    points = {
        name: tuple((padding + v) / (2 * padding + 1) * size - 0.5 for v in point) for name, point in unit.items()
    }
    middles = {
        side: tuple(np.mean([points[f"{side}_outer"], points[f"{side}_inner"]], axis=0).tolist())
        for side in ("left_eye", "right_eye")
    }
    return Reference(size, size, points, middles)  # type: ignore[arg-type]


REFERENCES: Final[dict[str, Reference]] = {
    # OpenFace (Baltrusaitis et al. 2018): its mean shape at scale 0.7. Eight of its rigid points.
    "openface_112": Reference(
        112,
        112,
        {
            "left_eye_outer": (23.8, 29.8),
            "left_eye_inner": (42.2, 30.3),
            "right_eye_inner": (69.5, 30.1),
            "right_eye_outer": (87.6, 29.3),
            "nose_bridge": (56.5, 26.5),
            "nose_base": (56.4, 60.6),
            "mouth_left": (35.8, 76.0),
            "mouth_right": (76.2, 75.7),
        },
        # Five-point detectors have no corners of the eyes: their middles stand in.
        {
            "left_eye": (33.0, 30.05),
            "right_eye": (78.55, 29.7),
            "mouth_left": (35.8, 76.0),
            "mouth_right": (76.2, 75.7),
        },
    ),
    # SphereFace (Liu et al. 2017): the reference of its preprocessing.
    "sphereface_112x96": Reference(
        112,
        96,
        {
            "left_eye": (30.2946, 51.6963),
            "right_eye": (65.5318, 51.5014),
            "nose_tip": (48.0252, 71.7366),
            "mouth_left": (33.5493, 92.3655),
            "mouth_right": (62.7299, 92.2041),
        },
    ),
    # dlib's face chips: as networks on whole faces take them, and as its age and gender networks do.
    "dlib_224": _dlib_reference(224, 0.25),
    "dlib_256": _dlib_reference(256, 0.2),
    # Head and hair, and the edge of the shoulders: the mean of the training portraits' landmarks, made symmetric.
    "portrait_176": Reference(
        176,
        176,
        {
            "left_eye": (68.0, 68.0),
            "right_eye": (108.0, 68.0),
            "nose_base": (88.0, 96.92),
            "mouth_left": (72.2, 111.52),
            "mouth_right": (103.8, 111.52),
        },
    ),
}
"""Name -> reference of `align_face`."""


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the similarity transform that moves points closest to others.

    Closest means least squares over rotation, one scale and shift, without mirroring (Umeyama 1991, "Least-squares
    estimation of transformation parameters between two point patterns", eqs. 40-42).

    Args:
        source: float (n, 2) points, n >= 2, not all the same.
        target: float (n, 2) where they should go.

    Returns:
        float64 (2, 3) matrix M: a point p goes to M[:, :2] @ p + M[:, 2].

    Raises:
        ValueError: shapes that differ, or no extent to fit to.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(f"points of shapes {source.shape} and {target.shape}; both must be (n, 2), n >= 2")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    variance = centred.var(axis=0).sum()
    if not variance > 0:
        raise ValueError("the points are all the same or not finite; a similarity needs two places")
    left, singular, right = np.linalg.svd((target - target_mean).T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = (singular * signs).sum() / variance
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def alignment_residual(landmarks: Mapping[str, Point], reference: str) -> np.ndarray:
    """Return float64 (n, 2): how far each landmark lies from its reference after the fit, pixels of the crop."""
    names, target = _targets(landmarks, reference)
    source = np.array([landmarks[name] for name in names], np.float64)
    matrix = fit_similarity(source, target)
    return source @ matrix[:, :2].T + matrix[:, 2] - target


def placement(landmarks: Mapping[str, Point], reference: str) -> np.ndarray:
    """Return the float64 (2, 3) similarity transform that takes a reference's crop to a picture.

    It fits best in the picture, where `align_face` fits best in the crop.

    Args:
        landmarks: as `Face.landmarks`.
        reference: a name in `REFERENCES`.

    Raises:
        UsageError: an unknown reference.
        ValueError: `landmarks` lacks what the reference needs, or they all coincide.
    """
    names, target = _targets(landmarks, reference)
    return fit_similarity(target, np.array([landmarks[name] for name in names]))


def align_face(image: np.ndarray, landmarks: Mapping[str, Point], reference: str = "openface_112") -> np.ndarray:
    """Return a face moved, turned and scaled so that its landmarks lie where a reference has them.

    The crop is not masked. What lies outside the frame is black. Pixels are read bilinearly, as OpenFace does.

    Args:
        image: uint8 (height, width, 3).
        landmarks: as `Face.landmarks`.
        reference: a name in `REFERENCES`.

    Returns:
        uint8 (height, width, 3) of the reference's size, channels as in `image`.

    Raises:
        UsageError: an unknown reference.
        MissingExtraError: OpenCV is not installed.
        ValueError: `landmarks` lacks what the reference needs, or they all coincide.

    Deviations:
        OpenFace fits all rigid points of its 68; these are eight of them. The difference was measured on real
        clips: see docs/faces.md.
    """
    names, target = _targets(landmarks, reference)
    matrix = fit_similarity(np.array([landmarks[name] for name in names]), target)
    size = (REFERENCES[reference].width, REFERENCES[reference].height)
    return np.asarray(opencv().warpAffine(image, matrix, size))


def crop_box(image: np.ndarray, box: tuple[float, float, float, float], size: int, margin: float = 0.0) -> np.ndarray:
    """Return an upright square around a box, scaled.

    The square has the box's centre and its longer side, widened. What lies outside the frame is black.

    Args:
        image: uint8 (height, width, 3).
        box: left, top, right, bottom, pixels.
        size: side of the result, pixels.
        margin: what is added on each side, as a share of the longer side; 0.2 gives a square 1.4 times as wide.

    Returns:
        uint8 (size, size, 3), channels as in `image`; averaged over pixels where it shrinks.

    Raises:
        UsageError: a size below 1 or a margin that leaves nothing.
        MissingExtraError: OpenCV is not installed.
        ValueError: an empty box.
    """
    if size < 1 or not margin > -0.5:
        raise UsageError(
            f"a face crop of {size} pixels with margin {margin:g}; give a size of 1 or more, margin > -0.5"
        )
    left, top, right, bottom = box
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    if not (right > left and bottom > top and np.isfinite(side)):
        raise ValueError(f"an empty box: {box}")
    cv2 = opencv()
    num_pixels = max(round(side), 1)
    x, y = round((left + right - num_pixels) / 2), round((top + bottom - num_pixels) / 2)
    inside = image[max(y, 0) : max(y + num_pixels, 0), max(x, 0) : max(x + num_pixels, 0)]
    square = np.zeros((num_pixels, num_pixels, 3), np.uint8)
    if inside.size:
        row, column = max(-y, 0), max(-x, 0)
        square[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    way = cv2.INTER_AREA if num_pixels >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=way))


def _targets(landmarks: Mapping[str, Point], reference: str) -> tuple[list[str], np.ndarray]:
    """Return the names of the landmarks to fit and float64 (n, 2) where they belong."""
    if reference not in REFERENCES:
        raise UsageError(f"unknown face reference {reference!r}; there are {', '.join(REFERENCES)} and box")
    chosen = REFERENCES[reference]
    for points in (chosen.points, chosen.fallback_points):
        if points is not None and all(name in landmarks for name in points):
            return list(points), np.array(list(points.values()), np.float64)
    missing = sorted(set(chosen.points) - set(landmarks))
    raise ValueError(f"{reference} needs the landmarks {', '.join(missing)}")
