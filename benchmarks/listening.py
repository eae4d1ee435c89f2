"""What silence, noise and music before the speech do to scores, and what ignoring the level would cost.

    python benchmarks/listening.py DATA            # voice-words on the real clips with something put before them
    python benchmarks/listening.py DATA --distances    # how unlike the training voices good and bad sound is
    python benchmarks/listening.py DATA --quiet    # what a low level alone does, and who would be warned of it
    python benchmarks/listening.py DATA --short    # what little sound does
    python benchmarks/listening.py DATA --hum      # what a hum of the mains does, and how much of it is reported
    python benchmarks/listening.py DATA --level    # cross-validation, with and without the level (half an hour)

DATA is the folder of First Impressions V2, with clips/. The tables are in docs/media.md.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from thinslice.bundle import PACKAGED
from thinslice.face_voice_words.model import load_face_voice_words
from thinslice.features.kaiser import resample_kaiser
from thinslice.features.mains_hum import mains_hum
from thinslice.features.typical_voices import change_level, distances
from thinslice.features.voice import HEARD_S, VOICE_PROFILE_COLUMNS, voice_profile
from thinslice.infer.listening import HUM_DB, QUIET_DB
from thinslice.infer.predictor import Predictor
from thinslice.media.audio import resample
from thinslice.media.source import Source
from thinslice.traits import TARGETS, TRAITS
from thinslice.voice_words.model import load_voice_words
from thinslice.voice_words.trainer import (
    TrainingData,
    VoiceWordsSettings,
    cross_predict,
    grouped_folds,
    load_training_data,
)
from thinslice.voice_words.training_card import summary

RATE_HZ = 22050
MODES = ("face+voice+words", "voice+words", "voice")


def chords(seconds: float) -> np.ndarray:
    """Three notes at a time with overtones, another chord every second, dying away."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    root = np.resize([220.0, 174.6, 261.6, 196.0], len(time_s) // RATE_HZ + 1)[(time_s // 1).astype(int)]
    notes = sum(np.sin(2 * np.pi * root * f * h * time_s) / h for f in (1, 1.26, 1.5) for h in (1, 2, 3))
    return np.asarray(0.08 * notes * np.exp(-(time_s % 1)))


def room(seconds: float) -> np.ndarray:
    """White noise at -60 dB, as a quiet room has."""
    return np.random.default_rng(0).normal(0, 1e-3, round(seconds * RATE_HZ))


def silence(seconds: float) -> np.ndarray:
    """Digital silence."""
    return np.zeros(round(seconds * RATE_HZ))


def compare_beginnings(data_dir: Path) -> None:
    """Print how far scores from the voice move, and their error against the labels, skipping or not."""
    data = load_training_data(data_dir)
    row = {clip: index for index, clip in enumerate(data.clips)}
    predictor = Predictor("voice-words")
    sounds = {clip: Source(clip).audio(RATE_HZ) for clip in sorted((data_dir / "clips").glob("*.mp4"))}
    labels = np.array([data.labels[row[clip.name], : len(TRAITS)] for clip in sounds])

    def scores(before: np.ndarray, end_s: float | None) -> tuple[np.ndarray, float]:
        found, reported = [], 0
        with tempfile.TemporaryDirectory() as folder:
            for samples in sounds.values():
                path = Path(folder) / "a.wav"
                joined = np.concatenate([before, samples]).clip(-1, 1)
                wavfile.write(path, RATE_HZ, np.round(joined * 32767).astype(np.int16))
                prediction = predictor.predict(path, transcript="", explain=False, end_s=end_s)
                found.append([prediction.traits[trait].score for trait in TRAITS])
                reported += any("unlike" in line or "no speech" in line for line in prediction.warnings)
        return np.array(found), reported / len(sounds)

    plain, _ = scores(np.zeros(0), None)
    print(f"as they are: mean absolute error {np.abs(plain - labels).mean():.4f}")
    print("| before the speech | kept: mean move | largest | error | skipped: mean move | largest | error | reported |")
    print("|---|---|---|---|---|---|---|---|")
    for make, lengths in ((silence, (1.5, 3.5, 6.5)), (room, (2.0, 3.5, 6.5)), (chords, (3.5, 6.5))):
        for seconds in lengths:
            print(f"| {seconds:g} s of {make.__name__} |{_columns(scores, make(seconds), plain, labels)}", flush=True)


def _columns(
    scores: Callable[[np.ndarray, float | None], tuple[np.ndarray, float]],
    before: np.ndarray,
    plain: np.ndarray,
    labels: np.ndarray,
) -> str:
    cells = []
    reported = 0.0
    for end_s in (60.0, None):  # An end that was asked for keeps the beginning.
        found, reported = scores(before, end_s)
        moved = np.abs(found - plain)
        cells += [f"{moved.mean():.3f}", f"{moved.max():.2f}", f"{np.abs(found - labels).mean():.4f}"]
    return " " + " | ".join([*cells, f"{reported:.0%}"]) + " |"


def compare_distances(data_dir: Path) -> None:
    """Print how unlike the training voices the first 7 s are, by either measure, of real clips and of worse sound."""
    sounds = [Source(clip).audio(RATE_HZ)[: 7 * RATE_HZ] for clip in sorted((data_dir / "clips").glob("*.mp4"))]
    time_s = np.arange(7 * RATE_HZ) / RATE_HZ
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "real clips": lambda samples: samples,
        "45 dB too quiet": lambda samples: np.round(samples * 10 ** (-45 / 20) * 32768) / 32768,
        "20 dB too loud": lambda samples: np.clip(samples * 10, -1, 1),
        "3.5 s of silence": lambda samples: np.concatenate([silence(3.5), samples])[: 7 * RATE_HZ],
        "3.5 s of chords": lambda samples: np.concatenate([chords(3.5), samples])[: 7 * RATE_HZ],
        "telephone": lambda samples: resample(resample(samples, RATE_HZ, 8000), 8000, RATE_HZ),
        "chords": lambda _: chords(7.0),
        "noise": lambda _: 100 * room(7.0),
        "hum, 5 Hz": lambda _: 0.3 * np.sin(2 * np.pi * 5 * time_s),
        "hum, 50 Hz": lambda _: 0.3 * np.sin(2 * np.pi * 50 * time_s),
    }
    print("| first 7 s | as they are | logarithms |\n|---|---|---|")
    for name, change in changes.items():
        profiles = np.array([voice_profile(change(samples).astype(np.float32)) for samples in sounds])
        cells = [f"{np.median(row):.2f} ({row.min():.2f}-{row.max():.2f})" for row in distances(profiles)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def compare_quiet(data_dir: Path) -> None:
    """Print how far scores from the voice move when the level does, and which level would warn of whom."""
    voice = load_training_data(data_dir).voice
    voice = voice[np.isfinite(voice).all(axis=1)]
    for bundle, load in (("voice-words", load_voice_words), ("face-voice-words", load_face_voice_words)):
        model = load(PACKAGED / bundle, TARGETS)
        for mode, function in model.voice.items():
            own = function.predict(voice)[:, : len(TRAITS)]
            for gain_db in (-20, -12, -10, -7, 12):
                moved = np.abs(function.predict(change_level(voice, gain_db))[:, : len(TRAITS)] - own).max(axis=1)
                print(f"{bundle} {mode} {gain_db:+d} dB: {moved.mean():.3f}, 95%: {np.quantile(moved, 0.95):.3f}")
    level_db = 20 * np.log10(np.maximum(voice[:, VOICE_PROFILE_COLUMNS.index("rms")], 1e-6))
    print("| reported below the median by | training clips | 12 dB too quiet | 20 dB too quiet |\n|---|---|---|---|")
    for below_db in (20, 14, 10, QUIET_DB):
        cells = [f"{np.mean(level_db - lost < np.median(level_db) - below_db):.0%}" for lost in (0, 12, 20)]
        print(f"| {below_db:g} dB | {' | '.join(cells)} |")


def compare_short(data_dir: Path) -> None:
    """Print how far scores move when the voice is judged by less than its first 7 s."""
    sounds = [resample_kaiser(Source(clip).audio(None, HEARD_S), 44100, RATE_HZ) for clip in real_clips(data_dir)]
    whole = np.array([voice_profile(samples) for samples in sounds])
    print(f"| sound | {' | '.join(MODES)} |\n|---|---|---|---|")
    for seconds in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0):
        part = np.array([voice_profile(samples[: round(seconds * RATE_HZ)]) for samples in sounds])
        print(f"| {seconds:g} s | {' | '.join(_moves(part, whole))} |", flush=True)


def mains(hz: float, samples: np.ndarray, below_db: float, multiples: tuple[int, ...]) -> np.ndarray:
    """Return a sound with a hum added, so many dB below it, whose multiples fall off with their number."""
    time_s = np.arange(len(samples)) / RATE_HZ
    hum = np.sum([np.sin(2 * np.pi * hz * k * time_s + k) / k for k in multiples], axis=0)
    gain = np.sqrt(np.mean(samples**2) / np.mean(hum**2)) * 10 ** (-below_db / 20)
    return np.asarray(samples + gain * hum, np.float32)


def compare_hum(data_dir: Path) -> None:
    """Print how far a hum moves scores, how many clips are reported with it, and that none is without."""
    clips = [resample_kaiser(Source(clip).audio(), 44100, RATE_HZ) for clip in real_clips(data_dir)]
    for seconds in (6.5, 7.0):
        starts = np.arange(0, 15 - seconds, 1.0)
        parts = [samples[round(s * RATE_HZ) : round((s + seconds) * RATE_HZ)] for samples in clips for s in starts]
        levels = np.array([mains_hum(part, RATE_HZ)[1] for part in parts])
        print(
            f"as they are, {len(parts)} windows of {seconds:g} s: {np.sum(levels > HUM_DB)} reported, "
            f"loudest {levels.max():.1f} dB"
        )
    sounds = [samples[: round(HEARD_S * RATE_HZ)] for samples in clips]
    whole = np.array([voice_profile(samples) for samples in sounds])
    kinds = {"all multiples": (1, 2, 3, 4, 5, 7), "even ones": (2, 4, 6)}
    for hz in (50, 60, 49.85):
        for below_db in (30, 20, 15, 10, 6):
            cells = []
            for multiples in kinds.values():
                hummed = [mains(hz, samples, below_db, multiples) for samples in sounds]
                cells.append(f"{sum(mains_hum(samples, RATE_HZ)[1] > HUM_DB for samples in hummed)} of {len(sounds)}")
                if multiples[0] == 1:
                    cells += _moves(np.array([voice_profile(samples) for samples in hummed]), whole)
            print(f"| {hz:g} Hz, {below_db} dB below | {' | '.join(cells)} |", flush=True)


def real_clips(data_dir: Path) -> list[Path]:
    """Return the real clips, whose sound has 44,100 Hz."""
    return sorted((data_dir / "clips").glob("*.mp4"))


def _moves(profiles: np.ndarray, others: np.ndarray) -> list[str]:
    """Return for each of `MODES` how far the score that moves most moves, mean and 95% point over the clips."""
    function = load_face_voice_words(PACKAGED / "face-voice-words", TARGETS).voice
    cells = []
    for mode in MODES:
        moved = np.abs(function[mode].predict(profiles) - function[mode].predict(others))[:, : len(TRAITS)].max(axis=1)
        cells.append(f"{moved.mean():.3f} ({np.quantile(moved, 0.95):.3f})")
    return cells


def without_level(data: TrainingData) -> TrainingData:
    """Return the profiles of the same recordings brought to one level, which moves rms and the first MFCC."""
    rms = VOICE_PROFILE_COLUMNS.index("rms")
    voice = change_level(data.voice, -20 * np.log10(np.maximum(data.voice[:, rms], 1e-6) / 0.06))
    voice[:, rms] = 0.06 * np.exp(1e-6 * np.random.default_rng(0).normal(size=len(voice)))
    return replace(data, voice=voice)


def compare_levels(data_dir: Path) -> None:
    """Print accuracy and R2 on unseen speakers, with the level as it is and without it."""
    data = load_training_data(data_dir)
    for name, given in (("as recorded", data), ("one level", without_level(data))):
        found = cross_predict(given, grouped_folds(given.speakers, 5, 0), VoiceWordsSettings(), 0)
        for mode, scores in found.items():
            figures = summary(data.labels, scores)
            print(
                f"{name:12s} {mode:12s} {figures['accuracy']['average']:.4f} {figures['r2']['average']:.4f}", flush=True
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    comparisons = {
        "distances": compare_distances,
        "quiet": compare_quiet,
        "short": compare_short,
        "hum": compare_hum,
        "level": compare_levels,
    }
    for name in comparisons:
        parser.add_argument(f"--{name}", dest="compare", action="store_const", const=comparisons[name])
    parser.set_defaults(compare=compare_beginnings)
    given = parser.parse_args()
    given.compare(given.data)
