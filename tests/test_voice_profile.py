"""The voice profile against librosa, against the published file, and at the edges."""

import csv
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from media_files import tone, voice_like, write_media
from thinslice.errors import MediaError
from thinslice.features import kaiser
from thinslice.features.kaiser import resample_kaiser
from thinslice.features.voice import RATE_HZ, VOICE_PROFILE_COLUMNS, extract_voice_profile, voice_profile
from thinslice.media.source import Source

# librosa compiles its kernels on first use and caches them in site-packages. Several test workers doing so at once have
# been seen to crash one of them, so it runs in a process of its own, with a cache of its own.
BY_LIBROSA = """
import sys, warnings
import numpy as np
from librosa import feature
warnings.simplefilter("ignore")
signals, rate_hz = np.load(sys.argv[1]), int(sys.argv[3])
profiles = {}
for name in signals.files:
    samples = signals[name]
    mirrored = {"y": samples, "pad_mode": "reflect"}  # The edges as before version 0.10.
    values = [
        feature.chroma_stft(sr=rate_hz, **mirrored),
        feature.rms(**mirrored),
        feature.spectral_centroid(sr=rate_hz, **mirrored),
        feature.spectral_bandwidth(sr=rate_hz, **mirrored),
        feature.spectral_rolloff(sr=rate_hz, **mirrored),
        feature.zero_crossing_rate(samples),
    ]
    mfcc = feature.mfcc(sr=rate_hz, **mirrored).mean(axis=1)
    profiles[name] = np.concatenate([[value.mean() for value in values], mfcc])
np.savez(sys.argv[2], **profiles)
"""


def by_librosa(signals, folder):
    """The same profiles by librosa, of signals by name."""
    if importlib.util.find_spec("librosa") is None:
        pytest.skip("librosa is not installed")
    np.savez(folder / "signals.npz", **signals)
    done = subprocess.run(
        [sys.executable, "-c", BY_LIBROSA, folder / "signals.npz", folder / "profiles.npz", str(RATE_HZ)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder / "numba"), "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode < 0:
        pytest.skip(f"librosa itself was ended by signal {-done.returncode}: there is nothing to compare with")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "profiles.npz") as profiles:
        return dict(profiles)


def assert_close(name, mine, theirs, relative=1e-4):
    """Compare where every value may be near zero: MFCCs are sums over bands of some decibels."""
    scale = np.maximum(np.abs(theirs), [1e-3] * 6 + [1.0] * 20)
    worst = int(np.argmax(np.abs(mine - theirs) / scale))
    assert abs(mine[worst] - theirs[worst]) <= relative * scale[worst], (name, VOICE_PROFILE_COLUMNS[worst])


REFERENCE = Path(__file__).with_name("voice_profile_reference.npz")
"""librosa's profiles of `SIGNALS` (`by_librosa`), by its version 0.11."""

RNG = np.random.default_rng(3)
SIGNALS = {
    "voice": voice_like(7.0, RATE_HZ)[0],
    "noise": RNG.normal(0, 0.1, 3 * RATE_HZ).astype(np.float32),
    "tone": tone(2.0, RATE_HZ, 452.0)[0] + RNG.normal(0, 1e-3, 2 * RATE_HZ).astype(np.float32),
    "clipped": np.clip(8 * voice_like(2.0, RATE_HZ, 1)[0], -1, 1),
    "quiet": 1e-3 * voice_like(2.0, RATE_HZ, 2)[0],
    "half silent": np.concatenate([voice_like(1.5, RATE_HZ)[0], np.zeros(RATE_HZ, np.float32)]),
    "offset": 0.2 + 0.1 * voice_like(2.0, RATE_HZ)[0],
    "odd length": voice_like(1.0, RATE_HZ)[0][:12345],
    "one frame": voice_like(1.0, RATE_HZ)[0][:2048],
    "short": voice_like(1.0, RATE_HZ)[0][5000:6500],
}


def test_equals_librosa():
    """Its profiles of `SIGNALS` are stored: librosa compiles for half a minute. The next test compares with itself."""
    with np.load(REFERENCE) as theirs:
        assert set(theirs.files) == set(SIGNALS)
        for name, samples in SIGNALS.items():
            profile = voice_profile(samples.astype(np.float32))
            assert profile.shape == (26,)
            assert profile.dtype == np.float64
            assert_close(name, profile, theirs[name])


@pytest.mark.slow
def test_the_stored_profiles_are_those_of_librosa(tmp_path):
    theirs = by_librosa({name: samples.astype(np.float32) for name, samples in SIGNALS.items()}, tmp_path)
    with np.load(REFERENCE) as stored:
        for name in SIGNALS:
            assert_close(name, stored[name], theirs[name])


@pytest.mark.slow
def test_equals_librosa_on_real_clips(real_clips, tmp_path):
    clips = {clip.name: resample_kaiser(Source(clip).audio(None, 7.0), 44100, RATE_HZ) for clip in real_clips[::6]}
    theirs = by_librosa(clips, tmp_path)
    for name, samples in clips.items():
        assert_close(name, voice_profile(samples), theirs[name])


def test_reproduces_the_published_file(real_data, real_clips):
    with open(real_data / "voice_profile_train.csv", newline="") as file:
        rows = {row["clip"]: [float(row[name]) for name in VOICE_PROFILE_COLUMNS] for row in csv.DictReader(file)}
    spread = np.std(list(rows.values()), axis=0)
    clips = [clip for clip in real_clips if clip.name in rows]
    assert len(clips) >= 20
    measured = np.array([extract_voice_profile(Source(clip)) for clip in clips])
    published = np.array([rows[clip.name] for clip in clips])
    assert (np.abs(measured - published) / spread).max() < 1e-4


def test_the_columns_are_those_of_the_published_file(real_data):
    with open(real_data / "voice_profile_train.csv", newline="") as file:
        header = next(csv.reader(file))
    assert tuple(header[-26:]) == VOICE_PROFILE_COLUMNS


def test_silence_has_a_finite_profile():
    profile = voice_profile(np.zeros(RATE_HZ, np.float32))
    assert np.array_equal(profile[:6], np.zeros(6))
    assert profile[6] == pytest.approx(-100 * math.sqrt(128))  # mfcc1 of a flat spectrum at the floor of -100 dB.
    assert np.abs(profile[7:]).max() < 1e-9


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros((2, 100)), np.array([0.1, np.nan]), np.array([np.inf])], ids=str
)
def test_what_is_no_sound_is_refused(samples):
    with pytest.raises(ValueError, match="samples must"):
        voice_profile(samples)


@pytest.mark.parametrize("length", [1, 2, 511, 1024, 1025])
def test_very_short_sounds_have_a_finite_profile(length):
    assert np.isfinite(voice_profile(voice_like(1.0, RATE_HZ)[0][2000 : 2000 + length])).all()


def test_only_the_first_seven_seconds_count(tmp_path):
    sound = voice_like(10.0)
    other = np.concatenate([sound[:, : 7 * 44100], tone(3.0, level=0.9)], axis=1)
    paths = [
        write_media(tmp_path / f"{name}.wav", [samples], audio_codec="pcm_s16le")
        for name, samples in (("whole", sound), ("other", other), ("first", sound[:, : 7 * 44100]))
    ]
    profiles = [extract_voice_profile(Source(path)) for path in paths]
    assert np.array_equal(profiles[0], profiles[1])
    assert np.array_equal(profiles[0], profiles[2])
    assert not np.array_equal(profiles[0], extract_voice_profile(Source(paths[0], 2.0)))
    assert np.array_equal(extract_voice_profile(Source(paths[0]), 3.0), extract_voice_profile(Source(paths[1], 0, 3)))


def test_the_profile_does_not_depend_on_what_was_decoded_before(tmp_path):
    path = write_media(tmp_path / "a.mp4", [voice_like(10.0)])
    fresh, used = Source(path), Source(path)
    used.audio(16000)
    assert np.array_equal(extract_voice_profile(fresh), extract_voice_profile(used))


def test_sound_that_starts_late_is_measured_from_its_start(tmp_path):
    sound = voice_like(5.0)
    pictures = [(0.0, np.zeros((48, 64, 3), np.uint8)), (6.0, np.zeros((48, 64, 3), np.uint8))]
    early = write_media(tmp_path / "early.mov", [sound], pictures, audio_codec="pcm_s16le")
    late = write_media(tmp_path / "late.mov", [sound], pictures, audio_codec="pcm_s16le", sound_start_s=0.8)
    assert Source(late).audio_lead_s == pytest.approx(0.8, abs=0.001)
    assert extract_voice_profile(Source(late)) == pytest.approx(extract_voice_profile(Source(early)), rel=1e-9)


def test_a_late_start_with_too_little_sound_is_refused(tmp_path):
    pictures = [(0.0, np.zeros((48, 64, 3), np.uint8)), (6.0, np.zeros((48, 64, 3), np.uint8))]
    path = write_media(tmp_path / "a.mov", [voice_like(0.7)], pictures, audio_codec="pcm_s16le", sound_start_s=2.0)
    with pytest.raises(MediaError, match=r"only 0\.70 s of sound; at least 1 s are needed"):
        extract_voice_profile(Source(path))


def test_a_low_sampling_rate_is_warned_of(tmp_path):
    low = Source(write_media(tmp_path / "a.wav", [voice_like(2.0, 16000)], rate_hz=16000, audio_codec="pcm_s16le"))
    assert np.isfinite(extract_voice_profile(low)).all()
    (warning,) = low.warnings
    assert warning.startswith(f"{low.path}: is sampled at 16000 Hz only, so that it lacks what lies above 8 kHz")
    full = Source(write_media(tmp_path / "b.wav", [voice_like(2.0)], audio_codec="pcm_s16le"))
    extract_voice_profile(full)
    assert full.warnings == []


def resampy_loop(samples, up, down):
    """resampy 0.2's loop and its "kaiser_best" table, as published, sample by sample."""
    zeros, table = 64, 512
    grid = np.linspace(0, zeros, zeros * table + 1)
    rolloff = 0.9475937167399596
    taper = np.kaiser(2 * zeros * table + 1, 14.769656459379492)[zeros * table :]
    ratio = up / down
    scale = min(1.0, ratio)
    window = rolloff * np.sinc(rolloff * grid) * taper * scale
    delta = np.append(np.diff(window), 0.0)
    step = int(scale * table)
    result = np.zeros(int(len(samples) * ratio))
    for index in range(len(result)):
        time = index / ratio
        whole = int(time + 1e-9)
        fraction = scale * max(time - whole, 0.0)
        for wing, places in (
            (fraction, range(whole, -1, -1)),
            (scale - fraction, range(whole + 1, len(samples))),
        ):
            offset = int(wing * table)
            eta = wing * table - offset
            for tap, place in enumerate(places):
                if tap >= (len(window) - offset) // step:
                    break
                entry = offset + tap * step
                result[index] += (window[entry] + eta * delta[entry]) * samples[place]
    return result


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 22050), (48000, 22050), (16000, 22050), (32000, 22050)])
def test_resampling_equals_resampys_loop(from_hz, to_hz):
    samples = RNG.normal(0, 0.1, 700).astype(np.float32)
    expected = resampy_loop(samples, to_hz, from_hz)
    got = resample_kaiser(samples, from_hz, to_hz)
    assert got.dtype == np.float32
    assert len(got) == math.ceil(len(samples) * to_hz / from_hz)
    assert np.abs(got[: len(expected)] - expected).max() < 2e-6


@pytest.mark.parametrize("from_hz", [8000, 11025, 16000, 24000, 44056, 44100, 48000, 96000, 192000])
def test_resampling_keeps_a_tone(from_hz):
    got = resample_kaiser(tone(1.0, from_hz, 1000.0, 0.5)[0], from_hz, RATE_HZ)
    assert len(got) == RATE_HZ
    # resampy rounds the distance between taps to a table entry, which costs 0.1% at 48 kHz and 1.4% at 192 kHz.
    assert np.abs(got - tone(1.0, RATE_HZ, 1000.0, 0.5)[0])[1000:-1000].max() < (2e-3 if from_hz <= 48000 else 8e-3)


def test_resampling_suppresses_what_the_new_rate_cannot_carry():
    got = resample_kaiser(tone(1.0, 44100, 13000.0, 0.5)[0], 44100, RATE_HZ)
    assert np.abs(got[1000:-1000]).max() < 1e-4


def test_resampling_nothing_and_to_the_same_rate():
    samples = tone(0.1)[0]
    assert resample_kaiser(samples, 44100, 44100) is samples
    assert len(resample_kaiser(samples[:0], 44100, RATE_HZ)) == 0
    assert len(resample_kaiser(samples[:1], 44100, RATE_HZ)) == 1
    assert kaiser._block_weights(1, 2)[0].dtype == np.float32


def test_the_voice_is_imported_without_what_is_slow():
    code = (
        "import sys, thinslice.features.voice, thinslice.features.extract;"
        "print([name for name in ('scipy', 'librosa', 'numba', 'torch', 'rich', 'soxr', 'pandas', 'matplotlib')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
