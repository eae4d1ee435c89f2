"""A speech-like voice: pulses through formants, in syllables with pauses. Pitch and loudness are the planted cue.

Source and filter after Klatt (1980), "Software for a cascade/parallel formant synthesizer", in its simplest form. The
syllables are chance: nothing that is written in the transcript can be heard.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.signal import lfilter

RATE_HZ: Final = 22_050
"""Sampling rate of the synthesis."""

PITCH_HZ: Final = 165.0
"""Pitch of a voice whose cue is 0."""

OCTAVES_PER_UNIT: Final = -0.28
DECIBELS_PER_UNIT: Final = 2.5
LEVEL_DB: Final = -26.0
"""Root mean square of a voice whose cue is 0, relative to full scale."""

GAIN_SD_DB: Final = 1.5
"""By how much the microphone changes the level: loudness tells less than pitch."""

_VOWELS_HZ: Final = np.array(
    [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410], [490, 1350, 1690]],
    float,
)
"""First three formants of six vowels (Peterson & Barney 1952, men)."""


@dataclass(frozen=True)
class Timbre:
    """What a speaker's voice is like, apart from pitch and loudness.

    Attributes:
        tract: factor on all formants.
        breath: share of noise in the voice.
        tempo: syllables per second.
    """

    tract: float
    breath: float
    tempo: float


@dataclass(frozen=True)
class Voice:
    """A synthesised stretch of speech.

    Attributes:
        samples: float32 (n,) at `RATE_HZ`, in [-1, 1].
        opening: float32 (n,), how far the mouth is open, in [0, 1].
    """

    samples: np.ndarray
    opening: np.ndarray


def draw_timbre(rng: np.random.Generator) -> Timbre:
    """Return a timbre drawn at random."""
    return Timbre(float(np.exp(rng.normal(0.05, 0.09))), float(rng.uniform(0.01, 0.08)), float(rng.uniform(3.5, 5.5)))


def speak(cue: float, timbre: Timbre, duration_s: float, rng: np.random.Generator) -> Voice:
    """Return speech-like sound.

    Args:
        cue: standard units; a positive one is deep and loud.
        timbre: the speaker's.
        duration_s: length, seconds.
        rng: of syllables, melody, noise and the microphone's gain.
    """
    num = round(duration_s * RATE_HZ)
    opening = np.zeros(num, np.float32)
    melody = _smooth_noise(num, 2.5, rng) * 0.1
    syllables = []
    start = int(rng.uniform(0.05, 0.15) * RATE_HZ)
    while start < num:
        length = int(RATE_HZ / timbre.tempo * rng.uniform(0.75, 1.3))
        stop = min(start + length, num)
        syllables.append((start, stop, int(rng.integers(len(_VOWELS_HZ))), rng.random() < 0.6))
        ramp = np.sin(np.pi * np.linspace(0, 1, length)) ** 0.7
        opening[start:stop] = (rng.uniform(0.6, 1.0) * ramp)[: stop - start]
        pause = rng.uniform(0.15, 0.45) if rng.random() < 0.1 else rng.uniform(0, 0.02)
        start = stop + int(pause * RATE_HZ)
    melody -= np.average(melody, weights=opening + 1e-6)  # The mean pitch is the cue's, whatever the melody.
    pitch = PITCH_HZ * 2 ** (OCTAVES_PER_UNIT * cue + melody)
    phase = np.cumsum(pitch / RATE_HZ) % 1.0
    # Rosenberg's pulse: the throat opens for 60% of a cycle, slowly, and closes fast.
    flow = np.where(phase < 0.6, (phase / 0.6) ** 2 * (3 - 2 * phase / 0.6) - (phase / 0.6) ** 3, 0.0)
    source = np.diff(flow, prepend=0.0) + timbre.breath * 0.1 * rng.normal(size=num)
    voice = np.zeros(num)
    for begin, end, vowel, has_onset in syllables:
        piece = source[begin:end]
        for formant, width in zip(_VOWELS_HZ[vowel] * timbre.tract, (80, 110, 160), strict=True):
            piece = lfilter(*_resonance(min(formant, 0.45 * RATE_HZ), width), piece)
        voice[begin:end] = piece / (np.abs(piece).max() + 1e-9) * opening[begin:end]
        if has_onset:
            burst = min(int(rng.uniform(0.03, 0.07) * RATE_HZ), end - begin)
            hiss = np.diff(rng.normal(size=burst + 1)) * np.hanning(burst) * 0.08
            voice[begin : begin + burst] += hiss
    level_db = LEVEL_DB + DECIBELS_PER_UNIT * cue + rng.normal(0, GAIN_SD_DB)
    voice *= 10 ** (level_db / 20) / (np.sqrt(np.mean(voice**2)) + 1e-9)
    voice += 10 ** (rng.uniform(-66, -54) / 20) * rng.normal(size=num)
    return Voice(np.tanh(voice).astype(np.float32), opening)


def _resonance(frequency_hz: float, bandwidth_hz: float) -> tuple[list[float], list[float]]:
    radius = float(np.exp(-np.pi * bandwidth_hz / RATE_HZ))
    second = -2 * radius * float(np.cos(2 * np.pi * frequency_hz / RATE_HZ))
    return [1 + second + radius**2], [1.0, second, radius**2]


def _smooth_noise(num: int, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return (num,) smooth random values of unit variance that change about `rate_hz` times a second."""
    knots = rng.normal(size=int(num / RATE_HZ * rate_hz) + 3)
    return np.interp(np.arange(num) * rate_hz / RATE_HZ, np.arange(len(knots)), knots)
