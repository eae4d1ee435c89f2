"""Still pictures as clips: one picture, or a folder of frames, read as a video is."""

import shutil

import numpy as np
import pytest
from PIL import Image

from media_files import grey
from thinslice.errors import MediaError
from thinslice.features.frames import extract_frames
from thinslice.media.identity import media_sha256, media_stamp
from thinslice.media.limits import MAX_PIXELS
from thinslice.media.pictures import is_pictures
from thinslice.media.source import Source

ORIENTATION = 0x0112


def folder_of(folder, levels, suffix=".png"):
    """A folder of frames: number -> grey level."""
    folder.mkdir()
    for number, level in levels.items():
        Image.fromarray(grey(level)).save(folder / f"{number:05d}{suffix}")
    return folder


def levels_of(source, times_s):
    return [int(frame.image[0, 0, 0]) for frame in source.frames(times_s)]


def test_a_folder_shows_each_frame_from_its_number_on(tmp_path):
    source = Source(folder_of(tmp_path / "clip.mp4", {1: 10, 81: 20, 161: 30, 241: 40}))
    assert source.info.num_pictures == 4
    assert source.duration_s == pytest.approx(4 * 80 / 30)
    assert levels_of(source, [0.0, 2.6, 80 / 30, 7.9, 8.0, 99.0]) == [10, 10, 20, 30, 40, 40]
    assert levels_of(Source(source.path, 5.4), [0.0, 2.7]) == [30, 40]
    assert extract_frames(source, 4, 32, 24)[:, 0, 0, 0].tolist() == [10, 20, 30, 40]


def test_numbers_not_letters_order_the_frames_and_other_files_do_not_count(tmp_path):
    folder = folder_of(tmp_path / "clip", {})
    for name, level in (("frame_10.png", 30), ("frame_9.png", 20), ("frame_1.png", 10)):
        Image.fromarray(grey(level)).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.md").write_text("none")
    source = Source(folder)
    assert levels_of(source, [0.0, 8 / 30, 9 / 30]) == [10, 20, 30]


def test_a_rate_or_times_may_be_given(tmp_path):
    folder = folder_of(tmp_path / "clip", {0: 10, 10: 20})
    (folder / "frame_rate.txt").write_text("5\n")
    assert Source(folder).duration_s == pytest.approx(4.0)
    before = media_sha256(folder)
    (folder / "times.csv").write_text("picture,time_s\n00000.png,3.5\n00010.png,1.0\n")
    source = Source(folder)
    assert levels_of(source, [0.0, 2.4, 2.5]) == [20, 20, 10]
    assert source.duration_s == pytest.approx(5.0)
    assert media_sha256(folder) != before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"frame_rate.txt": "fast"}, "frame_rate.txt: 'fast' is no frame rate"),
        ({"times.csv": "picture,time_s\n00001.png,1\n"}, "no time for 00002.png"),
        ({"times.csv": "picture,time_s\n00001.png,1\n00002.png,1\n"}, "two pictures at one time"),
        ({"times.csv": "name,when\n"}, "needs the columns picture and time_s"),
        ({"portrait.png": None}, "portrait.png: has no number in its name"),
        ({"1.png": None}, "has the number of"),
    ],
)
def test_what_a_folder_says_wrongly_is_one_line(tmp_path, files, message):
    folder = folder_of(tmp_path / "clip", {1: 10, 2: 20})
    for name, text in files.items():
        if text is None:
            shutil.copy(folder / "00001.png", folder / name)
        else:
            (folder / name).write_text(text)
    with pytest.raises(MediaError, match=message):
        list(Source(folder).frames([0.0]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_respected(tmp_path, orientation, suffix):
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 250  # The upper left quarter is bright.
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turned[orientation]))
    exif = stored.getexif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)
    source = Source(tmp_path / f"a{suffix}")
    assert (source.info.width, source.info.height) == (64, 48)
    (frame,) = source.frames([0.0])
    assert np.abs(frame.image.astype(int) - upright).mean() < 5
    (small,) = source.frames([0.0], size=(16, 12))
    assert small.image.shape == (12, 16, 3)
    assert small.image[2, 2, 0] > 240
    assert small.image[9, 12, 0] < 10


def test_pictures_of_all_kinds_become_eight_bit_rgb(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    clear = np.dstack([grey(200), np.zeros((48, 64), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(grey(90)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    Image.fromarray(grey(90)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    (deep,), (clear_image,), (cmyk,), (palette,) = (
        [frame.image for frame in Source(tmp_path / name).frames([0.0])]
        for name in ("deep.png", "clear.png", "print.jpg", "palette.png")
    )
    assert np.abs(deep[0, :, 0].astype(int) - ramp[0] / 257).max() <= 1
    assert clear_image.max() == 0
    assert np.abs(cmyk.astype(int) - 90).max() <= 3
    assert np.abs(palette.astype(int) - 90).max() <= 3


def test_a_picture_too_large_or_damaged_is_one_line(tmp_path):
    side = int(MAX_PIXELS**0.5) + 10
    Image.new("1", (side, side)).save(tmp_path / "large.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name, message in (("large.png", "more than 40 million pixels"), ("cut.jpg", "is a damaged picture")):
        with pytest.raises(MediaError, match=f"{name}: {message}"):
            list(Source(tmp_path / name).frames([0.0]))


def test_what_changes_in_a_folder_changes_its_hash_and_stamp(tmp_path):
    folder = folder_of(tmp_path / "a", {1: 10, 2: 20})
    same = folder_of(tmp_path / "b", {1: 10, 2: 20})
    assert media_sha256(folder) == media_sha256(same)
    stamp, sha = media_stamp(folder), media_sha256(folder)
    (folder / "00002.png").write_bytes((folder / "00001.png").read_bytes() + b"x")
    assert media_stamp(folder) != stamp
    assert media_sha256(folder) != sha


def test_what_is_no_picture_is_no_picture(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(100))
    (tmp_path / "b").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    assert not is_pictures(tmp_path / "a.mp4")
    assert not is_pictures(tmp_path / "absent.mp4")
    assert is_pictures(tmp_path / "b")
    assert is_pictures(tmp_path)
