"""pyAudioAnalysis's 34 short-term features, vectorised, and their mean and deviation over six parts of a clip.

Source: Giannakopoulos, "pyAudioAnalysis: An Open-Source Python Library for Audio Signal Analysis", PLoS ONE
10(12), 2015, table 2; the library's ``ShortTermFeatures.feature_extraction`` and
``MidTermFeatures.mid_feature_extraction``, whose values, quirks included, are met to 1e-6 (0.3.14). The library
itself is not a dependency: it brings scikit-learn, hmmlearn, imbalanced-learn, eyed3, pydub and plotly along,
and takes four times as long.

How the bimodal networks use it: Subramaniam et al. 2016, section 3.1, and ``data/preprocessing_audiofeats.py`` of
the authors' repository: 44.1 kHz, 50 ms windows without overlap, parts of duration/5.5.
"""

import itertools
from functools import lru_cache
from typing import Final

import numpy as np

from thinslice.errors import MediaError, UsageError
from thinslice.features.extractor import Extractor
from thinslice.media.mixing import is_silent
from thinslice.media.source import Source

SHORT_TERM_FEATURES: Final = (
    "zero_crossing_rate",
    "energy",
    "energy_entropy",
    "spectral_centroid",
    "spectral_spread",
    "spectral_entropy",
    "spectral_flux",
    "spectral_rolloff",
    *(f"mfcc_{number}" for number in range(1, 14)),
    *(f"chroma_{number}" for number in range(1, 13)),
    "chroma_deviation",
)
"""Names of the 34 features, in the library's order."""

EPSILON: Final = float(np.finfo(np.float64).eps)
"""What the library adds before it divides or takes a logarithm."""

LOWEST_RATE_HZ: Final = 8000
SHORTEST_WINDOW_S: Final = 0.04
"""Below these the library's filters or semitones fall outside the spectrum."""

_NUM_BLOCKS = 10
_ROLLOFF = 0.90
_NUM_MFCC = 13


def extract_short_term_audio(
    source: Source,
    rate_hz: int = 44100,
    window_s: float = 0.05,
    num_parts: int = 6,
    epsilon: float = EPSILON,
) -> np.ndarray:
    """Return mean and standard deviation of the short-term features in each part of a clip.

    Args:
        source: the clip; its channels are averaged.
        rate_hz: sampling rate, Hz.
        window_s: length of a short-term window, seconds; windows do not overlap.
        num_parts: number of parts. They are as long as the clip divided by num_parts - 0.5, so the last is half
            as long, as the authors' windows of duration/5.5 make it.
        epsilon: added before divisions and logarithms, which makes it the floor of the MFCCs of digital silence.
            The library of 2016, with which the bimodal networks were trained, had 1e-8.

    Returns:
        float32 (num_parts, 68): 34 means, then 34 standard deviations, in the order of `SHORT_TERM_FEATURES`.

    Raises:
        MediaError: the clip has no sound, only digital silence, or too little of it.
    """
    samples = source.audio(rate_hz)
    if is_silent(samples):
        raise MediaError(f"{source.path}: its sound is digital silence; a prediction from sound needs speech")
    features = short_term_features(samples, rate_hz, window_s, epsilon)
    if features.shape[1] < num_parts:
        raise MediaError(
            f"{source.path}: {len(samples) / rate_hz:.2f} s of sound, less than the {num_parts * window_s:g} s needed"
        )
    return part_statistics(features, len(samples), round(rate_hz * window_s), num_parts).astype(np.float32)


SHORT_TERM_AUDIO_EXTRACTOR = Extractor(
    name="short_term_audio", version=2, serves=(1,), extract=extract_short_term_audio, extra="video"
)


def part_statistics(features: np.ndarray, num_samples: int, window: int, num_parts: int = 6) -> np.ndarray:
    """Return means and standard deviations (num_parts, 2 * F) of features (F, windows) in consecutive parts.

    The library rounds a part to whole windows, so a clip shorter than about 2 s would make another number of
    parts. Deviations: such a clip is cut into exactly `num_parts` at the nearest windows instead.

    Args:
        features: float64 (F, windows).
        num_samples: length of the clip, samples.
        window: length of a window, samples.
        num_parts: number of parts; at most the number of windows.
    """
    count = features.shape[1]
    length = round(round(num_samples / (num_parts - 0.5)) / window)
    bounds = [*range(0, count, max(1, length)), count]
    if len(bounds) != num_parts + 1:
        bounds = [round(index * count / (num_parts - 0.5)) for index in range(num_parts)] + [count]
    parts = [features[:, low:high] for low, high in itertools.pairwise(bounds)]
    return np.stack([np.concatenate([part.mean(1), part.std(1)]) for part in parts])


def short_term_features(samples: np.ndarray, rate_hz: int, window_s: float, epsilon: float = EPSILON) -> np.ndarray:
    """Return the 34 features of consecutive windows.

    Args:
        samples: mono signal (n,), any scale: its mean is removed and its largest value made 1.
        rate_hz: sampling rate, Hz.
        window_s: window length, seconds.
        epsilon: added before divisions and logarithms.

    Returns:
        float64 (34, n // window).

    Raises:
        UsageError: the rate is too low for the filters, or the window too short for the semitones.
    """
    from scipy.fft import dct, rfft

    window = round(rate_hz * window_s)
    if rate_hz < LOWEST_RATE_HZ or window_s < SHORTEST_WINDOW_S:
        raise UsageError(
            f"short-term features at {rate_hz} Hz in windows of {window_s:g} s: they need at least "
            f"{LOWEST_RATE_HZ} Hz and {SHORTEST_WINDOW_S:g} s"
        )
    signal = np.asarray(samples, dtype=np.float64)
    count = len(signal) // window
    if count == 0:
        return np.empty((len(SHORT_TERM_FEATURES), 0))
    signal = signal - signal.mean()
    signal = signal / (np.abs(signal).max() + 1e-10)
    frames = signal[: count * window].reshape(count, window)
    num_bins = window // 2
    magnitude = np.abs(rfft(frames, axis=1))[:, :num_bins] / num_bins
    power = magnitude**2
    total = power.sum(1)

    crossings = np.abs(np.diff(np.sign(frames), axis=1)).sum(1) / 2
    centroid, spread = _centroid_and_spread(magnitude, rate_hz, epsilon)
    above = np.cumsum(power, axis=1) + epsilon > _ROLLOFF * total[:, None]
    mel = np.log10(magnitude @ _mel_filters(rate_hz, num_bins).T + epsilon)
    # A silent window has no chroma.
    chroma = power @ _chroma_map(rate_hz, num_bins).T / np.where(total == 0, epsilon, total)[:, None]
    return np.vstack(
        [
            crossings / (window - 1),
            (frames**2).sum(1) / window,
            _block_entropy(frames, epsilon),
            centroid,
            spread,
            _block_entropy(magnitude, epsilon),
            _flux(magnitude, epsilon),
            np.where(above.any(1), above.argmax(1), 0) / num_bins,
            dct(mel, type=2, norm="ortho", axis=1)[:, :_NUM_MFCC].T,
            chroma.T,
            chroma.std(1),
        ]
    )


def _block_entropy(rows: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the entropy, in bits, of the energy's distribution over ten consecutive blocks of each row."""
    length = rows.shape[1] // _NUM_BLOCKS
    blocks = rows[:, : length * _NUM_BLOCKS].reshape(len(rows), _NUM_BLOCKS, length)
    share = (blocks**2).sum(2) / ((rows**2).sum(1)[:, None] + epsilon)
    return -(share * np.log2(share + epsilon)).sum(1)


def _centroid_and_spread(magnitude: np.ndarray, rate_hz: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and spread of each spectrum, as parts of the highest frequency."""
    num_bins = magnitude.shape[1]
    frequency = np.arange(1, num_bins + 1) * (rate_hz / (2.0 * num_bins))
    largest = magnitude.max(1, keepdims=True)
    scaled = magnitude / np.where(largest == 0, epsilon, largest)
    weight = scaled.sum(1) + epsilon
    centroid = scaled @ frequency / weight
    spread = np.sqrt((((frequency - centroid[:, None]) ** 2) * scaled).sum(1) / weight)
    return centroid / (rate_hz / 2.0), spread / (rate_hz / 2.0)


def _flux(magnitude: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the squared distance of each normalised spectrum from the one before; 0 for the first."""
    share = magnitude / (magnitude + epsilon).sum(1, keepdims=True)
    return np.concatenate([[0.0], ((share[1:] - share[:-1]) ** 2).sum(1)])


@lru_cache(maxsize=4)
def _mel_filters(rate_hz: int, num_bins: int) -> np.ndarray:
    """Return the triangular filters (40, num_bins): 13 linearly spaced from 133 Hz, 27 logarithmically.

    As in the library, bin k stands for the frequency k * rate / num_bins, twice what it is.
    """
    edges = np.empty(42)
    edges[:13] = 133.33 + np.arange(13) * (200 / 3)
    edges[13:] = edges[12] * 1.0711703 ** np.arange(1, 30)
    frequency = np.arange(num_bins) / num_bins * rate_hz
    first_bins = np.floor(edges * num_bins / rate_hz).astype(int) + 1
    filters = np.zeros((40, num_bins))
    for row in range(40):
        low, centre, high = edges[row : row + 3]
        rise, fall = (slice(first_bins[row + step], first_bins[row + step + 1]) for step in (0, 1))
        height = 2.0 / (high - low)
        filters[row, rise] = height / (centre - low) * (frequency[rise] - low)
        filters[row, fall] = height / (high - centre) * (high - frequency[fall])
    return filters


@lru_cache(maxsize=4)
def _chroma_map(rate_hz: int, num_bins: int) -> np.ndarray:
    """Return the matrix (12, num_bins) that takes a power spectrum to the twelve chroma sums.

    The library writes each bin's power to the place of its semitone (above 27.5 Hz; two below it count from the
    end), so that of the bins of one semitone the highest stays, and divides by a count of bins that it looks up
    twice. The matrix does the same.
    """
    frequency = np.arange(1, num_bins + 1) * rate_hz / (2 * num_bins)
    semitone = np.round(12.0 * np.log2(frequency / 27.5)).astype(int)
    _, where, counts = np.unique(semitone, return_inverse=True, return_counts=True)
    divisor = counts[where][semitone]
    matrix = np.zeros((12, num_bins))
    last_bin = {int(place) % num_bins: bin_ for bin_, place in enumerate(semitone)}
    for place, bin_ in last_bin.items():
        matrix[place % 12, bin_] = 1.0 / divisor[place]
    return matrix
