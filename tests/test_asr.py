"""Speech recognition: words where English is spoken, a reason where not, the same each time."""

import subprocess
import sys
from multiprocessing import synchronize
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thinslice.errors import AssetError
from thinslice.features import asr
from thinslice.features.asr import RATE_HZ, recognise, speech_seconds
from thinslice.formats.python2_pickle import load_transcripts
from thinslice.media.source import Source
from thinslice.processes import Child

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def recogniser() -> None:
    pytest.importorskip("faster_whisper", reason="the asr extra is not installed")
    try:
        asr.find_asset("whisper-tiny.en")
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sample(recogniser: None) -> np.ndarray:
    return Source(EXAMPLES / "sample.mp4").audio(RATE_HZ)


def _segment(text: str, no_speech: float = 0.1, logprob: float = -0.3, compression: float = 1.5) -> SimpleNamespace:
    return SimpleNamespace(text=text, no_speech_prob=no_speech, avg_logprob=logprob, compression_ratio=compression)


def _words(text: str) -> list[str]:
    return "".join(sign for sign in text.lower() if sign.isalpha() or sign in " '").split()


def _num_edits(reference: list[str], heard: list[str]) -> int:
    rows = np.zeros((len(reference) + 1, len(heard) + 1), int)
    rows[:, 0], rows[0] = np.arange(len(reference) + 1), np.arange(len(heard) + 1)
    for i, word in enumerate(reference, 1):
        for j, other in enumerate(heard, 1):
            rows[i, j] = min(rows[i - 1, j] + 1, rows[i, j - 1] + 1, rows[i - 1, j - 1] + (word != other))
    return int(rows[-1, -1])


def test_sample_is_understood(sample: np.ndarray) -> None:
    text, reason = recognise(sample)
    spoken = _words((EXAMPLES / "sample_spoken.txt").read_text())
    assert reason is None
    assert _num_edits(spoken, _words(text)) <= 0.1 * len(spoken)
    assert text == " ".join(text.split())


def _count_semaphores(pipe: Connection) -> None:
    import faster_whisper
    from faster_whisper.transcribe import tqdm

    made: list[object] = []
    make = synchronize.SemLock.__init__
    synchronize.SemLock.__init__ = lambda self, *rest, **named: (made.append(self), make(self, *rest, **named))[1]
    faster_whisper.WhisperModel = lambda *arguments, **named: None
    asr._load_once(Path(), 1)
    tqdm(total=1, disable=True)  # as faster-whisper does for every clip
    pipe.send(len(made))


def test_a_worker_makes_no_semaphore_that_its_end_would_leave_behind() -> None:
    pytest.importorskip("faster_whisper", reason="the asr extra is not installed")
    child = Child(_count_semaphores)
    try:
        assert child.pipe.recv() == 0
    finally:
        child.end()


def test_same_words_each_time_and_with_any_number_of_threads(sample: np.ndarray) -> None:
    first = recognise(sample[: 6 * RATE_HZ])
    assert first == recognise(sample[: 6 * RATE_HZ])
    assert first == recognise(sample[: 6 * RATE_HZ], cpu_threads=1)


def test_real_clips_are_mostly_understood(recogniser: None, real_data: Path, real_clips: list[Path]) -> None:
    transcripts = load_transcripts(real_data / "transcription_training.pkl")
    num_edits = num_words = 0
    for path in real_clips[:3]:
        text, _ = recognise(Source(path).audio(RATE_HZ))
        reference = _words(transcripts[path.name])
        num_edits += _num_edits(reference, _words(text))
        num_words += len(reference)
    assert num_edits / num_words < 0.25


@pytest.mark.parametrize("kind", ["empty", "silence", "noise", "tone", "chords"])
def test_nothing_is_heard_where_nobody_speaks(recogniser: None, kind: str) -> None:
    seconds = np.arange(10 * RATE_HZ) / RATE_HZ
    samples = {
        "empty": np.zeros(0),
        "silence": np.zeros(10 * RATE_HZ),
        "noise": np.random.default_rng(0).normal(size=10 * RATE_HZ) * 0.1,
        "tone": 0.3 * np.sin(2 * np.pi * 440 * seconds),
        "chords": sum(0.1 * np.sin(2 * np.pi * pitch * seconds) for pitch in (220, 277, 330))
        * (1 + np.sign(np.sin(2 * np.pi * 2 * seconds))),
    }[kind]
    assert recognise(samples.astype(np.float32)) == (None, "no transcript, and no speech was heard")


def test_speech_is_told_from_its_pauses(sample: np.ndarray) -> None:
    silence = np.zeros(10 * RATE_HZ, np.float32)
    alone = speech_seconds(sample)
    assert 10 < alone < 15
    assert speech_seconds(np.concatenate([silence, sample, silence])) == pytest.approx(alone, abs=0.5)


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ([_segment(" Hello there,"), _segment("  my  friends. ")], "Hello there, my friends."),
        ([_segment(" One two three.", no_speech=0.7)], ""),
        ([_segment(" One two three.", logprob=-1.1)], ""),
        ([_segment(" Go to the park, go to the park.", compression=3.0)], ""),
        ([_segment(" Thank you.")], ""),
        ([_segment(" One two three."), _segment(" you", no_speech=0.9)], "One two three."),
        ([], ""),
    ],
)
def test_what_is_believed(segments: list[SimpleNamespace], text: str) -> None:
    assert asr._believed(segments) == text


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    text, reason = recognise(np.zeros(RATE_HZ, np.float32))
    assert text is None
    assert "pip install 'thinslice[asr]'" in reason


def test_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper", reason="the asr extra is not installed")

    def absent(name: str) -> Path:
        raise AssetError(f"{name} is not on this machine; run: thinslice assets get {name}")

    monkeypatch.setattr(asr, "find_asset", absent)
    text, reason = recognise(np.zeros(RATE_HZ, np.float32))
    assert text is None
    assert "thinslice assets get whisper-tiny.en" in reason
    assert "\n" not in reason


def test_a_folder_that_is_no_model(sample: np.ndarray, tmp_path: Path) -> None:
    text, reason = recognise(sample, tmp_path)
    assert text is None
    assert str(tmp_path) in reason
    assert "\n" not in reason


def test_the_model_is_loaded_once(sample: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    recognise(sample[: 3 * RATE_HZ])
    before = asr._load_once.cache_info().misses
    recognise(sample[: 3 * RATE_HZ])
    assert asr._load_once.cache_info().misses == before


def test_torch_stays_out(recogniser: None) -> None:
    code = (
        "import sys, numpy as np; from thinslice.features.asr import recognise;"
        "recognise(np.random.default_rng(0).normal(size=16000).astype('float32'));"
        "assert 'faster_whisper' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
