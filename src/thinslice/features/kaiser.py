"""Resampling with the Kaiser-windowed sinc that the published voice profiles were computed with."""

import math
from functools import lru_cache

import numpy as np

# resampy before 0.4, filter "kaiser_best": J. O. Smith's band-limited interpolation, "Digital Audio Resampling
# Home Page", with 64 zero crossings on either side.
_NUM_ZEROS = 64
_BETA = 14.769656459379492
_ROLLOFF = 0.9475937167399596
_TABLE_STEP = 1 / 512  # resampy looks its filter up in a table with 512 entries to a zero crossing.

_MAX_PHASES = 2205  # 22,050 Hz from any multiple of 10 Hz needs no more.
_BLOCK = 192  # Output samples computed by one row of the product: fast for all usual pairs of rates.


def resample_kaiser(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample as `librosa.load` did before version 0.10, with resampy's "kaiser_best".

    Args:
        samples: float32 (n,).
        from_hz: sampling rate of the samples.
        to_hz: sampling rate wanted.

    Returns:
        float32 (ceil(n * to_hz / from_hz),). What lies outside the samples counts as zero.

    Deviations: weights are computed where resampy interpolates between table entries (a difference below 1e-5);
    rates whose ratio has more than 2,205 phases, such as 44,099 to 22,050 Hz, pass through 44,100 Hz by soxr.
    """
    if from_hz == to_hz or not len(samples):
        return samples
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    if up > _MAX_PHASES:
        import soxr

        return resample_kaiser(soxr.resample(samples, from_hz, 44100, quality="VHQ"), 44100, to_hz)
    weights, before, stride = _block_weights(up, down)
    length, outputs = weights.shape
    num_out = -(-len(samples) * up // down)
    num_blocks = -(-num_out // outputs)
    padded = np.zeros((num_blocks - 1) * stride + length, np.float32)
    kept = samples[: len(padded) - before]
    padded[before : before + len(kept)] = kept
    blocks = np.lib.stride_tricks.sliding_window_view(padded, length)[::stride]
    return (np.ascontiguousarray(blocks) @ weights).reshape(-1)[:num_out]


@lru_cache(maxsize=8)
def _block_weights(up: int, down: int) -> tuple[np.ndarray, int, int]:
    """Return float32 (inputs, outputs) weights of one block, inputs before its start, inputs between blocks.

    A block of outputs is one matrix product with the stretch of input that it hears, which a BLAS does at full
    speed; blocks are whole periods of the ratio, so that one matrix serves all.
    """
    periods = max(1, round(_BLOCK / up))
    scale = min(1.0, up / down)
    # resampy rounds the distance between taps down to a table entry; exact for 44,100 to 22,050 Hz.
    step = math.floor(scale / _TABLE_STEP) * _TABLE_STEP
    reach = math.floor(_NUM_ZEROS / step) + 1
    phase = np.arange(up) * down / up  # Where the outputs of one period lie, in input samples.
    whole = np.floor(phase).astype(np.int64)
    fraction = scale * (phase - whole)
    weights = np.zeros((down * periods + 2 * reach + 1, up * periods), np.float32)
    taps = np.arange(reach)[:, None]
    # The wing before an output starts at the input sample at or before it, the other one at the next.
    for distance, rows in (
        (fraction + taps * step, whole - taps + reach),
        (scale - fraction + taps * step, whole + 1 + taps + reach),
    ):
        wing = scale * _filter(distance)
        for period in range(periods):
            weights[rows + period * down, np.arange(up) + period * up] = wing
    return weights, reach, down * periods


def _filter(distance: np.ndarray) -> np.ndarray:
    """Impulse response at a distance in zero crossings, 0 beyond the last."""
    inside = 1.0 - (distance / _NUM_ZEROS) ** 2
    window = np.i0(_BETA * np.sqrt(np.maximum(inside, 0.0))) / np.i0(_BETA)
    return np.where(inside >= 0, _ROLLOFF * np.sinc(_ROLLOFF * distance) * window, 0.0)
