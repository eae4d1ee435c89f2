"""The share of pairs of clips that predictions put in the order of the labels: no function of sums over clips."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_BLOCK: Final = 256


def pair_order_of(labels: Floats, predictions: Floats) -> float:
    """Return the share for one target, labels and predictions (n,) without NaN; NaN where labels do not vary."""
    agreeing, counted = pair_agreement(labels, predictions)
    return float(agreeing.sum() / counted.sum()) if counted.any() else float("nan")


def pair_agreement(labels: Floats, predictions: Floats) -> tuple[Floats, Floats]:
    """Count, for each clip, the pairs that its predictions order as its labels do.

    Args:
        labels: one target of all clips, shape (n,), no NaN.
        predictions: the same shape.

    Returns:
        agreeing (n,): sum over the other clips of 1 (same order), 0.5 (equal predictions) or 0.
        counted (n,): number of other clips with another label.
    """
    # Ranks order as the values do, and small integers compare fast.
    y, p = (np.unique(values, return_inverse=True)[1].astype(np.int32) for values in (labels, predictions))
    agreeing, counted = np.zeros(len(y)), np.zeros(len(y))
    for start in range(0, len(y), _BLOCK):  # blocks bound the memory: n x n would not fit for large n
        rows = slice(start, start + _BLOCK)
        order = (y[rows, None] > y).view(np.int8) - (y[rows, None] < y).view(np.int8)
        predicted = (p[rows, None] > p).view(np.int8) - (p[rows, None] < p).view(np.int8)
        counted[rows] = np.count_nonzero(order, axis=1)
        # order * predicted is 1, -1 or 0 and so (1 + it) / 2 is 1, 0 or a half, for pairs that count.
        agreeing[rows] = (counted[rows] + (order * predicted).sum(axis=1, dtype=np.int64)) / 2
    return agreeing, counted


def pair_order_interval(labels: ArrayLike, predictions: ArrayLike, speakers: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the 95% jackknife interval per target, two arrays of shape (k,).

    Args:
        labels: (n, k).
        predictions: (n, k).
        speakers: number of each clip's speaker, shape (n,).
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    low, high = np.full(y.shape[1], np.nan), np.full(y.shape[1], np.nan)
    for k in range(y.shape[1]):
        known = ~np.isnan(y[:, k] + p[:, k])
        names, index = np.unique(speakers[known], return_inverse=True)
        num = len(names)
        if num < 2:
            continue
        agreeing, counted = pair_agreement(y[known, k], p[known, k])
        by_speaker = np.array([np.bincount(index, x, num) for x in (agreeing, counted)])
        # Without a speaker, every pair with one of its clips goes: its rows, its columns, less the pairs inside it.
        inside = _pairs_inside(y[known, k], p[known, k], index, num)
        without = np.array([agreeing.sum(), counted.sum()])[:, None] - 2 * by_speaker + inside
        if (without[1] <= 0).any():
            continue
        values = without[0] / without[1]
        error = np.sqrt((num - 1) / num * np.square(values - values.mean()).sum())
        estimate = agreeing.sum() / counted.sum()
        low[k], high[k] = max(0.0, estimate - 1.96 * error), min(1.0, estimate + 1.96 * error)
    return low, high


def _pairs_inside(labels: Floats, predictions: Floats, index: NDArray[np.intp], num: int) -> Floats:
    """Agreeing and counted pairs within each speaker, both orders counted, shape (2, num)."""
    out = np.zeros((2, num))
    rows = np.argsort(index, kind="stable")
    y, p, speaker = labels[rows], predictions[rows], index[rows]
    for step in range(1, int(np.bincount(index).max())):  # with clips sorted by speaker, pairs are `step` rows apart
        same = speaker[step:] == speaker[:-step]
        order, predicted = np.sign(y[step:] - y[:-step]), np.sign(p[step:] - p[:-step])
        counted = same & (order != 0)
        out[0] += np.bincount(speaker[step:], np.where(counted, 1 + order * predicted, 0.0), num)
        out[1] += np.bincount(speaker[step:], 2.0 * counted, num)
    return out
