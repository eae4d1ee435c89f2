"""Sound: every container and layout, windows, time stamps, precision and how much is decoded."""

import tracemalloc

import av
import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from media_files import numbered, tone, voice_like, with_cover, write_media
from thinslice.errors import MediaError, UsageError
from thinslice.media.audio import MonoReader
from thinslice.media.mixing import mix_down
from thinslice.media.source import Source

RATE = 44100


def level_and_pitch(samples: np.ndarray, rate_hz: int) -> tuple[float, float]:
    """Root mean square and the strongest frequency of the middle of a sound."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.sqrt(np.mean(middle**2))), float(spectrum.argmax() * rate_hz / len(middle))


@pytest.mark.parametrize(
    ("name", "codec", "with_pictures"),
    [
        ("a.mp4", "aac", True),
        ("a.mov", "pcm_s16be", True),
        ("a.mkv", "libopus", True),
        ("a.webm", "libopus", False),
        ("a.ts", "aac", True),
        ("a.avi", "libmp3lame", True),
        ("a.mpg", "mp2", False),
        ("a.m4a", "aac", False),
        ("a.mp3", "libmp3lame", False),
        ("a.aac", "aac", False),
        ("a.flac", "flac", False),
        ("a.opus", "libopus", False),
        ("a.ogg", "flac", False),
        ("a.wav", "pcm_s16le", False),
        ("a24.wav", "pcm_s24le", False),
        ("a32.wav", "pcm_s32le", False),
        ("af.wav", "pcm_f32le", False),
        ("ad.wav", "pcm_f64le", False),
        ("a8.wav", "pcm_u8", False),
        ("alac.m4a", "alac", False),
        ("a.aiff", "pcm_s16be", False),
    ],
)
def test_every_format_gives_the_same_tone(tmp_path, name, codec, with_pictures):
    rate = 48000
    sound = np.repeat(tone(2.0, rate), 2, axis=0)
    pictures = numbered(50) if with_pictures else ()
    video_codec = "mpeg4" if name.endswith("avi") else "libvpx" if name.endswith("webm") else "libx264"
    path = write_media(tmp_path / name, [sound], pictures, rate_hz=rate, audio_codec=codec, video_codec=video_codec)
    source = Source(path)
    samples = source.audio()
    assert source.audio_rate_hz == rate
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) / rate == pytest.approx(2.0, abs=0.06)
    level, pitch = level_and_pitch(samples, rate)
    assert level == pytest.approx(0.3 / np.sqrt(2), rel=0.06)  # LAME takes 5% off.
    assert pitch == pytest.approx(440, abs=2)
    assert source.info.has_video == with_pictures
    assert source.info.duration_s == pytest.approx(2.0, abs=0.1)
    assert source.warnings == []


def test_channels_are_averaged(tmp_path):
    sound = np.concatenate([tone(2.0, level=0.5), tone(2.0, level=0.1)])
    source = Source(write_media(tmp_path / "a.wav", [sound], audio_codec="pcm_s16le"))
    assert np.abs(source.audio() - tone(2.0, level=0.3)[0]).max() < 2 / 32768
    assert source.warnings == []


@pytest.mark.parametrize("noise", [0.0, 0.0005])
def test_a_silent_channel_does_not_halve_the_level(tmp_path, noise):
    voice = voice_like(3.0)
    hiss = np.random.default_rng(0).normal(0, noise, voice.shape).astype(np.float32)
    alone = Source(write_media(tmp_path / "mono.wav", [voice], audio_codec="pcm_s16le"))
    for name, channels in (("left", (voice, hiss)), ("right", (hiss, voice))):
        source = Source(write_media(tmp_path / f"{name}.wav", [np.concatenate(channels)], audio_codec="pcm_s16le"))
        assert np.abs(source.audio() - alone.audio()).max() <= 5 * noise + 1 / 32768
        (line,) = source.warnings
        assert line.endswith("only 1 of the 2 channels of its sound heard; the others are silent")


def test_opposite_phase_does_not_cancel_out(tmp_path):
    voice = voice_like(3.0)
    source = Source(write_media(tmp_path / "a.wav", [np.concatenate([voice, -voice])], audio_codec="pcm_s16le"))
    alone = Source(write_media(tmp_path / "mono.wav", [voice], audio_codec="pcm_s16le"))
    assert np.abs(source.audio() - alone.audio()).max() <= 1 / 32768
    (line,) = source.warnings
    assert line.endswith("its channels have opposite phase and would cancel out; this was undone")


@pytest.mark.parametrize("other", ["hum", "person", "noise"])
def test_channels_that_carry_different_sounds_are_reported(tmp_path, other):
    voice = voice_like(3.0)
    hum = tone(3.0, level=0.05)[:, : voice.shape[1]]
    noise = np.random.default_rng(0).normal(0, 0.05, voice.shape).astype(np.float32)
    second = {"hum": hum, "person": np.roll(voice, voice.shape[1] // 3), "noise": noise}[other]
    source = Source(write_media(tmp_path / "a.wav", [np.concatenate([voice, second])], audio_codec="pcm_s16le"))
    source.audio()
    (line,) = source.warnings
    assert "its channels carry different sounds" in line


def test_a_channel_that_joins_in_later_is_heard(tmp_path):
    first, second = voice_like(12.0), voice_like(12.0, seed=3)
    second[:, : 8 * RATE] = 0.0
    samples = Source(
        write_media(tmp_path / "a.wav", [np.concatenate([first, second])], audio_codec="pcm_s16le")
    ).audio()
    assert np.abs(samples - (first + second)[0].clip(-1, 1)).max() < 2 / 32768


@given(reads=st.lists(st.floats(0.0, 16.0), max_size=4), quiet_s=st.sampled_from([0.0, 3.0, 8.0]))
def test_the_mix_does_not_depend_on_how_much_is_read_at_once(tmp_path_factory, reads, quiet_s):
    quiet = np.random.default_rng(0).integers(-1, 2, (2, round(quiet_s * 8000))) / 32768
    voice = voice_like(8.0, 8000)
    sound = np.concatenate([quiet, np.concatenate([voice, 0.0 * voice])], axis=1).astype(np.float32)
    folder = tmp_path_factory.mktemp("mix")
    path = write_media(folder / "a.wav", [sound], rate_hz=8000, audio_codec="pcm_s16le")
    whole = Source(path).audio()
    assert np.abs(whole[-64000:] - voice[0]).max() < 2 / 32768
    source = Source(path)
    for end_s in [second for second in reads if second >= 1.0]:
        assert np.array_equal(source.audio(end_s=end_s), whole[: round(end_s * 8000)])
    assert np.array_equal(source.audio(), whole)


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.m4a", "aac")])
@pytest.mark.parametrize("channels", [6, 8])
def test_of_many_channels_those_with_sound_are_averaged(tmp_path, name, codec, channels):
    sound = np.concatenate([tone(1.5, level=0.1)] + [np.zeros((1, 66150), np.float32)] * (channels - 1))
    kind = sound if codec == "aac" else (sound * 32768).astype(np.int16)
    samples = Source(write_media(tmp_path / name, [kind], audio_codec=codec)).audio()
    allowed = 0.01 if codec == "aac" else 2 / 32768
    assert np.abs(samples[:66150] - tone(1.5, level=0.1)[0])[2048:-2048].max() < allowed


def test_samples_are_rounded_to_sixteen_bits_as_ffmpeg_does():
    floats = np.array([0.3, -0.3, 0.4 / 32768, 0.6 / 32768, 1.5, -1.5, 0.5 / 32768, 1.5 / 32768], np.float32)
    expected = np.array([9830, -9830, 0, 1, 32767, -32768, 0, 2]) / 32768  # Halves go to the even number.
    assert mix_down([((floats,), None)])[0] == pytest.approx(expected, abs=0)
    assert mix_down([((floats.astype(np.float64),), None)])[0] == pytest.approx(expected, abs=0)
    assert mix_down([((np.array([0, 128, 255], np.uint8),), None)])[0] == pytest.approx([-1, 0, 127 / 128], abs=0)
    assert mix_down([((np.array([-(2**31), 2**31 - 1, 65535], np.int32),), None)])[0] == pytest.approx(
        [-1, 32767 / 32768, 0], abs=0
    )
    assert mix_down([((np.int16([1, -2]), np.int16([2, -2])), None)])[0] == pytest.approx(
        [1.5 / 32768, -2 / 32768], abs=0
    )


def test_real_clips_equal_ffmpegs_own_sixteen_bits(real_clips):
    for clip in real_clips[:4]:
        converter = av.AudioResampler(format="s16p", layout="stereo", rate=RATE)
        with av.open(str(clip)) as container:
            frames = [out for frame in container.decode(audio=0) for out in converter.resample(frame)]
        expected = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        source = Source(clip)
        assert np.array_equal(source.audio(), expected.mean(axis=0, dtype=np.float32) / np.float32(32768))
        assert source.warnings == []


def test_resampling_is_soxr_at_its_best(tmp_path):
    source = Source(write_media(tmp_path / "a.wav", [voice_like(2.0)], audio_codec="pcm_s16le"))
    assert np.array_equal(source.audio(16000), soxr.resample(source.audio(), RATE, 16000, quality="VHQ"))
    assert len(source.audio(16000)) == 32000
    assert source.audio(16000) is source.audio(16000)
    assert source.audio(RATE) is source.audio() or np.shares_memory(source.audio(RATE), source.audio())


def test_no_more_is_decoded_than_asked_and_nothing_twice(tmp_path, monkeypatch):
    path = write_media(tmp_path / "a.mp4", [voice_like(20.0)], numbered(10))
    frames = []
    original = MonoReader._decode
    monkeypatch.setattr(
        MonoReader, "_decode", lambda self, seek: (frames.append(item[1]) or item for item in original(self, seek))
    )
    source = Source(path)
    first = source.audio(end_s=2.0)
    assert len(first) == 2 * RATE
    assert max(frames) < 2.1
    source.audio(end_s=1.5)
    assert max(frames) < 2.1
    whole = source.audio()
    assert np.array_equal(whole[: len(first)], first)
    assert len(frames) == len(set(frames))
    assert source.decode_seconds > 0


@pytest.fixture(scope="module", params=[("a.mp4", "aac"), ("a.mp3", "libmp3lame"), ("a.wav", "pcm_s16le")])
def forty_seconds(request, tmp_path_factory):
    """A file of 40 s at 16 kHz."""
    name, codec = request.param
    folder = tmp_path_factory.mktemp("forty")
    return write_media(folder / name, [voice_like(40.0, 16000)], rate_hz=16000, audio_codec=codec)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 3.0), (2.5, 7.25), (33.3, 36.0), (38.0, None), (39.0, 99.0)])
def test_a_window_is_a_slice_of_the_whole(forty_seconds, start_s, end_s):
    rate = 16000
    whole = Source(forty_seconds).audio()
    part = Source(forty_seconds, start_s, end_s).audio()
    stop = len(whole) if end_s is None else min(round(end_s * rate), len(whole))
    expected = whole[round(start_s * rate) : stop]
    assert len(part) == len(expected)
    # A decoder that starts again inside a file settles within some frames, to within the codec's own noise.
    assert np.abs(part - expected).max() < 0.01


def test_a_window_deep_inside_a_long_file_neither_decodes_nor_holds_the_rest(tmp_path, monkeypatch):
    rate, minutes = 8000, 20
    sound = np.tile(voice_like(10.0, rate), 6 * minutes)
    pictures = [(float(second), numbered(1)[0][1]) for second in range(0, 60 * minutes, 4)]
    path = write_media(
        tmp_path / "long.mov", [sound], pictures, rate_hz=rate, audio_codec="pcm_s16le", codec_options={"g": "5"}
    )
    frames = []
    original = MonoReader._decode
    monkeypatch.setattr(
        MonoReader, "_decode", lambda self, seek: (frames.append(item[1]) or item for item in original(self, seek))
    )
    source = Source(path, 1000.0, 1015.0)
    tracemalloc.start()
    samples = source.audio()
    images = [frame.image for frame in source.frames([0.0, 7.0, 14.0])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == 15 * rate
    assert np.corrcoef(samples, sound[0, 1000 * rate : 1015 * rate])[0, 1] > 0.99
    assert len(images) == 3
    assert min(frames) > 998
    assert max(frames) < 1016
    assert peak < 8 * samples.nbytes + 2**20


@pytest.mark.parametrize("name", ["a.mkv", "a.mov"])
def test_sound_that_starts_late_is_preceded_by_zeros(tmp_path, name):
    path = write_media(tmp_path / name, [tone(2.0)], numbered(75), sound_start_s=0.75, audio_codec="pcm_s16le")
    source = Source(path)
    samples = source.audio()
    assert source.audio_lead_s == pytest.approx(0.75, abs=0.03)
    lead = round(source.audio_lead_s * RATE)
    assert not samples[:lead].any()
    assert np.abs(samples[lead : lead + 2 * RATE - 2000] - tone(2.0)[0, :-2000]).max() < 2 / 32768


def test_a_gap_in_the_time_stamps_becomes_zeros(tmp_path):
    path = write_media(tmp_path / "a.mkv", [tone(3.0)], audio_codec="pcm_s16le", gap_s=(1.0, 0.5))
    samples = Source(path).audio()
    assert len(samples) / RATE == pytest.approx(3.5, abs=0.03)
    silent = np.flatnonzero(np.convolve(np.abs(samples) < 1e-6, np.ones(1000), "valid") == 1000)
    assert silent[0] / RATE == pytest.approx(1.0, abs=0.05)
    assert (silent[-1] + 1000) / RATE == pytest.approx(1.5, abs=0.05)


def test_the_default_sound_track_is_heard_and_the_choice_noted(tmp_path):
    sounds = [tone(2.0, pitch_hz=440.0), tone(2.0, pitch_hz=880.0)]
    first = Source(write_media(tmp_path / "first.mkv", sounds, audio_codec="flac"))
    second = Source(write_media(tmp_path / "second.mkv", sounds, audio_codec="flac", default_sound=1))
    assert level_and_pitch(first.audio(), RATE)[1] == pytest.approx(440, abs=2)
    assert level_and_pitch(second.audio(), RATE)[1] == pytest.approx(880, abs=2)
    assert second.info.num_audio_streams == 2
    assert second.warnings == [
        f"{second.path}: has 2 sound tracks; number 2 is heard; choose another with --audio-track"
    ]


def test_a_silent_track_is_passed_over_unless_it_was_asked_for(tmp_path):
    sounds = [0 * tone(2.0), 0 * tone(2.0) + 0.3, tone(2.0, pitch_hz=880.0)]
    path = write_media(tmp_path / "a.mkv", sounds, audio_codec="flac")
    source = Source(path)
    assert level_and_pitch(source.audio(), RATE)[1] == pytest.approx(880, abs=2)
    (line,) = source.warnings
    assert line.endswith("number 3 is heard, since number 1 is silent; choose another with --audio-track")
    asked = Source(path, audio_track=1)
    assert not asked.audio().any()
    assert asked.warnings == []
    with pytest.raises(MediaError, match="has no sound track number 4; choose from 1 to 3 with --audio-track"):
        Source(path, audio_track=4).audio()
    silent = Source(write_media(tmp_path / "b.mkv", sounds[:2], audio_codec="flac"))
    assert not silent.audio().any()
    assert "number 1 is heard" in silent.warnings[0]


def test_cover_art_is_no_video(tmp_path):
    path = write_media(tmp_path / "a.mp3", [tone(2.0)], audio_codec="libmp3lame")
    path.write_bytes(with_cover(path.read_bytes()))
    source = Source(path)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert not source.info.has_video
    assert source.info.has_audio
    assert len(source.audio(end_s=1.0)) == RATE
    with pytest.raises(MediaError, match="has no pictures"):
        list(source.frames([0.0]))


def test_samples_that_are_no_numbers_become_silence_with_a_warning(tmp_path):
    sound = tone(2.0)
    sound[0, 1000:1100] = np.nan
    sound[0, 2000:2010] = np.inf
    source = Source(write_media(tmp_path / "a.wav", [sound], audio_codec="pcm_f32le"))
    samples = source.audio()
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1.0
    assert not samples[1000:1100].any()
    assert source.warnings == [f"{source.path}: some of its samples are no numbers (NaN); they count as silence"]


class _Pieces(MonoReader):
    """A reader of given samples, cut into frames, in place of a file."""

    def __init__(self, frames, start_s, end_s):
        self.frames = frames
        self.remaining_s = 100.0
        super().__init__("no file", start_s, end_s)

    def _frames(self):
        for time_s, samples in self.frames:
            frame = av.AudioFrame.from_ndarray(samples[None], "s16p", "mono")
            frame.sample_rate = 1000
            yield frame, time_s, self.remaining_s


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20),
    start=st.integers(0, 3000),
    length=st.integers(1, 3000),
    asked=st.lists(st.integers(0, 3000), max_size=4),
    jitter=st.lists(st.integers(-20, 20), min_size=20, max_size=20),
)
def test_frames_of_any_size_make_up_any_window(sizes, start, length, asked, jitter):
    total = sum(sizes)
    samples = np.arange(1, total + 1, dtype=np.int16)
    ends = np.cumsum(sizes)
    frames = [
        ((end - size + (shift if index else 0)) / 1000, samples[end - size : end])
        for index, (size, end, shift) in enumerate(zip(sizes, ends, jitter, strict=False))
    ]
    reader = _Pieces(frames, start / 1000, (start + length) / 1000)
    expected = samples[start : start + length].astype(np.float32) / 32768
    for end in asked:
        assert np.array_equal(reader.read(end / 1000), expected[:end])
    assert np.array_equal(reader.read(None), expected)


def test_a_clock_that_jumps_without_reason_is_not_believed():
    piece = np.ones(500, np.int16)
    jumps = [(0.0, piece), (0.5, piece), (9000.0, piece), (9000.5, piece), (2.0, piece)]
    assert len(_Pieces(jumps, 0.0, None).read(None)) == 2500


def test_a_gap_longer_than_a_recording_can_have_is_not_believed():
    piece = np.ones(500, np.int16)
    reader = _Pieces([(0.0, piece), (700.0, piece)], 0.0, None)
    reader.remaining_s = 1e9  # What a damaged header says.
    assert len(reader.read(None)) == 1000
    late = _Pieces([(5000.0, piece), (5000.5, piece)], 0.0, None)
    late.remaining_s = 1e9
    assert len(late.read(None)) == 1000


def test_frames_without_time_stamps_follow_each_other():
    piece = np.ones(500, np.int16)
    assert len(_Pieces([(None, piece)] * 4, 0.5, 1.75).read(None)) == 1250


def test_overlapping_frames_are_heard_once():
    piece = np.ones(500, np.int16)
    assert len(_Pieces([(0.0, piece), (0.3, piece), (0.8, piece)], 0.0, None).read(None)) == 1300


@pytest.mark.parametrize(("start_s", "end_s", "message"), [(-1.0, None, "0 or more"), (3.0, 2.0, "before it starts")])
def test_a_window_that_makes_no_sense_is_refused(start_s, end_s, message):
    with pytest.raises(UsageError, match=message):
        Source("clip.mp4", start_s, end_s)
    with pytest.raises(UsageError):
        Source("clip.mp4", float("nan"))


def test_the_digest_is_of_the_bytes(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"thinslice")
    assert Source(path).sha256() == "0f74b3a4f00669544b515e7021fe39a37a609686fa13d0df7b8d0e9e6496c449"
