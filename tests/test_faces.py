"""The main speaker's face through a clip: placement, the no-face policy, and hard cases on real media."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from media_files import grey, write_media
from thinslice.assets import find_asset
from thinslice.errors import AssetError, MediaError, UsageError
from thinslice.features import face_detect, faces
from thinslice.features.face_align import REFERENCES, Face, align_face
from thinslice.features.face_detect import MIN_EYE_DISTANCE, find_faces_in_image
from thinslice.features.face_landmarker import Landmarker
from thinslice.features.faces import extract_aligned_faces, extract_face_crops, find_faces, stand_ins
from thinslice.media.source import Source
from thinslice.media.video import Frame

pytest.importorskip("cv2", reason="the extra video is not installed")


@dataclass
class Film:
    """A source of grey frames: frame i has value i."""

    num_frames: int = 18
    duration_s: float = 9.0
    path: Path = Path("film.mp4")
    _warnings: list[str] = field(default_factory=list)

    def warn(self, line: str) -> None:
        self._warnings.append(line)

    def frames(self, times_s):
        shown = [np.full((720, 1280, 3), index, np.uint8) for index in range(self.num_frames)]
        for time in times_s:
            index = min(int(time / self.duration_s * self.num_frames), self.num_frames - 1)
            yield Frame(time, shown[index], time)


def face_at(x: float, y: float = 360.0, scale: float = 3.0) -> Face:
    points = {
        name: ((px - 56) * scale + x, (py - 56) * scale + y)
        for name, (px, py) in REFERENCES["openface_112"].points.items()
    }
    points["left_eye"], points["right_eye"] = points["left_eye_outer"], points["right_eye_outer"]
    half = 50 * scale
    return Face((x - half, y - half, x + half, y + half), points)


@pytest.fixture
def seen(monkeypatch):
    """Which faces the detector finds in frame i of a Film; and how often it was asked."""
    places: dict[int, list[Face]] = {}
    asked: list[int] = []

    def find(image, detector="landmarker", expected=()):
        index = int(image[0, 0, 0])
        asked.append(index)
        return places.get(index, [])

    monkeypatch.setattr(faces, "find_faces_in_image", find)
    return places, asked


def test_every_draw_sees_every_part_once_at_fixed_places(seen):
    places, _ = seen
    places |= {index: [face_at(640)] for index in range(18)}
    crops = extract_aligned_faces(Film(), num_parts=6, draws=3)
    assert crops.shape == (3, 6, 112, 112, 3)
    assert crops.dtype == np.uint8
    expected = np.arange(18).reshape(6, 3).T  # Piece d of every part.
    np.testing.assert_array_equal(crops[:, :, 56, 56, 0], expected)
    np.testing.assert_array_equal(crops, extract_aligned_faces(Film(), num_parts=6, draws=3))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (3, 6, 112, 112, 3)),
        ({"reference": "sphereface_112x96", "num_parts": 10, "draws": 1}, (1, 10, 112, 96, 3)),
        ({"reference": "box", "size": 64, "num_parts": 2, "draws": 2}, (2, 2, 64, 64, 3)),
    ],
)
def test_shapes(seen, options, shape):
    places, _ = seen
    points = {"nose_tip": (640.0, 400.0)}
    places |= {i: [Face(face_at(640).box, face_at(640).landmarks | points)] for i in range(18)}
    assert extract_aligned_faces(Film(), **options).shape == shape


def test_the_nearest_frame_with_the_face_stands_in(seen):
    places, _ = seen
    places |= {index: [face_at(640)] for index in (2, 3, 4, 9, 10, 17)}
    film = Film()
    crops = extract_face_crops(film, [index / 2 + 0.1 for index in range(18)])
    stand_in = [2, 2, 2, 3, 4, 4, 4, 9, 9, 9, 10, 10, 10, 10, 17, 17, 17, 17]
    assert crops[:, 56, 56, 0].tolist() == stand_in
    (line,) = film._warnings
    assert line == (
        "the speaker's face is found in 6 of 18 frames looked at (not at 0.1-0.6, 2.6-4.1, 5.6-8.1 s); "
        "the nearest one that shows it stands in"
    )


def test_too_few_faces_are_an_error_with_a_remedy(seen):
    places, _ = seen
    places |= {index: [face_at(640)] for index in range(5)}
    with pytest.raises(
        MediaError,
        match=r"^film\.mp4: .* in 5 of the 18 frames looked at, not in 6 as needed; give",
    ):
        extract_aligned_faces(Film())
    places[5] = [face_at(640)]
    assert extract_aligned_faces(Film()).shape[0] == 3


def test_no_face_at_all_is_an_error_with_a_remedy(seen):
    with pytest.raises(MediaError, match=r"^film\.mp4: no face in the 18 frames looked at; give"):
        extract_aligned_faces(Film(), min_seen=0.0)


def test_the_main_speaker_is_followed_among_several(seen):
    places, _ = seen
    for index in range(18):
        both = [face_at(300, scale=2.0), face_at(800)]
        places[index] = both[::-1] if index % 2 else both
    places[7] = [face_at(300, scale=2.0)]
    film = Film()
    crops = extract_face_crops(film, [index / 2 + 0.1 for index in range(18)])
    assert crops[7, 56, 56, 0] == 6
    assert film._warnings[0] == "up to 2 faces in one frame; the largest and most central was followed"
    assert "17 of 18" in film._warnings[1]
    tracks = find_faces(film, [0.1, 0.6])
    assert [track.faces[0].centre[0] for track in tracks] == [800, 300]


@pytest.mark.parametrize(("num_frames", "warned"), [(1, False), (2, True)])
def test_a_face_in_a_single_frame_is_no_second_person(seen, num_frames, warned):
    places, _ = seen
    places |= {index: [face_at(640)] for index in range(18)}
    places |= {index: [face_at(640), face_at(150, 150, scale=1.0)] for index in range(7, 7 + num_frames)}
    film = Film()
    extract_aligned_faces(film)
    assert bool(film._warnings) is warned


def test_a_jump_and_a_small_face_are_said(seen):
    places, _ = seen
    places |= {index: [face_at(200 if index < 9 else 1000, scale=0.3)] for index in range(18)}
    film = Film()
    extract_aligned_faces(film)
    assert film._warnings == [
        "the face jumps, as after a cut; all of it was taken for one person",
        "the face is small (eyes 19 pixels apart); a closer picture shows more",
    ]


def test_one_whole_face_gives_no_warning(seen):
    places, _ = seen
    places |= {index: [face_at(640)] for index in range(18)}
    film = Film()
    extract_aligned_faces(film)
    assert film._warnings == []


def test_a_frame_shown_at_several_times_is_looked_at_once(seen):
    places, asked = seen
    places |= {0: [face_at(640)], 1: [face_at(640)]}
    crops = extract_aligned_faces(Film(num_frames=2))
    assert asked == [0, 1]
    np.testing.assert_array_equal(crops[:, :, 56, 56, 0], [[0, 0, 0, 1, 1, 1]] * 3)


def test_stand_ins_prefer_the_earlier():
    tracks = faces.follow_faces([[], [face_at(640)], [], [face_at(640)], []], 720, 1280)
    assert stand_ins(tracks[0]) == [1, 1, 1, 3, 3]


@pytest.mark.parametrize("options", [{"num_parts": 0}, {"draws": 0}, {"reference": "dlib"}, {"detector": "haar"}])
def test_wrong_arguments_are_said(options, tmp_path):
    path = write_media(tmp_path / "grey.mp4", (), [(index / 25, grey(90)) for index in range(30)])
    with pytest.raises(UsageError):
        extract_aligned_faces(Source(path), **options)


def test_no_times_are_refused(seen):
    with pytest.raises(UsageError, match="no times"):
        extract_face_crops(Film(), [])


def test_a_file_that_is_not_the_landmarker_is_said(tmp_path):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"PK not a zip")
    with pytest.raises(AssetError, match="is not MediaPipe's face landmarker"):
        Landmarker(path)


@pytest.mark.parametrize(("again", "expected"), [(None, 0), (face_at(500, scale=0.4), 1), (face_at(560, scale=0.4), 0)])
def test_a_face_in_a_tile_must_be_found_again_at_a_closer_look(monkeypatch, again, expected):
    class Doubtful(Landmarker):
        def __init__(self):
            self.windows = []

        def find(self, image, window=None):
            self.windows.append(window)
            if window is None:
                return []
            left, _, side = window
            if side == 720:
                return [face_at(500, scale=0.4)] if left <= 440 <= left + side else []
            return [again] if again and side == pytest.approx(120) else []

    doubtful = Doubtful()
    monkeypatch.setattr(face_detect, "_load", lambda name, process: doubtful)
    assert len(find_faces_in_image(np.zeros((720, 1280, 3), np.uint8))) == expected
    assert doubtful.windows[0] is None
    closer = [window for window in doubtful.windows[1:] if window[2] not in (720, 360)]
    assert closer[0] == pytest.approx((440, 300, 120))


# From here on, the real networks.


@pytest.fixture(scope="session")
def landmarker() -> Landmarker:
    pytest.importorskip("ai_edge_litert", reason="the extra video is not installed")
    try:
        return Landmarker(find_asset("face_landmarker"))
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sample(landmarker) -> Path:
    return Path(__file__).parents[1] / "examples" / "sample.mp4"


@pytest.fixture(scope="session")
def portraits(real_clips, landmarker) -> list[tuple[np.ndarray, Face]]:
    """Frames of five people, with the one face in each."""
    found = []
    for clip in real_clips[:5]:
        image = next(Source(clip).frames([1.0])).image
        (face,) = find_faces_in_image(image)
        found.append((image, face))
    return found


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    import cv2

    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def film_of(path: Path, images: list[np.ndarray], **options) -> Source:
    return Source(write_media(path, (), [(index / 2, image) for index, image in enumerate(images)], **options))


MEDIAPIPE_LANDMARKS = {  # MediaPipe 1.2.2 on sample.mp4 at 1 s: python benchmarks/faces.py golden examples
    "left_eye_outer": (270.09, 161.83),
    "left_eye_inner": (300.61, 167.01),
    "right_eye_inner": (338.65, 169.63),
    "right_eye_outer": (370.31, 168.46),
    "nose_bridge": (319.56, 163.38),
    "nose_base": (315.70, 217.55),
    "mouth_left": (280.23, 226.02),
    "mouth_right": (351.33, 229.76),
    "nose_tip": (316.12, 210.06),
    "left_eye": (285.35, 164.42),
    "right_eye": (354.48, 169.04),
}


def test_landmarks_are_mediapipes(sample):
    (track,) = find_faces(Source(sample), [1.0])
    landmarks = track.faces[0].landmarks
    assert landmarks.keys() == MEDIAPIPE_LANDMARKS.keys()
    for name, place in MEDIAPIPE_LANDMARKS.items():
        assert np.hypot(*np.subtract(landmarks[name], place)) < 0.1, name


@pytest.mark.parametrize("reference", [*REFERENCES, "box"])
def test_the_sample_clip(sample, reference):
    source = Source(sample)
    crops = extract_aligned_faces(source, reference=reference, num_parts=3, draws=2)
    assert source.warnings == []
    shape = (224, 224) if reference == "box" else (REFERENCES[reference].height, REFERENCES[reference].width)
    assert crops.shape == (2, 3, *shape, 3)
    flat = crops.reshape(6, -1)
    assert all(alike(flat[0], crop) > 0.8 for crop in flat)  # The face stands still, though the head moves.
    np.testing.assert_array_equal(crops, extract_aligned_faces(Source(sample), reference, num_parts=3, draws=2))


def test_no_face_in_noise_and_in_a_flat_picture(landmarker):
    rng = np.random.default_rng(0)
    assert find_faces_in_image(np.full((480, 640, 3), 128, np.uint8)) == []
    assert find_faces_in_image(rng.integers(0, 256, (480, 640, 3), np.uint8)) == []
    assert find_faces_in_image(np.zeros((3, 5, 3), np.uint8)) == []


def test_all_real_clips_have_one_face_that_fits_the_reference(real_clips, landmarker):
    from thinslice.features.face_align import alignment_residual

    assert len(real_clips) == 24
    for clip in real_clips:
        (track,) = find_faces(Source(clip), [0.5, 1.0])
        assert track.num_seen == 2, clip.name
        residual = np.array([alignment_residual(face.landmarks, "openface_112") for face in track.faces])
        assert np.sqrt((residual**2).sum(axis=-1).mean()) < 5.5, clip.name


def test_whole_real_clip(real_clips, landmarker):
    source = Source(real_clips[1])
    crops = extract_aligned_faces(source)
    assert crops.shape == (3, 6, 112, 112, 3)
    assert source.warnings == []
    means = crops.reshape(18, -1).mean(axis=1)
    assert crops.std() > 20
    assert np.ptp(means) < 60
    assert len({crop.tobytes() for crop in crops.reshape(18, -1)}) == 18


def test_a_video_without_a_face(hard_videos, landmarker):
    with pytest.raises(MediaError, match=r"no_face\.mp4: no face in the 18 frames looked at"):
        extract_aligned_faces(Source(hard_videos / "no_face.mp4"))


def test_a_face_that_leaves(hard_videos, landmarker):
    source = Source(hard_videos / "face_noface.mov")
    crops = extract_aligned_faces(source)
    (line,) = source.warnings
    assert "the speaker's face is found in 7 of 18 frames looked at (not at 2.7-6.2 s)" in line
    pieces = crops.swapaxes(0, 1).reshape(18, -1)  # In time order.
    assert all((piece == pieces[6]).all() for piece in pieces[7:])
    assert not (pieces[5] == pieces[6]).all()


def test_a_wide_shot_then_a_close_one(hard_videos, landmarker):
    path = hard_videos / "test_video_audio_5_seconds.mp4"
    with pytest.raises(MediaError, match=r"not in 6 as needed"):
        extract_aligned_faces(Source(path))
    assert extract_aligned_faces(Source(path, 3.7)).shape == (3, 6, 112, 112, 3)


def test_the_landmarks_do_not_depend_on_where_the_face_is(portraits):
    image, face = portraits[0]
    width = image.shape[1]
    shifted = np.zeros_like(image)
    shifted[:, : width - 150] = image[:, 150:]
    (moved,) = find_faces_in_image(shifted)
    for name, (x, y) in face.landmarks.items():
        assert np.hypot(moved.landmarks[name][0] + 150 - x, moved.landmarks[name][1] - y) < 0.04 * face.eye_distance
    (mirrored,) = find_faces_in_image(np.ascontiguousarray(image[:, ::-1]))
    x, y = face.landmarks["left_eye_outer"]
    other = mirrored.landmarks["right_eye_outer"]
    assert np.hypot(width - 1 - other[0] - x, other[1] - y) < 0.06 * face.eye_distance


def test_a_face_at_the_edge(portraits):
    for image, face in portraits:
        cut = int(face.box[0] + 0.2 * face.size)  # A fifth of the face is out of the picture.
        (found,) = find_faces_in_image(np.ascontiguousarray(image[:, cut:]))
        crop = align_face(image[:, cut:], found.landmarks)
        whole = align_face(image, face.landmarks)
        assert crop[40:70, :4].max() == 0
        assert alike(crop[30:90, 50:90], whole[30:90, 50:90]) > 0.8


@pytest.mark.parametrize("eyes", [80, 45, 30, 20])
def test_small_faces_in_a_wide_shot(portraits, eyes):
    for image, face in portraits:
        factor = eyes / face.eye_distance
        small = scaled(image, factor)[:700, :1200]
        wide = np.full((720, 1280, 3), image.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
        wide[10 : 10 + small.shape[0], 60 : 60 + small.shape[1]] = small
        (found,) = find_faces_in_image(wide)
        for name, (x, y) in face.landmarks.items():
            expected = (x * factor + 60, y * factor + 10)
            assert np.hypot(*np.subtract(found.landmarks[name], expected)) < 0.12 * eyes, name


def test_faces_too_small_to_show_anything_are_not_found(portraits):
    image, face = portraits[0]
    small = scaled(image, 0.6 * MIN_EYE_DISTANCE / face.eye_distance)
    wide = np.full((720, 1280, 3), 100, np.uint8)
    wide[300 : 300 + small.shape[0], 500 : 500 + small.shape[1]] = small
    assert find_faces_in_image(wide) == []


def test_two_people_in_one_picture(portraits, tmp_path):
    (first, face), (second, other) = portraits[2], portraits[3]
    large, small = scaled(first, 150 / face.eye_distance), scaled(second, 100 / other.eye_distance)
    images = []
    for index in range(6):
        image = np.full((720, 1600, 3), 60, np.uint8)
        x, y = np.multiply(face.centre, 150 / face.eye_distance).astype(int)
        part = large[max(y - 300, 0) : y + 300, max(x - 300, 0) : x + 300]
        image[20 : 20 + part.shape[0], 20 + 10 * index :][:, : part.shape[1]] = part
        x, y = np.multiply(other.centre, 100 / other.eye_distance).astype(int)
        part = small[max(y - 250, 0) : y + 250, max(x - 250, 0) : x + 250]
        image[100 : 100 + part.shape[0], 1000 - 10 * index :][:, : part.shape[1]] = part
        images.append(image)
    source = film_of(tmp_path / "two.mp4", images)
    crops = extract_face_crops(source, [0.1 + index / 2 for index in range(6)])
    assert source.warnings == [f"{source.path}: up to 2 faces in one frame; the largest and most central was followed"]
    for crop in crops:
        assert alike(crop, align_face(first, face.landmarks)) > 0.9
        assert alike(crop, align_face(second, other.landmarks)) < 0.8


def test_a_phone_video_held_upright(portraits, tmp_path):
    image, face = portraits[0]
    x = int(np.clip(face.centre[0] - 202, 0, image.shape[1] - 404))
    upright = np.ascontiguousarray(image[:, x : x + 404])  # 9:16
    lying = np.ascontiguousarray(np.rot90(upright, -1))
    source = film_of(tmp_path / "phone.mov", [lying] * 4, rotation_deg=90)
    crops = extract_face_crops(source, [0.1, 0.6, 1.1])
    for crop in crops:
        assert alike(crop, align_face(image, face.landmarks)) > 0.95


def test_a_head_turned_by_a_quarter_is_brought_upright(portraits):
    image, face = portraits[1]
    lying = np.ascontiguousarray(np.rot90(image))
    found = find_faces_in_image(lying)
    assert len(found) == 1
    assert alike(align_face(lying, found[0].landmarks), align_face(image, face.landmarks)) > 0.85


def test_neither_torch_nor_mediapipe_is_imported(sample):
    code = (
        "import sys; from thinslice.media.source import Source; from thinslice.features.faces import find_faces;"
        f"find_faces(Source({str(sample)!r}), [0.5]);"
        "print(sorted({'torch', 'mediapipe', 'matplotlib', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
