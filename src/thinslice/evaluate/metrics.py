"""Scores of predicted against labelled traits, from their definitions.

Conventions, the same everywhere in thinslice:

* Arrays are float64 (n, k): n clips, k targets. A pair in which either value is NaN does not count.
* A score is a value per target, shape (k,). *Average* is the plain mean of the five per-trait values, whatever the
  metric (also of Pearson's r: no Fisher transform), never a score of pooled traits; without all five it is NaN.
* accuracy    = 1 - mean |p - y|.  FI's "mean accuracy" (Ponce-López et al. 2016), R_acc of Fodor et al., Eq. 9.
* mse         = mean (p - y)^2.
* r2          = 1 - sum (p - y)^2 / sum (y - mean(y))^2, about the evaluated clips' own mean: what scikit-learn and the
  ChaLearn challenge call R². Negative where the evaluated clips' own mean would do better.
* pcc         = Pearson's correlation.
* ccc         = 2 cov(y, p) / (var(y) + var(p) + (mean(y) - mean(p))^2), population variances (divided by n), as in
  Lin 1989. (With n - 1 throughout, the value differs in the order of 1/n.)
* bias        = mean (p - y): positive where people are scored too high.
* calibration_slope = cov(y, p) / var(p), the slope of *label on prediction*: 1 where a predicted difference is, on
  average, a real one of that size; above 1 where predictions are timid, below 1 where they are bold.
* response_slope    = cov(y, p) / var(y), the slope of *prediction on label*: how much of a real difference the
  predictions show. Regression to the mean is this slope being far below 1.
* spread_ratio      = sd(p) / sd(y). So pcc = spread_ratio * calibration_slope and response_slope = pcc * spread_ratio.
* pair_order  = share of pairs of clips that the predictions put in the order of the labels; pairs with equal labels do
  not count, pairs with equal predictions count half. 0.5 is chance. It is (1 + Somers' D(p | y)) / 2. This is the
  measure of *ranking*: annotators of First Impressions only ever said which of two clips shows more of a trait, and
  the labels were fitted to those answers, so it scores predictions on the question that was asked.
* coverage    = share of clips with low <= y <= high; width = mean (high - low). Clips without an interval do not count.

A score that has no meaning is NaN, never 0 or 1: R² and slopes where the labels do not vary, pcc and the calibration
slope where the predictions do not (a training mean has none), everything without clips.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thinslice.traits import TRAITS

Floats = NDArray[np.float64]

POINT_METRICS: Final = (
    "accuracy",
    "r2",
    "pcc",
    "ccc",
    "mse",
    "bias",
    "calibration_slope",
    "response_slope",
    "spread_ratio",
    "pair_order",
)
"""Scores that every prediction file has, in the order in which they are shown."""

INTERVAL_METRICS: Final = ("coverage", "width")
"""Scores of prediction intervals."""

_BLOCK = 256


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return 1 - mean absolute error of each target, shape (k,)."""
    return np.array([1.0 - np.abs(p - y).mean() for y, p in _pairs(labels, predictions)])


def mse(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the mean squared error of each target, shape (k,)."""
    return np.array([np.square(p - y).mean() for y, p in _pairs(labels, predictions)])


def bias(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the mean signed error (prediction minus label) of each target, shape (k,)."""
    return np.array([(p - y).mean() for y, p in _pairs(labels, predictions)])


def r2(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the coefficient of determination of each target, shape (k,); NaN where labels do not vary.

    Deviations: scikit-learn's `r2_score` gives 0 or 1 where labels do not vary.
    """
    return np.array(
        [
            1.0 - np.square(p - y).sum() / np.square(y - y.mean()).sum() if _varies(y) else np.nan
            for y, p in _pairs(labels, predictions)
        ]
    )


def pcc(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return Pearson's correlation of each target, shape (k,); NaN where either side does not vary."""
    out = []
    for y, p in _pairs(labels, predictions):
        if _varies(y) and _varies(p):
            out.append(_covariance(y, p) / np.sqrt(_covariance(y, y) * _covariance(p, p)))
        else:
            out.append(np.nan)
    return np.array(out)


def ccc(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return Lin's concordance correlation of each target, shape (k,).

    0 where one side is constant; NaN where both are constant and equal, which is 0/0.
    """
    out = []
    for y, p in _pairs(labels, predictions):
        total = _covariance(y, y) + _covariance(p, p) + (y.mean() - p.mean()) ** 2
        constant = not (_varies(y) and _varies(p))
        out.append(0.0 if constant and total > 0 else np.nan if constant else 2 * _covariance(y, p) / total)
    return np.array(out)


def calibration_slope(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the slope of label on prediction of each target, shape (k,); NaN where predictions do not vary."""
    return np.array(
        [_covariance(y, p) / _covariance(p, p) if _varies(p) else np.nan for y, p in _pairs(labels, predictions)]
    )


def response_slope(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the slope of prediction on label of each target, shape (k,); NaN where labels do not vary."""
    return np.array(
        [_covariance(y, p) / _covariance(y, y) if _varies(y) else np.nan for y, p in _pairs(labels, predictions)]
    )


def spread_ratio(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return sd(prediction) / sd(label) of each target, shape (k,); NaN where labels do not vary."""
    return np.array(
        [
            np.sqrt(_covariance(p, p) / _covariance(y, y)) if _varies(y) else np.nan
            for y, p in _pairs(labels, predictions)
        ]
    )


def pair_order(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Return the share of pairs of clips in the labels' order, shape (k,); NaN where labels do not vary."""
    out = []
    for y, p in _pairs(labels, predictions):
        if not _varies(y):
            out.append(np.nan)
            continue
        agreeing, counted = pair_agreement(y, p)
        out.append(agreeing.sum() / counted.sum())
    return np.array(out)


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


def coverage(labels: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return the share of labels inside their interval, ends included, shape (k,)."""
    y, lo, hi = _matrices(labels, low, high)
    return _mean_where((lo <= y) & (y <= hi), ~np.isnan(y + lo + hi))


def width(labels: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return the mean width of the intervals of labelled clips, shape (k,)."""
    y, lo, hi = _matrices(labels, low, high)
    return _mean_where(hi - lo, ~np.isnan(y + lo + hi))


def score(
    labels: ArrayLike, predictions: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> dict[str, Floats]:
    """Return every metric: its name -> value per target, shape (k,).

    Args:
        labels: (n, k), NaN where unknown.
        predictions: (n, k), NaN where missing.
        low: lower interval ends (n, k), or None.
        high: upper interval ends (n, k), or None.
    """
    out = {
        "accuracy": accuracy(labels, predictions),
        "r2": r2(labels, predictions),
        "pcc": pcc(labels, predictions),
        "ccc": ccc(labels, predictions),
        "mse": mse(labels, predictions),
        "bias": bias(labels, predictions),
        "calibration_slope": calibration_slope(labels, predictions),
        "response_slope": response_slope(labels, predictions),
        "spread_ratio": spread_ratio(labels, predictions),
        "pair_order": pair_order(labels, predictions),
    }
    if low is not None and high is not None:
        out |= {"coverage": coverage(labels, low, high), "width": width(labels, low, high)}
    return out


def average(values: ArrayLike, targets: Sequence[str]) -> Floats:
    """Return the mean over the five traits of values (..., k); NaN where one of the five is absent or NaN.

    Args:
        values: last axis runs over `targets`.
        targets: names of the last axis; others than the five traits do not enter.
    """
    array = np.asarray(values, dtype=np.float64)
    if not set(TRAITS) <= set(targets):
        return np.full(array.shape[:-1], np.nan)
    mean: Floats = array[..., [list(targets).index(name) for name in TRAITS]].mean(axis=-1)
    return mean


def _matrices(*arrays: ArrayLike) -> list[Floats]:
    matrices = [np.asarray(array, dtype=np.float64) for array in arrays]
    matrices = [matrix[:, None] if matrix.ndim == 1 else matrix for matrix in matrices]
    if len({matrix.shape for matrix in matrices}) != 1 or matrices[0].ndim != 2:
        shapes = ", ".join(str(matrix.shape) for matrix in matrices)
        raise ValueError(f"labels and predictions must have one shape (n, k); got {shapes}")
    return matrices


def _pairs(labels: ArrayLike, predictions: ArrayLike) -> Iterator[tuple[Floats, Floats]]:
    """Yield (labels, predictions) of each target without NaN; a pair of NaNs where nothing is left."""
    y, p = _matrices(labels, predictions)
    for k in range(y.shape[1]):
        known = ~np.isnan(y[:, k] + p[:, k])
        if known.any():
            yield y[known, k], p[known, k]
        else:
            yield np.array([np.nan]), np.array([np.nan])


def _mean_where(values: NDArray[np.generic], known: NDArray[np.bool_]) -> Floats:
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _varies(values: Floats) -> bool:
    return bool(np.ptp(values) > 0)


def _covariance(a: Floats, b: Floats) -> float:
    return float(((a - a.mean()) * (b - b.mean())).mean())
