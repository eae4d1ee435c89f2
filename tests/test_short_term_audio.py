"""The 34 short-term features beside pyAudioAnalysis, and what is made of them."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.errors import MediaError, UsageError
from thinslice.features.short_term_audio import (
    SHORT_TERM_FEATURES,
    extract_short_term_audio,
    part_statistics,
    short_term_features,
)
from thinslice.media.source import Source

RATE = 44100
WINDOW = 2205
REFERENCE = Path(__file__).with_name("short_term_audio_reference.npz")
"""What pyAudioAnalysis 0.3.14 returns for `synthetic()`, scaled as 16-bit samples are: "short_term" from
ShortTermFeatures.feature_extraction(..., deltas=False) and "parts" from MidTermFeatures.mid_feature_extraction with
windows of duration/5.5, less its delta features."""


def synthetic() -> np.ndarray:
    """A rising tone that swells, a steady tone, noise, an offset, and 0.3 s of digital silence; 2.6 s."""
    chance = random.Random(7)
    t = np.arange(int(2.6 * RATE)) / RATE
    noise = np.array([chance.uniform(-1, 1) for _ in t])
    swelling = np.sin(2 * np.pi * (120 * t + 90 * t**2)) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))
    samples = 0.4 * swelling + 0.2 * np.sin(2 * np.pi * 880 * t) + 0.05 * noise + 0.01
    samples[int(1.2 * RATE) : int(1.5 * RATE)] = 0.0
    return samples


def test_equals_pyaudioanalysis_on_a_synthetic_signal():
    reference = np.load(REFERENCE)
    samples = synthetic()
    features = short_term_features(samples, RATE, 0.05)
    assert features.shape == (34, 52) == (len(SHORT_TERM_FEATURES), len(samples) // WINDOW)
    silent = np.array([not samples[at * WINDOW : (at + 1) * WINDOW].any() for at in range(52)])
    assert silent.sum() == 6
    np.testing.assert_allclose(features[:, ~silent], reference["short_term"][:, ~silent], rtol=1e-7, atol=1e-9)
    # The spectrum of silence is rounding errors, which machines make differently.
    np.testing.assert_allclose(features[:, silent], reference["short_term"][:, silent], rtol=1e-3, atol=1e-3)
    parts = part_statistics(features, len(samples), WINDOW)
    np.testing.assert_allclose(parts, reference["parts"], rtol=1e-4, atol=1e-4)


def test_equals_pyaudioanalysis_on_real_clips(real_clips, monkeypatch):
    """Needs the library, which is no dependency: pip install --no-deps pyAudioAnalysis tqdm."""
    library = pytest.importorskip("pyAudioAnalysis.ShortTermFeatures")
    for clip in real_clips[::4]:
        samples = Source(clip).audio(RATE)
        for epsilon in (library.eps, 1e-8):
            with monkeypatch.context() as patch:
                patch.setattr(library, "eps", epsilon)
                expected, _ = library.feature_extraction(samples * 2.0**15, RATE, WINDOW, WINDOW, deltas=False)
            found = short_term_features(samples, RATE, 0.05, epsilon)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_scale_and_offset_of_the_signal_do_not_matter():
    samples = synthetic()[: 24 * WINDOW]  # before the silence, whose spectrum is rounding errors
    features = short_term_features(samples, RATE, 0.05)
    np.testing.assert_allclose(short_term_features(0.5 * samples + 0.3, RATE, 0.05), features, rtol=1e-5, atol=1e-6)


def test_silent_windows_are_finite_and_epsilon_is_their_floor():
    samples = synthetic()
    samples -= samples.mean()
    samples[30 * WINDOW : 32 * WINDOW] = 0.0
    samples -= samples.mean()  # the mean that will be removed is 0 in the silent windows up to rounding
    for epsilon, floor in ((np.finfo(float).eps, -15.65), (1e-8, -8.0)):
        features = short_term_features(samples, RATE, 0.05, epsilon)
        assert np.isfinite(features).all()
        first_mfcc = features[SHORT_TERM_FEATURES.index("mfcc_1"), 31]
        assert first_mfcc == pytest.approx(np.sqrt(40) * floor, abs=0.1)


def test_a_constant_signal_is_finite():
    assert np.isfinite(short_term_features(np.full(3 * WINDOW, 0.2), RATE, 0.05)).all()
    assert short_term_features(np.ones(100), RATE, 0.05).shape == (34, 0)


@pytest.mark.parametrize(("rate_hz", "window_s"), [(4000, 0.05), (44100, 0.001)])
def test_settings_outside_the_filters_are_refused(rate_hz, window_s):
    with pytest.raises(UsageError, match=r"8000 Hz and 0\.04 s"):
        short_term_features(np.ones(1000), rate_hz, window_s)


@given(st.integers(6 * WINDOW, 40 * 20 * WINDOW))
def test_there_are_always_six_parts_of_which_the_last_is_short(num_samples):
    count = num_samples // WINDOW
    features = np.arange(count, dtype=float)[None]
    parts = part_statistics(features, num_samples, WINDOW)
    assert parts.shape == (6, 2)
    # The parts follow one another, so their means rise, and no window is left out or counted twice.
    assert (np.diff(parts[:, 0]) > 0).all()
    lengths = np.sqrt(12 * parts[:, 1] ** 2 + 1).round().astype(int)
    assert lengths.sum() == count
    assert lengths[5] <= lengths[0]
    assert len(set(lengths[:5])) <= 2


def test_part_statistics_are_mean_and_deviation():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(34, 306))
    parts = part_statistics(features, 674_816, WINDOW)  # a First Impressions clip: 306 windows, parts of 56
    bounds = [*range(0, 306, 56), 306]
    for row, (low, high) in enumerate(itertools.pairwise(bounds)):
        np.testing.assert_allclose(parts[row, :34], features[:, low:high].mean(1))
        np.testing.assert_allclose(parts[row, 34:], features[:, low:high].std(1))


class Sound(Source):
    """A source of given samples."""

    def __init__(self, samples: np.ndarray) -> None:
        super().__init__("given.wav")
        self.samples = samples.astype(np.float32)

    def audio(self, rate_hz: int | None = None, end_s: float | None = None) -> np.ndarray:
        assert rate_hz == RATE
        return self.samples


def test_extractor_returns_six_rows_of_68():
    array = extract_short_term_audio(Sound(synthetic()))
    assert array.shape == (6, 68)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, np.load(REFERENCE)["parts"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "reason"), [(np.zeros(RATE), "digital silence"), (np.tile([1.0, -1.0], 5 * WINDOW // 2), "0.25 s")]
)
def test_extractor_refuses_silence_and_scraps(samples, reason):
    with pytest.raises(MediaError, match=reason):
        extract_short_term_audio(Sound(samples))


def test_a_real_clip_gives_the_same_twice(real_clips):
    first, second = (extract_short_term_audio(Source(real_clips[0]), epsilon=1e-8) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
