"""What a user can get wrong with a media file: one clear line each, nothing on stderr."""

import os
import re
import zipfile

import numpy as np
import pytest

from media_files import numbered, png, tone, voice_like, write_media
from thinslice.errors import MediaError, ThinsliceError
from thinslice.features.voice import extract_voice_profile
from thinslice.media.probe import open_media
from thinslice.media.source import Source

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttps://example.org/one.ts\n#EXT-X-ENDLIST\n"


def lines_of(path):
    """The error of each way to use a file."""
    source = Source(path)
    lines = []
    for use in (lambda: source.info, lambda: source.audio(22050, 7.0), lambda: list(source.frames([0.0]))):
        with pytest.raises(MediaError) as caught:
            use()
        lines.append(str(caught.value))
    return lines


def assert_refused(path, message, capfd):
    lines = lines_of(path)
    assert set(lines) == {f"{path}: {message}"}
    assert "\n" not in lines[0]
    assert capfd.readouterr() == ("", "")


def test_missing(tmp_path, capfd):
    assert_refused(tmp_path / "none.mp4", "no such file; check its name and folder", capfd)


def test_a_broken_link(tmp_path, capfd):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "none.mp4")
    assert_refused(tmp_path / "link.mp4", "no such file; check its name and folder", capfd)


def test_a_folder(tmp_path, capfd):
    assert_refused(tmp_path, "is a folder without pictures; give the media files inside it", capfd)


def test_empty(tmp_path, capfd):
    (tmp_path / "a.mp4").touch()
    assert_refused(tmp_path / "a.mp4", "is empty (0 bytes); copy or download it again", capfd)


def test_an_icon(tmp_path, capfd):
    pytest.importorskip("PIL.Image").new("RGB", (64, 64)).save(tmp_path / "a.ico")
    assert_refused(tmp_path / "a.ico", "is a picture of a kind that is not read; convert it to PNG or JPEG", capfd)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path, capfd):
    os.mkfifo(tmp_path / "a.mp4")
    assert_refused(tmp_path / "a.mp4", "is not an ordinary file; save the recording to a file first", capfd)


def test_no_permission(tmp_path, capfd, monkeypatch):
    path = write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")
    path.chmod(0)
    monkeypatch.setattr(os, "access", lambda given, mode: given != path)  # The superuser may read everything.
    assert_refused(path, "may not be read; ask for read permission on it", capfd)
    with pytest.raises(MediaError, match="may not be read"):
        Source(path).sha256()


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.mp3", "a.srt", "a.ans"])
def test_text(tmp_path, name, capfd):
    (tmp_path / name).write_text("1\n00:00:00,000 --> 00:00:01,000\nHello, wörld.\n\n" * 200, encoding="utf-8")
    assert_refused(tmp_path / name, "is text, not video or audio; give the media file itself", capfd)


def test_a_playlist_is_not_followed(tmp_path, capfd):
    for name in ("a.m3u8", "b.mp4"):
        (tmp_path / name).write_text(HLS)
        (line,) = set(lines_of(tmp_path / name))
        assert re.search("is a playlist, not a recording|is text, not video or audio", line)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.jpg"])
def test_a_picture_has_no_sound_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(png())
    source = Source(tmp_path / name)
    assert (source.info.num_pictures, source.info.has_audio) == (1, False)
    with pytest.raises(MediaError, match=r"is a picture, so it has no sound; give a video or a sound file$"):
        source.audio()


def test_random_bytes(tmp_path, capfd):
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    message = "is not video or audio, or is damaged; try to play it, or convert it to mp4 or wav"
    assert_refused(tmp_path / "a.mp4", message, capfd)


@pytest.mark.parametrize("locked", [False, True])
def test_an_archive(tmp_path, locked, capfd):
    path = tmp_path / "clip.mp4"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.mp4", b"x" * 1000)
    if locked:  # The flag of an encrypted entry; the standard library cannot encrypt.
        data = bytearray(path.read_bytes())
        data[6] |= 1
        path.write_bytes(data)
    kind = "password-protected zip" if locked else "zip"
    assert_refused(path, f"is a {kind} archive; unpack it and give the media file inside", capfd)


def test_encrypted_bytes(tmp_path, capfd):
    (tmp_path / "a.mp4").write_bytes(b"Salted__" + np.random.default_rng(0).bytes(5000))
    assert_refused(tmp_path / "a.mp4", "is encrypted; decrypt it first", capfd)


DRM = "is encrypted (DRM) and cannot be decoded; give an unprotected copy"


@pytest.mark.parametrize("name", ["a.mp4", "a.m4a"])
def test_common_encryption(tmp_path, name, capfd):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "01" * 16, "encryption_kid": "02" * 16}
    pictures = numbered(50) if name == "a.mp4" else ()
    path = write_media(tmp_path / name, [voice_like(2.0)], pictures, options=key)
    assert b"enca" in path.read_bytes()
    assert_refused(path, DRM, capfd)


def test_fairplay(tmp_path, capfd):
    path = write_media(tmp_path / "a.m4a", [voice_like(2.0)])
    head, tail = path.read_bytes().split(b"stsd", 1)
    path.write_bytes(head + b"stsd" + tail.replace(b"mp4a", b"drms", 1))
    message = "is protected by Apple's FairPlay (DRM) and cannot be decoded; give an unprotected copy"
    assert_refused(path, message, capfd)


def test_an_mp4_without_its_index(tmp_path, capfd):
    whole = write_media(tmp_path / "a.mp4", [voice_like(3.0)], numbered(75)).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    message = "is cut off or damaged: its index (the moov box) is missing; copy, download or record it again"
    assert_refused(path, message, capfd)


def test_sound_that_is_cut_off_is_used_with_a_warning(tmp_path, capfd):
    whole = write_media(tmp_path / "a.mp4", [voice_like(6.0)], options={"movflags": "faststart"})
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = Source(path)
    samples = source.audio()
    assert 2.0 < len(samples) / 44100 < 4.0
    (warning,) = source.warnings
    assert warning == (
        f"{path}: is cut off: its sound ends at {len(samples) / 44100:.1f} s of 6.0 s; what is there is used"
    )
    assert len(extract_voice_profile(Source(path))) == 26
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 8])
    with pytest.raises(MediaError, match=r"only 0\.\d\d s of sound; at least 1 s"):
        Source(path).audio(22050, 7.0)
    assert capfd.readouterr() == ("", "")


def test_damage_in_the_middle_is_stepped_over(tmp_path, capfd):
    path = write_media(tmp_path / "a.mp4", [voice_like(6.0)], numbered(75), codec_options={"g": "10"})
    whole = Source(path).audio()
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 2000] = bytes(np.random.default_rng(1).integers(0, 256, 2000, np.uint8))
    path.write_bytes(data)
    source = Source(path)
    samples = source.audio()
    assert abs(len(samples) - len(whole)) < 4410
    assert np.array_equal(samples[:22050], whole[:22050])
    assert len(list(source.frames([0.0, 1.5, 2.9]))) == 3
    assert capfd.readouterr() == ("", "")


def test_any_single_cut_or_damage_is_a_result_or_one_line(tmp_path, capfd):
    """Whatever is done to a file, the outcome is sound or a ThinsliceError of one line."""
    rng = np.random.default_rng(2)
    files = [
        write_media(tmp_path / "a.mp4", [voice_like(2.0)], numbered(50), options={"movflags": "faststart"}),
        write_media(tmp_path / "b.mkv", [voice_like(2.0)], numbered(50)),
        write_media(tmp_path / "c.mp3", [voice_like(2.0)], audio_codec="libmp3lame"),
        write_media(tmp_path / "d.wav", [voice_like(2.0)], audio_codec="pcm_s16le"),
        write_media(tmp_path / "e.ogg", [voice_like(2.0)], audio_codec="flac"),
    ]
    outcomes = {"read": 0, "refused": 0}
    for path in files:
        whole = path.read_bytes()
        for attempt in range(20):
            data = bytearray(whole)
            if attempt % 2:
                del data[rng.integers(1, len(data)) :]
            else:
                for place in rng.integers(0, min(len(data), 3000 if attempt % 4 else len(data)), 30):
                    data[place] = rng.integers(0, 256)
            path.write_bytes(data)
            source = Source(path)
            try:
                assert len(source.audio(22050, 7.0)) >= 22050
                if source.info.has_video:
                    list(source.frames([0.0, 1.0]))
                outcomes["read"] += 1
                lines = source.warnings
            except ThinsliceError as error:
                outcomes["refused"] += 1
                lines = [str(error)]
            assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)
    assert min(outcomes.values()) > 10
    assert capfd.readouterr() == ("", "")


def test_no_sound(tmp_path):
    path = write_media(tmp_path / "a.mp4", (), numbered(50))
    source = Source(path)
    for _ in range(2):  # The second time must not say something else.
        with pytest.raises(MediaError, match=f"^{re.escape(str(path))}: has no sound; give a clip with a sound track$"):
            source.audio(22050, 7.0)
    with pytest.raises(MediaError, match="has no sound"):
        extract_voice_profile(source)


def test_no_pictures(tmp_path):
    path = write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")
    with pytest.raises(MediaError, match=f"^{re.escape(str(path))}: has no pictures; give a video$"):
        list(Source(path).frames([0.0]))


def test_shorter_than_a_second(tmp_path):
    path = write_media(tmp_path / "a.wav", [tone(0.6)], audio_codec="pcm_s16le")
    message = f"^{re.escape(str(path))}: only 0.60 s of sound; at least 1 s are needed$"
    for use in (lambda: Source(path).audio(), lambda: extract_voice_profile(Source(path))):
        with pytest.raises(MediaError, match=message):
            use()
    long = write_media(tmp_path / "b.wav", [tone(5.0)], audio_codec="pcm_s16le")
    with pytest.raises(MediaError, match=r"only 0.50 s of sound"):
        Source(long, 2.0, 2.5).audio()
    assert len(Source(long).audio(end_s=0.5)) == 22050


@pytest.mark.parametrize("start_s", [6.0, 100.0])
def test_a_window_after_the_end(tmp_path, start_s):
    path = write_media(tmp_path / "a.wav", [tone(5.0)], audio_codec="pcm_s16le")
    with pytest.raises(MediaError, match=f"the window starts at {start_s:g} s, after the sound ends; start earlier"):
        Source(path, start_s, start_s + 10).audio()


@pytest.mark.parametrize("level", [0.0, 5e-5, 0.3])
def test_digital_silence(tmp_path, level):
    path = write_media(tmp_path / "a.wav", [np.full((1, 88200), level, np.float32)], audio_codec="pcm_f32le")
    assert len(Source(path).audio()) == 88200
    with pytest.raises(MediaError, match="digital silence for the first 7 s; give a clip with a voice, or start later"):
        extract_voice_profile(Source(path))


def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("Talk: part 1.mp4", "http:x.mp4", "-i.mp4", "%03d.mp4", "concat:a|b.mp4", "ünïcödé 🎤.mp4"):
        write_media(tmp_path / "plain.mp4", [tone(1.5)]).rename(tmp_path / name)
        assert Source(name).info.duration_s == pytest.approx(1.5, abs=0.05)
    with pytest.raises(MediaError, match=r"^https://example.org/clip.mp4: .* download it first$"):
        Source("https://example.org/clip.mp4").audio()


def test_opening_quickly_sees_the_same_file(tmp_path, real_clips, hard_videos):
    for path in [*real_clips[:4], *sorted(hard_videos.iterdir())]:
        seen = []
        for pictures in (False, True):
            with open_media(path, pictures) as container:
                seen.append(
                    [container.format.name, container.duration, container.start_time]
                    + [(s.type, s.start_time, s.duration) for s in container.streams]
                    + [(s.width, s.height, s.average_rate) for s in container.streams.video]
                    + [(s.rate, s.layout.name, s.codec_context.name) for s in container.streams.audio]
                )
        assert seen[0] == seen[1]
