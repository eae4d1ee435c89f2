"""The voice profile: 26 means over the first seconds of a voice, as in `voice_profile_train.csv`, on NumPy alone.

The file was made, as measuring showed (docs/media.md), by a librosa older than 0.10: 16-bit samples, resampled by
resampy's "kaiser_best", mirrored around the ends. Source of every formula: librosa 0.11, the function named beside
it, with default arguments except `pad_mode="reflect"`. librosa itself would bring numba, LLVM and seconds of
imports to every prediction.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np

from thinslice.errors import MediaError
from thinslice.features.extractor import Extractor
from thinslice.features.kaiser import resample_kaiser
from thinslice.media.mixing import is_silent
from thinslice.media.source import MIN_DURATION_S, Source

VOICE_PROFILE_COLUMNS: Final = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    *(f"mfcc{number}" for number in range(1, 21)),
)
"""Names of the 26 values, in the order of `voice_profile_train.csv`."""

RATE_HZ: Final = 22050
"""Sampling rate of the samples that a profile is computed from."""

HEARD_S: Final = 7.0
"""How much of a clip's sound the training profiles were computed from, seconds from its start."""

_WINDOW = 2048
_HOP = 512
_BINS_HZ = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
_TINY = float(np.finfo(np.float32).tiny)


def extract_voice_profile(source: Source, duration_s: float = HEARD_S) -> np.ndarray:
    """Compute the voice profile of the first seconds of a source's sound.

    A sound track that starts later than the pictures is measured from where it starts.

    Args:
        source: the window of a media file.
        duration_s: how much of it to listen to, seconds; no more is decoded. The models were trained on 7.

    Returns:
        float64 array (26,), in the order of `VOICE_PROFILE_COLUMNS`.

    Raises:
        MediaError: the file cannot be read, has no sound or less than 1 s of it, or holds digital silence.
    """
    return source.once(("voice_profile", duration_s), lambda: _profile_of(source, duration_s))


def _profile_of(source: Source, duration_s: float) -> np.ndarray:
    lead_s, rate = source.audio_lead_s, source.audio_rate_hz
    samples = source.audio(None, lead_s + duration_s)[round(lead_s * rate) :]
    if len(samples) < MIN_DURATION_S * rate:
        raise MediaError(
            f"{source.path}: only {len(samples) / rate:.2f} s of sound; at least {MIN_DURATION_S:g} s are needed"
        )
    if is_silent(samples):
        raise MediaError(
            f"{source.path}: its sound is digital silence for the first {duration_s:g} s; "
            "give a clip with a voice, or start later"
        )
    if rate < RATE_HZ:
        source.warn(
            f"is sampled at {rate} Hz only, so that it lacks what lies above {rate / 2000:g} kHz; "
            "what is heard in the voice is less certain"
        )
    return voice_profile(resample_kaiser(samples, rate, RATE_HZ))


VOICE_PROFILE_EXTRACTOR = Extractor(name="voice_profile", version=2, serves=(1,), extract=extract_voice_profile)


def voice_profile(samples: np.ndarray) -> np.ndarray:
    """Compute the 26 means of a voice profile.

    Args:
        samples: float32 mono samples (n,) at 22,050 Hz, n at least 1, full scale at 1.

    Returns:
        float64 array (26,) in the order of `VOICE_PROFILE_COLUMNS`: means over frames of 2,048 samples every 512.
        chroma_stft, rms and zero_crossing_rate lie in [0, 1]; the spectral columns are in Hz; mfcc1 to mfcc20
        are cosine coefficients of mel bands in decibels.

    Raises:
        ValueError: no samples, or samples that are not finite.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples must have shape (n,) with n > 0, not {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite")
    magnitude = _magnitudes(samples)
    power = magnitude * magnitude
    return np.concatenate(
        (
            [_chroma(power), _loudness(samples), *_shape(magnitude), _zero_crossing_rate(samples)],
            _mfcc(power),
        )
    )


def _magnitudes(samples: np.ndarray) -> np.ndarray:
    """Short-time spectrum, (frames, 1025): `librosa.stft`, periodic Hann window, mirrored ends."""
    padded = np.pad(samples, _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.abs(np.fft.rfft(frames * _hann())).astype(np.float32, copy=False)


def _loudness(samples: np.ndarray) -> float:
    """`librosa.feature.rms`."""
    padded = np.pad(samples.astype(np.float64) ** 2, _WINDOW // 2, mode="reflect")
    return float(np.sqrt(_windowed_sums(padded, _WINDOW) / _WINDOW).mean())


def _zero_crossing_rate(samples: np.ndarray) -> float:
    """`librosa.feature.zero_crossing_rate`: the ends are repeated outwards, a frame's first sample never counts."""
    negative = np.pad(samples, _WINDOW // 2, mode="edge") < -1e-10
    crossings = (negative[1:] != negative[:-1]).astype(np.float64)
    return float(_windowed_sums(crossings, _WINDOW - 1).mean()) / _WINDOW


def _windowed_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Sum of `length` values from every 512th on."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    return np.maximum(total[length::_HOP] - total[: len(total) - length : _HOP], 0.0)


def _shape(magnitude: np.ndarray) -> tuple[float, float, float]:
    """`librosa.feature.spectral_centroid`, `spectral_bandwidth` and `spectral_rolloff` (85%), in Hz."""
    # float64, since the variance of a narrow spectrum is a small difference of large moments.
    moments = magnitude.astype(np.float64) @ np.stack((np.ones_like(_BINS_HZ), _BINS_HZ, _BINS_HZ**2), axis=1)
    total = np.where(moments[:, 0] < _TINY, 1.0, moments[:, 0])
    centroid = moments[:, 1] / total
    bandwidth = np.sqrt(np.maximum(moments[:, 2] / total - centroid**2, 0.0))
    running = np.cumsum(magnitude, axis=1)
    rolloff = _BINS_HZ[(running < np.float32(0.85) * running[:, -1:]).sum(axis=1)]
    return float(centroid.mean()), float(bandwidth.mean()), float(rolloff.mean())


def _mfcc(power: np.ndarray) -> np.ndarray:
    """`librosa.feature.mfcc`: 128 Slaney mel bands, 80 dB of range, orthonormal DCT-II, averaged over frames."""
    bands = power @ _mel_filters()
    decibels = 10.0 * np.log10(np.maximum(bands, np.float32(1e-10)))
    decibels = np.maximum(decibels, decibels.max() - 80.0)
    # The transform is linear: of the mean over frames it gives the mean of the coefficients.
    return decibels.mean(axis=0, dtype=np.float64) @ _cosines()


def _chroma(power: np.ndarray) -> float:
    """`librosa.feature.chroma_stft`: every frame divided by its largest pitch class, then averaged over all."""
    classes = power @ _chroma_filters(_tuning(power))
    peak = classes.max(axis=1, keepdims=True)
    return float((classes / np.where(peak < _TINY, 1.0, peak)).mean(dtype=np.float64))


def _tuning(power: np.ndarray) -> float:
    """`librosa.estimate_tuning`: the commonest deviation of spectral peaks from the nearest semitone, in semitones.

    Peaks are local maxima in frequency above a tenth of the frame's largest value, from 150 to 4,000 Hz, refined
    by a parabola (`librosa.piptrack`); the louder half of them counts.
    """
    low = int(np.searchsorted(_BINS_HZ, 150.0))
    high = int(np.searchsorted(_BINS_HZ, 4000.0))
    threshold = np.float32(0.1) * power.max(axis=1, keepdims=True)
    loud = np.where(power[:, low - 1 : high + 1] > threshold, power[:, low - 1 : high + 1], np.float32(0.0))
    frame, offset = np.nonzero((loud[:, 1:-1] > loud[:, :-2]) & (loud[:, 1:-1] >= loud[:, 2:]))
    if not len(frame):
        return 0.0
    peak = offset + low
    left, middle, right = (power[frame, peak + step].astype(np.float64) for step in (-1, 0, 1))
    slope, curve = (right - left) / 2, left + right - 2 * middle
    bent = np.abs(slope) < np.abs(curve)
    shift = np.where(bent, -slope / np.where(bent, curve, 1.0), 0.0)
    height = middle + 0.5 * slope * shift
    pitch = (peak + shift)[height >= np.median(height)] * (RATE_HZ / _WINDOW)
    residual = np.mod(12 * np.log2(pitch / (440.0 / 16)), 1.0)
    residual[residual >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, 101)
    return float(edges[np.argmax(np.histogram(residual, edges)[0])])


@lru_cache(maxsize=1)
def _hann() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """(128, 20): the first 20 rows of the orthonormal DCT-II, transposed."""
    matrix = np.cos(np.pi / 128 * np.outer(np.arange(128) + 0.5, np.arange(20))) * math.sqrt(2 / 128)
    matrix[:, 0] /= math.sqrt(2)
    return matrix


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """(1025, 128) triangles of equal area on Slaney's mel scale: `librosa.filters.mel`."""
    # Linear up to 1,000 Hz (15 mel), then logarithmic with 27 mel for a factor of 6.4.
    mel = np.linspace(0.0, 15.0 + 27.0 * math.log(RATE_HZ / 2 / 1000.0) / math.log(6.4), 130)
    edges_hz = np.where(mel < 15.0, mel * (200.0 / 3), 1000.0 * np.exp(math.log(6.4) / 27.0 * (mel - 15.0)))
    widths = np.diff(edges_hz)
    rising = (_BINS_HZ[:, None] - edges_hz[:-2]) / widths[:-1]
    falling = (edges_hz[2:] - _BINS_HZ[:, None]) / widths[1:]
    areas = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * areas).astype(np.float32)


@lru_cache(maxsize=128)
def _chroma_filters(tuning: float) -> np.ndarray:
    """(1025, 12) Gaussian bumps around the pitch classes: `librosa.filters.chroma`, in Ellis's construction."""
    bins_hz = np.arange(1, _WINDOW) * (RATE_HZ / _WINDOW)
    semitones = 12 * np.log2(bins_hz / (440.0 * 2.0 ** (tuning / 12) / 16))
    semitones = np.concatenate(([semitones[0] - 18.0], semitones))  # 0 Hz: 1.5 octaves below the first bin.
    widths = np.concatenate((np.maximum(np.diff(semitones), 1.0), [1.0]))
    distance = np.remainder(semitones[:, None] - np.arange(12) + 126.0, 12.0) - 6.0
    weights = np.exp(-0.5 * (2 * distance / widths[:, None]) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * ((semitones[:, None] / 12 - 5.0) / 2.0) ** 2)  # Around the fifth octave.
    return np.roll(weights, -3, axis=1)[: _WINDOW // 2 + 1].astype(np.float32)
