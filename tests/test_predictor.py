"""From a media file to its traits: windows, missing inputs, explanations, batches."""

import dataclasses
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.io import wavfile

import thinslice
from media_files import png, voice_like, write_media
from thinslice.errors import BundleError, MediaError, UsageError
from thinslice.features.voice import VOICE_PROFILE_COLUMNS
from thinslice.infer.predictor import Predictor
from thinslice.traits import TARGETS
from thinslice.types import Failure, Prediction

RATE_HZ = 16_000
WORDS = "Hi everyone, welcome back. Today I want to show you how I make my favourite soup, and why I love it so much."


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise under a syllable-like envelope: not speech, but sound with a voice profile."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = np.sign(np.sin(2 * np.pi * 140 * time_s)) * 0.1 + rng.normal(0, 0.02, len(time_s))
    return (tone * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s)) * 32_767).astype(np.int16)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor()


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    def write(seconds: float = 10.0, name: str = "talk.wav", seed: int = 0, gain: float = 1.0) -> Path:
        path = tmp_path / name
        wavfile.write(path, RATE_HZ, (speech_like(seconds, seed) * gain).astype(np.int16))
        return path

    return write


@pytest.fixture(autouse=True)
def no_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognition has tests of its own; here there is none, as on a core install."""
    nothing = (None, "speech recognition is off")
    monkeypatch.setattr("thinslice.features.asr.recognise", lambda samples, cpu_threads: nothing)


def assert_adds_up(prediction: Prediction) -> None:
    assert prediction.explanation is not None
    for target, score in prediction.traits.items():
        parts = sum(shares[target] for shares in prediction.explanation.inputs.values())
        assert prediction.explanation.baseline[target] + parts == pytest.approx(score.score, abs=1e-6)


def test_voice_and_words_are_used_and_explained(predictor: Predictor, wav: Callable[..., Path]) -> None:
    prediction = predictor.predict(wav(), transcript=WORDS)
    assert prediction.used == ("voice", "words")
    assert prediction.transcript == WORDS
    assert tuple(prediction.traits) == TARGETS
    for score in prediction.traits.values():
        assert 0 <= score.low < score.score < score.high <= 1
        assert 0 <= score.percentile <= 100
    assert_adds_up(prediction)
    assert list(prediction.seconds)[-1] == "total"
    assert all(seconds >= 0 for seconds in prediction.seconds.values())


def test_without_words_the_interval_is_wider_and_the_user_is_told(
    predictor: Predictor, wav: Callable[..., Path]
) -> None:
    both = predictor.predict(wav(), transcript=WORDS)
    voice = predictor.predict(wav())
    assert voice.used == ("voice",)
    assert voice.transcript is None
    assert "speech recognition is off" in voice.warnings
    widths = [sum(score.high - score.low for score in prediction.traits.values()) for prediction in (both, voice)]
    assert widths[0] < widths[1]
    assert_adds_up(voice)


def test_silence_leaves_the_words(predictor: Predictor, wav: Callable[..., Path]) -> None:
    silent = wav(gain=0.0)
    words = predictor.predict(silent, transcript=WORDS)
    assert words.used == ("words",)
    assert any("silen" in line for line in words.warnings)
    with pytest.raises(MediaError, match="silen"):
        predictor.predict(silent)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.mp4", "no such file"),
        (lambda folder: folder, "folder|directory"),
        (lambda folder: _write(folder / "empty.mp4", b""), "empty"),
        (lambda folder: _write(folder / "text.mp4", b"This is not a video. " * 500), "not|media"),
    ],
)
def test_unusable_files_are_one_clear_line(
    predictor: Predictor, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(MediaError, match=message) as error:
        predictor.predict(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_window_equals_the_cut_out_file(predictor: Predictor, wav: Callable[..., Path], tmp_path: Path) -> None:
    whole = wav(30.0)
    cut = tmp_path / "cut.wav"
    wavfile.write(cut, RATE_HZ, speech_like(30.0)[8 * RATE_HZ : 20 * RATE_HZ])
    window = predictor.predict(whole, transcript=WORDS, start_s=8.0, end_s=20.0)
    alone = predictor.predict(cut, transcript=WORDS)
    for target in TARGETS:
        assert window.traits[target].score == pytest.approx(alone.traits[target].score, abs=2e-3)


def test_of_a_long_file_the_first_seconds_are_scored_and_this_is_said(
    predictor: Predictor, wav: Callable[..., Path]
) -> None:
    long = predictor.predict(wav(60.0))
    assert any("scored 0-15.3 s only" in line for line in long.warnings)
    assert long.traits == predictor.predict(wav(60.0), end_s=15.3).traits


@pytest.mark.parametrize(
    ("name", "start_s", "message"),
    [
        ("empty.wav", 0.0, "holds no sound and no pictures (0 s long); record or copy it again"),
        ("still.png", 5.0, "is one picture, which has no times; leave --start and --end out"),
        ("short.wav", 5.0, "is 0.5 s long; start before that, not at 5 s"),
    ],
)
def test_a_window_where_there_is_nothing_is_one_line(
    predictor: Predictor, tmp_path: Path, name: str, start_s: float, message: str
) -> None:
    path = tmp_path / name
    if name == "still.png":
        path.write_bytes(png())
    else:
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(b"\1\0" * (8_000 if name == "short.wav" else 0))
    with pytest.raises(MediaError) as error:
        predictor.predict(path, start_s=start_s)
    assert str(error.value) == f"{path}: {message}"


def test_a_text_without_times_is_not_cut_to_a_window_silently(predictor: Predictor, wav: Callable[..., Path]) -> None:
    path = wav(30.0)
    path.with_suffix(".txt").write_text(WORDS)
    assert predictor.predict(path, end_s=30.0).transcript == WORDS
    window = predictor.predict(path, end_s=10.0)
    assert window.transcript is None
    assert any("talk.txt has no times" in line for line in window.warnings)


def test_a_timeline_covers_the_file_and_its_mean_is_the_score(
    predictor: Predictor, wav: Callable[..., Path], tmp_path: Path
) -> None:
    path = wav(50.0)
    timeline = predictor.predict(path, every_s=15.0)
    bounds = [(window.start_s, window.end_s) for window in timeline.timeline]
    assert bounds == [(0, 15), (15, 30), (30, 50)]
    for target in TARGETS:
        mean = np.mean([window.traits[target].score for window in timeline.timeline])
        assert timeline.traits[target].score == pytest.approx(mean)
    assert_adds_up(timeline)
    assert len(timeline.to_dict()["timeline"]) == 3


def test_a_silent_window_is_a_gap_not_a_failure(predictor: Predictor, tmp_path: Path) -> None:
    samples = speech_like(30.0)
    samples[10 * RATE_HZ : 20 * RATE_HZ] = 0
    path = tmp_path / "pause.wav"
    wavfile.write(path, RATE_HZ, samples)
    timeline = predictor.predict(path, every_s=10.0).timeline
    assert [bool(window.traits) for window in timeline] == [True, False, True]
    assert "silen" in timeline[1].note


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start_s": 99.0}, MediaError),
        ({"start_s": 5.0, "end_s": 5.2}, MediaError),
        ({"start_s": 5.0, "end_s": 4.0}, UsageError),
        ({"start_s": -1.0}, UsageError),
        ({"every_s": 0.0}, UsageError),
        ({"every_s": 5.0, "transcript": WORDS}, UsageError),
    ],
)
def test_windows_that_make_no_sense(
    predictor: Predictor, wav: Callable[..., Path], options: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        predictor.predict(wav(), **options)


def test_inputs_alone_give_what_the_media_gave(predictor: Predictor, wav: Callable[..., Path]) -> None:
    from thinslice.features.voice import extract_voice_profile
    from thinslice.media.source import Source

    talk = wav(15.3)  # as long as a clip of a table is taken to be, for the pace of its words
    profile = extract_voice_profile(Source(talk))
    assert profile.shape == (len(VOICE_PROFILE_COLUMNS),)
    alone = predictor.predict_inputs("talk", profile, WORDS)
    media = predictor.predict(talk, transcript=WORDS)
    assert {t: s.low for t, s in alone.traits.items()} == pytest.approx({t: s.low for t, s in media.traits.items()})
    with pytest.raises(MediaError, match="talk"):
        predictor.predict_inputs("talk", None, "  ")


def test_a_batch_goes_on_after_a_bad_file_and_keeps_the_order(wav: Callable[..., Path], tmp_path: Path) -> None:
    paths = [wav(name="a.wav", seed=1), tmp_path / "absent.wav", wav(name="b.wav", seed=2)]
    results = thinslice.predict_many(paths)
    assert [type(result) for result in results] == [Prediction, Failure, Prediction]
    assert [result.clip for result in results] == [str(path) for path in paths]
    two = thinslice.predict_many(paths, workers=2)
    assert [result.clip for result in two] == [str(path) for path in paths]
    for one, other in zip(results, two, strict=True):
        if isinstance(one, Prediction):
            assert isinstance(other, Prediction)
            assert one.traits == other.traits


def test_predictions_become_a_data_frame(wav: Callable[..., Path]) -> None:
    frame = thinslice.predict(wav(), transcript=WORDS).to_pandas()
    assert list(frame.columns[:7]) == ["clip", *TARGETS]
    assert frame.loc[0, "openness_low"] < frame.loc[0, "openness"] < frame.loc[0, "openness_high"]


def test_a_model_of_synthetic_clips_says_so_with_every_prediction(wav: Callable[..., Path]) -> None:
    trained = Predictor()
    line = f"{trained.members[0].bundle.name} was trained on synthetic clips: its scores say nothing about people"
    assert line not in trained.predict(wav(), transcript=WORDS).warnings
    bundle = trained.members[0].bundle
    card = replace(bundle.card, synthetic=True)
    trained.members[0].bundle = dataclasses.replace(bundle, document=replace(bundle.document, card=card))
    assert trained.predict(wav(), transcript=WORDS).warnings[0] == line
    assert trained.predict_inputs("a", None, WORDS).warnings == (line,)


def test_an_unknown_bundle_names_those_there_are() -> None:
    with pytest.raises(BundleError, match="voice-words"):
        Predictor("no-such-bundle")


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    import shutil

    from thinslice.bundle import PACKAGED

    folder = tmp_path / "damaged"
    shutil.copytree(PACKAGED / "voice-words", folder)
    weights = folder / "weights.npz"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BundleError, match="checksum"):
        Predictor(folder)
    weights.unlink()
    with pytest.raises(BundleError, match="missing"):
        Predictor(folder)
    (folder / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="damaged"):
        Predictor(folder)


def test_each_stage_is_announced_as_it_begins(predictor: Predictor, wav: Callable[..., Path]) -> None:
    stages: list[str] = []
    predictor.predict(wav(), transcript=WORDS, on_stage=stages.append)
    assert stages == ["words", "voice", "model", "explain"]


def test_bytes_and_open_files_are_scored_as_their_file_is(tmp_path):
    path = tmp_path / "a.wav"
    write_media(path, [voice_like(2.0, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    predictor = thinslice.Predictor("voice-words")
    of_file = predictor.predict(path, explain=False)
    of_bytes = predictor.predict(path.read_bytes(), explain=False)
    with open(path, "rb") as file:
        of_stream = predictor.predict(file, explain=False)
    assert of_bytes.traits == of_stream.traits == of_file.traits
    assert of_bytes.warnings == of_stream.warnings == of_file.warnings
    assert [of_bytes.clip, of_stream.clip] == ["bytes", str(path)]
    results = thinslice.predict_many([path, path.read_bytes(), b"not media"], bundle="voice-words", workers=2)
    assert [result.clip for result in results] == [str(path), "bytes", "bytes"]
    assert results[1].traits == of_file.traits
    assert results[2].error.startswith("bytes: ")
