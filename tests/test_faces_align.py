"""Alignment: the similarity fit, crops at references, boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.errors import UsageError
from thinslice.features.face_align import (
    REFERENCES,
    Face,
    align_face,
    alignment_residual,
    crop_box,
    fit_similarity,
)

pytest.importorskip("cv2", reason="the extra video is not installed")

ANGLES = st.floats(-3.1, 3.1)
SCALES = st.floats(0.05, 20.0)
SHIFTS = st.floats(-500.0, 500.0)


def turned(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


def landmarks_of(reference: str, **transform) -> dict[str, tuple[float, float]]:
    points = np.array(list(REFERENCES[reference].points.values()))
    return dict(zip(REFERENCES[reference].points, map(tuple, turned(points, **transform)), strict=True))


@given(seed=st.integers(0, 10_000), num_points=st.integers(2, 12), angle=ANGLES, scale=SCALES, x=SHIFTS, y=SHIFTS)
def test_a_similarity_is_recovered(seed, num_points, angle, scale, x, y):
    source = np.random.default_rng(seed).normal(0, 30, (num_points, 2))
    matrix = fit_similarity(source, turned(source, angle, scale, (x, y)))
    expected = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(matrix[:, :2], expected, atol=1e-9 * max(scale, 1))
    np.testing.assert_allclose(matrix[:, 2], (x, y), atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_no_other_similarity_fits_better(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 10, (6, 2)), rng.normal(0, 10, (6, 2))
    matrix = fit_similarity(source, target)

    def error(matrix: np.ndarray) -> float:
        return float(((source @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())

    least = error(matrix)
    for _ in range(20):
        a, b, x, y = rng.normal(0, 0.05, 4)
        other = matrix + np.array([[a, -b, x], [b, a, y]])
        assert error(other) >= least - 1e-9


def test_mirrored_points_are_not_mirrored_back():
    source = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [4.0, 2.0], [1.0, 1.0]])
    matrix = fit_similarity(source, source * [-1.0, 1.0])
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((3, 2)), np.eye(3, 2)),
        (np.eye(3, 2), np.eye(4, 2)),
        (np.ones((1, 2)), np.ones((1, 2))),
        (np.full((3, 2), np.nan), np.eye(3, 2)),
    ],
)
def test_points_that_fix_no_similarity_are_refused(source, target):
    with pytest.raises(ValueError):
        fit_similarity(source, target)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, 3.0])
def test_landmarks_end_at_the_reference(reference, angle):
    import cv2

    landmarks = landmarks_of(reference, angle=angle, scale=3.0, shift=(1200, 1200))
    image = np.zeros((2400, 2400, 3), np.uint8)
    for x, y in landmarks.values():
        cv2.circle(image, (round(x), round(y)), 9, (255, 255, 255), -1)
    crop = align_face(image, landmarks, reference)
    wanted = REFERENCES[reference]
    assert crop.shape == (wanted.height, wanted.width, 3)
    assert crop.dtype == np.uint8
    assert abs(alignment_residual(landmarks, reference)).max() < 1e-9
    lit = np.zeros(crop.shape[:2], bool)
    for x, y in wanted.points.values():
        lit |= np.hypot(*np.meshgrid(np.arange(wanted.width) - x, np.arange(wanted.height) - y)) < 5
        assert crop[round(y), round(x)].min() > 200
    assert crop[~lit].max() == 0


def test_what_lies_outside_the_frame_is_black():
    landmarks = landmarks_of("openface_112", angle=0.0, scale=1.0, shift=(-56, 0))
    crop = align_face(np.full((112, 112, 3), 200, np.uint8), landmarks)
    assert crop[:, :55].max() == 0
    assert crop[:, 57:].min() == 200


def test_five_points_are_enough_for_openface():
    landmarks = landmarks_of("openface_112", angle=0.2, scale=2.0, shift=(100, 50))
    middle = {
        "left_eye": tuple(np.mean([landmarks["left_eye_outer"], landmarks["left_eye_inner"]], axis=0)),
        "right_eye": tuple(np.mean([landmarks["right_eye_outer"], landmarks["right_eye_inner"]], axis=0)),
        "nose_tip": (0.0, 0.0),
    }
    five = middle | {name: landmarks[name] for name in ("mouth_left", "mouth_right")}
    assert abs(alignment_residual(five, "openface_112")).max() < 0.01
    image = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    difference = align_face(image, five).astype(int) - align_face(image, landmarks)
    assert np.abs(difference).mean() < 3


def test_missing_landmarks_and_unknown_references_are_said():
    with pytest.raises(ValueError, match="needs the landmarks left_eye"):
        align_face(np.zeros((9, 9, 3), np.uint8), {"nose_tip": (1.0, 1.0)}, "sphereface_112x96")
    with pytest.raises(UsageError, match=r"sphereface_112x96, dlib_224, dlib_256, portrait_176 and box"):
        align_face(np.zeros((9, 9, 3), np.uint8), {}, "dlib_150")


def test_a_box_becomes_a_square_about_its_centre():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 30:70] = 255
    crop = crop_box(image, (30, 40, 70, 60), size=40)
    assert crop[10:30].min() == 255
    assert crop[:10].max() == crop[30:].max() == 0
    wide = crop_box(image, (30, 40, 70, 60), size=80, margin=0.5)
    assert wide[:, 20:60][30:50].min() == 255
    assert wide[:, :20].max() == wide[:, 60:].max() == 0


def test_a_box_may_reach_beyond_the_frame():
    image = np.full((50, 50, 3), 90, np.uint8)
    crop = crop_box(image, (-20, -20, 20, 20), size=40)
    assert crop[20:, 20:].min() == 90
    assert crop[:20].max() == crop[:, :20].max() == 0
    assert crop_box(image, (60, 60, 80, 80), size=10).max() == 0


def test_shrinking_a_box_averages():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 200
    assert np.ptp(crop_box(image, (0, 0, 64, 64), size=8)) <= 1


@pytest.mark.parametrize(("size", "margin"), [(0, 0.0), (10, -0.5), (10, float("nan"))])
def test_an_impossible_crop_is_refused(size, margin):
    with pytest.raises(UsageError):
        crop_box(np.zeros((9, 9, 3), np.uint8), (0, 0, 5, 5), size, margin)


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match="empty box"):
        crop_box(np.zeros((9, 9, 3), np.uint8), (5, 5, 5, 9), 10)


def test_size_and_centre_of_a_face():
    face = Face((10, 20, 50, 60), {"left_eye": (20, 30), "right_eye": (23, 34)})
    assert face.centre == (30, 40)
    assert face.size == 40
    assert face.eye_distance == 5
