"""How loud the hum of the mains is in a sound: steady lines at 50 or 60 Hz and their multiples.

A voice's harmonics wander, so that over some seconds none of them stays within 0.6 Hz of a multiple of 50 or 60 Hz. A
hum does, and stands far above its neighbours in the spectrum. Thresholds are measured on real clips (docs/media.md).
"""

from typing import Final

import numpy as np

MAINS_HZ: Final = (50, 60)
SHORTEST_S: Final = 6.5
"""In less sound a voice's harmonics may look as steady as a hum."""
_NUM_LINES: Final = 10
_NEAR_HZ: Final = (
    0.6  # The mains' frequency strays by 0.2 Hz; at the fifth multiple a line may lie 1 Hz off and is missed.
)
_APART_HZ: Final = 2.0
_AROUND_HZ: Final = 12.0
_STANDS_OUT: Final = 10.0  # times the power of nine in ten of its neighbours: 10 dB


def mains_hum(samples: np.ndarray, rate_hz: int) -> tuple[int, float]:
    """Return the mains' frequency that hums louder, 50 or 60 Hz, and how loud its lines are together.

    Args:
        samples: float mono samples (n,), n at least 1.
        rate_hz: their sampling rate, at least 1,000 Hz.

    Returns:
        The frequency in Hz, and the level in dB of the whole sound's power, at most 0; -inf where no line stands out or
        there are less than `SHORTEST_S` seconds.
    """
    seconds = len(samples) / rate_hz
    if seconds < SHORTEST_S:
        return MAINS_HZ[0], -np.inf
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    share, mains_hz = max((_lines(power, seconds, hz), hz) for hz in MAINS_HZ)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mains_hz, float(np.nan_to_num(10 * np.log10(share / power.sum()), nan=-np.inf, neginf=-np.inf))


def _lines(power: np.ndarray, seconds: float, mains_hz: int) -> float:
    """Return the power of the lines at multiples of a frequency that stand out, what lies around them taken off."""
    total = 0.0
    for centre_hz in mains_hz * np.arange(1, _NUM_LINES + 1):
        first, end = (round((centre_hz + side * _AROUND_HZ) * seconds) for side in (-1, 1))
        away_hz = np.abs(np.arange(first, end) / seconds - centre_hz)
        around = power[first:end]
        if len(around) < len(away_hz):  # beyond half the sampling rate
            break
        near, floor = around[away_hz <= _NEAR_HZ], float(np.quantile(around[away_hz > _APART_HZ], 0.9))
        if near.max() > _STANDS_OUT * floor:
            total += float(near.sum() - len(near) * floor)
        elif not total and centre_hz > mains_hz:
            break  # Every mains hum has the mains' frequency or twice it.
    return total
