"""Pictures: which frame is shown when, rotation, damage, and what is decoded for them."""

from fractions import Fraction

import av
import numpy as np
import pytest

from media_files import grey, number_of, numbered, tone, write_media
from thinslice.media import video
from thinslice.media.orientation import rotation_deg, turn_upright
from thinslice.media.source import Source


def shown(path, times, start_s=0.0):
    return [number_of(frame.image) for frame in Source(path, start_s).frames(times)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_the_frame_at_or_before_a_time_is_shown(tmp_path, name):
    path = write_media(tmp_path / name, (), numbered(50), codec_options={"crf": "5"})
    assert shown(path, [0.0, 0.035, 0.04, 0.5, 1.0, 1.99]) == [0, 0, 1, 12, 25, 49]
    assert shown(path, [0.0, 0.2], start_s=1.0) == [25, 30]


def test_times_outside_the_file_give_the_first_and_the_last_frame(tmp_path):
    path = write_media(tmp_path / "a.mp4", (), [(time + 0.4, image) for time, image in numbered(10)])
    frames = list(Source(path).frames([0.0, 99.0, 1000.0]))
    assert [number_of(frame.image) for frame in frames] == [0, 9, 9]
    assert frames[1].image is frames[2].image
    assert frames[1].asked_s == 99.0
    assert frames[1].time_s == pytest.approx(0.36, abs=0.001)
    assert list(Source(path).frames([])) == []


def test_variable_frame_rate_goes_by_time_stamps(tmp_path):
    times = [0.0, 0.04, 0.5, 0.53, 2.0, 2.9, 3.0]
    pictures = [(time, image) for time, (_, image) in zip(times, numbered(7), strict=True)]
    path = write_media(tmp_path / "a.mp4", (), pictures, codec_options={"crf": "5"})
    assert shown(path, [0.3, 0.51, 0.54, 1.9, 2.5, 2.95, 3.0]) == [1, 2, 3, 3, 4, 5, 6]


def test_a_video_of_one_frame_without_sound(tmp_path):
    path = write_media(tmp_path / "a.mp4", (), numbered(1))
    source = Source(path)
    assert shown(path, [0.0, 5.0]) == [0, 0]
    assert source.info.has_video
    assert not source.info.has_audio
    assert (source.info.width, source.info.height) == (64, 48)


@pytest.mark.parametrize("times", [[1.0, 0.5], [0.0, float("nan"), 1.0], [float("nan")]])
def test_times_must_ascend(tmp_path, times):
    path = write_media(tmp_path / "a.mp4", (), numbered(5))
    with pytest.raises(ValueError, match="ascend"):
        list(Source(path).frames(times))


def corners(image):
    """Mean of each quarter's colour, as the index of the strongest channel, -1 for black: row by row."""
    height, width = image.shape[:2]
    quarters = [
        image[: height // 2, : width // 2],
        image[: height // 2, width // 2 :],
        image[height // 2 :, : width // 2],
        image[height // 2 :, width // 2 :],
    ]
    means = [quarter.reshape(-1, 3).mean(axis=0) for quarter in quarters]
    return [int(mean.argmax()) if mean.max() > 60 else -1 for mean in means]


QUARTERS = grey(0, 96, 64)
QUARTERS[:32, :48] = (255, 0, 0)
QUARTERS[:32, 48:] = (0, 255, 0)
QUARTERS[32:, :48] = (0, 0, 255)


@pytest.mark.parametrize(
    ("degrees", "size", "expected"),
    [
        (0, (96, 64), [0, 1, 2, -1]),
        (90, (64, 96), [1, -1, 0, 2]),
        (180, (96, 64), [-1, 2, 1, 0]),
        (270, (64, 96), [2, 0, -1, 1]),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_rotation_is_applied(tmp_path, name, degrees, size, expected):
    path = write_media(tmp_path / name, (), [(0.0, QUARTERS), (0.04, QUARTERS)], rotation_deg=degrees)
    source = Source(path)
    (frame,) = source.frames([0.0])
    assert frame.image.shape == (size[1], size[0], 3)
    assert corners(frame.image) == expected
    assert frame.image.flags.c_contiguous
    assert (source.info.width, source.info.height) == size
    assert source.info.rotation_deg == degrees
    # What FFmpeg says of the same frame.
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation % 360 == degrees
    (scaled,) = source.frames([0.0], size=(30, 20))
    assert scaled.image.shape == (20, 30, 3)
    assert corners(scaled.image) == expected


def test_a_mirrored_picture_is_mirrored_back(tmp_path):
    one = 1 << 16
    mirror = (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    path = write_media(tmp_path / "a.mp4", (), [(0.0, QUARTERS), (0.04, QUARTERS)], matrix=mirror)
    (frame,) = Source(path).frames([0.0])
    assert corners(frame.image) == [1, 0, -1, 2]


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("x", [1, -1])
@pytest.mark.parametrize("y", [1, -1])
def test_turning_follows_the_matrix_pixel_by_pixel(transpose, x, y):
    # a, b, c, d of x' = a x + c y, y' = b x + d y.
    a, b, c, d = (0, y, x, 0) if transpose else (x, 0, 0, y)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1)
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    mapped = {(a * px + c * py, b * px + d * py): image[py, px, 0] for py in range(2) for px in range(3)}
    low_x, low_y = min(key[0] for key in mapped), min(key[1] for key in mapped)
    turned = turn_upright(image, matrix)
    for (px, py), value in mapped.items():
        assert turned[py - low_y, px - low_x, 0] == value
    assert rotation_deg(()) == 0
    assert turn_upright(image, ()) is image


def all_frames(path):
    """Every frame as the decoder gives it, with its time."""
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        return [(frame.time - origin, video.upright(frame)) for frame in container.decode(video=0)]


def assert_same_as_decoding_everything(path, times):
    everything = all_frames(path)
    stamps = np.array([time for time, _ in everything])
    for frame in Source(path).frames(times):
        index = max(int(np.searchsorted(stamps, frame.asked_s + 0.001, side="right")) - 1, 0)
        assert np.array_equal(frame.image, everything[index][1])
        assert frame.time_s == pytest.approx(stamps[index])


@pytest.mark.parametrize(
    "options",
    [
        {"bf": "3", "g": "12", "b_strategy": "0"},
        {"bf": "3", "g": "12", "x264-params": "open-gop=1:b-pyramid=normal"},
        {"bf": "0", "g": "250"},
        {"g": "1"},
        {"x264-params": "intra-refresh=1:keyint=20"},
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_leaving_packets_out_changes_no_picture(tmp_path, name, options):
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (48, 64, 3), np.uint8)
    pictures = [(index / 25, np.roll(base, index, axis=1)) for index in range(75)]
    path = write_media(tmp_path / name, [tone(3.0)], pictures, codec_options=options)
    for times in ([0.0], [2.9], [1.5, 1.54, 1.58], [0.1, 2.0], np.linspace(0, 3, 20), np.arange(75) / 25):
        assert_same_as_decoding_everything(path, times)


def test_leaving_packets_out_changes_no_picture_of_real_clips(real_clips, hard_videos):
    for path in [real_clips[0], real_clips[1], *sorted(hard_videos.iterdir())]:
        assert_same_as_decoding_everything(path, [1.01, 2.21, 2.31, 9.02])


def test_groups_of_pictures_that_are_not_needed_are_not_decoded(tmp_path, monkeypatch):
    path = write_media(tmp_path / "a.mp4", (), numbered(75), codec_options={"g": "10", "bf": "2"})
    decoded = []
    original = video._decode
    monkeypatch.setattr(video, "_decode", lambda *given: (decoded.append(item[1]) or item for item in original(*given)))
    assert [number_of(frame.image) for frame in Source(path).frames([1.0, 2.5])] == [25, 62]
    assert min(decoded) >= 0.79
    assert not [time for time in decoded if 1.3 < time < 2.3]


def test_a_late_start_seeks(tmp_path, monkeypatch):
    pictures = [(second / 2, grey(20 + second)) for second in range(200)]
    for name in ("a.mp4", "a.mkv", "a.ts"):
        path = write_media(tmp_path / name, (), pictures, codec_options={"g": "8", "crf": "5"})
        plan = video._plan(path, [80.0], [])
        assert plan.seek_s is not None
        (frame,) = Source(path, 70.0).frames([10.2])
        assert float(frame.image.mean()) == pytest.approx(180, abs=0.9)
        assert frame.time_s == pytest.approx(10.0, abs=0.01)
        (last,) = Source(path, 500.0).frames([3.0])
        assert float(last.image.mean()) == pytest.approx(219, abs=2)


def test_frames_are_scaled_upright(hard_videos):
    source = Source(hard_videos / "no_face.mp4")
    (whole,) = source.frames([1.0])
    (small,) = source.frames([1.0], size=(96, 54))
    blocks = whole.image.reshape(54, 10, 96, 10, 3).mean(axis=(1, 3))
    assert np.abs(small.image - blocks).mean() < 3


def test_pictures_that_are_cut_off_are_repeated_with_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [(index / 25, rng.integers(0, 255, (48, 64, 3), np.uint8)) for index in range(75)]
    whole = write_media(tmp_path / "a.mp4", (), pictures, codec_options={"g": "10"}, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = Source(cut)
    first, last = source.frames([0.5, 2.9])
    assert first.time_s == pytest.approx(0.48)
    assert 1.2 < last.time_s < 1.8
    (warning,) = source.warnings
    assert warning.startswith(f"{cut}: is cut off: its pictures end at 1.")
    assert warning.endswith(" s of 3.0 s; the last is repeated")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(
    ("aspect", "degrees", "size"), [("2", None, (192, 64)), ("1/2", None, (48, 64)), ("2", 90, (64, 192))]
)
def test_pixels_that_are_not_square_are_shown_as_players_do(tmp_path, name, aspect, degrees, size):
    pictures = [(0.0, QUARTERS), (0.04, QUARTERS)]
    path = write_media(tmp_path / name, (), pictures, aspect=Fraction(aspect), rotation_deg=degrees)
    source = Source(path)
    (frame,) = source.frames([0.0])
    assert frame.image.shape[1::-1] == (source.info.width, source.info.height) == size
    (square,) = Source(write_media(tmp_path / f"square_{name}", (), pictures, rotation_deg=degrees)).frames([0.0])
    assert corners(frame.image) == corners(square.image)
    (small,) = source.frames([0.0], size=(40, 40))
    assert small.image.shape == (40, 40, 3)


def test_an_aspect_that_makes_no_sense_is_not_believed(tmp_path):
    path = write_media(tmp_path / "a.mp4", (), numbered(5), aspect=Fraction(200, 1))
    assert Source(path).info.width == 64
    (frame,) = Source(path).frames([0.0])
    assert frame.image.shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("rate_hz", [1.0, 0.5])
def test_slow_pictures_are_not_cut_off(tmp_path, name, rate_hz):
    path = write_media(tmp_path / name, [tone(8.0)], numbered(int(8 * rate_hz), rate_hz))
    source = Source(path)
    assert len(list(source.frames([0.0, 4.0, 7.9]))) == 3
    assert source.warnings == []


@pytest.mark.parametrize(("transfer", "curve"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_high_dynamic_range_is_reported(tmp_path, transfer, curve):
    source = Source(write_media(tmp_path / "a.mp4", (), numbered(5), transfer=transfer))
    list(source.frames([0.0, 0.1]))
    assert [f"is HDR video ({curve})" in line for line in source.warnings] == ([True] if curve else [])
