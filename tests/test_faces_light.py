import sys

import numpy as np
import pytest
from PIL import Image

from thinslice.errors import MediaError, UsageError
from thinslice.features.face_boxes import mesh_face
from thinslice.features.face_light import load_light_detector
from thinslice.features.face_portraits import cut_portrait, extract_face_portraits
from thinslice.features.face_sample import sample_picture
from thinslice.features.face_track import _assign
from thinslice.media.source import Source

SAMPLE = "examples/sample.mp4"
IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    (frame,) = Source(SAMPLE).frames([1.0])
    return frame.image


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def smooth_picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / width * 7 + c) * np.cos(y / height * 5) for c in range(3)]
    return np.stack(waves, axis=-1).round().astype(np.uint8)


def shrink(picture: np.ndarray, factor: int) -> np.ndarray:
    height, width = (length // factor * factor for length in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def test_a_picture_sampled_where_it_is_stays_as_it_is():
    picture = smooth_picture(40, 60)
    np.testing.assert_array_equal(sample_picture(picture, IDENTITY, 40, 60), picture)


def test_half_a_pixel_to_the_right_is_the_mean_of_two_neighbours():
    picture = smooth_picture(10, 12)
    moved = sample_picture(picture, shifted(0.5, 0), 10, 11)
    means = (picture[:, :-1].astype(float) + picture[:, 1:]) / 2
    assert np.abs(moved - means).max() <= 0.5


def test_a_place_in_a_large_picture_looks_as_in_the_small_one():
    large = smooth_picture(480, 640)
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 30, large.shape), 0, 255).astype(np.uint8)
    small = shrink(noisy, 4)
    turned = np.array([[0.8, -0.3, 40.0], [0.3, 0.8, 20.0]])
    from_small = sample_picture(small, turned, 80, 90)
    from_large = sample_picture(noisy, np.column_stack([turned[:, :2] * 4, turned[:, 2] * 4 + 1.5]), 80, 90)
    assert np.abs(from_small.astype(float) - from_large).mean() < 5  # The noise of single pixels is 30.


def test_outside_it_is_black_or_the_edge_goes_on():
    picture = np.full((8, 8, 3), 200, np.uint8)
    matrix = shifted(-4, 0)
    assert (sample_picture(picture, matrix, 8, 8)[:, :3] == 0).all()
    assert (sample_picture(picture, matrix, 8, 8, extend=True) == 200).all()
    assert (sample_picture(picture, shifted(100, 100), 4, 4) == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3)])
def test_pictures_of_any_shape_can_be_sampled(shape):
    picture = np.full((*shape, 3), 90, np.uint8)
    assert (sample_picture(picture, IDENTITY * 30.0, 5, 5, extend=True) == 90).all()


def test_the_sample_face_is_found_where_the_landmarker_finds_it(picture):
    from tests.test_faces import MEDIAPIPE_LANDMARKS

    (face,) = load_light_detector().find(picture)
    for name, place in MEDIAPIPE_LANDMARKS.items():
        assert np.hypot(*np.subtract(face.landmarks[name], place)) < 0.08 * face.eye_distance, name


def test_no_face_is_found_in_noise_and_in_a_blank_picture():
    noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    assert load_light_detector().find(noise) == []
    assert load_light_detector().find(np.full((360, 640, 3), 128, np.uint8)) == []


def test_a_portrait_is_nearly_the_same_from_a_smaller_picture(picture):
    detector = load_light_detector()
    large = np.kron(picture, np.ones((2, 2, 1), np.uint8))
    portraits = [cut_portrait(image, detector.find(image)[0]).astype(float) for image in (picture, large)]
    assert np.abs(portraits[0] - portraits[1]).mean() < 4.0


def test_portraits_of_a_clip_are_upright_and_of_one_size():
    portraits = extract_face_portraits(Source(SAMPLE), num_frames=3)
    assert portraits.shape == (3, 176, 176, 3)
    assert portraits.dtype == np.uint8
    (face,) = load_light_detector().find(portraits[1])
    assert np.hypot(*np.subtract(face.landmarks["left_eye"], (68, 68))) < 4
    assert np.hypot(*np.subtract(face.landmarks["right_eye"], (108, 68))) < 4


def test_looking_for_portraits_needs_neither_opencv_nor_scipy():
    import subprocess

    code = (
        "import sys; sys.modules['cv2'] = sys.modules['scipy'] = None\n"
        "from thinslice.features.face_portraits import extract_face_portraits\n"
        "from thinslice.media.source import Source\n"
        f"print(extract_face_portraits(Source({SAMPLE!r}), 1).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 176, 176, 3)"


def test_a_clip_without_a_face_is_an_error_that_names_it(hard_videos):
    with pytest.raises(MediaError, match=r"no_face\.mp4.*no face"):
        extract_face_portraits(Source(hard_videos / "no_face.mp4"), num_frames=2)


def test_a_face_that_is_found_only_in_the_turned_picture_is_said_to_be_upside_down(picture, tmp_path):
    Image.fromarray(picture[::-1, ::-1]).save(tmp_path / "turned.png")
    with pytest.raises(MediaError, match=r"turned\.png: no face .* upside down: turn the picture$"):
        extract_face_portraits(Source(tmp_path / "turned.png"))


def test_an_unknown_reference_is_refused():
    with pytest.raises(UsageError, match="portrait_176"):
        extract_face_portraits(Source(SAMPLE), reference="passport")


def test_assignments_are_the_cheapest():
    from itertools import permutations

    rng = np.random.default_rng(2)
    for num_rows, num_columns in ((1, 1), (2, 3), (4, 2), (3, 3), (1, 5)):
        costs = rng.random((num_rows, num_columns))
        pairs = _assign(costs)
        few, many = sorted((num_rows, num_columns))
        table = costs if num_rows <= num_columns else costs.T
        cheapest = min(sum(table[i, j] for i, j in enumerate(p)) for p in permutations(range(many), few))
        assert sum(costs[i, j] for i, j in pairs) == pytest.approx(cheapest)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == few


def test_a_mesh_gives_its_box_and_points():
    mesh = np.random.default_rng(3).random((468, 2)) * 100
    face = mesh_face(mesh, 0.7)
    assert face.box == pytest.approx((*mesh.min(axis=0), *mesh.max(axis=0)))
    assert face.landmarks["nose_tip"] == pytest.approx(tuple(mesh[[1, 4]].mean(axis=0)))
