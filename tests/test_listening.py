"""What is heard before it is scored: the start of the speech, and sound that is not a voice like those trained on."""

from pathlib import Path

import numpy as np
import pytest

from media_files import numbered, tone, write_media
from thinslice.bundle import PACKAGED
from thinslice.errors import MediaError
from thinslice.features.mains_hum import mains_hum
from thinslice.features.typical_voices import (
    REFERENCE,
    build_reference,
    change_level,
    load_profiles,
    share_nearer,
    typical_db,
    unlikeness,
)
from thinslice.features.voice import extract_voice_profile
from thinslice.infer.listening import MOVE_PER_DB, QUIET_DB, find_first_speech, judge_sound
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source
from thinslice.traits import TARGETS
from thinslice.voice_words.model import load_voice_words

RATE = 22050
SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sample.mp4"


@pytest.fixture(scope="module")
def predictor():
    return Predictor("voice-words")


@pytest.fixture(scope="module")
def voice():
    """The sample's synthetic voice, float32 (1, n)."""
    return Source(SAMPLE).audio(RATE)[None, : 12 * RATE]


@pytest.fixture
def write(tmp_path):
    def write(*parts):
        return write_media(tmp_path / "a.wav", [np.concatenate(parts, axis=1)], rate_hz=RATE, audio_codec="pcm_s16le")

    return write


def silence(seconds):
    return np.zeros((1, round(seconds * RATE)), np.float32)


def noise(seconds, level):
    return np.random.default_rng(0).normal(0, level, (1, round(seconds * RATE))).astype(np.float32)


def chords(seconds):
    """Three notes at a time with overtones, another chord every second, dying away."""
    time = np.arange(round(seconds * RATE)) / RATE
    root = np.resize([220.0, 174.6, 261.6, 196.0], len(time) // RATE + 1)[(time // 1).astype(int)]
    notes = sum(np.sin(2 * np.pi * root * f * h * time) / h for f in (1, 1.26, 1.5) for h in (1, 2, 3))
    return (0.08 * notes * np.exp(-(time % 1)))[None].astype(np.float32)


def largest_difference(one, other):
    return max(abs(one.traits[target].score - other.traits[target].score) for target in one.traits)


@pytest.mark.parametrize(
    ("before", "tolerance"),
    [
        (silence(1.5), 0.01),
        (silence(6.5), 0.01),
        (noise(4.0, 0.001), 0.02),
        (chords(6.5), 0.08),
    ],
    ids=["1.5 s of silence", "6.5 s of silence", "4 s of noise", "6.5 s of music"],
)
def test_what_comes_before_the_speech_does_not_count(predictor, voice, write, before, tolerance):
    alone = predictor.predict(write(voice), transcript="", explain=False)
    assert alone.warnings == ()
    path = write(before, voice)
    later = predictor.predict(path, transcript="", explain=False)
    assert largest_difference(alone, later) < tolerance
    assert later.warnings[0].startswith("no speech in the first ")
    kept = predictor.predict(path, transcript="", explain=False, end_s=20.0)
    assert largest_difference(alone, kept) > 2 * largest_difference(alone, later)


def test_speech_after_the_first_seconds_is_found(predictor, voice, write):
    alone = predictor.predict(write(voice), transcript="", explain=False)
    path = write(silence(8.0), voice)
    later = predictor.predict(path, transcript="", explain=False)
    assert largest_difference(alone, later) < 0.015
    with pytest.raises(MediaError, match="digital silence for the first 7 s"):
        predictor.predict(path, transcript="", explain=False, end_s=20.0)


def test_words_keep_their_pace_when_a_pause_is_skipped(predictor, voice, write):
    text = "so this is what I do every morning before the others get up"
    path = write(voice)
    path.with_suffix(".txt").write_text(text)
    alone = predictor.predict(path, explain=False)
    later = predictor.predict(write(silence(5.0), voice), explain=False)
    assert later.transcript == text
    assert largest_difference(alone, later) < 0.01


def test_a_window_that_was_asked_for_is_kept_and_its_silence_reported(predictor, voice, write):
    prediction = predictor.predict(write(silence(6.0), voice), transcript="", explain=False, end_s=8.0)
    unlike, quiet = prediction.warnings
    assert unlike.startswith("the sound at 0-7 s is unlike any voice trained on")
    assert "is quiet" in quiet


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        (tone(8.0, RATE, 5.0), "unlike any voice"),
        (tone(8.0, RATE, 50.0), "unlike any voice"),
        (noise(8.0, 0.1), "unlike any voice"),
        (chords(8.0), "unlike any voice"),
    ],
    ids=["5 Hz", "hum", "noise", "music"],
)
def test_sound_without_a_voice_is_scored_with_a_warning(predictor, write, sound, expected):
    assert expected in predictor.predict(write(sound), transcript="", explain=False).warnings[0]


def test_a_constant_signal_is_silence(predictor, write):
    with pytest.raises(MediaError, match="digital silence"):
        predictor.predict(write(silence(8.0) + 0.3), transcript="", explain=False)


def test_quiet_clipped_and_offset_recordings_are_reported(voice, write):
    assert judge_sound(Source(write(voice))) == []
    above_db = 20 * np.log10(extract_voice_profile(Source(write(voice)))[1]) - typical_db()
    quiet = {}
    for below_db in (6.9, 7.1, 12.0):
        gain = np.float32(10 ** (-(below_db + above_db) / 20))
        quiet[below_db] = [line for line in judge_sound(Source(write(voice * gain))) if "is quiet (" in line]
    assert quiet[6.9] == []
    assert len(quiet[7.1]) == 1
    assert "12 below the typical training clip" in quiet[12.0][0]
    assert "that moves scores by about 0.06" in quiet[12.0][0]
    for offset in (0.03, -0.3):
        assert any("constant offset (DC)" in line for line in judge_sound(Source(write(voice + np.float32(offset)))))
    clipped = judge_sound(Source(write((voice * 30).clip(-1, 1))))
    assert any("is clipped" in line for line in clipped)


def test_sound_that_starts_late_is_waited_for_or_reported(predictor, voice, tmp_path):
    plain = write_media(tmp_path / "a.mkv", [voice], numbered(60, 5.0), rate_hz=RATE, audio_codec="pcm_s16le")
    late = write_media(
        tmp_path / "b.mkv", [voice], numbered(60, 5.0), rate_hz=RATE, audio_codec="pcm_s16le", sound_start_s=2.5
    )
    alone = predictor.predict(plain, transcript="", explain=False)
    waited = predictor.predict(late, transcript="", explain=False)
    (line,) = waited.warnings
    assert line.startswith("no speech in the first 2.")
    assert largest_difference(alone, waited) < 0.02
    assert any("starts 2.5 s late" in line for line in judge_sound(Source(late, 0.0, 10.0)))


def test_a_table_of_profiles_is_judged_too(predictor, write):
    profile = extract_voice_profile(Source(write(chords(8.0))))
    assert "unlike any voice" in predictor.predict_inputs("a", profile, None, explain=False).warnings[0]
    assert predictor.predict_inputs("a", None, "just words", explain=False).warnings == ()


def test_real_clips_are_heard_from_their_start(real_clips):
    for clip in real_clips:
        source = Source(clip)
        assert find_first_speech(source) == 0
        assert not any("unlike" in line or "hum" in line or "of sound:" in line for line in judge_sound(source))


def test_the_reference_is_that_of_the_training_profiles(real_data):
    profiles = load_profiles(real_data / "voice_profile_train.csv")
    with np.load(REFERENCE) as shipped:
        for name, array in build_reference(profiles).items():
            assert array == pytest.approx(shipped[name], rel=1e-6)
    shares = share_nearer(profiles)
    assert np.mean(shares >= 0.99) == pytest.approx(0.01, abs=0.0005)
    assert np.mean(shares >= 0.999) == pytest.approx(0.001, abs=0.0005)
    level_db = 20 * np.log10(profiles[:, 1])
    assert np.median(level_db) == pytest.approx(typical_db())
    # Reported are a sixth of the training clips, and four of five of them made 12 dB quieter.
    assert np.mean(level_db < typical_db() - QUIET_DB) == pytest.approx(0.17, abs=0.01)
    assert np.mean(level_db - 12 < typical_db() - QUIET_DB) == pytest.approx(0.80, abs=0.01)
    assert unlikeness(profiles[:1]) == pytest.approx(unlikeness(profiles)[:1])


def test_what_the_report_says_a_low_level_does_is_what_it_does(real_data):
    profiles = load_profiles(real_data / "voice_profile_train.csv")[::10]
    model = load_voice_words(PACKAGED / "voice-words", TARGETS)
    words = [None] * len(profiles)
    for down_db in (6.0, 12.0, 20.0):
        moved = model.predict(change_level(profiles, -down_db), words)[0] - model.predict(profiles, words)[0]
        assert np.abs(moved[:, :5]).max(1).mean() == pytest.approx(MOVE_PER_DB * down_db, rel=0.2)


def test_a_file_that_says_it_is_synthetic_is_reported(predictor, voice, tmp_path):
    sample = predictor.predict(SAMPLE, transcript="", explain=False, only=["voice"])
    assert sample.warnings[0] == (
        'synthetic, as the file says ("thinslice sample: animated portrait, computer voice"): '
        "its scores say nothing about a person"
    )
    planted = write_media(tmp_path / "planted0001.003.mp4", [voice], rate_hz=RATE)
    assert predictor.predict(planted, transcript="", explain=False).warnings[0].startswith("a planted clip")
    plain = write_media(tmp_path / "talk.mp4", [voice], rate_hz=RATE)
    assert predictor.predict(plain, transcript="", explain=False).warnings == ()


def test_little_sound_is_reported_once_for_all_windows_of_a_length(predictor, voice, write):
    path = write(voice[:, : 8 * RATE])
    assert not any("of sound: a voice" in line for line in judge_sound(Source(path)))
    assert not any("of sound: a voice" in line for line in judge_sound(Source(path, 1.0, 3.0)))
    lines = [line for start_s in (0.0, 2.0) for line in judge_sound(Source(path, start_s, start_s + 1.5))]
    little = {line for line in lines if "of sound: a voice" in line}
    assert len(little) == 1
    assert next(iter(little)).startswith("only 1.5 s of sound")


@pytest.mark.parametrize(("mains_hz", "named"), [(50, 50), (60, 60), (49.9, 50)])
def test_a_hum_of_the_mains_under_a_voice_is_reported(voice, write, mains_hz, named):
    time = np.arange(voice.shape[1]) / RATE
    hum = sum(np.sin(2 * np.pi * mains_hz * number * time) / number for number in (1, 2, 3, 5)) * np.std(voice)

    def said(level, end_s=None):
        sound = (voice + np.float32(level) * hum).astype(np.float32)
        return [line for line in judge_sound(Source(write(sound), 0.0, end_s)) if "steady hum" in line]

    (line,) = said(0.3)
    assert f"a steady hum of {named} Hz" in line
    assert said(0.01) == said(0.3, end_s=5.0) == []


def test_a_steady_tone_elsewhere_is_no_hum_of_the_mains():
    time = np.arange(7 * RATE) / RATE
    assert mains_hum(np.sign(np.sin(2 * np.pi * 140 * time)), RATE)[1] < -100  # 420 Hz is 7 x 60
    assert mains_hum(np.zeros(7 * RATE), RATE)[1] == -np.inf
    assert mains_hum(np.sin(2 * np.pi * 50 * time[: 7 * 1000] * RATE / 1000), 1000) == (50, pytest.approx(0, abs=0.01))
